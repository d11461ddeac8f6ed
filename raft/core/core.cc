// What goes out of a core, and what comes back from the disk and from whoever
// applies the entries.
#include "raft/core/core.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/core/core_impl.h"

namespace millrace::raft {

Core::Impl::Impl(const CoreConfig& config, const HardState& hard_state,
                 const Membership& membership, const LogView& view,
                 uint64_t commit)
    : config_(config),
      // Members with one seed must not time out together.
      random_(Random::Seeded(config.seed ^ config.id)),
      term_(hard_state.term),
      vote_(hard_state.vote),
      log_(view, commit, config.applied, config.committed_bytes_max,
           config.mutant.accept_aba_ack),
      membership_(membership),
      durable_hard_state_(hard_state) {
  BecomeFollower(term_, kNobody);
  handed_out_hard_state_ = this->hard_state();
  handed_out_soft_state_ = soft_state();
}

// --------------------------------------------------------------------- outward

// A vote and an acknowledgement bind this member, a request for votes speaks of
// its term and its log: none of them may be forgotten. Of the others the term
// alone must not be.
bool Core::Impl::WaitsForWrite(const Message& message) const {
  switch (message.type) {
    case MessageType::kAppendResponse:
      return !config_.mutant.acknowledge_before_durable;
    case MessageType::kVoteResponse:
      return !config_.mutant.vote_before_durable;
    case MessageType::kPreVoteResponse:
      return true;
    case MessageType::kVote:
      return !config_.mutant.campaign_on_unsynced_log;
    default:
      return durable_hard_state_.term < term_ &&
             !config_.habits.answer_before_term_durable;
  }
}

void Core::Impl::Send(Message message) {
  message.from = config_.id;
  if (message.term == 0) message.term = term_;
  if (WaitsForWrite(message)) {
    if (writes_.size() >= config_.writes_waiting_max) return;
    messages_after_write_.push_back(std::move(message));
  } else {
    messages_.push_back(std::move(message));
  }
}

SoftState Core::Impl::soft_state() const {
  SoftState state;
  state.role = role_;
  state.leader = leader_;
  state.term = term_;
  state.leading =
      lead_.has_value() &&
      (log_.applied() >= lead_->first_own_index ||
       config_.mutant.no_first_entry || config_.mutant.read_before_own_commit);
  return state;
}

bool Core::Impl::IsVoter(NodeId node) const {
  const auto member = membership_.find(node);
  return member != membership_.end() && member->second.voter;
}

bool Core::Impl::HasReady() const {
  return !messages_.empty() || !messages_after_write_.empty() ||
         !reads_.empty() || log_.HasUnwritten() || log_.HasCommitted() ||
         (lead_.has_value() && lead_->read_round_due) ||
         hard_state() != handed_out_hard_state_ ||
         soft_state() != handed_out_soft_state_;
}

Ready Core::Impl::TakeReady() {
  Ready ready;
  // One round for all reads that came since the last Ready.
  if (lead_.has_value() && lead_->read_round_due) BroadcastHeartbeat();
  ready.messages = std::exchange(messages_, {});
  const HardState hard = hard_state();
  if (log_.HasUnwritten() || !messages_after_write_.empty() ||
      hard != handed_out_hard_state_) {
    LogWrite& write = ready.write.emplace();
    write.id = ++last_write_id_;
    log_.HandOut(&write);
    if (hard != handed_out_hard_state_) write.hard_state = hard;
    write.must_sync = write.snapshot.has_value() || !write.entries.empty() ||
                      write.truncate_from.has_value() ||
                      hard.term != handed_out_hard_state_.term ||
                      hard.vote != handed_out_hard_state_.vote;
    write.messages = std::exchange(messages_after_write_, {});
    writes_.push_back({write.id, now_, hard});
    handed_out_hard_state_ = hard;
  }
  ready.committed = log_.TakeCommitted();
  ready.reads = std::exchange(reads_, {});
  const SoftState soft = soft_state();
  if (soft != handed_out_soft_state_) {
    ready.soft_state = handed_out_soft_state_ = soft;
  }
  return ready;
}

absl::Status Core::Impl::LogDurable(uint64_t write_id) {
  if (write_id > last_write_id_) {
    return absl::InternalError(
        Av(Cat("raft: write ", write_id, " is said to be durable, but only ",
               last_write_id_, " were handed out")));
  }
  while (!writes_.empty() && writes_.front().id <= write_id) {
    durable_hard_state_ = writes_.front().hard_state;
    writes_.pop_front();
  }
  log_.Durable(write_id);
  CountOwnVote();
  if (lead_.has_value()) CountOwnLog();
  return absl::OkStatus();
}

CoreStatus Core::Impl::GetStatus() const {
  CoreStatus status;
  status.id = config_.id;
  status.hard_state = hard_state();
  status.soft_state = soft_state();
  status.applied = log_.applied();
  status.last_index = log_.last_index();
  status.membership = membership_;
  if (!lead_.has_value()) return status;
  status.transferee = lead_->transferee;
  for (const auto& [id, progress] : lead_->progress) {
    ProgressStatus of_member = progress.Status();
    of_member.learner = !IsVoter(id);
    status.progress.emplace(id, of_member);
  }
  return status;
}

// ----------------------------------------------------------------- the facade

namespace {

absl::Status CheckConfig(const CoreConfig& config) {
  if (config.id == kNobody) {
    return absl::InvalidArgumentError("raft: a member needs an id");
  }
  if (config.heartbeat_ticks < 1 ||
      config.election_ticks <= config.heartbeat_ticks) {
    return absl::InvalidArgumentError(
        Av(Cat("raft: election_ticks (", config.election_ticks,
               ") must be more than heartbeat_ticks (", config.heartbeat_ticks,
               "), and that at least 1")));
  }
  if (config.inflight_messages_max < 1 || config.inflight_bytes_max < 1 ||
      config.committed_bytes_max < 1 || config.reads_max < 1 ||
      config.stuck_write_ticks < 0) {
    return absl::InvalidArgumentError(
        "raft: inflight_messages_max, inflight_bytes_max, committed_bytes_max "
        "and reads_max must be at least 1, stuck_write_ticks at least 0");
  }
  return absl::OkStatus();
}

// The commit index that the log itself gives away. A leader appends a change of
// membership when it has applied the one before, so of several changes all but
// the last are committed. It matters: a crash may keep the entries of a write
// and lose the hard state that came with them, and a member that counts votes
// by a membership two changes old could be elected by a majority that does not
// meet the one that commits now.
absl::StatusOr<uint64_t> ImpliedCommit(const LogView& log, uint64_t commit,
                                       uint64_t bytes_max) {
  uint64_t last_change = 0;
  for (uint64_t next = commit + 1; next <= log.last_index();) {
    MR_ASSIGN_OR_RETURN(const std::vector<LogEntry> entries,
                        log.Read(next, log.last_index() + 1, bytes_max));
    for (const LogEntry& entry : entries) {
      if (entry.kind != kMembershipEntry) continue;
      commit = std::max(commit, last_change);
      last_change = entry.index;
    }
    next += entries.size();
  }
  return commit;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Core>> Core::Create(const CoreConfig& config,
                                                   const HardState& hard_state,
                                                   const Membership& membership,
                                                   const LogView& log) {
  MR_RETURN_IF_ERROR(CheckConfig(config));
  const uint64_t base = log.first_index() - 1;
  const uint64_t last = log.last_index();
  if (hard_state.commit > last || config.applied > last ||
      config.applied < base) {
    return absl::InvalidArgumentError(
        Av(Cat("raft: the log has entries ", base + 1, " to ", last,
               ", of which ", hard_state.commit, " are said to be committed",
               " and ", config.applied, " applied")));
  }
  // What is applied, or in a snapshot, is committed, whatever the last hard
  // state that reached the disk knew.
  MR_ASSIGN_OR_RETURN(
      const uint64_t commit,
      ImpliedCommit(log, std::max(hard_state.commit, config.applied),
                    config.committed_bytes_max));
  return std::unique_ptr<Core>(new Core(
      std::make_unique<Impl>(config, hard_state, membership, log, commit)));
}

Core::Core(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Core::~Core() = default;

// An answer that rests on a log that could not be read does not leave.
template <typename T>
T Core::Checked(T result) const {
  if (result.ok() && !impl_->log_status().ok()) return impl_->log_status();
  return result;
}

absl::Status Core::Step(Message message) {
  return Checked(impl_->Step(std::move(message)));
}
absl::Status Core::Tick() { return Checked(impl_->Tick()); }
absl::Status Core::InstallSnapshot(const Message& message) {
  return Checked(impl_->InstallSnapshot(message));
}
void Core::SnapshotSent(NodeId node, bool ok) { impl_->SnapshotSent(node, ok); }
void Core::ReportUnreachable(NodeId node) { impl_->ReportUnreachable(node); }
absl::StatusOr<EntryId> Core::Propose(std::vector<std::string> payloads) {
  return Checked(impl_->Propose(std::move(payloads)));
}
bool Core::TakesProposals() const { return impl_->CheckTakesProposals().ok(); }
absl::StatusOr<EntryId> Core::ProposeMembership(
    const MembershipChange& change) {
  return Checked(impl_->ProposeMembership(change));
}
absl::Status Core::ReadIndex(uint64_t read_id) {
  return Checked(impl_->ReadIndex(read_id));
}
absl::Status Core::TransferLeadership(NodeId to) {
  return Checked(impl_->TransferLeadership(to));
}
absl::Status Core::Campaign() { return Checked(impl_->Campaign()); }
bool Core::HasReady() const { return impl_->HasReady(); }
absl::StatusOr<Ready> Core::TakeReady() {
  return Checked(absl::StatusOr<Ready>(impl_->TakeReady()));
}
absl::Status Core::LogDurable(uint64_t write_id) {
  return Checked(impl_->LogDurable(write_id));
}
absl::Status Core::ApplyMembership(const MembershipChange& change) {
  return Checked(impl_->ApplyMembership(change));
}
absl::Status Core::Applied(uint64_t index) {
  return Checked(impl_->Applied(index));
}
CoreStatus Core::GetStatus() const { return impl_->GetStatus(); }
void Core::SetElectionTimeout(int ticks) { impl_->SetElectionTimeout(ticks); }

}  // namespace millrace::raft
