// A change of the membership is committed, and not all know of it: how a group
// gets out of that when the leader, who knew, is gone. What votes say of the
// commit index is what it takes (docs/design/007-raft-core.md).
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

LogEntry AddsVoter(uint64_t index, NodeId node) {
  return {
      index, 1, kMembershipEntry,
      EncodeMembershipChange({MembershipChange::Kind::kAddVoter, node, ""})};
}

// Entry 1, the change, and what follows it, as far as `last`.
MemoryLog LogWithChange(uint64_t last, NodeId voter) {
  MemoryLog log;
  LogWrite write;
  write.entries = {{1, 1, kNormalEntry, "a"},
                   AddsVoter(2, voter),
                   {3, 1, kNormalEntry, "b"}};
  write.entries.resize(last);
  log.Write(write);
  return log;
}

class UnknownChangeTest : public testing::TestWithParam<bool> {
 protected:
  // Who leads, sooner or later.
  NodeId LeaderOf(TestGroup& group) {
    group.Run();
    // Without pre-votes those who cannot win disturb the one who can.
    for (int i = 0; i < 1000 && group.Leader() == kNobody; ++i) {
      group.TickAll(1);
    }
    return group.Leader();
  }
  TestGroup MakeGroup(const Membership& membership,
                      std::map<NodeId, TestMember::Start> start) {
    return TestGroup(
        membership,
        [](CoreConfig& c) { c.pre_vote = c.check_quorum = GetParam(); },
        std::move(start));
  }
};

// The only voter made member 2 one, sent it an entry and lost that. It needs
// the vote of member 2, whose log is longer, and which does not know that it is
// a voter.
TEST_P(UnknownChangeTest, OneVoterBecameTwo) {
  Membership before = VotersUpTo(1);
  before.try_emplace(2);
  TestGroup group =
      MakeGroup(before, {{1, {{1, 1, 2}, before, LogWithChange(2, 2)}},
                         {2, {{1, kNobody, 0}, before, LogWithChange(3, 2)}}});
  EXPECT_EQ(LeaderOf(group), 2u);
  group.Propose(2);
  EXPECT_EQ(group[1].status().membership, VotersUpTo(2));
  EXPECT_EQ(group[1].commit(), group[2].commit());
}

// The leader of three made member 4 a voter and is gone; member 2 alone heard
// that it is one.
TEST_P(UnknownChangeTest, ThreeBecameFourAndTheLeaderIsGone) {
  Membership before = VotersUpTo(3);
  before.try_emplace(4);
  TestGroup group =
      MakeGroup(before, {{1, {{1, 1, 2}, before, LogWithChange(3, 4)}},
                         {2, {{1, 1, 2}, before, LogWithChange(2, 4)}},
                         {3, {{1, 1, 1}, before, LogWithChange(1, 4)}},
                         {4, {{1, kNobody, 1}, before, LogWithChange(3, 4)}}});
  group.Isolate(1);
  EXPECT_EQ(LeaderOf(group), 4u);
  group.Propose(4);
  EXPECT_EQ(group[3].status().membership, VotersUpTo(4));
}

// A candidate that hears of one while votes are on their way: those would be
// counted by the old membership.
TEST_P(UnknownChangeTest, ACandidateThatHearsOfOneCountsNoMoreVotes) {
  Membership before = VotersUpTo(3);
  CoreConfig config = PlainConfig(1);
  config.pre_vote = GetParam();
  TestMember member(config, {{1, kNobody, 1}, before, LogWithChange(2, 4)});
  member.Take();
  member.set_apply(false);
  ASSERT_TRUE(member.core().Campaign().ok());
  member.Take();
  const bool pre = GetParam();
  Message answer = MakeMessage(
      pre ? MessageType::kPreVoteResponse : MessageType::kVoteResponse, 2, 1,
      pre ? 1 : 2);
  answer.rejected = true;
  answer.hint = {1, 2};
  member.Step(answer);
  member.Take();
  EXPECT_EQ(member.role(), Role::kFollower);
  EXPECT_EQ(member.commit(), 2u);
  answer.from = 3;
  answer.rejected = false;
  answer.term = 2;
  member.Step(answer);
  EXPECT_EQ(member.role(), Role::kFollower);
  member.ApplyNow();
  EXPECT_EQ(member.status().membership, VotersUpTo(4));
}

INSTANTIATE_TEST_SUITE_P(All, UnknownChangeTest, testing::Bool(),
                         [](const auto& pre_vote) {
                           return pre_vote.param ? "PreVote" : "Plain";
                         });

// What one says is committed is believed of an entry that this log has, too.
TEST(VotesTest, AnotherEntryIsNotCommittedByAVote) {
  TestMember member(
      PlainConfig(1),
      {{2, kNobody, 0}, VotersUpTo(3), MemoryLog(std::vector<uint64_t>{1, 2})});
  Message request = MakeMessage(MessageType::kVote, 2, 1, 3);
  request.prev = {1, 2};
  for (const EntryId& other : {EntryId{1, 2}, EntryId{2, 3}, EntryId{0, 1}}) {
    request.hint = other;
    member.Step(request);
    member.Take();
    EXPECT_EQ(member.commit(), 0u);
  }
  request.hint = {1, 1};
  member.Step(request);
  EXPECT_EQ(member.commit(), 1u);
}

}  // namespace
}  // namespace millrace::raft
