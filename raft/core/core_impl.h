// The state of a Core, and what it does, sorted by the part that it plays:
//
//   step.cc        messages come in: terms, votes, who gets what
//   election.cc    follower and candidates: timeouts, campaigns, votes won
//   follower.cc    takes a leader's entries, heartbeats, snapshots
//   leader.cc      answers come in, commits, heartbeats, its duties per tick
//   replication.cc what a leader sends to whom
//   requests.cc    what callers ask: entries, changes, reads, a transfer
//   core.cc        what goes out; what comes back from disk and apply
#ifndef MILLRACE_RAFT_CORE_CORE_IMPL_H_
#define MILLRACE_RAFT_CORE_CORE_IMPL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/random.h"
#include "raft/core/core.h"
#include "raft/core/progress.h"
#include "raft/core/proposal_quota.h"
#include "raft/core/raft_log.h"
#include "raft/core/read_queue.h"
#include "raft/core/votes.h"

namespace millrace::raft {

// What only a leader has. Ends with its leadership.
struct Leadership {
  explicit Leadership(uint64_t uncommitted_bytes_max)
      : quota(uncommitted_bytes_max) {}

  // Invariant: of the members of the membership, itself included, and of nobody
  // else. (Answers of others are not looked at: IsSound.)
  std::map<NodeId, Progress> progress;
  ReadQueue reads;
  bool read_round_due = false;  // Reads came since the last heartbeats left.
  ProposalQuota quota;
  NodeId transferee = kNobody;
  // The first entry of its own term: once it is committed, the leader knows all
  // that is; once it is applied, so does what applies the entries.
  uint64_t first_own_index = 0;
  // No change of membership behind it is in the log; those up to here may be.
  uint64_t pending_change_index = 0;
};

class Core::Impl {
 public:
  Impl(const CoreConfig& config, const HardState& hard_state,
       const Membership& membership, const LogView& view, uint64_t commit);

  // As in Core. After each of them, log_status() must be looked at.
  const absl::Status& log_status() const { return log_.status(); }
  absl::Status Step(Message message);
  absl::Status Tick();
  absl::Status InstallSnapshot(const Message& message);
  void SnapshotSent(NodeId node, bool ok);
  void ReportUnreachable(NodeId node);
  absl::StatusOr<EntryId> Propose(std::vector<std::string> payloads);
  absl::Status CheckTakesProposals() const;
  absl::StatusOr<EntryId> ProposeMembership(const MembershipChange& change);
  absl::Status ReadIndex(uint64_t read_id);
  absl::Status TransferLeadership(NodeId to);
  absl::Status Campaign();
  bool HasReady() const;
  Ready TakeReady();
  absl::Status LogDurable(uint64_t write_id);
  absl::Status ApplyMembership(const MembershipChange& change);
  absl::Status Applied(uint64_t index) { return log_.AppliedTo(index); }
  CoreStatus GetStatus() const;
  void SetElectionTimeout(int ticks) { election_timeout_ = ticks; }

 private:
  enum class CampaignKind { kPreVote, kElection, kTransfer };

  // A write that is not durable yet.
  struct Write {
    uint64_t id = 0;
    uint64_t tick = 0;  // When it was handed out.
    HardState hard_state;
  };

  // ------------------------------------------------------------------ step.cc
  // Whether a message makes sense on its face.
  bool IsSound(const Message& message) const;
  // Compares its term with ours, which may make a follower of us. False: that
  // was all there was to do.
  bool TakeTerm(const Message& message);
  void AnswerOldTerm(const Message& message);
  bool HeardFromLeaderLately() const;
  void AnswerVoteRequest(const Message& message);
  absl::Status StepInTerm(Message& message);

  // -------------------------------------------------------------- election.cc
  void ResetTerm(uint64_t term);
  void BecomeFollower(uint64_t term, NodeId leader);
  void BecomePreCandidate();
  void BecomeCandidate();
  void BecomeLeader();
  bool IsPromotable() const;
  // Campaigns, unless it may not.
  absl::Status StandForElection(CampaignKind kind);
  void StartCampaign(CampaignKind kind);
  void RecordVote(NodeId voter, bool granted);
  void CountOwnVote();
  // Term and vote as they are now, whether it is for anybody or not.
  bool IsVoteDurable() const;
  // {}: nothing.
  EntryId KnownCommitted() const;
  absl::Status LearnCommit(const EntryId& committed);
  void TickFollower();

  // -------------------------------------------------------------- follower.cc
  absl::Status HandleAppend(Message& message);
  absl::Status HandleHeartbeat(const Message& message);
  absl::Status HandleSnapshot(const Message& message);
  absl::Status Restore(const SnapshotMeta& snapshot, bool* restored);

  // ---------------------------------------------------------------- leader.cc
  void TickLeader();
  void CheckQuorum();
  void HandOverIfStuck();
  absl::Status HandleAppendResponse(const Message& message);
  void HandleRejection(const Message& message, Progress& progress);
  void HandleAcknowledgement(const Message& message, Progress& progress);
  void HandleHeartbeatResponse(const Message& message);
  // True: the commit index rose.
  bool MaybeCommit();
  void CountOwnLog();
  bool CommittedInOwnTerm() const;
  void AnswerReads();
  void SwitchMembership(Membership membership);

  // ----------------------------------------------------------- replication.cc
  // True: something was sent.
  bool SendAppend(NodeId to, bool even_if_empty);
  bool SendSnapshot(NodeId to, Progress& progress);
  void SendHeartbeat(NodeId to);
  void BroadcastAppend();
  void BroadcastHeartbeat();
  void AppendOwn(uint8_t kind, std::string payload);

  // ------------------------------------------------------------------ core.cc
  // Fills in sender and term, and lets it leave now or with the next write.
  void Send(Message message);
  bool WaitsForWrite(const Message& message) const;
  HardState hard_state() const { return {term_, vote_, log_.commit()}; }
  SoftState soft_state() const;
  bool IsVoter(NodeId node) const;

  const CoreConfig config_;
  const std::unique_ptr<Random> random_;

  uint64_t term_;
  NodeId vote_;
  RaftLog log_;
  Membership membership_;

  Role role_ = Role::kFollower;
  NodeId leader_ = kNobody;
  Votes votes_;
  std::optional<Leadership> lead_;  // Has a value exactly in Role::kLeader.

  uint64_t now_ = 0;  // In ticks.
  // Followers and candidates: since the leader was heard, a vote given or a
  // campaign begun. Leaders: since the last check of the quorum, or since a
  // transfer began.
  int election_elapsed_ = 0;
  int heartbeat_elapsed_ = 0;
  int election_timeout_ = 0;

  // To go out with the next Ready.
  std::vector<Message> messages_;
  std::vector<Message> messages_after_write_;
  std::vector<ReadState> reads_;
  HardState handed_out_hard_state_;
  SoftState handed_out_soft_state_;

  uint64_t last_write_id_ = 0;
  std::deque<Write> writes_;
  HardState durable_hard_state_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_CORE_IMPL_H_
