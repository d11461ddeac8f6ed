// Raft as a state machine without clock, threads, files and sockets: messages
// and ticks in, messages and writes out. The same calls on the same state
// always give the same answers. After the design of etcd-raft's RawNode in its
// asynchronous mode; the algorithm is Ongaro's dissertation, with pre-vote
// (9.6) and check-quorum, leadership transfer (3.10), learners, one change of
// membership at a time (4.1) and ReadIndex (6.4).
//
//            Step(message) Tick() Propose() ReadIndex() ...
//                              │
//                              ▼
//   LogDurable(id) ──────►┌─────────┐──► Ready.messages   send at once
//   Applied(index) ──────►│  Core   │──► Ready.write      append, sync, send
//                         └─────────┘                     its messages, then
//                              │                          LogDurable(id)
//                              └───────► Ready.committed  apply, Applied()
//
// What leaves a member rests on what is durable: votes, acknowledgements and
// terms are in LogWrite::messages and wait for the sync; the leader counts its
// own log only after LogDurable. Writes are carried out in the order in which
// they were handed out, so several may be on their way.
#ifndef MILLRACE_RAFT_CORE_CORE_H_
#define MILLRACE_RAFT_CORE_CORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/core/membership.h"
#include "raft/core/message.h"
#include "raft/core/types.h"

namespace millrace::raft {

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };

// What is written and durable, as the core may read it at any time: everything
// up to the last LogDurable, or more. Thread-compatible; called by the core
// inside its own calls only. Errors end the process in production (a log that
// cannot be read is no log); the core hands them on from Step and TakeReady.
class LogView {
 public:
  virtual ~LogView() = default;

  virtual uint64_t first_index() const = 0;
  virtual uint64_t last_index() const = 0;
  // Of an entry, or of the one before the first. kOutOfRange: not held.
  virtual absl::StatusOr<uint64_t> Term(uint64_t index) const = 0;
  // Entries [first, end), or fewer from the beginning: at least one, and no
  // more than `bytes_max` of payload together.
  virtual absl::StatusOr<std::vector<LogEntry>> Read(
      uint64_t first, uint64_t end, uint64_t bytes_max) const = 0;
  // The newest durable snapshot; index 0 when there is none.
  virtual SnapshotMeta Snapshot() const = 0;
};

// Rules to leave out, one at a time, so that tests can show that they would
// notice (reference list in docs/testing.md). All false but in such tests.
struct CoreMutant {
  bool commit_old_term_by_counting = false;
  bool no_first_entry = false;  // A new leader proposes no no-op.
  bool vote_before_durable = false;
  bool campaign_on_unsynced_log = false;
  bool acknowledge_before_durable = false;
  bool count_own_unsynced = false;  // Leader counts what it has not synced.
  bool truncate_on_late_append = false;  // Also entries that match.
  bool acknowledge_in_new_term = false;  // Old acks count after a new term.
  bool accept_aba_ack = false;           // Ignores accepted_term.
  bool commit_not_capped_in_heartbeat = false;
  bool pre_vote_raises_term = false;
  bool read_before_own_commit = false;
  bool change_before_own_commit = false;  // Membership, likewise.
  bool two_pending_changes = false;
  bool snapshot_over_newer_log = false;
  bool change_over_snapshot = false;  // An older one, while it is installed.
  bool silent_on_commit = false;      // Votes say nothing of what is committed.
};

// What etcd-raft does and this core does not, although it would break no
// promise: so that its transcripts can be replayed. All false but there.
struct CoreHabits {
  bool lead_after_removal = false;
  bool answer_before_term_durable = false;  // Heartbeats, that is.
};

struct CoreConfig {
  NodeId id = kNobody;
  // A follower that heard no leader for `election_ticks` to twice as many
  // (drawn anew each time) stands for election. Must be more than
  // heartbeat_ticks; ten times is usual: less makes leaders fall over a short
  // pause, more makes a failover take longer.
  int election_ticks = 10;
  int heartbeat_ticks = 1;
  // Of payload in one kAppend; one entry is sent whatever its size.
  uint64_t append_bytes_max = uint64_t{1} << 20;
  // kAppends under way to one member, in number and payload.
  int inflight_messages_max = 256;
  uint64_t inflight_bytes_max = uint64_t{8} << 20;
  // Payload that a leader has proposed and not committed; beyond it Propose
  // says kResourceExhausted. One proposal is taken whatever its size.
  uint64_t uncommitted_bytes_max = uint64_t{64} << 20;
  // Of payload in Ready::committed that Applied() has not reached. While it is
  // less, one more entry is handed out whatever its size.
  uint64_t committed_bytes_max = uint64_t{8} << 20;
  // Reads that wait for an answer; beyond it ReadIndex says kResourceExhausted.
  int reads_max = 65536;
  // Writes that are not durable yet; beyond it what would have to wait for one
  // more is not sent at all, which is a message that is lost: a disk that is
  // full, or hangs, would otherwise be asked for answers without end. More than
  // inflight_messages_max.
  size_t writes_waiting_max = 1024;
  // A leader whose write is not durable after so many ticks hands leadership
  // over, if it can. 0: never.
  int stuck_write_ticks = 20;
  // Of the entries in Ready::committed: what this member has applied before it
  // was started (a snapshot, or nothing).
  uint64_t applied = 0;
  bool pre_vote = true;
  bool check_quorum = true;
  uint64_t seed = 1;  // For election timeouts.
  CoreMutant mutant;
  CoreHabits habits;
};

// One step of the log. To be carried out in this order, as LogAppend says.
struct LogWrite {
  uint64_t id = 0;  // For LogDurable; 1, 2, ...
  // The durable snapshot that the log begins anew behind. Its bytes are on the
  // disk already (see Core::InstallSnapshot). Before LogDurable of this write
  // the caller's state has to be replaced by it: LogDurable stands for
  // Applied(snapshot->last.index), and entries behind it follow.
  std::optional<SnapshotMeta> snapshot;
  std::optional<uint64_t> truncate_from;
  std::vector<LogEntry> entries;
  std::optional<HardState> hard_state;
  // Whether `messages` and LogDurable must wait for a sync. A new commit index
  // alone need not.
  bool must_sync = false;
  // To be sent once all of the above is durable, and every write before it:
  // also of a write that has nothing else, or need not be synced.
  std::vector<Message> messages;
};

struct ReadState {
  uint64_t id = 0;  // Of ReadIndex.
  // The read sees every write acknowledged before it was asked for once entries
  // up to here are applied. nullopt: leadership was lost, ask elsewhere.
  std::optional<uint64_t> index;
};

struct SoftState {
  Role role = Role::kFollower;
  NodeId leader = kNobody;
  uint64_t term = 0;
  // This member leads and the first entry of its own term is applied: what it
  // knows is all that was ever committed.
  bool leading = false;
  friend bool operator==(const SoftState&, const SoftState&) = default;
};

struct Ready {
  std::vector<Message> messages;
  std::optional<LogWrite> write;
  std::vector<LogEntry> committed;
  std::vector<ReadState> reads;
  std::optional<SoftState> soft_state;  // When it changed.
};

// How far a member is, as its leader sees it.
struct ProgressStatus {
  enum class State : uint8_t { kProbe, kReplicate, kSnapshot };
  State state = State::kProbe;
  uint64_t match = 0;
  uint64_t next = 0;
  bool paused = false;
  bool recently_active = false;
  bool learner = false;
  uint64_t pending_snapshot = 0;
  int inflight = 0;
  bool inflight_full = false;
};

struct CoreStatus {
  NodeId id = kNobody;
  HardState hard_state;
  SoftState soft_state;
  uint64_t applied = 0;
  uint64_t last_index = 0;
  NodeId transferee = kNobody;
  Membership membership;
  std::map<NodeId, ProgressStatus> progress;  // Empty unless it leads.
};

// Thread-compatible; used by whichever thread has the node's turn.
class Core {
 public:
  // Begins as a follower with what `log` and `hard_state` hold. `membership` is
  // that of `config.applied`. (Of a new member it is empty. The entries then
  // have to begin with changes that add the group's founders, or to come behind
  // a snapshot.) `log` outlives the core. kInvalidArgument: an
  // option is out of range, or the parts contradict one another. Else an error
  // of `log`.
  static absl::StatusOr<std::unique_ptr<Core>> Create(
      const CoreConfig& config, const HardState& hard_state,
      const Membership& membership, const LogView& log);
  ~Core();

  // From a peer. Messages of unknown or former members are looked at as Raft
  // demands; those that make no sense are dropped. An error is the LogView's,
  // or kInternal for what only a bug or a foreign log explains; the process
  // ends. kSnapshot must come through InstallSnapshot instead.
  absl::Status Step(Message message);
  absl::Status Tick();

  // A leader's kSnapshot whose bytes have been received, verified and made
  // durable. Whether the log begins anew behind it says the next Ready's write.
  absl::Status InstallSnapshot(const Message& message);
  // The transfer to `node` ended; it is probed again behind or before it.
  void SnapshotSent(NodeId node, bool ok);
  // The transport lost messages to `node`.
  void ReportUnreachable(NodeId node);

  // Appends the payloads, all or none, and returns the place of the last.
  //   kFailedPrecondition  does not lead, hands leadership over, or has left
  //   kResourceExhausted   see uncommitted_bytes_max
  absl::StatusOr<EntryId> Propose(std::vector<std::string> payloads);
  // Whether that would not be refused with kFailedPrecondition.
  bool TakesProposals() const;
  //   kFailedPrecondition  as Propose; or another change is not yet applied, or
  //                        no entry of this term is committed yet
  //   kInvalidArgument     see ApplyChange
  absl::StatusOr<EntryId> ProposeMembership(const MembershipChange& change);
  // Answered in Ready::reads, in any order. kFailedPrecondition: does not lead.
  absl::Status ReadIndex(uint64_t read_id);
  // kInvalidArgument: no voter of that name. Proposals are refused until it is
  // done or an election timeout has passed.
  absl::Status TransferLeadership(NodeId to);
  // Stands for election now, as if the leader had been silent.
  absl::Status Campaign();

  bool HasReady() const;
  // All of it is the caller's to carry out. `committed` goes on while earlier
  // ones are being applied.
  absl::StatusOr<Ready> TakeReady();

  // Everything of the writes up to `write_id` is durable. What has been
  // overwritten since by another term's leader counts for nothing.
  absl::Status LogDurable(uint64_t write_id);
  // When a kMembershipEntry is applied, before Applied() of it. One from before
  // a snapshot that is being installed changes nothing any more.
  absl::Status ApplyMembership(const MembershipChange& change);
  // Entries up to `index` are applied.
  absl::Status Applied(uint64_t index);

  CoreStatus GetStatus() const;
  // For tests that must be the same in every run of a scenario.
  void SetElectionTimeout(int ticks);

 private:
  class Impl;
  explicit Core(std::unique_ptr<Impl> impl);
  template <typename T>
  T Checked(T result) const;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_CORE_H_
