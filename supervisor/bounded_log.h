// What a task printed, in bounded memory: the first bytes, the last bytes, and
// how many there were in between.
#ifndef MILLRACE_SUPERVISOR_BOUNDED_LOG_H_
#define MILLRACE_SUPERVISOR_BOUNDED_LOG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::supervisor {

// Thread-compatible. Memory grows with what is written, up to head + tail.
class BoundedLog {
 public:
  // Keeps the first `head_bytes` and the last `tail_bytes`.
  BoundedLog(size_t head_bytes, size_t tail_bytes)
      : head_bytes_(head_bytes), tail_bytes_(tail_bytes) {}

  void Append(std::string_view text);
  void Clear();

  // Bytes ever appended since the last Clear.
  uint64_t total_bytes() const { return total_; }

  // Everything, if it fits; else head, a line that says how much is missing,
  // and tail.
  std::string Text() const;

 private:
  const size_t head_bytes_;
  const size_t tail_bytes_;
  uint64_t total_ = 0;
  std::string head_;
  // A ring once it is tail_bytes_ long: the oldest byte is at tail_start_.
  std::string tail_;
  size_t tail_start_ = 0;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_BOUNDED_LOG_H_
