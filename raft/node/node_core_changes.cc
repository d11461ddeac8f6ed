// Changes of the membership: proposed, applied, made certain.
#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "raft/core/membership.h"
#include "raft/node/node_core.h"

namespace millrace::raft {

void NodeCore::ChangeMembership(const MembershipChange& change, Answer done) {
  if (LeavesTheOtherAlone(change)) {
    Reply(std::move(done),
          absl::FailedPreconditionError(
              "this master leads and is one of two that vote; first hand over "
              "leadership (millrace master transfer), then let the other one "
              "remove it"));
    return;
  }
  const absl::StatusOr<EntryId> id = core_->ProposeMembership(change);
  if (!id.ok()) {
    Reply(std::move(done), id.status());
    return;
  }
  changes_[id->index] = {id->term, std::move(done)};
}

// A leader steps down when it has applied its own removal, so nothing makes
// sure that the one other voter hears of it; and that one would need the vote
// of who was removed.
bool NodeCore::LeavesTheOtherAlone(const MembershipChange& change) const {
  if (soft_.role != Role::kLeader || change.node != self_ ||
      (change.kind != MembershipChange::Kind::kRemove &&
       change.kind != MembershipChange::Kind::kAddLearner)) {
    return false;
  }
  const auto self = membership_.find(self_);
  return CountVoters(membership_) == 2 && self != membership_.end() &&
         self->second.voter;
}

absl::Status NodeCore::Apply(const UnappliedChange& unapplied) {
  const bool was_alone = AloneVoter();
  MR_ASSIGN_OR_RETURN(membership_, ApplyChange(membership_, unapplied.change));
  snapshots_.MembershipApplied(unapplied.id.index, membership_);
  MR_RETURN_IF_ERROR(core_->ApplyMembership(unapplied.change));
  SetPeers();
  const auto change = changes_.find(unapplied.id.index);
  if (change == changes_.end()) return absl::OkStatus();
  const bool ours = change->second.term == unapplied.id.term;
  // Who becomes the only voter must not need the other one either, when it has
  // started anew.
  if (ours && !(was_alone && AloneVoter()) && membership_.contains(self_)) {
    settling_.push_back({0, std::move(change->second.done)});
  } else {
    Reply(std::move(change->second.done),
          ours ? absl::OkStatus()
               : absl::FailedPreconditionError(
                     "another leader's took its place"));
  }
  changes_.erase(change);
  return absl::OkStatus();
}

// Who has the entry that follows, durable, has the commit index that came with
// it, and that is not before the change. So a majority knows of the change when
// that entry is committed, and needs nobody else to go on.
void NodeCore::FollowUpChanges() {
  if (settling_.empty() || settling_.back().followed_by != 0) return;
  // A change of nothing. Refused while another change or a transfer is under
  // way: later, then.
  const absl::StatusOr<EntryId> id = core_->ProposeMembership({});
  if (!id.ok()) return;
  for (SettlingChange& change : settling_) {
    if (change.followed_by == 0) change.followed_by = id->index;
  }
}

// Also how a log that began without an entry on its members gets one: adding
// the voter that is one already says where it is.
void NodeCore::ProposeOwnAddress() {
  if (leading_ == 0 || address_.empty()) return;
  const auto self = membership_.find(self_);
  if (self == membership_.end() || self->second.address == address_) return;
  MembershipChange change;
  change.kind = MembershipChange::Kind::kAddVoter;
  change.node = self_;
  change.address = address_;
  // Another change may be under way; the next tick tries again.
  core_->ProposeMembership(change).IgnoreError();
}

}  // namespace millrace::raft
