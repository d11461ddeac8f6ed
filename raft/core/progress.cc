#include "raft/core/progress.h"

#include <algorithm>

namespace millrace::raft {

void Progress::Reset(State state) {
  state_ = state;
  append_flow_paused_ = false;
  pending_snapshot_ = 0;
  inflights_.Clear();
}

void Progress::BecomeProbe() {
  // Behind a snapshot that the member is thought to have, else where the logs
  // are known to agree.
  const uint64_t base = std::max(match_, pending_snapshot_);
  Reset(State::kProbe);
  next_ = base + 1;
  sent_commit_ = std::min(sent_commit_, base);
}

void Progress::BecomeReplicate() {
  Reset(State::kReplicate);
  next_ = match_ + 1;
}

void Progress::BecomeSnapshot(uint64_t snapshot_index) {
  Reset(State::kSnapshot);
  pending_snapshot_ = snapshot_index;
  next_ = snapshot_index + 1;
  sent_commit_ = snapshot_index;
}

void Progress::Sent(uint64_t entries, uint64_t bytes, uint64_t commit) {
  if (state_ == State::kReplicate) {
    if (entries > 0) {
      next_ += entries;
      inflights_.Add(next_ - 1, bytes);
    }
    append_flow_paused_ = inflights_.full();
  } else if (entries > 0) {
    append_flow_paused_ = true;
  }
  sent_commit_ = commit;
}

bool Progress::Acknowledged(uint64_t index) {
  if (index <= match_) return false;
  match_ = index;
  next_ = std::max(next_, index + 1);
  append_flow_paused_ = false;
  return true;
}

bool Progress::Rejected(uint64_t rejected, uint64_t hint) {
  if (state_ == State::kReplicate) {
    if (rejected <= match_) return false;
    next_ = match_ + 1;
  } else {
    // One probe at a time is under way, so an answer to another is old.
    if (next_ - 1 != rejected) return false;
    next_ = std::max(std::min(rejected, hint + 1), match_ + 1);
    append_flow_paused_ = false;
  }
  // What was refused did not raise the member's commit index.
  sent_commit_ = std::min(sent_commit_, next_ - 1);
  return true;
}

void Progress::SnapshotEnded(bool ok) {
  if (state_ != State::kSnapshot) return;
  if (!ok) pending_snapshot_ = 0;
  BecomeProbe();
  append_flow_paused_ = true;
}

ProgressStatus Progress::Status() const {
  ProgressStatus status;
  status.state = state_;
  status.match = match_;
  status.next = next_;
  status.paused = paused();
  status.recently_active = recently_active_;
  status.pending_snapshot = pending_snapshot_;
  status.inflight = inflights_.count();
  status.inflight_full = inflights_.full();
  return status;
}

}  // namespace millrace::raft
