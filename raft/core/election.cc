// Followers and candidates: when they stand for election, and how it ends.
//
//             timeout                majority would       majority voted
//  ┌────────┐ ──────► ┌─────────────┐ ──────► ┌─────────┐ ──────► ┌──────┐
//  │follower│         │pre-candidate│         │candidate│         │leader│
//  └────────┘ ◄────── └─────────────┘ ◄──────────────────         └──────┘
//     ▲        refused, or a leader    refused, or a leader          │
//     └─────────────────────────────────────────────────────────────-┘
//       a newer term; no majority answers; not a voter any more
//
// A handed-over leadership, and any election without pre-votes, goes from
// follower to candidate at once.
#include "common/status_macros.h"
#include "raft/core/core_impl.h"

namespace millrace::raft {

void Core::Impl::ResetTerm(uint64_t term) {
  if (term != term_) {
    term_ = term;
    vote_ = kNobody;
  }
  leader_ = kNobody;
  election_elapsed_ = 0;
  heartbeat_elapsed_ = 0;
  election_timeout_ =
      config_.election_ticks +
      static_cast<int>(random_->Uniform(config_.election_ticks));
  votes_.Clear();
  if (lead_.has_value()) {
    for (ReadState& read : lead_->reads.TakeFailed()) {
      reads_.push_back(std::move(read));
    }
    lead_.reset();
  }
}

void Core::Impl::BecomeFollower(uint64_t term, NodeId leader) {
  ResetTerm(term);
  role_ = Role::kFollower;
  leader_ = leader;
}

void Core::Impl::BecomePreCandidate() {
  if (config_.mutant.pre_vote_raises_term) ResetTerm(term_ + 1);
  // Neither the term nor the vote changes: nothing has happened yet.
  votes_.Clear();
  leader_ = kNobody;
  role_ = Role::kPreCandidate;
}

void Core::Impl::BecomeCandidate() {
  ResetTerm(term_ + 1);
  role_ = Role::kCandidate;
  vote_ = config_.id;
}

void Core::Impl::BecomeLeader() {
  ResetTerm(term_);
  role_ = Role::kLeader;
  leader_ = config_.id;
  lead_.emplace(config_.uncommitted_bytes_max);

  const Inflights window(config_.inflight_messages_max,
                         config_.inflight_bytes_max);
  for (const auto& [id, member] : membership_) {
    const uint64_t match = id == config_.id ? log_.durable_index() : 0;
    const auto [at, inserted] =
        lead_->progress.try_emplace(id, match, log_.last_index() + 1, window);
    if (id == config_.id) {
      at->second.BecomeReplicate();
      at->second.set_recently_active(true);
    }
  }
  // Of entries that are not applied any may be a change. To wait for all of
  // them costs less than to look.
  lead_->pending_change_index =
      config_.mutant.change_before_own_commit ? 0 : log_.last_index();
  // Entries of earlier terms are committed by one of this term (Raft paper,
  // 5.4.2 and 8), so there must be one soon.
  lead_->first_own_index = log_.last_index() + 1;
  if (!config_.mutant.no_first_entry) AppendOwn(kNormalEntry, "");
}

bool Core::Impl::IsPromotable() const {
  return IsVoter(config_.id) && !log_.snapshot_pending();
}

absl::Status Core::Impl::StandForElection(CampaignKind kind) {
  if (role_ == Role::kLeader) return absl::OkStatus();
  if (!IsPromotable()) {
    return absl::FailedPreconditionError(
        "raft: this member is no voter, or is installing a snapshot");
  }
  // The votes would be counted by a membership that is known to be old.
  if (log_.HasUnappliedMembership()) {
    return absl::FailedPreconditionError(
        "raft: a committed change of membership is not applied yet");
  }
  StartCampaign(kind);
  return absl::OkStatus();
}

void Core::Impl::StartCampaign(CampaignKind kind) {
  const bool pre_vote = kind == CampaignKind::kPreVote;
  if (pre_vote) {
    BecomePreCandidate();
  } else {
    BecomeCandidate();
  }
  for (const auto& [id, member] : membership_) {
    if (!member.voter || id == config_.id) continue;
    Message request;
    request.type = pre_vote ? MessageType::kPreVote : MessageType::kVote;
    request.to = id;
    request.term = pre_vote ? term_ + 1 : term_;
    request.prev = log_.last();
    request.hint = KnownCommitted();
    request.transfer = kind == CampaignKind::kTransfer;
    Send(std::move(request));
  }
  // A pre-vote binds nobody. The vote counts when it is durable: CountOwnVote.
  if (pre_vote || config_.mutant.campaign_on_unsynced_log) {
    RecordVote(config_.id, true);
  }
}

void Core::Impl::RecordVote(NodeId voter, bool granted) {
  votes_.Record(voter, granted);
  switch (votes_.Tally(membership_)) {
    case VoteResult::kPending:
      return;
    case VoteResult::kWon:
      if (role_ == Role::kPreCandidate) {
        StartCampaign(CampaignKind::kElection);
      } else {
        BecomeLeader();
        BroadcastAppend();
      }
      return;
    case VoteResult::kLost:
      BecomeFollower(term_, kNobody);
      return;
  }
}

EntryId Core::Impl::KnownCommitted() const {
  if (config_.mutant.silent_on_commit) return {};
  return {log_.Term(log_.commit()).value_or(0), log_.commit()};
}

// A leader may have been the only one who knew that a change of the membership
// is committed. Then some count votes by the new one and some do not, and
// between them nobody may be elected: who has the longest log does not know
// that it is a voter. So they tell each other. (With a matching entry all
// before it match, and are committed, too.)
absl::Status Core::Impl::LearnCommit(const EntryId& committed) {
  if (role_ == Role::kLeader || committed.index <= log_.commit() ||
      !log_.Matches(committed)) {
    return absl::OkStatus();
  }
  MR_RETURN_IF_ERROR(log_.CommitTo(committed.index));
  // What was asked for would be counted by a membership that is known to be
  // old.
  if (role_ != Role::kFollower && log_.HasUnappliedMembership()) {
    BecomeFollower(term_, kNobody);
  }
  return absl::OkStatus();
}

bool Core::Impl::IsVoteDurable() const {
  return durable_hard_state_.term == term_ && durable_hard_state_.vote == vote_;
}

// By then everything that the requests for votes claim is durable, too.
void Core::Impl::CountOwnVote() {
  if (role_ == Role::kCandidate && IsVoteDurable()) {
    RecordVote(config_.id, true);
  }
}

void Core::Impl::TickFollower() {
  // The next election would wait for the same disk, and make worthless what is
  // being written for this one. A candidate's time begins when it can ask.
  if (leader_ == kNobody && !IsVoteDurable()) return;
  ++election_elapsed_;
  if (election_elapsed_ < election_timeout_ || !IsPromotable()) return;
  election_elapsed_ = 0;
  StandForElection(config_.pre_vote ? CampaignKind::kPreVote
                                    : CampaignKind::kElection)
      .IgnoreError();
}

absl::Status Core::Impl::Campaign() {
  return StandForElection(config_.pre_vote ? CampaignKind::kPreVote
                                           : CampaignKind::kElection);
}

absl::Status Core::Impl::Tick() {
  ++now_;
  if (role_ == Role::kLeader) {
    TickLeader();
  } else {
    TickFollower();
  }
  return absl::OkStatus();
}

}  // namespace millrace::raft
