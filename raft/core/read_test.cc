// Linearizable reads through a leader. Some of the situations are those of
// etcd-raft's tests, told anew.
#include <gtest/gtest.h>

#include "raft/core/read_queue.h"
#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

// Of what TakeReads returns: {id, index}, and 0 for one that failed.
std::vector<std::pair<uint64_t, uint64_t>> Answers(TestMember& member) {
  std::vector<std::pair<uint64_t, uint64_t>> answers;
  for (const ReadState& read : member.TakeReads()) {
    answers.emplace_back(read.id, read.index.value_or(0));
  }
  return answers;
}
using Expected = std::vector<std::pair<uint64_t, uint64_t>>;

TEST(ReadTest, IsAnsweredWithTheCommitIndexOfItsMoment) {
  TestGroup group(3);
  group.Elect(1);
  for (uint64_t round = 1; round <= 6; ++round) {
    for (int i = 0; i < 10; ++i) group.Propose(1);
    ASSERT_TRUE(group[1].core().ReadIndex(round).ok());
    group.Run();
    EXPECT_EQ(Answers(group[1]), (Expected{{round, 1 + 10 * round}}));
  }
}

TEST(ReadTest, FollowersAnswerNone) {
  TestGroup group(3);
  group.Elect(1);
  EXPECT_EQ(group[2].core().ReadIndex(1).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ReadTest, AGroupOfOneAnswersAtOnce) {
  TestGroup group({{1, {true, ""}}, {2, {false, ""}}}, {});
  group.Elect(1);
  group.Propose(1);
  group.Isolate(2);
  ASSERT_TRUE(group[1].core().ReadIndex(7).ok());
  group[1].TakeUnsynced();
  EXPECT_EQ(Answers(group[1]), (Expected{{7, 2}}));
}

// It does not know yet what earlier leaders have committed, be it alone.
TEST(ReadTest, ANewLeaderAnswersWhenItHasCommittedInItsTerm) {
  for (const NodeId voters : {1u, 3u}) {
    // Member 1 does not know that entry 2 is committed.
    TestMember leader(PlainConfig(1), {{1, kNobody, 1},
                                       VotersUpTo(voters),
                                       MemoryLog(std::vector<uint64_t>{1, 1})});
    if (voters > 1) {
      leader.BecomeLeader();
      leader.Take();
      ASSERT_TRUE(leader.core().ReadIndex(7).ok());
      EXPECT_TRUE(leader.Take().empty());
      leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 2));
      leader.Take();
      EXPECT_EQ(Answers(leader), Expected{});
      leader.Step(MakeAcknowledgement(2, 1, 2, 3));
      leader.Take();
      EXPECT_EQ(Answers(leader), Expected{});
      Message answer = MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 2);
      answer.read_context = 1;
      leader.Step(answer);
      leader.Take();
    } else {
      ASSERT_TRUE(leader.core().Campaign().ok());
      leader.TakeUnsynced();
      leader.Sync(1);  // Its vote.
      ASSERT_EQ(leader.role(), Role::kLeader);
      ASSERT_TRUE(leader.core().ReadIndex(7).ok());
      leader.TakeUnsynced();
      EXPECT_EQ(Answers(leader), Expected{});
      leader.Sync();
    }
    EXPECT_EQ(Answers(leader), (Expected{{7, 3}})) << voters;
    // And at once from then on.
    ASSERT_TRUE(leader.core().ReadIndex(8).ok());
  }
}

TEST(ReadTest, NeedsTheAnswersOfAMajorityOfVoters) {
  Membership membership = VotersUpTo(5);
  membership[6].voter = false;
  TestMember leader(PlainConfig(1), {{}, membership, {}});
  leader.BecomeLeader();
  leader.Take();
  for (NodeId id = 2; id <= 3; ++id) {
    leader.Step(MakeAcknowledgement(id, 1, 1, 1));
  }
  leader.Take();
  ASSERT_TRUE(leader.core().ReadIndex(7).ok());
  std::vector<Message> sent = leader.Take();
  ASSERT_EQ(sent.size(), 5u);
  for (const Message& message : sent) {
    EXPECT_EQ(message.type, MessageType::kHeartbeat);
    EXPECT_EQ(message.read_context, 1u);
  }
  const auto answer = [&](NodeId from, uint64_t context) {
    Message message = MakeMessage(MessageType::kHeartbeatResponse, from, 1, 1);
    message.read_context = context;
    leader.Step(message);
    leader.Take();
  };
  answer(6, 1);  // A learner.
  answer(2, 1);
  answer(2, 1);
  answer(3, 0);  // To a heartbeat from before.
  EXPECT_EQ(Answers(leader), Expected{});
  answer(3, 1);
  EXPECT_EQ(Answers(leader), (Expected{{7, 1}}));
}

TEST(ReadTest, OneRoundOfHeartbeatsServesAllThatWait) {
  TestGroup group(3);
  group.Elect(1);
  for (uint64_t id = 1; id <= 100; ++id) {
    ASSERT_TRUE(group[1].core().ReadIndex(id).ok());
  }
  const std::vector<Message> sent = group[1].Take();
  EXPECT_EQ(sent.size(), 2u);
  group.Send(sent);
  EXPECT_EQ(Answers(group[1]).size(), 100u);
}

TEST(ReadTest, ALostRoundIsMadeUpForByTheNextHeartbeat) {
  TestGroup group(3);
  group.Elect(1);
  group.Isolate(1);
  ASSERT_TRUE(group[1].core().ReadIndex(7).ok());
  group.Run();
  group.Heal();
  EXPECT_EQ(Answers(group[1]), Expected{});
  group.Tick(1, 1);
  EXPECT_EQ(Answers(group[1]), (Expected{{7, 1}}));
}

// A read A is asked, and asked again later; in between the leader has lost its
// place without knowing it, and another has committed more. Old answers must
// not confirm what was asked after they were given.
TEST(ReadTest, OldAnswersDoNotConfirmALaterRead) {
  TestGroup group(3);
  group.Elect(1);
  std::vector<Message> delayed;
  group.Lose([&](const Message& message) {
    if (message.type != MessageType::kHeartbeatResponse) return false;
    delayed.push_back(message);
    return true;
  });
  ASSERT_TRUE(group[1].core().ReadIndex(1).ok());
  group.Run();
  ASSERT_EQ(delayed.size(), 2u);
  group.Heal();
  group.Tick(1, 1);
  EXPECT_EQ(Answers(group[1]), (Expected{{1, 1}}));
  group.Isolate(1);
  group.Elect(2);
  group.Propose(2);
  ASSERT_GT(group[2].commit(), group[1].commit());
  // The same read again, and another.
  ASSERT_TRUE(group[1].core().ReadIndex(1).ok());
  ASSERT_TRUE(group[1].core().ReadIndex(2).ok());
  group.Run();
  for (const Message& message : delayed) group[1].Step(message);
  group.Run();
  EXPECT_EQ(Answers(group[1]), Expected{});
  // It learns of the other leader: they fail.
  group.Heal();
  group.Tick(2, 1);
  EXPECT_EQ(Answers(group[1]), (Expected{{1, 0}, {2, 0}}));
}

TEST(ReadTest, AllThatWaitFailWithTheLeadership) {
  TestMember leader(PlainConfig(1), 3);
  leader.BecomeLeader();
  leader.Take();
  ASSERT_TRUE(leader.core().ReadIndex(1).ok());  // Held.
  leader.Step(MakeMessage(MessageType::kHeartbeat, 2, 1, 2));
  leader.Take();
  EXPECT_EQ(Answers(leader), (Expected{{1, 0}}));
}

TEST(ReadTest, WhenTheGroupBecomesOneWhatWaitsIsAnswered) {
  TestGroup group(2);
  group.Elect(1);
  ASSERT_TRUE(group[1]
                  .core()
                  .ProposeMembership({MembershipChange::Kind::kRemove, 2, ""})
                  .ok());
  group.Send(group[1].Take());
  ASSERT_EQ(group[1].status().membership.size(), 1u);
  // The other way round: the read comes first, the change is applied then.
  TestMember leader(PlainConfig(1), 2);
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  leader.Take();
  ASSERT_TRUE(leader.core()
                  .ProposeMembership({MembershipChange::Kind::kRemove, 2, ""})
                  .ok());
  ASSERT_TRUE(leader.core().ReadIndex(7).ok());
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 2));
  leader.Take();
  EXPECT_EQ(Answers(leader), (Expected{{7, 1}}));
}

TEST(ReadTest, NoMoreThanTheLimitWait) {
  CoreConfig config = PlainConfig(1);
  config.reads_max = 2;
  TestMember leader(config, 3);
  leader.BecomeLeader();
  ASSERT_TRUE(leader.core().ReadIndex(1).ok());
  ASSERT_TRUE(leader.core().ReadIndex(2).ok());
  EXPECT_EQ(leader.core().ReadIndex(3).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ReadQueueTest, AnswersBeyondWhatWasAskedCountForNoMore) {
  ReadQueue reads;
  reads.Acknowledge(2, 100);
  reads.Ask(1, 5);
  EXPECT_TRUE(reads.TakeConfirmed(VotersUpTo(3), 1).empty());
  EXPECT_EQ(reads.round(), 1u);
  reads.Acknowledge(2, 1);
  EXPECT_EQ(reads.TakeConfirmed(VotersUpTo(3), 1).size(), 1u);
  EXPECT_EQ(reads.round(), 0u);
  EXPECT_EQ(reads.size(), 0u);
}

TEST(ReadQueueTest, WithoutVotersNothingIsConfirmed) {
  ReadQueue reads;
  reads.Ask(1, 5);
  EXPECT_TRUE(reads.TakeConfirmed({}, 1).empty());
  EXPECT_EQ(reads.TakeFailed().size(), 1u);
}

}  // namespace
}  // namespace millrace::raft
