// The replicated log of a group of several masters: what ReplicatedLog is, and
// beside it snapshots, confirmed leadership and who the members are.
#ifndef MILLRACE_RAFT_GROUP_LOG_H_
#define MILLRACE_RAFT_GROUP_LOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "absl/status/status.h"
#include "common/byte_stream.h"
#include "raft/core/core.h"
#include "raft/core/membership.h"
#include "raft/core/types.h"
#include "raft/replicated_log.h"

namespace millrace::raft {

// What a sink has applied up to `index`, held still: writes itself to a stream
// on another thread while the sink goes on. Called once.
using FrozenState = std::function<absl::Status(ByteSink& sink)>;

// OnSnapshot comes first of all calls if there is a snapshot, then OnCommitted
// for the entries behind it that a member knows to be committed when it starts.
// OnCommitted hands over the payloads of the caller alone: `index` skips the
// log's own entries.
class GroupSink : public LogSink {
 public:
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
class GroupLog : public ReplicatedLog {
 public:
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
  //   kFailedPrecondition  does not lead, or another change is under way
  //   kUnavailable       its fate is unknown; look at status()
  // A member becomes a learner first; who makes it a voter asks before that
  // whether it has what a voter must hold.
  virtual void ChangeMembership(const MembershipChange& change,
                                std::function<void(absl::Status)> done) = 0;
  // Returns when it is begun; OnFollowing tells of its success, and nothing
  // changes for good when it fails. kNobody: to the voter that is furthest.
  virtual absl::Status TransferLeadership(NodeId to) = 0;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_GROUP_LOG_H_
