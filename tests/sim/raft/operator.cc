#include "tests/sim/raft/operator.h"

#include <algorithm>
#include <utility>

#include "tests/sim/raft/server.h"

namespace millrace::raftsim {
namespace {

using Kind = raft::MembershipChange::Kind;

constexpr absl::Duration kLookInterval = absl::Milliseconds(400);
constexpr absl::Duration kPatience = absl::Seconds(5);

}  // namespace

void Operator::Start() {
  world_.queue->After(kLookInterval, [this] {
    Look();
    Start();
  });
}

// Now and then one that leads and has not committed anything in its term.
Machine* Operator::Leader() const {
  const bool any = world_.random->Uniform(2) == 0;
  Machine* leader = nullptr;
  uint64_t term = 0;
  for (const auto& machine : machines_) {
    if (!machine->running() || machine->paused()) continue;
    const MemberView view = machine->member()->view();
    if (!machine->member()->serves() &&
        !(any && view.role == raft::Role::kLeader)) {
      continue;
    }
    const uint64_t its = view.hard_state.term;
    if (its > term) {
      term = its;
      leader = machine.get();
    }
  }
  return leader;
}

bool Operator::Content() const {
  std::set<raft::NodeId> voters;
  for (const auto& [id, member] : world_.invariants->membership()) {
    if (!member.voter) return false;
    voters.insert(id);
  }
  std::set<raft::NodeId> wanted;
  for (int number : wanted_) wanted.insert(machine(number).id());
  return voters == wanted;
}

void Operator::Look() {
  if (waiting_) return;
  // Somebody who knew that a disk is damaged would see to that first.
  for (const auto& machine : machines_) {
    if (machine->suspect()) return;
  }
  Machine* leader = Leader();
  if (leader == nullptr) return;
  const auto status = leader->member()->status();
  std::optional<raft::MembershipChange> change = NextChange(status);
  const auto meddling = std::exchange(meddling_, std::nullopt);
  // Nothing but repair while a member is missing.
  if (!change.has_value() && Content()) change = meddling;
  if (change.has_value() && !LeavesOneOfTwo(status.membership, *change)) {
    Change(*leader, *change);
  }
}

bool Operator::LeavesOneOfTwo(const raft::Membership& group,
                              const raft::MembershipChange& change) {
  if (change.kind != Kind::kRemove && change.kind != Kind::kAddLearner) {
    return false;
  }
  const auto voters =
      std::count_if(group.begin(), group.end(),
                    [](const auto& member) { return member.second.voter; });
  const auto found = group.find(change.node);
  return voters == 2 && found != group.end() && found->second.voter;
}

std::optional<raft::MembershipChange> Operator::NextChange(
    const raft::ReplicatedLog::GroupStatus& status) const {
  std::set<raft::NodeId> alive;
  for (const auto& machine : machines_) alive.insert(machine->id());
  std::set<raft::NodeId> wanted;
  for (int number : wanted_) wanted.insert(machine(number).id());
  // Who is gone for good, first: until then it counts against a quorum.
  for (const auto& [id, member] : status.membership) {
    if (alive.count(id) == 0) return {{Kind::kRemove, id, ""}};
  }
  for (int number : wanted_) {
    const raft::NodeId id = machine(number).id();
    if (id == raft::kNobody) continue;
    const auto found = status.membership.find(id);
    if (found == status.membership.end()) {
      return {{Kind::kAddLearner, id, AddressOf(number)}};
    }
    if (found->second.voter) continue;
    const auto progress = status.progress.find(id);
    if (progress != status.progress.end() && progress->second.match > 0 &&
        progress->second.recently_active &&
        progress->second.match + 5 >= status.commit_index) {
      return {{Kind::kAddVoter, id, ""}};
    }
    return std::nullopt;  // It catches up first.
  }
  for (const auto& [id, member] : status.membership) {
    if (wanted.count(id) == 0) return {{Kind::kRemove, id, ""}};
  }
  return std::nullopt;
}

void Operator::Change(Machine& leader, const raft::MembershipChange& change) {
  waiting_ = true;
  const uint64_t asked = ++asked_;
  asked_at_ = world_.queue->now();
  answered_ = false;
  world_.trace->Note(
      "operator asks", leader.number(),
      {{"kind", static_cast<uint64_t>(change.kind)}, {"member", change.node}});
  leader.Receive(Step::kRequest, [this, asked, change](Member& member) {
    member.ChangeMembership(change, [this, asked](absl::Status status) {
      if (asked != asked_) return;
      waiting_ = false;
      // Unavailable: nobody knows what becomes of it.
      answered_ = !absl::IsUnavailable(status);
      world_.trace->Note("operator is told", 0,
                         {{"code", static_cast<uint64_t>(status.code())}});
      if (status.ok()) world_.counts->Add(Fault::kMembership);
    });
  });
  // Nobody may be left to answer.
  world_.queue->After(kPatience, [this, asked] {
    if (asked == asked_) waiting_ = false;
  });
}

void Operator::Meddle() {
  const raft::Membership& group = world_.invariants->membership();
  if (group.empty()) return;
  auto member = group.begin();
  std::advance(member,
               static_cast<ptrdiff_t>(world_.random->Uniform(group.size())));
  const Kind kinds[] = {Kind::kAddLearner, Kind::kAddVoter, Kind::kUpdate};
  meddling_ = raft::MembershipChange{kinds[world_.random->Uniform(3)],
                                     member->first, member->second.address};
}

void Operator::TransferLeadership() {
  Machine* leader = Leader();
  if (leader == nullptr) return;
  const raft::Membership& group = world_.invariants->membership();
  std::vector<raft::NodeId> voters;
  for (const auto& [id, member] : group) {
    if (member.voter && id != leader->id()) voters.push_back(id);
  }
  raft::NodeId to = raft::kNobody;  // Its choice.
  if (!voters.empty() && world_.random->Uniform(3) > 0) {
    to = voters[world_.random->Uniform(voters.size())];
  }
  leader->Receive(Step::kRequest, [this, to](Member& member) {
    if (member.TransferLeadership(to).ok()) {
      world_.counts->Add(Fault::kTransfer);
    }
  });
}

}  // namespace millrace::raftsim
