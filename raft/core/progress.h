// How far one member's log is, as its leader sees it, and what may be sent.
//
//   from       to         when
//   probe      replicate  it accepted the append that was to find it
//   replicate  probe      it refused an append, or is unreachable
//   either     snapshot   what comes next is not in the leader's log any more
//   snapshot   probe      the transfer has ended, well or not
//   snapshot   replicate  it holds what the log can go on from
//
// Probe: one append at a time, to find where the logs part. Replicate: a stream
// of appends, optimistically, within a window. Snapshot: nothing.
#ifndef MILLRACE_RAFT_CORE_PROGRESS_H_
#define MILLRACE_RAFT_CORE_PROGRESS_H_

#include <cstdint>
#include <map>

#include "raft/core/core.h"
#include "raft/core/inflights.h"

namespace millrace::raft {

// Thread-compatible.
//
// Invariants: match < next. In snapshot, next == pending_snapshot + 1.
class Progress {
 public:
  using State = ProgressStatus::State;

  // Probes at `next`. REQUIRES: match < next.
  Progress(uint64_t match, uint64_t next, const Inflights& empty)
      : match_(match), next_(next), inflights_(empty) {}

  State state() const { return state_; }
  // Everything up to here is known to be durable there and equal to the
  // leader's.
  uint64_t match() const { return match_; }
  // The next entry to send.
  uint64_t next() const { return next_; }
  // Nothing may be sent before an answer comes, be it to a heartbeat.
  bool paused() const {
    return state_ == State::kSnapshot || append_flow_paused_;
  }
  // Whether an append may carry entries: a full window lets empty ones through,
  // which find out whether what filled it was lost.
  bool may_send_entries() const {
    return state_ != State::kReplicate || !inflights_.full();
  }
  bool recently_active() const { return recently_active_; }
  void set_recently_active(bool active) { recently_active_ = active; }

  void BecomeProbe();
  void BecomeReplicate();
  void BecomeSnapshot(uint64_t snapshot_index);

  // An append of `entries` entries from next() on leaves, with the commit
  // index. REQUIRES: not in snapshot.
  void Sent(uint64_t entries, uint64_t bytes, uint64_t commit);
  void SentCommit(uint64_t commit) { sent_commit_ = commit; }
  // Whether telling `commit` can make the member commit more than it will by
  // what is on its way.
  bool CanRaiseCommit(uint64_t commit) const {
    return commit > sent_commit_ && sent_commit_ < next_ - 1;
  }

  // The member has everything up to `index`. False: known already.
  bool Acknowledged(uint64_t index);
  void FreeInflightsUpTo(uint64_t index) { inflights_.FreeUpTo(index); }
  // The member refused an append behind `rejected`; its log may agree up to
  // `hint`. It is probed from then on. False: the refusal is old news.
  bool Rejected(uint64_t rejected, uint64_t hint);
  // It answered something, so it may be tried again.
  void ResumeAppends() { append_flow_paused_ = false; }
  // The transfer of the snapshot ended. Waits for an answer before it probes.
  void SnapshotEnded(bool ok);

  ProgressStatus Status() const;

 private:
  void Reset(State state);

  uint64_t match_;
  uint64_t next_;
  State state_ = State::kProbe;
  bool append_flow_paused_ = false;
  bool recently_active_ = false;
  uint64_t pending_snapshot_ = 0;
  // The highest commit index that is on its way there, or was lost.
  uint64_t sent_commit_ = 0;
  Inflights inflights_;
};

// Drops those who are no members any more, and begins with new ones at the end
// of a log that ends at `last_index`: what they have they tell by refusing.
void FollowMembership(const Membership& membership, uint64_t last_index,
                      const Inflights& empty,
                      std::map<NodeId, Progress>* progress);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_PROGRESS_H_
