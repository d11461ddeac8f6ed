// Messages come in: what their terms mean, who votes for whom, and which part
// of a member they concern.
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/core/core_impl.h"

namespace millrace::raft {
namespace {

bool IsResponse(MessageType type) {
  return type == MessageType::kAppendResponse ||
         type == MessageType::kPreVoteResponse ||
         type == MessageType::kVoteResponse ||
         type == MessageType::kHeartbeatResponse;
}

bool IsFromLeader(MessageType type) {
  return type == MessageType::kAppend || type == MessageType::kHeartbeat ||
         type == MessageType::kSnapshot;
}

// Entries follow one another and `prev`, and none is newer than the leader.
bool AreConsecutive(const Message& message) {
  EntryId last = message.prev;
  for (const LogEntry& entry : message.entries) {
    if (entry.index != last.index + 1 || entry.term < last.term) return false;
    last = {entry.term, entry.index};
  }
  return last.term <= message.term;
}

}  // namespace

bool Core::Impl::IsSound(const Message& message) const {
  if (message.from == kNobody || message.from == config_.id ||
      message.to != config_.id || message.term == 0) {
    return false;
  }
  // An answer of who is not asked. Requests may come from anybody: who has not
  // applied a change yet does not know all members.
  if (IsResponse(message.type) && !membership_.contains(message.from)) {
    return false;
  }
  if (message.type == MessageType::kSnapshot) {
    return message.snapshot.has_value() && message.snapshot->last.index > 0;
  }
  return message.type != MessageType::kAppend || AreConsecutive(message);
}

absl::Status Core::Impl::Step(Message message) {
  if (message.type == MessageType::kSnapshot || !IsSound(message) ||
      !TakeTerm(message)) {
    return absl::OkStatus();
  }
  return StepInTerm(message);
}

absl::Status Core::Impl::InstallSnapshot(const Message& message) {
  if (message.type != MessageType::kSnapshot || !IsSound(message) ||
      !TakeTerm(message)) {
    return absl::OkStatus();
  }
  Message copy = message;
  return StepInTerm(copy);
}

// Within it nobody is voted for: a member that was cut off, or removed, does
// not bring down a leader that works (Ongaro's dissertation, 4.2.3).
bool Core::Impl::HeardFromLeaderLately() const {
  return config_.check_quorum && leader_ != kNobody &&
         election_elapsed_ < config_.election_ticks;
}

bool Core::Impl::TakeTerm(const Message& message) {
  const bool vote_request = message.type == MessageType::kVote ||
                            message.type == MessageType::kPreVote;
  if (message.term > term_) {
    if (vote_request && !message.transfer && HeardFromLeaderLately()) {
      return false;
    }
    // Asking whether one would vote starts no term; neither does a yes to it,
    // which carries the term of the question.
    if (message.type == MessageType::kPreVote &&
        !config_.mutant.pre_vote_raises_term) {
      return true;
    }
    if (message.type == MessageType::kPreVoteResponse && !message.rejected) {
      return true;
    }
    BecomeFollower(message.term,
                   IsFromLeader(message.type) ? message.from : kNobody);
    return true;
  }
  if (message.term < term_) {
    AnswerOldTerm(message);
    return config_.mutant.acknowledge_in_new_term &&
           message.type == MessageType::kAppendResponse && !message.rejected;
  }
  return true;
}

void Core::Impl::AnswerOldTerm(const Message& message) {
  Message answer;
  answer.to = message.from;
  if (message.type == MessageType::kPreVote) {
    // It would wait for ever, were its term never raised.
    answer.type = MessageType::kPreVoteResponse;
    answer.rejected = true;
    answer.hint = KnownCommitted();
    Send(std::move(answer));
  } else if ((message.type == MessageType::kAppend ||
              message.type == MessageType::kHeartbeat) &&
             (config_.check_quorum || config_.pre_vote)) {
    // Where votes are not given while a leader is heard, this member may be
    // ahead in its term and neither follow the leader nor ever replace it. The
    // leader steps down when it learns of the term, and all meet in a new one.
    // The answer acknowledges nothing.
    answer.type = MessageType::kAppendResponse;
    Send(std::move(answer));
  }
}

void Core::Impl::AnswerVoteRequest(const Message& message) {
  const bool pre_vote = message.type == MessageType::kPreVote;
  const bool may_vote = vote_ == message.from ||
                        (vote_ == kNobody && leader_ == kNobody) ||
                        (pre_vote && message.term > term_);
  // Learners vote as well: this member may be a voter already and not know it,
  // and its vote be needed to elect the one who can tell it.
  Message answer;
  answer.to = message.from;
  answer.type =
      pre_vote ? MessageType::kPreVoteResponse : MessageType::kVoteResponse;
  if (!may_vote || !log_.IsUpToDate(message.prev)) {
    answer.rejected = true;
    answer.hint = KnownCommitted();
    Send(std::move(answer));
    return;
  }
  // The term of the question: of a pre-vote it is not ours, and an answer in an
  // old term would not be looked at.
  answer.term = message.term;
  if (!pre_vote) {
    election_elapsed_ = 0;
    vote_ = message.from;
  }
  Send(std::move(answer));
}

absl::Status Core::Impl::StepInTerm(Message& message) {
  if (IsFromLeader(message.type)) {
    if (leader_ != kNobody && leader_ != message.from) {
      return absl::InternalError(
          Av(Cat("raft: members ", leader_, " and ", message.from,
                 " both lead term ", message.term)));
    }
    if (role_ != Role::kFollower) BecomeFollower(message.term, message.from);
    leader_ = message.from;
    election_elapsed_ = 0;
  }
  switch (message.type) {
    case MessageType::kAppend:
      return HandleAppend(message);
    case MessageType::kHeartbeat:
      return HandleHeartbeat(message);
    case MessageType::kSnapshot:
      return HandleSnapshot(message);
    case MessageType::kPreVote:
    case MessageType::kVote:
      AnswerVoteRequest(message);
      return LearnCommit(message.hint);
    case MessageType::kPreVoteResponse:
      MR_RETURN_IF_ERROR(LearnCommit(message.hint));
      if (role_ == Role::kPreCandidate) {
        RecordVote(message.from, !message.rejected);
      }
      break;
    case MessageType::kVoteResponse:
      MR_RETURN_IF_ERROR(LearnCommit(message.hint));
      if (role_ == Role::kCandidate) {
        RecordVote(message.from, !message.rejected);
      }
      break;
    case MessageType::kAppendResponse:
      if (role_ == Role::kLeader) return HandleAppendResponse(message);
      break;
    case MessageType::kHeartbeatResponse:
      if (role_ == Role::kLeader) HandleHeartbeatResponse(message);
      break;
    case MessageType::kTimeoutNow:
      // Without a pre-vote: the leader itself asks for it.
      if (role_ == Role::kFollower) {
        StandForElection(CampaignKind::kTransfer).IgnoreError();
      }
      break;
  }
  return absl::OkStatus();
}

}  // namespace millrace::raft
