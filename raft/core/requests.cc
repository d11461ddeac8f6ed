// What callers ask of a leader.
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/core/core_impl.h"

namespace millrace::raft {
namespace {

absl::Status DoesNotLead() {
  return absl::FailedPreconditionError("raft: this member does not lead");
}

}  // namespace

absl::Status Core::Impl::CheckTakesProposals() const {
  if (!lead_.has_value()) return DoesNotLead();
  if (!membership_.contains(config_.id)) {
    return absl::FailedPreconditionError("raft: this member was removed");
  }
  if (lead_->transferee != kNobody) {
    return absl::FailedPreconditionError(
        Av(Cat("raft: leadership is being handed over to member ",
               lead_->transferee)));
  }
  return absl::OkStatus();
}

absl::StatusOr<EntryId> Core::Impl::Propose(std::vector<std::string> payloads) {
  MR_RETURN_IF_ERROR(CheckTakesProposals());
  if (payloads.empty()) {
    return absl::InvalidArgumentError("raft: a proposal of nothing");
  }
  uint64_t bytes = 0;
  for (const std::string& payload : payloads) {
    if (payload.empty()) {
      return absl::InvalidArgumentError(
          "raft: an empty entry means that a leader begins");
    }
    bytes += payload.size();
  }
  if (!lead_->quota.TryTake(log_.last_index() + payloads.size(), bytes)) {
    return absl::ResourceExhaustedError(Av(Cat(
        "raft: ", lead_->quota.bytes(),
        " bytes are proposed and not committed yet, ", bytes,
        " more would be over the limit of ", config_.uncommitted_bytes_max)));
  }
  for (std::string& payload : payloads) {
    AppendOwn(kNormalEntry, std::move(payload));
  }
  BroadcastAppend();
  return EntryId{term_, log_.last_index()};
}

absl::StatusOr<EntryId> Core::Impl::ProposeMembership(
    const MembershipChange& change) {
  MR_RETURN_IF_ERROR(CheckTakesProposals());
  if (!CommittedInOwnTerm() && !config_.mutant.change_before_own_commit) {
    return absl::FailedPreconditionError(
        "raft: nothing of this term is committed yet");
  }
  if (lead_->pending_change_index > log_.applied() &&
      !config_.mutant.two_pending_changes) {
    return absl::FailedPreconditionError(
        Av(Cat("raft: a change of membership up to entry ",
               lead_->pending_change_index, " may not be applied yet; ",
               log_.applied(), " entries are")));
  }
  MR_RETURN_IF_ERROR(ApplyChange(membership_, change).status());
  AppendOwn(kMembershipEntry, EncodeMembershipChange(change));
  lead_->pending_change_index = log_.last_index();
  BroadcastAppend();
  return EntryId{term_, log_.last_index()};
}

absl::Status Core::Impl::ReadIndex(uint64_t read_id) {
  if (!lead_.has_value()) return DoesNotLead();
  if (lead_->reads.size() >= static_cast<size_t>(config_.reads_max)) {
    return absl::ResourceExhaustedError(
        Av(Cat("raft: ", lead_->reads.size(), " reads wait already")));
  }
  // Until then the commit index may be behind what an earlier leader has
  // committed and answered.
  if (!CommittedInOwnTerm() && !config_.mutant.read_before_own_commit) {
    lead_->reads.Hold(read_id);
    return absl::OkStatus();
  }
  lead_->reads.Ask(read_id, log_.commit());
  lead_->read_round_due = true;
  AnswerReads();  // At once in a group of one.
  return absl::OkStatus();
}

absl::Status Core::Impl::TransferLeadership(NodeId to) {
  if (!lead_.has_value()) return DoesNotLead();
  if (!IsVoter(to)) {
    return absl::InvalidArgumentError(
        Av(Cat("raft: member ", to, " is no voter")));
  }
  if (lead_->transferee == to) return absl::OkStatus();
  lead_->transferee = kNobody;
  if (to == config_.id) return absl::OkStatus();
  lead_->transferee = to;
  election_elapsed_ = 0;  // It has one election timeout.
  if (lead_->progress.at(to).match() < log_.last_index()) {
    SendAppend(to, true);
    return absl::OkStatus();
  }
  Message timeout_now;
  timeout_now.type = MessageType::kTimeoutNow;
  timeout_now.to = to;
  Send(std::move(timeout_now));
  return absl::OkStatus();
}

void Core::Impl::SnapshotSent(NodeId node, bool ok) {
  if (!lead_.has_value()) return;
  const auto at = lead_->progress.find(node);
  if (at != lead_->progress.end()) at->second.SnapshotEnded(ok);
}

void Core::Impl::ReportUnreachable(NodeId node) {
  if (!lead_.has_value()) return;
  const auto at = lead_->progress.find(node);
  if (at == lead_->progress.end()) return;
  // Entries under way are most likely lost.
  if (at->second.state() == ProgressStatus::State::kReplicate) {
    at->second.BecomeProbe();
  }
}

absl::Status Core::Impl::ApplyMembership(const MembershipChange& change) {
  // It was handed out before, and the snapshot has it already.
  if (log_.snapshot_pending() && !config_.mutant.change_over_snapshot) {
    return absl::OkStatus();
  }
  MR_ASSIGN_OR_RETURN(Membership next, ApplyChange(membership_, change));
  SwitchMembership(std::move(next));
  return absl::OkStatus();
}

}  // namespace millrace::raft
