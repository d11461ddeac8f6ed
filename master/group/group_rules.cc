#include "master/group/group_rules.h"

#include <vector>

#include "common/strings.h"
#include "master/group/peers.h"

namespace millrace::master {
namespace {

constexpr size_t kIdDigits = 16;

std::string Described(const GroupStatus& group, raft::NodeId id) {
  const auto member = group.membership.find(id);
  const std::string address =
      member == group.membership.end() ? "" : member->second.address;
  return address.empty() ? MasterName(id)
                         : Cat(MasterName(id), " (", address, ")");
}

bool IsThere(const GroupStatus& group, raft::NodeId id) {
  if (id == group.self) return true;
  const auto progress = group.progress.find(id);
  return progress != group.progress.end() && progress->second.recently_active;
}

}  // namespace

uint64_t EntriesBehind(const GroupStatus& group, raft::NodeId id) {
  if (id == group.self) return 0;
  const auto progress = group.progress.find(id);
  if (progress == group.progress.end()) return group.last_index;
  const uint64_t match = progress->second.match;
  return match < group.last_index ? group.last_index - match : 0;
}

absl::StatusOr<raft::NodeId> ResolveMember(const GroupStatus& group,
                                           std::string_view name) {
  if (name.empty()) {
    return absl::InvalidArgumentError(
        "no master is named: its id, a unique beginning of it, or its address");
  }
  const raft::NodeId by_address = FindByAddress(group, name);
  if (by_address != raft::kNobody) return by_address;
  std::vector<raft::NodeId> found;
  for (const auto& [id, member] : group.membership) {
    if (MasterName(id).substr(0, name.size()) == name) found.push_back(id);
  }
  if (found.empty()) {
    return absl::NotFoundError(
        Av(Cat("no master of this cluster is ", Printable(name, 60))));
  }
  if (found.size() > 1) {
    return absl::InvalidArgumentError(
        Av(Cat("several masters begin with ", Printable(name, 60), ": ",
               MasterName(found[0]), ", ", MasterName(found[1]))));
  }
  return found[0];
}

raft::NodeId FindByAddress(const GroupStatus& group, std::string_view address) {
  for (const auto& [id, member] : group.membership) {
    if (!address.empty() && member.address == address) return id;
  }
  return raft::kNobody;
}

std::string WhyNotVoter(const GroupStatus& group, raft::NodeId learner) {
  const auto progress = group.progress.find(learner);
  if (progress == group.progress.end() || !progress->second.recently_active) {
    return Cat(Described(group, learner), " does not answer");
  }
  if (progress->second.state == raft::ProgressStatus::State::kSnapshot) {
    return "it receives a snapshot of the state";
  }
  const uint64_t behind = EntriesBehind(group, learner);
  if (behind > kEntriesBehindMax || progress->second.match == 0) {
    return Cat("it lacks ", behind, " entries of the log");
  }
  return "";
}

absl::Status MayRemove(const GroupStatus& group, raft::NodeId id) {
  const auto target = group.membership.find(id);
  if (target == group.membership.end() || !target->second.voter) {
    return absl::OkStatus();  // Has no say.
  }
  size_t left = 0;
  size_t there = 0;
  std::string absent;
  for (const auto& [other, member] : group.membership) {
    if (other == id || !member.voter) continue;
    ++left;
    if (IsThere(group, other)) {
      ++there;
    } else {
      absent += Cat(absent.empty() ? "" : ", ", Described(group, other));
    }
  }
  if (left == 0) {
    return absl::InvalidArgumentError(
        "it is the only voter; a cluster without one has no state");
  }
  if (there <= left / 2) {
    return absl::FailedPreconditionError(Av(Cat(
        "of the ", left, " voters that would be left only ", there,
        " answer, too few to go on; first bring back or replace ", absent)));
  }
  return absl::OkStatus();
}

std::string_view RoleOf(const GroupStatus& group, raft::NodeId id) {
  if (id == group.leader) return "leader";
  const auto member = group.membership.find(id);
  return member != group.membership.end() && member->second.voter ? "standby"
                                                                  : "learner";
}

}  // namespace millrace::master
