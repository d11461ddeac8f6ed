// The kAppends that are under way to one member: a window limited in number
// and payload, so that a slow member costs neither memory nor network.
#ifndef MILLRACE_RAFT_CORE_INFLIGHTS_H_
#define MILLRACE_RAFT_CORE_INFLIGHTS_H_

#include <cstdint>
#include <deque>

namespace millrace::raft {

// Thread-compatible.
class Inflights {
 public:
  // The limit in bytes is soft: a message is let in while less than `bytes_max`
  // is under way, whatever its own size.
  Inflights(int messages_max, uint64_t bytes_max)
      : messages_max_(messages_max), bytes_max_(bytes_max) {}

  bool full() const { return count() >= messages_max_ || bytes_ >= bytes_max_; }
  int count() const { return static_cast<int>(messages_.size()); }
  uint64_t bytes() const { return bytes_; }

  // A message whose last entry is `last_index` leaves.
  // REQUIRES: not full(); indices increase from message to message.
  void Add(uint64_t last_index, uint64_t bytes) {
    messages_.push_back({last_index, bytes});
    bytes_ += bytes;
  }

  // The member has everything up to `index`: messages that end there or before
  // have arrived, or will not be missed.
  void FreeUpTo(uint64_t index) {
    while (!messages_.empty() && messages_.front().last_index <= index) {
      bytes_ -= messages_.front().bytes;
      messages_.pop_front();
    }
  }

  void Clear() {
    messages_.clear();
    bytes_ = 0;
  }

 private:
  struct Inflight {
    uint64_t last_index = 0;
    uint64_t bytes = 0;
  };

  const int messages_max_;
  const uint64_t bytes_max_;
  std::deque<Inflight> messages_;
  uint64_t bytes_ = 0;  // Of all of them.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_INFLIGHTS_H_
