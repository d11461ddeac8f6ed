// Byte streams that are strings.
#ifndef MILLRACE_MASTER_STATE_TESTING_BYTE_STRINGS_H_
#define MILLRACE_MASTER_STATE_TESTING_BYTE_STRINGS_H_

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "common/byte_stream.h"

namespace millrace::master::testing {

class StringSink final : public ByteSink {
 public:
  absl::Status Append(std::string_view piece) override {
    bytes.append(piece);
    longest = std::max(longest, piece.size());
    return absl::OkStatus();
  }
  std::string bytes;
  size_t longest = 0;
};

// Hands out at most `step` bytes at a time. `bytes` outlive it.
class StringSource final : public ByteSource {
 public:
  explicit StringSource(std::string_view bytes,
                        size_t step = std::numeric_limits<size_t>::max())
      : rest_(bytes), step_(step) {}

  absl::StatusOr<size_t> Read(char* buffer, size_t size) override {
    const size_t some = std::min({size, step_, rest_.size()});
    std::memcpy(buffer, rest_.data(), some);
    rest_.remove_prefix(some);
    return some;
  }

 private:
  std::string_view rest_;
  const size_t step_;
};

}  // namespace millrace::master::testing

#endif  // MILLRACE_MASTER_STATE_TESTING_BYTE_STRINGS_H_
