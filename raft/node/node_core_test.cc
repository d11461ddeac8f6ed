// What a member decides, step by step: events in, effects out, and the writes
// carried out when the test says so.
#include "raft/node/node_core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/ids.h"
#include "common/random.h"
#include "common/strings.h"
#include "raft/log/testing/sim_disk.h"
#include "raft/node/log_writer.h"
#include "raft/node/node_storage.h"

namespace millrace::raft {
namespace {

constexpr NodeId kLeader = 77;
constexpr uint64_t kTerm = 5;

class EmptySource final : public ByteSource {
 public:
  absl::StatusOr<size_t> Read(char*, size_t) override { return 0; }
};

class NodeCoreTest : public testing::Test {
 protected:
  void Start(bool join) {
    const auto random = Random::Seeded(1);
    NodeStorageOptions options;
    options.store.log.directory = "/data";
    options.store.log.segment_bytes = 8192;
    options.store.log.free_bytes_min = 0;
    options.store.log.cluster = ClusterId::Generate(*random);
    options.store.log.join = join;
    auto storage = OpenNodeStorage(options, disk_, *random);
    ASSERT_TRUE(storage.ok()) << storage.status();
    storage_.emplace(*std::move(storage));
    writer_.emplace(*storage_->store.log, *storage_->view);
    NodeCoreOptions core;
    core.core.seed = 1;
    core.snapshots.entries = 10;
    core.snapshots.keep_entries = 2;
    auto created = NodeCore::Create(core, std::move(storage_->start),
                                    *storage_->view, gate_);
    ASSERT_TRUE(created.ok()) << created.status();
    core_ = *std::move(created);
    self_ = storage_->store.log->identity().member;
  }

  Membership Group() const {
    return {{kLeader, {true, "leader:1"}}, {self_, {true, "self:1"}}};
  }
  // Takes effects, hands deliveries over, and writes to the log; that the
  // writes are durable is for the test to report, by Durable().
  NodeEffects Pump() {
    auto effects = core_->TakeEffects();
    EXPECT_TRUE(effects.ok()) << effects.status();
    if (!effects.ok()) return {};
    for (LogWrite& write : effects->writes) writer_->Add(std::move(write));
    if (!writer_->idle()) {
      const auto done = writer_->Flush();
      EXPECT_TRUE(done.ok()) << done.status();
      if (done.ok()) written_ = done->id;
    }
    for (Delivery& delivery : effects->deliveries) {
      if (delivery.kind == Delivery::Kind::kAnswer) {
        delivery.answer(delivery.status);
      }
      wanted_ += delivery.kind == Delivery::Kind::kSnapshotWanted ? 1 : 0;
      restored_ += delivery.kind == Delivery::Kind::kSnapshot ? 1 : 0;
      delivered_ = delivery.id;
    }
    return *std::move(effects);
  }
  void Durable() { EXPECT_TRUE(core_->OnLogDurable(written_).ok()); }

  // A member that follows kLeader, and has its log up to `last`, all of it
  // committed, handed over and applied.
  // Some of the entries are changes.
  void Follow(uint64_t last,
              const std::map<uint64_t, MembershipChange>& changes = {}) {
    if (core_ == nullptr) Start(true);
    Message append;
    append.type = MessageType::kAppend;
    append.from = kLeader;
    append.to = self_;
    append.term = kTerm;
    append.commit = last;
    for (uint64_t i = 1; i <= last; ++i) {
      const auto change = changes.find(i);
      if (change == changes.end()) {
        append.entries.push_back({i, kTerm, kNormalEntry, Cat("entry ", i)});
      } else {
        append.entries.push_back({i, kTerm, kMembershipEntry,
                                  EncodeMembershipChange(change->second)});
      }
    }
    ASSERT_TRUE(core_->OnMessage(std::move(append)).ok());
    Pump();
    Durable();
    Pump();
    ASSERT_TRUE(core_->OnDelivered(delivered_).ok());
    Pump();
    ASSERT_EQ(core_->status().commit_index, last);
    ASSERT_EQ(wanted_, 1);
  }
  void ReceiveSnapshot(uint64_t index) {
    Message message;
    message.type = MessageType::kSnapshot;
    message.from = kLeader;
    message.to = self_;
    message.term = kTerm;
    message.snapshot = SnapshotMeta{{kTerm, index}, Group()};
    ASSERT_TRUE(
        core_->OnSnapshotReceived(message, std::make_unique<EmptySource>())
            .ok());
  }

  // A member that founds a group.
  void Lead() {
    Start(false);
    Settle();
    ASSERT_NE(core_->leading(), 0u);
  }
  // Until it has nothing to do but to wait for others.
  void Settle() {
    for (int i = 0; i < 10; ++i) {
      Pump();
      if (written_ > 0) Durable();
      ASSERT_TRUE(core_->OnDelivered(delivered_).ok());
    }
  }
  // What `done` was called with; null: not yet.
  struct Answered {
    std::optional<absl::Status> status;
  };
  std::shared_ptr<Answered> Change(MembershipChange::Kind kind, NodeId node) {
    MembershipChange change;
    change.kind = kind;
    change.node = node;
    auto answered = std::make_shared<Answered>();
    core_->ChangeMembership(change, [answered](absl::Status status) {
      answered->status = std::move(status);
    });
    return answered;
  }
  void Acknowledge(NodeId from, uint64_t index) {
    Message message;
    message.type = MessageType::kAppendResponse;
    message.from = from;
    message.to = self_;
    message.term = core_->leading();
    message.prev.index = index;
    ASSERT_TRUE(core_->OnMessage(std::move(message)).ok());
  }

  SimDisk disk_;
  ProposalGate gate_{ProposalGate::Limits()};
  std::optional<NodeStorage> storage_;
  std::optional<LogWriter> writer_;
  std::unique_ptr<NodeCore> core_;
  NodeId self_ = kNobody;
  uint64_t written_ = 0;
  uint64_t delivered_ = 0;
  int wanted_ = 0;
  int restored_ = 0;
};

// A leader's snapshot takes the place of the log on the log's thread; that it
// has is heard of later. In between the entries that a snapshot of this member
// ends with are gone already.
TEST_F(NodeCoreTest, AStateThatWasFrozenIsOfNoUseWhileALeadersIsInstalled) {
  Follow(12);
  ReceiveSnapshot(100);
  Pump();  // The log begins anew.
  ASSERT_EQ(storage_->view->first_index(), 101u);
  core_->OnSnapshotTaken(12);
  EXPECT_FALSE(Pump().write_snapshot.has_value());
  EXPECT_EQ(restored_, 0);
  Durable();
  const NodeEffects after = Pump();
  EXPECT_TRUE(after.forget_snapshot);
  EXPECT_FALSE(after.write_snapshot.has_value());
  EXPECT_EQ(restored_, 1);
  EXPECT_EQ(core_->status().membership, Group());
}

TEST_F(NodeCoreTest, ASnapshotThatWasWrittenIsOldNewsWhileALeadersIsInstalled) {
  Follow(12);
  core_->OnSnapshotTaken(12);
  const NodeEffects effects = Pump();
  ASSERT_TRUE(effects.write_snapshot.has_value());
  EXPECT_EQ(effects.write_snapshot->last, (EntryId{kTerm, 12}));
  ReceiveSnapshot(100);
  Pump();
  ASSERT_EQ(storage_->view->first_index(), 101u);
  // It was durable before the leader's came, and is heard of only now.
  EXPECT_TRUE(core_->OnSnapshotWritten(100).ok());
  EXPECT_FALSE(Pump().drop_through.has_value());
  Durable();
  Pump();
  EXPECT_EQ(restored_, 1);
  EXPECT_EQ(storage_->view->Snapshot().last, (EntryId{kTerm, 100}));
}

// As long as the leader's does not replace the log, it does not matter.
TEST_F(NodeCoreTest, ASnapshotIsWrittenThoughALeadersCame) {
  Follow(12);
  ReceiveSnapshot(11);
  Pump();
  core_->OnSnapshotTaken(12);
  const NodeEffects effects = Pump();
  ASSERT_TRUE(effects.write_snapshot.has_value());
  EXPECT_EQ(effects.write_snapshot->last, (EntryId{kTerm, 12}));
  EXPECT_TRUE(core_->OnSnapshotWritten(100).ok());
  Pump();
  EXPECT_EQ(storage_->view->Snapshot().last, (EntryId{kTerm, 12}));
}

// Its membership is not that of the entries behind it.
TEST_F(NodeCoreTest, ALeadersSnapshotThatCameLateForgetsNoMember) {
  using Kind = MembershipChange::Kind;
  Start(true);
  Follow(14, {{1, {Kind::kAddVoter, kLeader, "leader:1"}},
              {2, {Kind::kAddVoter, self_, "self:1"}},
              {9, {Kind::kAddLearner, 5, "five:1"}}});
  Membership group = Group();
  group[5] = {false, "five:1"};
  ASSERT_EQ(core_->status().membership, group);
  ReceiveSnapshot(7);
  Pump();
  EXPECT_EQ(storage_->view->Snapshot().last, (EntryId{kTerm, 7}));
  core_->OnSnapshotTaken(14);
  const NodeEffects effects = Pump();
  ASSERT_TRUE(effects.write_snapshot.has_value());
  EXPECT_EQ(effects.write_snapshot->configuration, EncodeMembership(group));
}

// The newest snapshot is older than much of the log, which it keeps.
TEST_F(NodeCoreTest, ADiskThatIsNearlyFullWantsASnapshot) {
  Follow(12);
  core_->OnSnapshotTaken(12);
  Pump();
  EXPECT_TRUE(core_->OnSnapshotWritten(100).ok());
  Pump();
  ASSERT_EQ(wanted_, 1);
  core_->OnNearlyFull(true);
  Pump();
  EXPECT_EQ(wanted_, 2);
}

// -------------------------------------------------------- changes of members

constexpr NodeId kSecond = 1002;
constexpr NodeId kThird = 1003;

class ChangeTest : public NodeCoreTest {
 protected:
  // Three voters, of which this is the leader; all have everything.
  void LeadThree() {
    Lead();
    AddVoter(kSecond);
    AddVoter(kThird);
  }
  void AddVoter(NodeId node) {
    const auto learner = Change(MembershipChange::Kind::kAddLearner, node);
    AcknowledgeAll();
    ASSERT_TRUE(learner->status.has_value() && learner->status->ok());
    const auto voter = Change(MembershipChange::Kind::kAddVoter, node);
    AcknowledgeAll();
    ASSERT_TRUE(voter->status.has_value() && voter->status->ok());
  }
  void AcknowledgeAll() {
    for (int i = 0; i < 4; ++i) {
      Settle();
      for (const NodeId node : {kSecond, kThird}) {
        if (core_->status().membership.contains(node)) {
          Acknowledge(node, core_->status().last_index);
        }
      }
    }
    Settle();
  }
};

// Committed by the two that stay and known to the leader alone: if it went for
// good now, and the removed member as well, the one that is left would wait for
// a vote of theirs.
TEST_F(ChangeTest, IsDoneWhenAMajorityKnowsThatItIsCommitted) {
  LeadThree();
  const auto removal = Change(MembershipChange::Kind::kRemove, kThird);
  Settle();
  const uint64_t change = core_->status().last_index;
  Acknowledge(kSecond, change);
  Settle();
  EXPECT_FALSE(core_->status().membership.contains(kThird));
  EXPECT_FALSE(removal->status.has_value());
  // The entry that follows came with a commit index.
  const uint64_t next = core_->status().last_index;
  ASSERT_EQ(next, change + 1);
  Acknowledge(kSecond, next);
  Settle();
  ASSERT_TRUE(removal->status.has_value());
  EXPECT_TRUE(removal->status->ok()) << *removal->status;
  // And there the matter rests.
  Settle();
  EXPECT_EQ(core_->status().last_index, next);
}

TEST_F(ChangeTest, IsNotCertainWhenLeadershipIsLostBeforeThat) {
  LeadThree();
  const auto removal = Change(MembershipChange::Kind::kRemove, kThird);
  Settle();
  Acknowledge(kSecond, core_->status().last_index);
  Settle();
  ASSERT_FALSE(removal->status.has_value());
  Message heartbeat;
  heartbeat.type = MessageType::kHeartbeat;
  heartbeat.from = kSecond;
  heartbeat.to = self_;
  heartbeat.term = core_->leading() + 1;
  ASSERT_TRUE(core_->OnMessage(std::move(heartbeat)).ok());
  Settle();
  ASSERT_TRUE(removal->status.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*removal->status)) << *removal->status;
}

// From two voters to one: it would wait for the other's vote after a restart,
// did it not know by then that the removal is committed.
TEST_F(ChangeTest, ThatLeavesOneVoterIsDoneWhenItsDiskSaysThatItIsCommitted) {
  Lead();
  AddVoter(kSecond);
  const auto removal = Change(MembershipChange::Kind::kRemove, kSecond);
  Settle();
  const uint64_t change = core_->status().last_index;
  Acknowledge(kSecond, change);
  while (core_->status().membership.contains(kSecond)) {
    ASSERT_FALSE(removal->status.has_value());
    Pump();
    ASSERT_TRUE(core_->OnDelivered(delivered_).ok());
  }
  EXPECT_FALSE(removal->status.has_value());
  Settle();
  ASSERT_TRUE(removal->status.has_value());
  EXPECT_TRUE(removal->status->ok()) << *removal->status;
  EXPECT_GE(storage_->store.log->hard_state().commit, change);
  EXPECT_EQ(core_->status().last_index, change + 1);
}

TEST_F(ChangeTest, OfALeaderThatIsOneOfTwoIsRefused) {
  Lead();
  AddVoter(kSecond);
  const uint64_t before = core_->status().last_index;
  for (const auto kind :
       {MembershipChange::Kind::kRemove, MembershipChange::Kind::kAddLearner}) {
    const auto removal = Change(kind, self_);
    Settle();
    ASSERT_TRUE(removal->status.has_value());
    EXPECT_TRUE(absl::IsFailedPrecondition(*removal->status));
  }
  EXPECT_EQ(core_->status().last_index, before);
}

TEST_F(ChangeTest, NeedsNobodyElseInAGroupOfOne) {
  Lead();
  const uint64_t before = core_->status().last_index;
  const auto learner = Change(MembershipChange::Kind::kAddLearner, kSecond);
  Settle();
  ASSERT_TRUE(learner->status.has_value());
  EXPECT_TRUE(learner->status->ok());
  EXPECT_EQ(core_->status().last_index, before + 1);
}

TEST_F(ChangeTest, OfTheLeaderItselfIsDoneWhenItIsApplied) {
  LeadThree();
  const auto removal = Change(MembershipChange::Kind::kRemove, self_);
  Settle();
  Acknowledge(kSecond, core_->status().last_index);
  Acknowledge(kThird, core_->status().last_index);
  Settle();
  ASSERT_TRUE(removal->status.has_value());
  EXPECT_TRUE(removal->status->ok()) << *removal->status;
  EXPECT_EQ(core_->leading(), 0u);
}

// -------------------------------------------------------------- commit index

class CommitIndexTest : public ChangeTest {
 protected:
  void Propose(const std::string& payload) {
    core_->Propose(core_->leading(), {payload});
  }
  // Takes effects, makes writes durable, reports deliveries; returns what was
  // sent to `node`.
  std::vector<Message> SentTo(NodeId node) {
    std::vector<Message> sent;
    for (int i = 0; i < 5; ++i) {
      for (Message& message : Pump().send) {
        if (message.to == node) sent.push_back(std::move(message));
      }
      Durable();
      EXPECT_TRUE(core_->OnDelivered(delivered_).ok());
    }
    return sent;
  }
};

TEST_F(CommitIndexTest, GoesWithTheNextEntries) {
  LeadThree();
  Propose("one");
  ASSERT_EQ(SentTo(kSecond).size(), 1u);
  const uint64_t first = core_->status().last_index;
  Acknowledge(kSecond, first);
  Acknowledge(kThird, first);
  EXPECT_TRUE(SentTo(kSecond).empty());
  ASSERT_EQ(core_->status().commit_index, first);
  Propose("two");
  const std::vector<Message> sent = SentTo(kSecond);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].entries.size(), 1u);
  EXPECT_EQ(sent[0].commit, first);
  // And is not said twice.
  ASSERT_TRUE(core_->Tick().ok());
  for (const Message& message : SentTo(kSecond)) {
    EXPECT_NE(message.type, MessageType::kAppend);
  }
}

TEST_F(CommitIndexTest, GoesAloneAtTheNextTick) {
  LeadThree();
  Propose("one");
  SentTo(kSecond);
  const uint64_t first = core_->status().last_index;
  Acknowledge(kSecond, first);
  EXPECT_TRUE(SentTo(kThird).empty());
  ASSERT_TRUE(core_->Tick().ok());
  // The third has not answered, so no heartbeat may tell it.
  std::vector<Message> appends = SentTo(kThird);
  std::erase_if(appends, [](const Message& message) {
    return message.type != MessageType::kAppend;
  });
  ASSERT_EQ(appends.size(), 1u);
  EXPECT_TRUE(appends[0].entries.empty());
  EXPECT_EQ(appends[0].commit, first);
}

// Who leaves takes the word with it otherwise: the others would need its vote.
TEST_F(CommitIndexTest, GoesBeforeALeaderThatRemovedItselfStepsDown) {
  LeadThree();
  Change(MembershipChange::Kind::kRemove, self_);
  SentTo(kSecond);
  const uint64_t change = core_->status().last_index;
  Acknowledge(kSecond, change);
  Acknowledge(kThird, change);
  const std::vector<Message> sent = SentTo(kSecond);
  ASSERT_EQ(core_->leading(), 0u);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].commit, change);
}

}  // namespace
}  // namespace millrace::raft
