// How much a leader has under way: to one member, and in its own log. Many of
// the situations are those of etcd-raft's tests, told anew.
#include <gtest/gtest.h>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

using State = ProgressStatus::State;
constexpr int kWindow = 16;

// A leader of two that has found where member 2 is.
TestMember MakeReplicatingLeader(CoreConfig config) {
  TestMember leader(config, 2);
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  leader.Take();
  EXPECT_EQ(leader.progress(2).state, State::kReplicate);
  return leader;
}

TestMember MakeReplicatingLeader() {
  CoreConfig config = PlainConfig(1);
  config.inflight_messages_max = kWindow;
  return MakeReplicatingLeader(config);
}

std::vector<Message> ProposeOne(TestMember& leader,
                                const std::string& payload = "data") {
  EXPECT_TRUE(leader.core().Propose({payload}).ok());
  return leader.Take();
}

void FillWindow(TestMember& leader) {
  for (int i = 0; i < kWindow; ++i) {
    const std::vector<Message> sent = ProposeOne(leader);
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].entries.size(), 1u);
  }
  EXPECT_TRUE(leader.progress(2).paused);
  EXPECT_TRUE(leader.progress(2).inflight_full);
}

TEST(FlowControlTest, AFullWindowLetsNothingThrough) {
  TestMember leader = MakeReplicatingLeader();
  FillWindow(leader);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(ProposeOne(leader).empty());
}

TEST(FlowControlTest, AcknowledgementsMoveTheWindowOnAndOldOnesDoNot) {
  TestMember leader = MakeReplicatingLeader();
  FillWindow(leader);
  for (uint64_t index = 2; index < kWindow; ++index) {
    leader.Step(MakeAcknowledgement(2, 1, 1, index));
    leader.Take();
    const std::vector<Message> sent = ProposeOne(leader);
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].entries.size(), 1u);
    EXPECT_TRUE(leader.progress(2).paused);
    for (uint64_t old = 0; old < index; ++old) {
      leader.Step(MakeAcknowledgement(2, 1, 1, old));
      EXPECT_TRUE(leader.progress(2).paused);
    }
  }
}

TEST(FlowControlTest, AHeartbeatsAnswerLetsOneEmptyAppendThrough) {
  TestMember leader = MakeReplicatingLeader();
  FillWindow(leader);
  for (int round = 0; round < 5; ++round) {
    leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
    const std::vector<Message> sent = leader.Take();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].type, MessageType::kAppend);
    EXPECT_TRUE(sent[0].entries.empty());
    EXPECT_TRUE(leader.progress(2).paused);
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(ProposeOne(leader).empty());
  }
}

TEST(FlowControlTest, TheWindowIsLimitedInBytesToo) {
  CoreConfig config = PlainConfig(1);
  config.inflight_bytes_max = 1000;
  TestMember leader = MakeReplicatingLeader(config);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(ProposeOne(leader, std::string(250, 'x')).size(), 1u);
  }
  EXPECT_TRUE(leader.progress(2).paused);
  EXPECT_TRUE(ProposeOne(leader, "x").empty());
  leader.Step(MakeAcknowledgement(2, 1, 1, 2));
  EXPECT_EQ(leader.Take().size(), 1u);  // What was held back.
  // Room for one more, however large.
  EXPECT_EQ(ProposeOne(leader, std::string(5000, 'x')).size(), 1u);
  EXPECT_TRUE(leader.progress(2).paused);
}

TEST(FlowControlTest, AProbeIsOneAppendUntilAnAnswerComes) {
  TestMember leader(PlainConfig(1), 2);
  leader.BecomeLeader();
  EXPECT_EQ(leader.Take().size(), 1u);
  EXPECT_EQ(leader.progress(2).state, State::kProbe);
  EXPECT_TRUE(leader.progress(2).paused);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ProposeOne(leader).empty());
  // One more per heartbeat that is answered.
  for (int i = 0; i < 3; ++i) {
    leader.Tick();
    EXPECT_EQ(leader.Take().size(), 1u);  // The heartbeat.
    EXPECT_TRUE(ProposeOne(leader).empty());
    leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
    const std::vector<Message> sent = leader.Take();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].prev.index, 0u);
  }
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  EXPECT_EQ(leader.progress(2).state, State::kReplicate);
  EXPECT_FALSE(leader.progress(2).paused);
  const std::vector<Message> sent = leader.Take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].entries.size(), 6u);
}

TEST(FlowControlTest, EntriesAreSentOptimistically) {
  TestMember leader = MakeReplicatingLeader();
  for (uint64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(ProposeOne(leader).at(0).prev.index, i + 1);
    EXPECT_EQ(leader.progress(2).next, i + 3);
  }
  EXPECT_EQ(leader.progress(2).match, 1u);
}

TEST(FlowControlTest, ARefusalOrALostConnectionBringsBackTheProbe) {
  TestMember leader = MakeReplicatingLeader();
  ProposeOne(leader);
  ProposeOne(leader);
  Message refusal = MakeAcknowledgement(2, 1, 1, 2);
  refusal.rejected = true;
  refusal.hint = {1, 1};
  leader.Step(refusal);
  EXPECT_EQ(leader.progress(2).state, State::kProbe);
  std::vector<Message> sent = leader.Take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].prev.index, 1u);
  EXPECT_EQ(sent[0].entries.size(), 2u);
  leader.Step(Acknowledge(sent[0]));
  ASSERT_EQ(leader.progress(2).state, State::kReplicate);
  leader.Take();
  ProposeOne(leader);
  leader.core().ReportUnreachable(2);
  EXPECT_EQ(leader.progress(2).state, State::kProbe);
  EXPECT_EQ(leader.progress(2).next, 4u);
  // Nothing more to learn from it; nor of who is no member.
  leader.core().ReportUnreachable(2);
  leader.core().ReportUnreachable(9);
  EXPECT_EQ(leader.progress(2).state, State::kProbe);
}

TEST(FlowControlTest, ARefusalOfWhatIsKnownToMatchIsOld) {
  TestMember leader = MakeReplicatingLeader();
  Message refusal = MakeAcknowledgement(2, 1, 1, 1);
  refusal.rejected = true;
  leader.Step(refusal);
  EXPECT_TRUE(leader.Take().empty());
  EXPECT_EQ(leader.progress(2).state, State::kReplicate);
}

TEST(FlowControlTest, HeartbeatsLeaveAtTheirInterval) {
  CoreConfig config = PlainConfig(1);
  config.heartbeat_ticks = 3;
  TestMember leader = MakeReplicatingLeader(config);
  for (int tick = 1; tick <= 9; ++tick) {
    leader.Tick();
    EXPECT_EQ(leader.Take().size(), tick % 3 == 0 ? 1u : 0u) << tick;
  }
}

TEST(FlowControlTest, WhatIsAcknowledgedIsNotSentAgain) {
  TestMember leader(PlainConfig(1), 3);
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  const std::vector<Message> sent = leader.Take();
  // The commit index is news to both.
  for (const Message& message : sent) EXPECT_EQ(message.commit, 1u);
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  EXPECT_TRUE(leader.Take().empty());
  // Nor does a caught-up member answer a heartbeat for nothing.
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
  EXPECT_TRUE(leader.Take().empty());
}

// ------------------------------------------------------------ the leader's log

TEST(UncommittedLimitTest, ProposalsBeyondItAreRefusedUntilSomeAreCommitted) {
  constexpr int kEntries = 1024;
  const std::string payload = "testdata";
  CoreConfig config = PlainConfig(1);
  config.uncommitted_bytes_max = kEntries * payload.size();
  config.inflight_messages_max = 2 * kEntries;
  TestMember leader = MakeReplicatingLeader(config);
  for (int i = 0; i < kEntries; ++i) {
    ASSERT_TRUE(leader.core().Propose({payload}).ok()) << i;
  }
  EXPECT_EQ(leader.core().Propose({payload}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(leader.last_index(), 1u + kEntries);
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 2));
  // Room for one.
  ASSERT_TRUE(leader.core().Propose({payload}).ok());
  EXPECT_EQ(leader.core().Propose({payload}).status().code(),
            absl::StatusCode::kResourceExhausted);
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 2 + kEntries));
  EXPECT_EQ(leader.commit(), 2u + kEntries);
  // Nothing is uncommitted: one of any size is taken.
  ASSERT_TRUE(leader.core()
                  .Propose(std::vector<std::string>(2 * kEntries, payload))
                  .ok());
  EXPECT_EQ(leader.core().Propose({"x"}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(UncommittedLimitTest, WhatWouldCrossItIsRefusedWhole) {
  CoreConfig config = PlainConfig(1);
  config.uncommitted_bytes_max = 10;
  TestMember leader = MakeReplicatingLeader(config);
  ASSERT_TRUE(leader.core().Propose({"1234"}).ok());
  EXPECT_EQ(leader.core().Propose({"567", "8901"}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(leader.last_index(), 2u);
  EXPECT_TRUE(leader.core().Propose({"567", "890"}).ok());
}

TEST(UncommittedLimitTest, ChangesOfMembershipAndNewLeadersAreNotRefused) {
  CoreConfig config = PlainConfig(1);
  config.uncommitted_bytes_max = 1;
  TestMember leader = MakeReplicatingLeader(config);
  ASSERT_TRUE(leader.core().Propose({"much"}).ok());
  EXPECT_EQ(leader.core().Propose({"m"}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(
      leader.core()
          .ProposeMembership({MembershipChange::Kind::kAddLearner, 3, ""})
          .ok());
  // Another leadership begins without the debts of the former.
  leader.Step(MakeMessage(MessageType::kHeartbeat, 2, 1, 2));
  leader.BecomeLeader();
  EXPECT_TRUE(leader.core().Propose({"m"}).ok());
}

// ------------------------------------------------------------------- applying

TEST(ApplyLimitTest, NoMoreIsHandedOutThanIsAppliedInTime) {
  CoreConfig config = PlainConfig(1);
  config.committed_bytes_max = 10;
  TestMember member(config, 1);
  member.BecomeLeader();
  member.Take();
  member.set_apply(false);
  ASSERT_TRUE(member.core().Propose({"1234", "5678", "9012", "3456"}).ok());
  member.Take();
  EXPECT_EQ(member.commit(), 5u);
  EXPECT_EQ(member.applied().size(), 1u);
  // Two fit, and one more since there is room for some of it.
  member.ApplyNow();
  EXPECT_EQ(member.AppliedPayloads().size(), 3u);
  member.Take();
  member.ApplyNow();
  EXPECT_EQ(member.AppliedPayloads().size(), 4u);
}

TEST(ApplyLimitTest, WhatWasNotHandedOutCannotBeApplied) {
  TestMember member(PlainConfig(1), 1);
  EXPECT_EQ(member.core().Applied(1).code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace millrace::raft
