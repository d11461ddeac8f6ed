// When a snapshot of this member is due, and where it stands.
//
//           enough has been            the sink has         it is
//   ┌──────┐ handed over   ┌───────┐ frozen it  ┌───────┐ applied ┌─────────┐
//   │ idle │ ────────────► │ asked │ ─────────► │ taken │ ──────► │ writing │
//   └──────┘               └───────┘            └───────┘         └─────────┘
//       ▲                                           │ not worth it     │
//       └───────────────────────────────────────────┴──────────────────┘
//                       after a failure: not before some ticks have passed
#ifndef MILLRACE_RAFT_NODE_SNAPSHOT_CYCLE_H_
#define MILLRACE_RAFT_NODE_SNAPSHOT_CYCLE_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "raft/core/types.h"

namespace millrace::raft {

// The first five: see NodeOptions.
struct SnapshotPolicy {
  uint64_t entries = 200'000;
  uint64_t bytes_min = uint64_t{2} << 20;
  uint64_t bytes_max = uint64_t{256} << 20;
  uint64_t interval_ticks = 0;
  uint64_t keep_entries = 1'000;
  // After one could not be written.
  uint64_t retry_ticks = 100;
};

// Thread-compatible.
class SnapshotCycle {
 public:
  // `newest`, `older`: indexes of the two newest snapshots in the store; 0:
  // there is none. `membership`: at `newest`.
  SnapshotCycle(const SnapshotPolicy& policy, uint64_t newest, uint64_t older,
                Membership membership);

  void Tick() { ++now_; }
  // The sink was given so much more; in `bytes` an entry counts as in
  // ProposalCost.
  void HandedOver(uint64_t entries, uint64_t bytes);
  void MembershipApplied(uint64_t index, Membership membership);
  // The state was replaced by a leader's snapshot.
  void Installed(uint64_t index, Membership membership);
  // A leader's snapshot at `index` is in the store; the state, which has come
  // that far or farther, stays.
  void Adopted(uint64_t index);

  // However little was handed over since the last one.
  void MakeDue();

  // True, once, when the sink is to be asked.
  bool TakeWanted();
  void Taken(uint64_t index);
  struct Write {
    uint64_t index = 0;
    Membership membership;
  };
  // What is to be written, once `applied` has come that far; once.
  std::optional<Write> TakeWrite(uint64_t applied);
  // Whether what was taken is of no use, as a newer one came meanwhile; once.
  bool TakeForget();
  // It is in the store now, its state of `bytes`; returns what it was. Without
  // `bytes`: it is not, because of an error or because there is a newer one.
  std::optional<Write> Written(std::optional<uint64_t> bytes);

  // The entry up to which the log may be dropped: not the last keep_entries,
  // and nothing behind the older snapshot, from which the member can start
  // should the newest one turn out to be damaged.
  uint64_t drop_through() const;

 private:
  enum class State { kIdle, kAsked, kTaken, kWriting };

  void StandsAt(uint64_t index);
  // Forgets what held before `index`.
  void KeepMembershipsFrom(uint64_t index);

  const SnapshotPolicy policy_;
  State state_ = State::kIdle;
  uint64_t newest_;
  uint64_t older_;
  uint64_t now_ = 0;
  uint64_t asked_at_ = 0;
  uint64_t not_before_ = 0;
  uint64_t entries_ = 0;  // Since one was last asked for.
  uint64_t bytes_ = 0;
  uint64_t state_bytes_ = 0;  // Of the last one that this member wrote.
  uint64_t index_ = 0;        // Of the one that was taken.
  bool forget_ = false;
  // By the index from which they hold; the first is not behind newest_, nor
  // index_. Never empty.
  std::deque<std::pair<uint64_t, Membership>> memberships_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_SNAPSHOT_CYCLE_H_
