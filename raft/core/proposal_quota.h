// How much payload a leader has proposed that is not committed yet. A group
// without a majority would otherwise grow its leader's log without end.
#ifndef MILLRACE_RAFT_CORE_PROPOSAL_QUOTA_H_
#define MILLRACE_RAFT_CORE_PROPOSAL_QUOTA_H_

#include <cstdint>
#include <deque>

namespace millrace::raft {

// Of one leader in one term: entries of earlier terms are not counted.
// Thread-compatible.
class ProposalQuota {
 public:
  explicit ProposalQuota(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  uint64_t bytes() const { return bytes_; }

  // False: it would be too much, and nothing is taken. A proposal is always let
  // in when no other is there, whatever its size; so is one without payload.
  bool TryTake(uint64_t last_index, uint64_t bytes) {
    if (bytes == 0) return true;
    if (bytes_ > 0 && (bytes_ >= bytes_max_ || bytes > bytes_max_ - bytes_)) {
      return false;
    }
    proposals_.push_back({last_index, bytes});
    bytes_ += bytes;
    return true;
  }

  // A proposal is done with when its last entry is.
  void CommittedUpTo(uint64_t index) {
    while (!proposals_.empty() && proposals_.front().last_index <= index) {
      bytes_ -= proposals_.front().bytes;
      proposals_.pop_front();
    }
  }

 private:
  struct Proposal {
    uint64_t last_index = 0;
    uint64_t bytes = 0;
  };

  const uint64_t bytes_max_;
  std::deque<Proposal> proposals_;
  uint64_t bytes_ = 0;  // Of all of them.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_PROPOSAL_QUOTA_H_
