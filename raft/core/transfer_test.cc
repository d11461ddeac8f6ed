// Leadership that is handed over: on request, and because a disk does not come
// back. Many of the situations are those of etcd-raft's tests, told anew.
#include <gtest/gtest.h>

#include <algorithm>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

absl::Status Transfer(TestGroup& group, NodeId from, NodeId to) {
  const absl::Status status = group[from].core().TransferLeadership(to);
  group.Run();
  return status;
}

NodeId Transferee(TestGroup& group) { return group[1].status().transferee; }

// Three members, of which 1 leads and 3 cannot be reached.
TestGroup MakeGroupWithoutThird() {
  TestGroup group(3);
  group.Elect(1);
  group.Isolate(3);
  return group;
}

TEST(TransferTest, AnUpToDateMemberTakesOverAndGivesBack) {
  for (const bool check_quorum : {false, true}) {
    TestGroup group(3, [&](CoreConfig& c) {
      c.check_quorum = check_quorum;
      c.pre_vote = true;
    });
    group.Elect(1);
    ASSERT_TRUE(Transfer(group, 1, 2).ok());
    EXPECT_EQ(group.Leader(), 2u);
    EXPECT_EQ(group[1].role(), Role::kFollower);
    group.Propose(2);
    ASSERT_TRUE(Transfer(group, 2, 1).ok());
    EXPECT_EQ(group.Leader(), 1u);
    EXPECT_EQ(group[1].term(), 3u);
    EXPECT_EQ(Transferee(group), kNobody);
  }
}

TEST(TransferTest, OnlyALeaderHandsOverAndOnlyToAVoter) {
  Membership membership = VotersUpTo(3);
  membership[4].voter = false;
  TestGroup group(membership, {});
  group.Elect(1);
  EXPECT_EQ(Transfer(group, 2, 1).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Transfer(group, 1, 4).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Transfer(group, 1, 9).code(), absl::StatusCode::kInvalidArgument);
  // To itself there is nothing to hand over.
  EXPECT_TRUE(Transfer(group, 1, 1).ok());
  EXPECT_EQ(group.Leader(), 1u);
  EXPECT_EQ(Transferee(group), kNobody);
}

TEST(TransferTest, AMemberThatIsBehindIsBroughtUpFirst) {
  TestGroup group = MakeGroupWithoutThird();
  group.Propose(1);
  group.Heal();
  ASSERT_EQ(group[1].progress(3).match, 1u);
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  EXPECT_EQ(group.Leader(), 3u);
}

TEST(TransferTest, BeItByASnapshot) {
  TestGroup group = MakeGroupWithoutThird();
  group.Propose(1);
  group[1].log().DropThrough(group[1].commit());
  group.Heal();
  std::vector<Message> held_back;
  group.Lose([&](const Message& message) {
    if (message.type != MessageType::kAppendResponse || message.from != 3 ||
        message.rejected) {
      return false;
    }
    held_back.push_back(message);
    return true;
  });
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  EXPECT_EQ(group.Leader(), 1u);
  ASSERT_FALSE(held_back.empty());
  group.Heal();
  group.Send({held_back.front()});
  EXPECT_EQ(group.Leader(), 3u);
}

TEST(TransferTest, EndsAfterAnElectionTimeout) {
  TestGroup group = MakeGroupWithoutThird();
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  group.Tick(1, 9);
  EXPECT_EQ(Transferee(group), 3u);
  group.Tick(1, 1);
  EXPECT_EQ(Transferee(group), kNobody);
  EXPECT_EQ(group.Leader(), 1u);
  group.Propose(1);
}

TEST(TransferTest, ProposalsAreRefusedMeanwhile) {
  TestGroup group = MakeGroupWithoutThird();
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  EXPECT_EQ(group[1].core().Propose({"x"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(group[1]
                .core()
                .ProposeMembership({MembershipChange::Kind::kRemove, 3, ""})
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(group[1].last_index(), 1u);
}

TEST(TransferTest, AnotherElectionEndsIt) {
  TestGroup group = MakeGroupWithoutThird();
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  group.Campaign(2);
  EXPECT_EQ(group.Leader(), 2u);
  EXPECT_EQ(group[1].role(), Role::kFollower);
  EXPECT_EQ(Transferee(group), kNobody);
}

TEST(TransferTest, EndsWithTheVoteOfWhoWasToTakeOver) {
  for (const auto kind :
       {MembershipChange::Kind::kRemove, MembershipChange::Kind::kAddLearner}) {
    TestGroup group(3);
    group.Elect(1);
    group.Ignore(MessageType::kTimeoutNow);
    ASSERT_TRUE(Transfer(group, 1, 3).ok());
    ASSERT_EQ(Transferee(group), 3u);
    ASSERT_TRUE(group[1].core().ApplyMembership({kind, 3, ""}).ok());
    EXPECT_EQ(Transferee(group), kNobody);
    EXPECT_EQ(group.Leader(), 1u);
  }
}

TEST(TransferTest, ASecondOneReplacesTheFirst) {
  TestGroup group = MakeGroupWithoutThird();
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  ASSERT_TRUE(Transfer(group, 1, 2).ok());
  EXPECT_EQ(group.Leader(), 2u);
  // Back to oneself: it is called off.
  TestGroup other = MakeGroupWithoutThird();
  ASSERT_TRUE(Transfer(other, 1, 3).ok());
  ASSERT_TRUE(Transfer(other, 1, 1).ok());
  EXPECT_EQ(Transferee(other), kNobody);
  EXPECT_EQ(other.Leader(), 1u);
}

TEST(TransferTest, TheSameOneAgainDoesNotProlongIt) {
  TestGroup group = MakeGroupWithoutThird();
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  group.Tick(1, 5);
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  group.Tick(1, 5);
  EXPECT_EQ(Transferee(group), kNobody);
}

TEST(TransferTest, ItWaitsUntilTheMemberHasEverything) {
  TestMember leader(PlainConfig(1), 2);
  leader.BecomeLeader();
  ASSERT_TRUE(leader.core().Propose({"a", "b"}).ok());
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  leader.Take();
  ASSERT_TRUE(leader.core().TransferLeadership(2).ok());
  const auto hands_over = [&](uint64_t acknowledged) {
    leader.Step(MakeAcknowledgement(2, 1, 1, acknowledged));
    const std::vector<Message> sent = leader.Take();
    return std::any_of(sent.begin(), sent.end(), [](const Message& message) {
      return message.type == MessageType::kTimeoutNow;
    });
  };
  EXPECT_FALSE(hands_over(2));
  EXPECT_TRUE(hands_over(3));
}

TEST(TransferTest, AChangeOfOthersDoesNotEndIt) {
  TestGroup group = MakeGroupWithoutThird();
  ASSERT_TRUE(Transfer(group, 1, 3).ok());
  ASSERT_TRUE(group[1]
                  .core()
                  .ApplyMembership({MembershipChange::Kind::kAddLearner, 4, ""})
                  .ok());
  EXPECT_EQ(Transferee(group), 3u);
}

TEST(TransferTest, WhoIsNoMemberDoesNotTakeOver) {
  TestMember stranger(
      PlainConfig(1),
      {{}, {{2, {true, ""}}, {3, {true, ""}}, {4, {true, ""}}}, {}});
  stranger.Step(MakeMessage(MessageType::kTimeoutNow, 2, 1, 1));
  stranger.Step(MakeMessage(MessageType::kVoteResponse, 2, 1, 1));
  stranger.Step(MakeMessage(MessageType::kVoteResponse, 3, 1, 1));
  EXPECT_EQ(stranger.role(), Role::kFollower);
}

TEST(TransferTest, ACandidateIgnoresIt) {
  TestMember member(PlainConfig(1), 3);
  ASSERT_TRUE(member.core().Campaign().ok());
  member.Step(MakeMessage(MessageType::kTimeoutNow, 2, 1, 1));
  EXPECT_EQ(member.term(), 1u);
  EXPECT_EQ(member.role(), Role::kCandidate);
}

// ----------------------------------------------------------- a disk that hangs

CoreConfig ConfigThatHandsOver() {
  CoreConfig config = PlainConfig(1);
  config.stuck_write_ticks = 20;
  return config;
}

TEST(StuckDiskTest, LeadershipGoesToTheMemberThatHasMost) {
  TestMember leader(ConfigThatHandsOver(), 4);
  leader.BecomeLeader();
  leader.Take();
  ASSERT_TRUE(leader.core().Propose({"x"}).ok());
  leader.TakeUnsynced();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  leader.Step(MakeAcknowledgement(3, 1, 1, 2));
  leader.TakeUnsynced();
  leader.Tick(19);
  EXPECT_EQ(leader.status().transferee, kNobody);
  leader.TakeUnsynced();
  leader.Tick();
  EXPECT_EQ(leader.status().transferee, 3u);
  const std::vector<Message> sent = leader.TakeUnsynced();
  EXPECT_NE(std::find(sent.begin(), sent.end(),
                      MakeMessage(MessageType::kTimeoutNow, 1, 3, 1)),
            sent.end());
  // The disk came back, nothing else did: it goes on.
  leader.Sync();
  leader.Tick(10);
  EXPECT_EQ(leader.status().transferee, kNobody);
  leader.Take();
  leader.Tick(100);
  EXPECT_EQ(leader.status().transferee, kNobody);
}

TEST(StuckDiskTest, ALearnerDoesNotTakeOverAndTheFirstOfEqualsDoes) {
  Membership membership = VotersUpTo(3);
  membership[4].voter = false;
  TestMember leader(ConfigThatHandsOver(), {{}, membership, {}});
  leader.BecomeLeader();
  leader.Take();
  for (const NodeId id : {2u, 3u})
    leader.Step(MakeAcknowledgement(id, 1, 1, 1));
  ASSERT_TRUE(leader.core().Propose({"x"}).ok());
  leader.TakeUnsynced();
  leader.Step(MakeAcknowledgement(4, 1, 1, 2));
  leader.Tick(25);
  EXPECT_EQ(leader.status().transferee, 2u);
}

TEST(StuckDiskTest, ItIsTriedAgainUntilSomebodyAnswers) {
  TestMember leader(ConfigThatHandsOver(), 3);
  leader.BecomeLeader();
  leader.TakeUnsynced();
  leader.Tick(60);
  // Nobody has been heard.
  EXPECT_EQ(leader.status().transferee, kNobody);
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
  leader.Tick();
  EXPECT_EQ(leader.status().transferee, 2u);
}

TEST(StuckDiskTest, AGroupOfOneAndALeaderThatMayNotGoOn) {
  TestMember alone(ConfigThatHandsOver(), 1);
  alone.BecomeLeader();
  alone.TakeUnsynced();
  alone.Tick(100);
  EXPECT_EQ(alone.role(), Role::kLeader);
  TestMember never(PlainConfig(1), 3);
  never.BecomeLeader();
  never.TakeUnsynced();
  never.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
  never.Tick(100);
  EXPECT_EQ(never.status().transferee, kNobody);
}

}  // namespace
}  // namespace millrace::raft
