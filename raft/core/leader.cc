// A leader hears answers, commits, confirms reads, and looks after itself at
// every tick.
#include <algorithm>

#include "common/strings.h"
#include "raft/core/core_impl.h"

namespace millrace::raft {

// ---------------------------------------------------------------------- ticks

void Core::Impl::TickLeader() {
  ++heartbeat_elapsed_;
  ++election_elapsed_;
  if (election_elapsed_ >= config_.election_ticks) {
    election_elapsed_ = 0;
    if (config_.check_quorum) CheckQuorum();
    if (!lead_.has_value()) return;
    // Whoever was to take over has not: go on.
    lead_->transferee = kNobody;
  }
  HandOverIfStuck();
  if (heartbeat_elapsed_ >= config_.heartbeat_ticks) {
    heartbeat_elapsed_ = 0;
    BroadcastHeartbeat();
  }
}

void Core::Impl::CheckQuorum() {
  std::vector<NodeId> silent;
  int voters = 0;
  int active = 0;
  for (const auto& [id, member] : membership_) {
    if (!member.voter) continue;
    ++voters;
    if (lead_->progress.at(id).recently_active()) ++active;
  }
  if (TallyVotes(voters, active, voters - active) != VoteResult::kWon) {
    BecomeFollower(term_, kNobody);
    return;
  }
  for (auto& [id, progress] : lead_->progress) {
    if (id != config_.id) progress.set_recently_active(false);
  }
}

// A disk that does not come back must not hold up the group: what waits for
// this member's own log is committed by the others, but each of its own changes
// of term, and its whole state after a crash, waits for the disk. Of two voters
// the other one commits nothing without this disk either.
void Core::Impl::HandOverIfStuck() {
  if (config_.stuck_write_ticks == 0 || writes_.empty() ||
      lead_->transferee != kNobody ||
      now_ - writes_.front().tick <
          static_cast<uint64_t>(config_.stuck_write_ticks) ||
      CountVoters(membership_) <= 2) {
    return;
  }
  NodeId best = kNobody;
  uint64_t best_match = 0;
  for (const auto& [id, progress] : lead_->progress) {
    if (id == config_.id || !IsVoter(id) || !progress.recently_active()) {
      continue;
    }
    if (best == kNobody || progress.match() > best_match) {
      best = id;
      best_match = progress.match();
    }
  }
  if (best != kNobody) TransferLeadership(best).IgnoreError();
}

// -------------------------------------------------------------------- answers

absl::Status Core::Impl::HandleAppendResponse(const Message& message) {
  Progress& progress = lead_->progress.at(message.from);
  if (!message.rejected && message.prev.index > log_.last_index()) {
    return absl::InternalError(
        Av(Cat("raft: member ", message.from, " acknowledges entry ",
               message.prev.index, " in term ", term_,
               ", whose leader's log ends at ", log_.last_index())));
  }
  progress.set_recently_active(true);
  if (message.rejected) {
    HandleRejection(message, progress);
  } else {
    HandleAcknowledgement(message, progress);
  }
  return absl::OkStatus();
}

// The member says that the logs may agree up to `hint`, where it has an entry
// of hint.term. Where this log has later terms, they cannot: so at most one
// probe per term is needed. (Without a term there is nothing to skip by.)
void Core::Impl::HandleRejection(const Message& message, Progress& progress) {
  uint64_t agreement = message.hint.index;
  if (message.hint.term > 0) {
    agreement = log_.FindAgreement(message.hint).index;
  }
  if (progress.Rejected(message.prev.index, agreement)) {
    SendAppend(message.from, true);
  }
}

void Core::Impl::HandleAcknowledgement(const Message& message,
                                       Progress& progress) {
  using State = ProgressStatus::State;
  const bool news = progress.Acknowledged(message.prev.index);
  // No news, but a sign that a member that was probed is back where it was. (In
  // answer to a probe farther on it is an old one, or says nothing but a term.)
  const bool found = progress.state() == State::kProbe &&
                     progress.match() == message.prev.index &&
                     progress.next() == progress.match() + 1;
  if (!news && !found) return;

  switch (progress.state()) {
    case State::kProbe:
      progress.BecomeReplicate();
      break;
    case State::kSnapshot:
      // Whatever snapshot it took, and from wherever: what counts is that the
      // log goes on from there.
      if (progress.match() + 1 >= log_.first_index()) {
        progress.BecomeProbe();
        progress.BecomeReplicate();
      }
      break;
    case State::kReplicate:
      progress.FreeInflightsUpTo(message.prev.index);
      break;
  }
  if (MaybeCommit()) {
    BroadcastAppend();
  } else if (progress.CanRaiseCommit(log_.commit())) {
    SendAppend(message.from, true);
  }
  // The window may have opened for several.
  while (SendAppend(message.from, false)) {
  }
  if (message.from == lead_->transferee &&
      progress.match() == log_.last_index()) {
    Message timeout_now;
    timeout_now.type = MessageType::kTimeoutNow;
    timeout_now.to = message.from;
    Send(std::move(timeout_now));
  }
}

void Core::Impl::HandleHeartbeatResponse(const Message& message) {
  Progress& progress = lead_->progress.at(message.from);
  progress.set_recently_active(true);
  progress.ResumeAppends();
  // Be it an empty one: a full window may have been lost on the way, and a
  // member that is probed has to show where it is.
  if (progress.match() < log_.last_index() ||
      progress.state() == ProgressStatus::State::kProbe) {
    SendAppend(message.from, true);
  }
  if (message.read_context == 0) return;
  lead_->reads.Acknowledge(message.from, message.read_context);
  AnswerReads();
}

// --------------------------------------------------------------------- commit

bool Core::Impl::MaybeCommit() {
  std::vector<uint64_t> match;
  for (const auto& [id, member] : membership_) {
    if (member.voter) match.push_back(lead_->progress.at(id).match());
  }
  const uint64_t index = MajorityIndex(std::move(match));
  // Entries of earlier terms are not committed by counting (Raft paper, figure
  // 8); one of this term commits them along with it.
  if (index <= log_.commit() || (log_.Term(index) != term_ &&
                                 !config_.mutant.commit_old_term_by_counting)) {
    return false;
  }
  // A majority has it, so this log does.
  log_.CommitTo(index).IgnoreError();
  lead_->quota.CommittedUpTo(index);
  if (CommittedInOwnTerm() && lead_->reads.Release(index)) {
    lead_->read_round_due = true;
    AnswerReads();
  }
  return true;
}

void Core::Impl::CountOwnLog() {
  const auto own = lead_->progress.find(config_.id);
  if (own == lead_->progress.end()) return;
  own->second.Acknowledged(config_.mutant.count_own_unsynced
                               ? log_.last_index()
                               : log_.durable_index());
  if (MaybeCommit()) BroadcastAppend();
}

bool Core::Impl::CommittedInOwnTerm() const {
  return log_.commit() >= lead_->first_own_index;
}

void Core::Impl::AnswerReads() {
  for (ReadState& read : lead_->reads.TakeConfirmed(membership_, config_.id)) {
    reads_.push_back(std::move(read));
  }
}

// ----------------------------------------------------------------- membership

void Core::Impl::SwitchMembership(Membership membership) {
  membership_ = std::move(membership);
  if (!lead_.has_value()) return;
  FollowMembership(
      membership_, log_.last_index(),
      Inflights(config_.inflight_messages_max, config_.inflight_bytes_max),
      &lead_->progress);
  if (!IsVoter(config_.id)) {
    if (!config_.habits.lead_after_removal) BecomeFollower(term_, kNobody);
    return;
  }
  if (lead_->transferee != kNobody && !IsVoter(lead_->transferee)) {
    lead_->transferee = kNobody;
  }
  // Of fewer voters the majority may be there already.
  if (MaybeCommit()) {
    BroadcastAppend();
  } else {
    for (const auto& [id, progress] : lead_->progress) {
      if (id != config_.id) SendAppend(id, false);
    }
  }
  AnswerReads();
}

}  // namespace millrace::raft
