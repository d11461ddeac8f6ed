// Whether a proposal is taken, decided where it is made, so that the answer
// need not wait for the node's thread.
#ifndef MILLRACE_RAFT_NODE_PROPOSAL_GATE_H_
#define MILLRACE_RAFT_NODE_PROPOSAL_GATE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace millrace::raft {

// What a payload counts against limits: empty ones are not free either.
uint64_t ProposalCost(size_t payload_bytes);

// Thread-safe.
class ProposalGate {
 public:
  struct Limits {
    uint64_t payload_bytes_max = 0;      // One payload.
    uint64_t uncommitted_bytes_max = 0;  // Cost of all that are under way.
  };
  explicit ProposalGate(const Limits& limits) : limits_(limits) {}

  // Errors are those of ReplicatedLog::Propose. After OK the payloads are given
  // to NodeCore::Propose, in the order of the calls where that matters.
  absl::Status Admit(uint64_t term, const std::vector<std::string>& payloads);

  // For NodeCore: this member leads `term`, and nothing is under way in it.
  void Open(uint64_t term);
  void Close();
  // Proposals of `term` with this cost were handed over.
  void Release(uint64_t term, uint64_t cost);
  // Whether the log waits for space: then nothing is admitted.
  void SetBlocked(bool blocked);

 private:
  const Limits limits_;
  absl::Mutex mu_;
  uint64_t term_ ABSL_GUARDED_BY(mu_) = 0;  // 0: closed.
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool blocked_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_PROPOSAL_GATE_H_
