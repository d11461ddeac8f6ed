#include "raft/core/testing/test_group.h"

#include <algorithm>

#include "common/logging.h"

namespace millrace::raft {
namespace {

void Check(const absl::Status& status) { CHECK(status.ok()) << status; }

void Append(std::vector<Message> more, std::vector<Message>* out) {
  std::move(more.begin(), more.end(), std::back_inserter(*out));
}

}  // namespace

Membership VotersUpTo(NodeId voters) {
  Membership membership;
  for (NodeId id = 1; id <= voters; ++id) membership[id].voter = true;
  return membership;
}

CoreConfig PlainConfig(NodeId id) {
  CoreConfig config;
  config.id = id;
  config.pre_vote = false;
  config.check_quorum = false;
  config.stuck_write_ticks = 0;
  return config;
}

std::vector<LogEntry> EntriesOfTerms(uint64_t first,
                                     const std::vector<uint64_t>& terms) {
  std::vector<LogEntry> entries;
  for (const uint64_t term : terms) {
    entries.push_back({first + entries.size(), term, kNormalEntry, ""});
  }
  return entries;
}

// ------------------------------------------------------------------- messages

Message MakeMessage(MessageType type, NodeId from, NodeId to, uint64_t term) {
  Message message;
  message.type = type;
  message.from = from;
  message.to = to;
  message.term = term;
  return message;
}

Message MakeAppend(NodeId from, NodeId to, uint64_t term, EntryId prev,
                   std::vector<LogEntry> entries, uint64_t commit) {
  Message message = MakeMessage(MessageType::kAppend, from, to, term);
  message.prev = prev;
  message.entries = std::move(entries);
  message.commit = commit;
  return message;
}

Message MakeAcknowledgement(NodeId from, NodeId to, uint64_t term,
                            uint64_t index) {
  Message message = MakeMessage(MessageType::kAppendResponse, from, to, term);
  message.prev.index = index;
  return message;
}

Message Acknowledge(const Message& append) {
  CHECK(append.type == MessageType::kAppend);
  return MakeAcknowledgement(append.to, append.from, append.term,
                             append.prev.index + append.entries.size());
}

Message MakeSnapshot(NodeId from, NodeId to, uint64_t term, EntryId last,
                     const Membership& membership) {
  Message message = MakeMessage(MessageType::kSnapshot, from, to, term);
  message.snapshot = SnapshotMeta{last, membership};
  return message;
}

// --------------------------------------------------------------------- member

TestMember::TestMember(const CoreConfig& config, Start start)
    : config_(config), log_(std::make_unique<MemoryLog>(std::move(start.log))) {
  log_->set_hard_state(start.hard_state);
  Create(start.hard_state, start.membership);
}

void TestMember::Create(const HardState& hard_state,
                        const Membership& membership) {
  config_.applied = log_->first_index() - 1;
  auto core = Core::Create(config_, hard_state, membership, *log_);
  CHECK(core.ok()) << core.status();
  core_ = *std::move(core);
  soft_state_ = status().soft_state;
}

void TestMember::Step(const Message& message) {
  Check(message.type == MessageType::kSnapshot ? core_->InstallSnapshot(message)
                                               : core_->Step(message));
}

void TestMember::Tick(int count) {
  for (int i = 0; i < count; ++i) Check(core_->Tick());
}

void TestMember::BecomeLeader() {
  Check(core_->Campaign());
  Take();
  // With pre-votes there are two rounds.
  for (int round = 0; round < 2; ++round) {
    const CoreStatus now = status();
    for (const auto& [id, member] : now.membership) {
      if (!member.voter || id == config_.id || role() == Role::kLeader)
        continue;
      const bool pre_vote = role() == Role::kPreCandidate;
      Step(MakeMessage(
          pre_vote ? MessageType::kPreVoteResponse : MessageType::kVoteResponse,
          id, config_.id, pre_vote ? term() + 1 : term()));
      if (role() != now.soft_state.role) break;
    }
    if (role() == Role::kCandidate) Take();
  }
  CHECK(role() == Role::kLeader);
}

void TestMember::TakeOne(std::vector<Message>* out) {
  absl::StatusOr<Ready> ready = core_->TakeReady();
  Check(ready.status());
  Append(std::move(ready->messages), out);
  if (ready->write.has_value()) writes_.push_back(*std::move(ready->write));
  std::move(ready->reads.begin(), ready->reads.end(),
            std::back_inserter(reads_));
  if (ready->soft_state.has_value()) soft_state_ = *ready->soft_state;
  if (apply_) {
    Apply(ready->committed);
  } else {
    std::move(ready->committed.begin(), ready->committed.end(),
              std::back_inserter(held_back_));
  }
}

void TestMember::Complete(const LogWrite& write, std::vector<Message>* out) {
  log_->Write(write);
  out->insert(out->end(), write.messages.begin(), write.messages.end());
  Check(core_->LogDurable(write.id));
}

std::vector<Message> TestMember::TakeUnsynced() {
  std::vector<Message> out;
  while (core_->HasReady()) TakeOne(&out);
  return out;
}

std::vector<Message> TestMember::Sync(size_t count) {
  std::vector<Message> out;
  for (size_t i = 0; i < count && !writes_.empty(); ++i) {
    Complete(writes_.front(), &out);
    writes_.pop_front();
  }
  Append(TakeUnsynced(), &out);
  return out;
}

std::vector<Message> TestMember::Take() {
  std::vector<Message> out = TakeUnsynced();
  while (!writes_.empty()) Append(Sync(), &out);
  return out;
}

void TestMember::Apply(const std::vector<LogEntry>& entries) {
  for (const LogEntry& entry : entries) {
    if (entry.kind == kMembershipEntry) {
      const auto change = DecodeMembershipChange(entry.payload);
      Check(change.status());
      Check(core_->ApplyMembership(*change));
    }
    applied_.push_back(entry);
    log_->TakeSnapshot({{entry.term, entry.index}, status().membership});
    Check(core_->Applied(entry.index));
  }
}

void TestMember::ApplyNow() { Apply(std::exchange(held_back_, {})); }

void TestMember::Restart(const Membership& membership_at_start) {
  writes_.clear();
  held_back_.clear();
  applied_.clear();
  reads_.clear();
  Create(log_->hard_state(), membership_at_start);
}

std::vector<std::string> TestMember::AppliedPayloads() const {
  std::vector<std::string> payloads;
  for (const LogEntry& entry : applied_) {
    if (entry.kind == kNormalEntry && !entry.payload.empty()) {
      payloads.push_back(entry.payload);
    }
  }
  return payloads;
}

// ---------------------------------------------------------------------- group

TestGroup::TestGroup(NodeId voters, const Configure& configure)
    : TestGroup(VotersUpTo(voters), configure) {}

TestGroup::TestGroup(const Membership& membership, const Configure& configure,
                     std::map<NodeId, TestMember::Start> start)
    : configure_(configure) {
  for (const auto& [id, member] : membership) {
    CoreConfig config = PlainConfig(id);
    if (configure_) configure_(config);
    TestMember::Start from = std::move(start[id]);
    from.membership = membership;
    members_[id] = std::make_unique<TestMember>(config, std::move(from));
  }
}

void TestGroup::Add(NodeId id) {
  CoreConfig config = PlainConfig(id);
  if (configure_) configure_(config);
  members_[id] = std::make_unique<TestMember>(config, TestMember::Start{});
}

bool TestGroup::IsLost(const Message& message) const {
  return cut_.contains({message.from, message.to}) ||
         ignored_.contains(message.type) || !members_.contains(message.to) ||
         (rule_ && rule_(message));
}

void TestGroup::Send(std::vector<Message> messages) {
  std::deque<Message> wire(messages.begin(), messages.end());
  do {
    for (const auto& [id, member] : members_) {
      for (Message& message : member->Take()) wire.push_back(message);
    }
    if (wire.empty()) return;
    const Message message = std::move(wire.front());
    wire.pop_front();
    if (!IsLost(message)) members_.at(message.to)->Step(message);
  } while (true);
}

void TestGroup::Campaign(NodeId id) {
  members_.at(id)->core().Campaign().IgnoreError();
  Run();
}

void TestGroup::Elect(NodeId id) {
  Campaign(id);
  CHECK_EQ(Leader(), id);
}

void TestGroup::TickAll(int count) {
  for (int i = 0; i < count; ++i) {
    for (const auto& [id, member] : members_) member->Tick();
    Run();
  }
}

void TestGroup::Tick(NodeId id, int count) {
  for (int i = 0; i < count; ++i) {
    members_.at(id)->Tick();
    Run();
  }
}

EntryId TestGroup::Propose(NodeId id, const std::string& payload) {
  const auto place = members_.at(id)->core().Propose({payload});
  CHECK(place.ok()) << place.status();
  Run();
  return *place;
}

void TestGroup::Cut(NodeId a, NodeId b) {
  CutOneWay(a, b);
  CutOneWay(b, a);
}

void TestGroup::Isolate(NodeId id) {
  for (const auto& [other, member] : members_) {
    if (other != id) Cut(id, other);
  }
}

void TestGroup::Heal() {
  cut_.clear();
  ignored_.clear();
  rule_ = nullptr;
}

NodeId TestGroup::Leader() {
  NodeId leader = kNobody;
  uint64_t term = 0;
  for (const auto& [id, member] : members_) {
    if (member->role() == Role::kLeader && member->term() > term) {
      leader = id;
      term = member->term();
    }
  }
  return leader;
}

}  // namespace millrace::raft
