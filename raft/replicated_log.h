// A log of entries that a group of masters agrees on. What stands in it as
// committed is never lost and never changes; everything that the masters must
// not forget goes through it.
//
//   Propose ──► durable on a quorum ──► OnCommitted, in order, on every member
//
// A group of one is the same thing with a quorum of one: the entry is committed
// when it is durable here.
//
// The caller applies an entry when it is committed, never when it proposes it.
// A proposal that was accepted may still be dropped when leadership is lost; or
// its fate may be unknown. So proposals must be safe to repeat, and their
// preconditions are checked when they are applied.
#ifndef MILLRACE_RAFT_REPLICATED_LOG_H_
#define MILLRACE_RAFT_REPLICATED_LOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/byte_stream.h"
#include "raft/core/core.h"
#include "raft/core/membership.h"
#include "raft/core/types.h"

namespace millrace::raft {

struct CommittedEntry {
  uint64_t index = 0;  // Ascending; the log's own entries are left out.
  uint64_t term = 0;   // In which it was proposed; never decreases.
  std::string payload;
};

// What a sink has applied up to `index`, held still: writes itself to a stream
// on another thread while the sink goes on. Called once.
using FrozenState = std::function<absl::Status(ByteSink& sink)>;

// Called on a thread of the log, one call at a time, in this order:
//   OnSnapshot if there is a snapshot;
//   OnCommitted for every entry behind it that a member knew to be committed
//   when it started (in batches), with the payloads of the caller alone;
//   then OnLeading or OnFollowing, and from then on whatever happens.
// Implementations post to their own loop and return at once. A slow one holds
// up the log.
class LogSink {
 public:
  virtual ~LogSink() = default;

  virtual void OnCommitted(std::vector<CommittedEntry> entries) = 0;

  // This member leads `term`. Every entry of earlier terms that can ever be
  // committed has been handed over by OnCommitted before this call.
  virtual void OnLeading(uint64_t term) = 0;

  // This member does not lead. Proposals of terms that it led and that were not
  // handed over have an unknown fate. `leader_address` may be empty.
  virtual void OnFollowing(uint64_t term, std::string leader_address) = 0;

  // What the sink has applied is replaced by the state at `index`, which is not
  // behind it. An error of `state` or in it (it was verified before) leaves
  // nothing to go on with: the process ends.
  virtual void OnSnapshot(uint64_t index, uint64_t term,
                          std::unique_ptr<ByteSource> state) = 0;

  // The log has grown: `done` wants the state, frozen, and the index of the
  // last entry applied to it. Called later, on any thread, once.
  using SnapshotTaken = std::function<void(uint64_t index, FrozenState state)>;
  virtual void OnSnapshotWanted(SnapshotTaken done) = 0;
};

// Thread-safe.
class ReplicatedLog {
 public:
  // Stops; no call of the sink is under way or comes afterwards.
  virtual ~ReplicatedLog() = default;

  // Appends the payloads in order, all or none, and returns before they are
  // durable; OnCommitted follows. An error of the disk ends the process (a
  // failed fsync says nothing about what is on the disk, so there is nothing
  // safe to do next).
  //   kFailedPrecondition  this member does not lead `term`
  //   kResourceExhausted   too much is proposed and not yet committed, or the
  //                        disk is nearly full: try again later
  //   kInvalidArgument     a payload is longer than kPayloadBytesMax
  virtual absl::Status Propose(uint64_t term,
                               std::vector<std::string> payloads) = 0;

  // Calls `done` with OK once it is certain that this member led `term` at some
  // moment after the call, and after OnCommitted has had every entry that was
  // committed at that moment. A read that the sink serves then is linearizable
  // (ReadIndex, Ongaro's dissertation, 6.4: a round of heartbeats, no clock).
  // Else with kFailedPrecondition. On a thread of the log, once.
  //   kResourceExhausted  too many calls are waiting; on the caller's thread
  //   kUnavailable        the log is being stopped; likewise
  virtual void ConfirmLeading(uint64_t term,
                              std::function<void(absl::Status)> done) = 0;

  // ------------------------------------------------------------- the group

  struct GroupStatus {
    NodeId self = kNobody;
    uint64_t term = 0;
    NodeId leader = kNobody;  // kNobody: not known.
    uint64_t last_index = 0;
    uint64_t commit_index = 0;
    Membership membership;
    std::map<NodeId, ProgressStatus> progress;  // On the leader alone.
  };
  virtual GroupStatus status() const = 0;

  // `done` with OK once the change is applied here and a majority of the voters
  // knows, durably, that it is committed: whoever was removed may be switched
  // off then. A leader that removes itself cannot see to that; it is to hand
  // over leadership before, or to stay until another member leads. Else, once
  // the change will not be applied: as Propose, or
  //   kInvalidArgument   no voter would be left
  //   kFailedPrecondition  does not lead, or another change is under way; or a
  //                        leader that is one of two voters removes itself
  //   kUnavailable       its fate is unknown; look at status()
  // A member becomes a learner first; who makes it a voter asks before that
  // whether it has what a voter must hold.
  virtual void ChangeMembership(const MembershipChange& change,
                                std::function<void(absl::Status)> done) = 0;
  // Returns when it is begun; OnFollowing tells of its success, and nothing
  // changes for good when it fails. kNobody: to the voter that is furthest.
  virtual absl::Status TransferLeadership(NodeId to) = 0;
};

inline constexpr size_t kPayloadBytesMax = 8 << 20;

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_REPLICATED_LOG_H_
