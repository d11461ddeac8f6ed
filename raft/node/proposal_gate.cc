#include "raft/node/proposal_gate.h"

#include <algorithm>

#include "common/strings.h"
#include "raft/log/log_store.h"

namespace millrace::raft {

uint64_t ProposalCost(size_t payload_bytes) {
  return payload_bytes + kLogEntryOverheadBytes;
}

absl::Status ProposalGate::Admit(uint64_t term,
                                 const std::vector<std::string>& payloads) {
  uint64_t cost = 0;
  for (const std::string& payload : payloads) {
    if (payload.empty()) {
      return absl::InvalidArgumentError("a log entry of no bytes");
    }
    if (payload.size() > limits_.payload_bytes_max) {
      return absl::InvalidArgumentError(
          Av(Cat("a log entry of ", payload.size(), " bytes, at most ",
                 limits_.payload_bytes_max, " are possible")));
    }
    cost += ProposalCost(payload.size());
  }
  if (cost > limits_.uncommitted_bytes_max) {
    return absl::InvalidArgumentError(
        Av(Cat("a proposal of ", cost, " bytes, at most ",
               limits_.uncommitted_bytes_max, " are possible")));
  }
  absl::MutexLock lock(&mu_);
  if (term == 0 || term != term_) {
    return absl::FailedPreconditionError(
        Av(Cat("this master does not lead term ", term)));
  }
  if (blocked_) {
    return absl::ResourceExhaustedError("the log waits for disk space");
  }
  if (bytes_ + cost > limits_.uncommitted_bytes_max) {
    return absl::ResourceExhaustedError(
        Av(Cat(bytes_, " bytes wait to be committed")));
  }
  bytes_ += cost;
  return absl::OkStatus();
}

void ProposalGate::Open(uint64_t term) {
  absl::MutexLock lock(&mu_);
  term_ = term;
  bytes_ = 0;
}

void ProposalGate::Close() {
  absl::MutexLock lock(&mu_);
  term_ = 0;
}

void ProposalGate::Release(uint64_t term, uint64_t cost) {
  absl::MutexLock lock(&mu_);
  if (term == term_) bytes_ -= std::min(bytes_, cost);
}

void ProposalGate::SetBlocked(bool blocked) {
  absl::MutexLock lock(&mu_);
  blocked_ = blocked;
}

}  // namespace millrace::raft
