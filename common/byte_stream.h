// Bytes in order, piece by piece: what writes a long stream need not know where
// it goes, nor what reads it where it comes from.
#ifndef MILLRACE_COMMON_BYTE_STREAM_H_
#define MILLRACE_COMMON_BYTE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

// Thread-compatible.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Errors are the sink's own and final.
  virtual absl::Status Append(std::string_view bytes) = 0;
};

// Passes on and counts what the other has taken. Borrows it. Thread-compatible.
class CountingSink final : public ByteSink {
 public:
  explicit CountingSink(ByteSink& sink) : sink_(sink) {}
  absl::Status Append(std::string_view bytes) override {
    absl::Status status = sink_.Append(bytes);
    if (status.ok()) bytes_ += bytes.size();
    return status;
  }
  uint64_t bytes() const { return bytes_; }

 private:
  ByteSink& sink_;
  uint64_t bytes_ = 0;
};

// Thread-compatible.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to `size` bytes into `buffer`; returns how many, 0 only at the end.
  // kDataLoss: what is there is not what was written. REQUIRES: size > 0.
  virtual absl::StatusOr<size_t> Read(char* buffer, size_t size) = 0;
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_BYTE_STREAM_H_
