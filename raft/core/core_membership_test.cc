// Members that come and go. Some of the situations are those of etcd-raft's
// tests, told anew.
#include <gtest/gtest.h>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

using Kind = MembershipChange::Kind;

absl::StatusCode Change(TestMember& member, Kind kind, NodeId node,
                        const std::string& address = "") {
  return member.core().ProposeMembership({kind, node, address}).status().code();
}
constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;

LogEntry MakeChange(uint64_t index, uint64_t term, Kind kind, NodeId node) {
  return {index, term, kMembershipEntry,
          EncodeMembershipChange({kind, node, ""})};
}

// Leads a group of two in term 1; its first entry is committed and applied.
TestMember MakeSettledLeader() {
  TestMember leader(PlainConfig(1), 2);
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  leader.Take();
  return leader;
}

TEST(MembershipTest, AMemberJoinsAsLearnerBecomesVoterAndLeaves) {
  TestGroup group(3);
  group.Elect(1);
  ASSERT_EQ(Change(group[1], Kind::kAddLearner, 4, "here:1"), kOk);
  group.Run();
  // Who the founders were is in no entry: a new member needs a snapshot.
  group[1].log().DropThrough(group[1].commit());
  group.Add(4);
  group.Tick(1, 2);
  for (NodeId id = 1; id <= 4; ++id) {
    EXPECT_EQ(group[id].status().membership.at(4), (Member{false, "here:1"}));
  }
  ASSERT_EQ(Change(group[1], Kind::kAddVoter, 4), kOk);
  group.Run();
  EXPECT_EQ(group[4].status().membership.at(4), (Member{true, "here:1"}));
  // Of four, two are no majority.
  group.Isolate(3);
  group.Cut(1, 4);
  group.Propose(1);
  const uint64_t commit = group[1].commit();
  group.Propose(1);
  EXPECT_EQ(group[1].commit(), commit);
  group.Heal();
  group.Tick(1, 2);
  EXPECT_GT(group[1].commit(), commit);
  ASSERT_EQ(Change(group[1], Kind::kRemove, 3), kOk);
  group.Run();
  EXPECT_FALSE(group[1].status().membership.contains(3));
  EXPECT_FALSE(group[1].status().progress.contains(3));
  group.Propose(1);
  EXPECT_EQ(group[4].commit(), group[1].commit());
}

TEST(MembershipTest, ChangesThatMakeNoSenseAreRefused) {
  TestMember leader = MakeSettledLeader();
  EXPECT_EQ(Change(leader, Kind::kAddVoter, kNobody),
            absl::StatusCode::kInvalidArgument);
  TestGroup one(1);
  one.Elect(1);
  EXPECT_EQ(Change(one[1], Kind::kRemove, 1),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Change(one[1], Kind::kAddLearner, 1),
            absl::StatusCode::kInvalidArgument);
  TestMember follower(PlainConfig(1), 2);
  EXPECT_EQ(Change(follower, Kind::kAddVoter, 3), kRefused);
}

TEST(MembershipTest, OneChangeAtATime) {
  TestMember leader = MakeSettledLeader();
  leader.set_apply(false);
  ASSERT_EQ(Change(leader, Kind::kAddLearner, 3), kOk);
  EXPECT_EQ(Change(leader, Kind::kAddLearner, 4), kRefused);
  leader.Take();
  // Committed is not enough.
  leader.Step(MakeAcknowledgement(2, 1, 1, 2));
  leader.Take();
  ASSERT_EQ(leader.commit(), 2u);
  EXPECT_EQ(Change(leader, Kind::kAddLearner, 4), kRefused);
  leader.ApplyNow();
  EXPECT_EQ(Change(leader, Kind::kAddLearner, 4), kOk);
}

// Else two leaders can each commit a change that the other does not know, and
// their majorities do not meet (the single-server bug of 2015).
TEST(MembershipTest, NotBeforeAnEntryOfTheLeadersTermIsCommitted) {
  TestMember leader(
      PlainConfig(1),
      {{1, kNobody, 1}, VotersUpTo(2), MemoryLog(std::vector<uint64_t>{1})});
  leader.Take();  // Everything before is applied.
  leader.BecomeLeader();
  leader.Take();
  EXPECT_EQ(Change(leader, Kind::kAddLearner, 3), kRefused);
  leader.Step(MakeAcknowledgement(2, 1, 2, 2));
  leader.Take();
  EXPECT_EQ(Change(leader, Kind::kAddLearner, 3), kOk);
}

TEST(MembershipTest, NotBeforeWhatTheLeaderFoundInItsLogIsApplied) {
  for (const bool change : {false, true}) {
    MemoryLog log(std::vector<uint64_t>{1});
    LogWrite write;
    write.entries = {change ? MakeChange(2, 1, Kind::kAddLearner, 3)
                            : LogEntry{2, 1, kNormalEntry, "x"}};
    log.Write(write);
    TestMember leader(PlainConfig(1), {{1, kNobody, 1}, VotersUpTo(2), log});
    leader.BecomeLeader();
    leader.set_apply(false);
    leader.Take();
    leader.Step(MakeAcknowledgement(2, 1, 2, 3));
    leader.Take();
    ASSERT_EQ(leader.commit(), 3u);
    EXPECT_EQ(Change(leader, Kind::kAddLearner, 4), kRefused);
    leader.ApplyNow();
    EXPECT_EQ(Change(leader, Kind::kAddLearner, 4), kOk);
  }
}

TEST(MembershipTest, OfFewerVotersTheMajorityMayBeThereAlready) {
  TestMember leader = MakeSettledLeader();
  ASSERT_EQ(Change(leader, Kind::kRemove, 2), kOk);
  ASSERT_TRUE(leader.core().Propose({"hello"}).ok());
  leader.Take();
  EXPECT_EQ(leader.commit(), 1u);
  leader.Step(MakeAcknowledgement(2, 1, 1, 2));
  leader.Take();
  EXPECT_EQ(leader.commit(), 3u);
  EXPECT_EQ(leader.AppliedPayloads(), std::vector<std::string>{"hello"});
}

TEST(MembershipTest, ANewMemberIsSentToAtOnceAndCountedAsHeard) {
  CoreConfig config = PlainConfig(1);
  config.check_quorum = true;
  TestMember leader(config, 1);
  leader.BecomeLeader();
  leader.Take();
  ASSERT_EQ(Change(leader, Kind::kAddVoter, 2), kOk);
  std::vector<Message> sent = leader.Take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].type, MessageType::kAppend);
  EXPECT_EQ(sent[0].to, 2u);
  EXPECT_TRUE(leader.progress(2).recently_active);
  // The next check of the quorum does not miss it, the one after does.
  leader.Tick(10);
  EXPECT_EQ(leader.role(), Role::kLeader);
  leader.Tick(10);
  EXPECT_EQ(leader.role(), Role::kFollower);
}

TEST(MembershipTest, ALeaderThatIsRemovedOrDemotedStepsDownWhenItApplies) {
  for (const Kind kind : {Kind::kRemove, Kind::kAddLearner}) {
    TestGroup group(3);
    group.Elect(1);
    ASSERT_EQ(Change(group[1], kind, 1), kOk);
    EXPECT_EQ(group[1].role(), Role::kLeader);
    group.Run();
    EXPECT_EQ(group[1].role(), Role::kFollower);
    EXPECT_EQ(group[1].status().soft_state.leader, kNobody);
    EXPECT_EQ(group[1].core().Propose({"x"}).status().code(), kRefused);
    // It never stands again; the others do.
    group[1].Tick(100);
    EXPECT_EQ(group[1].role(), Role::kFollower);
    group.TickAll(45);
    EXPECT_NE(group.Leader(), 1u);
    EXPECT_NE(group.Leader(), kNobody);
  }
}

TEST(MembershipTest, WhoIsRemovedHearsNothingMoreAndDisturbsNobody) {
  TestGroup group(3, [](CoreConfig& c) {
    c.pre_vote = true;
    c.check_quorum = true;
  });
  group.Elect(1);
  // It does not learn of it.
  group.Isolate(3);
  ASSERT_EQ(Change(group[1], Kind::kRemove, 3), kOk);
  group.Run();
  group.Heal();
  group[3].Tick(60);
  group.TickAll(60);
  EXPECT_EQ(group.Leader(), 1u);
  EXPECT_EQ(group[1].term(), 1u);
  EXPECT_EQ(group[3].term(), 1u);
}

TEST(MembershipTest, AnAddressAloneCanChange) {
  TestGroup group(3);
  group.Elect(1);
  ASSERT_EQ(Change(group[1], Kind::kUpdate, 2, "there:2"), kOk);
  group.Run();
  for (NodeId id = 1; id <= 3; ++id) {
    EXPECT_EQ(group[id].status().membership.at(2), (Member{true, "there:2"}));
  }
}

// ------------------------------------------------------------------- elections

// A member that counted votes by an old membership could be elected by a
// majority that does not meet the present one.
TEST(MembershipTest, NobodyCampaignsWithACommittedChangeNotApplied) {
  TestGroup group(3);
  group.Elect(1);
  group[2].set_apply(false);
  ASSERT_EQ(Change(group[1], Kind::kRemove, 3), kOk);
  group.Run();
  ASSERT_EQ(group[2].commit(), 2u);
  EXPECT_EQ(group[2].core().Campaign().code(), kRefused);
  group[2].Tick(50);
  EXPECT_EQ(group[2].role(), Role::kFollower);
  // Nor when leadership is handed over.
  ASSERT_TRUE(group[1].core().TransferLeadership(2).ok());
  group.Run();
  EXPECT_EQ(group.Leader(), 1u);
  group.Tick(1, 10);
  group[2].ApplyNow();
  ASSERT_TRUE(group[1].core().TransferLeadership(2).ok());
  group.Run();
  EXPECT_EQ(group.Leader(), 2u);
}

TEST(MembershipTest, OtherEntriesThatAreNotAppliedDoNotMatter) {
  TestGroup group(3);
  group.Elect(1);
  group[2].set_apply(false);
  group.Propose(1);
  EXPECT_TRUE(group[2].core().Campaign().ok());
}

// A crash may keep entries and lose the hard state that said how far they are
// committed. Of two changes the first is committed, since the leader had
// applied it when it appended the second.
TEST(MembershipTest, ALogWithTwoChangesImpliesThatTheFirstIsCommitted) {
  MemoryLog log(std::vector<uint64_t>{1});
  LogWrite write;
  write.entries = {MakeChange(2, 1, Kind::kAddLearner, 4),
                   {3, 1, kNormalEntry, "x"},
                   MakeChange(4, 1, Kind::kAddVoter, 4)};
  log.Write(write);
  TestMember member(PlainConfig(1), {{1, kNobody, 0}, VotersUpTo(3), log});
  EXPECT_EQ(member.commit(), 2u);
  EXPECT_EQ(member.core().Campaign().code(), kRefused);
  member.Take();
  EXPECT_TRUE(member.status().membership.contains(4));
  EXPECT_TRUE(member.core().Campaign().ok());
  // One change alone says nothing.
  write.entries.pop_back();
  MemoryLog one(std::vector<uint64_t>{1});
  one.Write(write);
  TestMember other(PlainConfig(1), {{1, kNobody, 0}, VotersUpTo(3), one});
  EXPECT_EQ(other.commit(), 0u);
}

TEST(MembershipTest, ARestartAppliesTheSameChangesAgain) {
  TestGroup group(3);
  group.Elect(1);
  ASSERT_EQ(Change(group[1], Kind::kAddLearner, 4), kOk);
  group.Run();
  const Membership after = group[2].status().membership;
  group[2].Restart(VotersUpTo(3));
  EXPECT_EQ(group[2].status().membership, VotersUpTo(3));
  group.Run();
  EXPECT_EQ(group[2].status().membership, after);
}

TEST(MembershipTest, AChangeThatLeavesNoVoterIsAnErrorOfWhoAppliesIt) {
  TestMember member(PlainConfig(1), 1);
  EXPECT_EQ(member.core().ApplyMembership({Kind::kRemove, 1, ""}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(member.core().ApplyMembership({}).ok());
}

}  // namespace
}  // namespace millrace::raft
