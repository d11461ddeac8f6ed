// The bytes of a file that a reader is looking at: a piece that moves forwards
// and grows when a record does not fit.
#ifndef MILLRACE_STORAGE_INPUT_READ_WINDOW_H_
#define MILLRACE_STORAGE_INPUT_READ_WINDOW_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"

namespace millrace::storage {

//      offset()                     end_offset()
//         |  not consumed yet            |
//   ......[=== data(), size() bytes =====]......  file
//
// Thread-compatible. Memory is taken at the first Extend(), and only what was
// read is ever touched: a window over tiny files costs a page or two.
class ReadWindow {
 public:
  // `base_bytes`: the capacity as long as records fit. REQUIRES: >= 1.
  explicit ReadWindow(size_t base_bytes) : base_bytes_(base_bytes) {}

  const char* data() const { return buffer_.get() + begin_; }
  size_t size() const { return end_ - begin_; }
  uint64_t offset() const { return offset_; }
  uint64_t end_offset() const { return offset_ + size(); }
  size_t capacity() const { return capacity_; }

  // Empties the window and goes to `offset`.
  void MoveTo(uint64_t offset);
  // REQUIRES: n <= size().
  void Consume(size_t n);

  // Reads up to `want` bytes behind those there, `want` cut to what the window
  // can hold; a window that is full and has not been consumed grows first, up
  // to `size_max` bytes. Returns how many bytes were read; fewer than asked for
  // at the end of the file alone. data() changes.
  // kResourceExhausted: no memory. REQUIRES: size() < size_max, want >= 1.
  absl::StatusOr<size_t> Extend(ReadFile& file, uint64_t want,
                                uint64_t size_max);

 private:
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };

  absl::Status Resize(size_t capacity);

  const size_t base_bytes_;
  // From malloc: the C library moves large blocks by changing page tables, so
  // growing a large record's window copies nothing, and what lies beyond the
  // bytes read is not resident.
  std::unique_ptr<char, Free> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_INPUT_READ_WINDOW_H_
