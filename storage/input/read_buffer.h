// The window of file bytes that a split reader has in memory.
#ifndef MILLRACE_STORAGE_INPUT_READ_BUFFER_H_
#define MILLRACE_STORAGE_INPUT_READ_BUFFER_H_

#include <cstddef>
#include <memory>

#include "common/file_system.h"
#include "proto/messages/plan.pb.h"
#include "storage/input/split_reader.h"

namespace millrace::storage {

// Bytes that are dropped at the front and added at the end. Memory comes page
// by page as it is filled, so a buffer that could hold a megabyte costs a small
// file nothing. Thread-compatible.
class ReadBuffer {
 public:
  // What measured best for sequential reads from the page cache on two cores,
  // and small enough to stay in the second-level cache while it is scanned.
  static constexpr size_t kDefaultBytes = 1 << 20;

  // `read_bytes`: how much one read adds at the most, while no record is
  // larger.
  explicit ReadBuffer(size_t read_bytes);
  ~ReadBuffer();
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;

  const char* data() const { return data_ + begin_; }
  size_t size() const { return end_ - begin_; }
  void Clear() { begin_ = end_ = 0; }
  void DropFront(size_t bytes) { begin_ += bytes; }

  // How much the next read should add: a record that has outgrown a read is
  // read on in steps of its own size, so that it is scanned and moved a bounded
  // number of times.
  size_t RoomToAdd() const {
    return size() > read_bytes_ ? size() : read_bytes_;
  }
  // Adds `bytes` bytes, to be filled by the caller, and returns where. Grows by
  // remapping: large records are not copied and never held twice. Gives memory
  // back after a large record.
  char* Extend(size_t bytes);

 private:
  void Reserve(size_t bytes);

  const size_t read_bytes_;
  char* data_ = nullptr;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

namespace internal {

// SplitReader::Create with another read size: for tests.
std::unique_ptr<SplitReader> MakeSplitReader(FileSystem& fs,
                                             const proto::Plan& plan, int split,
                                             size_t buffer_bytes);

}  // namespace internal
}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_INPUT_READ_BUFFER_H_
