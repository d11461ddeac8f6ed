#include "raft/node/testing/node_group.h"

#include <gtest/gtest.h>

#include <utility>

#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/strings.h"

namespace millrace::raft {

NodeGroup::NodeGroup(TestWire& wire, NodeOptions options)
    : wire_(wire), options_(std::move(options)) {}

NodeGroup::~NodeGroup() {
  for (auto& [number, member] : members_) {
    if (member->node != nullptr) Stop(number);
  }
}

void NodeGroup::Open(int number) {
  Member& member = *members_.at(number);
  NodeOptions options = options_;
  options.directory = "/data";
  options.cluster = cluster_;
  options.join = number > 0;
  options.on_fatal = [&member, number](const absl::Status& status) {
    ++member.fatal;
    EXPECT_TRUE(member.power_cut) << "member " << number << ": " << status;
  };
  member.sink = std::make_unique<ListSink>();
  member.transport = wire_.NewTransport(number);
  options.address = wire_.AddressOf(number);
  const auto random = Random::Seeded(
      1000 * (static_cast<uint64_t>(number) + 1) + ++member.starts);
  auto node = OpenNode(options, *member.disk, Clock::Real(), *random,
                       *member.transport, *member.sink);
  ASSERT_TRUE(node.ok()) << "member " << number << ": " << node.status();
  member.node = *std::move(node);
  member.id = member.node->identity().member;
  cluster_ = member.node->identity().cluster;
  wire_.Started(number, *member.node);
}

int NodeGroup::StartNew() {
  const int number = size();
  members_[number] = std::make_unique<Member>();
  Open(number);
  return number;
}

void NodeGroup::Grow(int count) {
  if (size() == 0) {
    StartNew();
    sink(0).WaitUntilLeading();
  }
  while (size() < count) {
    const int number = StartNew();
    AddLearner(number);
    Promote(number);
  }
}

absl::Status NodeGroup::Change(MembershipChange::Kind kind, int number) {
  return ChangeId(
      kind, id(number),
      kind == MembershipChange::Kind::kRemove ? "" : wire_.AddressOf(number));
}

absl::Status NodeGroup::ChangeId(MembershipChange::Kind kind, NodeId node_id,
                                 const std::string& address) {
  MembershipChange change;
  change.kind = kind;
  change.node = node_id;
  change.address = address;
  absl::Status result;
  absl::Notification answered;
  node(WaitForLeader()).ChangeMembership(change, [&](absl::Status status) {
    result = std::move(status);
    answered.Notify();
  });
  EXPECT_TRUE(answered.WaitForNotificationWithTimeout(kTestPatience));
  return result;
}

void NodeGroup::AddLearner(int number) {
  // Refused while the leader's own entries are not applied.
  WaitUntil(
      [&] { return Change(MembershipChange::Kind::kAddLearner, number).ok(); });
}

void NodeGroup::Promote(int number) {
  const uint64_t index = node(WaitForLeader()).status().last_index;
  WaitUntil([&] {
    const auto status = node(WaitForLeader()).status();
    const auto progress = status.progress.find(id(number));
    return progress != status.progress.end() && progress->second.match >= index;
  });
  WaitUntil(
      [&] { return Change(MembershipChange::Kind::kAddVoter, number).ok(); });
}

void NodeGroup::Stop(int number) {
  Member& member = *members_.at(number);
  wire_.Stopping(number);
  member.node.reset();
  member.transport.reset();
  member.disk = member.disk->AfterProcessDeath();
}

void NodeGroup::Crash(int number) {
  Member& member = *members_.at(number);
  // The power goes first: nothing is acknowledged that the disk then loses.
  member.power_cut = true;
  member.sink->ExpectPowerCut();
  member.disk->CutPowerAfter(member.disk->calls());
  std::unique_ptr<SimDisk> after = member.disk->AfterPowerCut(SimDisk::LoseAll);
  wire_.Stopping(number);
  member.node.reset();
  member.transport.reset();
  member.disk = std::move(after);
  member.power_cut = false;
}

void NodeGroup::Restart(int number) { Open(number); }

void NodeGroup::Wipe(int number) {
  members_.at(number)->disk = std::make_unique<SimDisk>();
  Open(number);
}

absl::Status NodeGroup::Confirm(int number, uint64_t term) {
  absl::Status result;
  absl::Notification answered;
  node(number).ConfirmLeading(term, [&](absl::Status status) {
    result = std::move(status);
    answered.Notify();
  });
  EXPECT_TRUE(answered.WaitForNotificationWithTimeout(kTestPatience));
  return result;
}

int NodeGroup::WaitForLeader(int except) {
  int leader = -1;
  WaitUntil([&] {
    uint64_t highest = 0;
    leader = -1;
    for (const auto& [number, member] : members_) {
      if (member->node == nullptr || number == except) continue;
      const uint64_t term = member->sink->leading();
      if (term <= highest) continue;
      highest = term;
      leader = number;
    }
    return leader >= 0 && Confirm(leader, highest).ok();
  });
  return leader;
}

void NodeGroup::Commit(const std::string& payload, int except) {
  WaitUntil([&] {
    const int leader = WaitForLeader(except);
    const uint64_t term = sink(leader).leading();
    const size_t count = sink(leader).count();
    if (term == 0 || !node(leader).Propose(term, {payload}).ok()) return false;
    // Committed, or leadership is lost.
    bool committed = false;
    WaitUntil([&] {
      const std::vector<std::string> payloads = sink(leader).payloads();
      for (size_t i = count; i < payloads.size(); ++i) {
        committed = committed || payloads[i] == payload;
      }
      return committed || sink(leader).leading() != term;
    });
    return committed;
  });
}

void NodeGroup::WaitForAll(const std::string& last) {
  WaitUntil([&] {
    std::optional<std::vector<std::string>> expected;
    for (const auto& [number, member] : members_) {
      if (member->node == nullptr) continue;
      std::vector<std::string> payloads = member->sink->payloads();
      if (payloads.empty() || payloads.back() != last) return false;
      if (!expected.has_value()) expected = payloads;
      if (payloads != *expected) return false;
    }
    return expected.has_value();
  });
}

}  // namespace millrace::raft
