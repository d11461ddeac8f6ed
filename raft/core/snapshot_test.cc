// Snapshots: when a leader has one sent, what a follower makes of it, and how
// entries go on behind it. Many of the situations are those of etcd-raft's
// tests, told anew.
#include <gtest/gtest.h>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

using State = ProgressStatus::State;
const SnapshotMeta kSnapshot = {{11, 11}, VotersUpTo(2)};

// A leader of two (at term 12, its first entry is 12) whose log begins behind a
// snapshot, and who has heard from member 2.
TestMember MakeLeaderBehindSnapshot() {
  TestMember leader(
      PlainConfig(1),
      {{11, kNobody, 11}, kSnapshot.membership, MemoryLog(kSnapshot)});
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 12));
  leader.Take();
  return leader;
}

// Member 2 says that it has nothing.
std::vector<Message> RefuseAll(TestMember& leader) {
  Message refusal = MakeAcknowledgement(2, 1, 12, 11);
  refusal.rejected = true;
  leader.Step(refusal);
  return leader.Take();
}

TEST(SnapshotTest, IsSentWhenWhatComesNextIsNotInTheLog) {
  TestMember leader = MakeLeaderBehindSnapshot();
  const std::vector<Message> sent = RefuseAll(leader);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0],
            MakeSnapshot(1, 2, 12, kSnapshot.last, kSnapshot.membership));
  const ProgressStatus progress = leader.progress(2);
  EXPECT_EQ(progress.state, State::kSnapshot);
  EXPECT_EQ(progress.pending_snapshot, 11u);
  EXPECT_EQ(progress.next, 12u);
  EXPECT_TRUE(progress.paused);
}

TEST(SnapshotTest, NothingElseIsSentMeanwhile) {
  TestMember leader = MakeLeaderBehindSnapshot();
  RefuseAll(leader);
  ASSERT_TRUE(leader.core().Propose({"data"}).ok());
  EXPECT_TRUE(leader.Take().empty());
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 12));
  EXPECT_TRUE(leader.Take().empty());
  // An old refusal and a lost connection change nothing.
  EXPECT_TRUE(RefuseAll(leader).empty());
  EXPECT_EQ(leader.progress(2).next, 12u);
  leader.core().ReportUnreachable(2);
  EXPECT_EQ(leader.progress(2).state, State::kSnapshot);
}

TEST(SnapshotTest, WhenItFailedTheMemberIsProbedAnew) {
  TestMember leader = MakeLeaderBehindSnapshot();
  RefuseAll(leader);
  leader.core().SnapshotSent(2, false);
  const ProgressStatus progress = leader.progress(2);
  EXPECT_EQ(progress.state, State::kProbe);
  EXPECT_EQ(progress.pending_snapshot, 0u);
  EXPECT_EQ(progress.next, 1u);
  EXPECT_TRUE(progress.paused);
  // With the next heartbeat it is sent again.
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 12));
  EXPECT_EQ(leader.Take().at(0).type, MessageType::kSnapshot);
}

TEST(SnapshotTest, WhenItArrivedTheMemberIsProbedBehindIt) {
  TestMember leader = MakeLeaderBehindSnapshot();
  RefuseAll(leader);
  leader.core().SnapshotSent(2, true);
  const ProgressStatus progress = leader.progress(2);
  EXPECT_EQ(progress.state, State::kProbe);
  EXPECT_EQ(progress.next, 12u);
  EXPECT_TRUE(progress.paused);
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 12));
  const std::vector<Message> sent = leader.Take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].type, MessageType::kAppend);
  EXPECT_EQ(sent[0].prev, kSnapshot.last);
  // Said twice, of nobody, or by who does not lead: no matter.
  leader.core().SnapshotSent(2, true);
  leader.core().SnapshotSent(9, true);
  EXPECT_EQ(leader.progress(2).state, State::kProbe);
  leader.Step(MakeMessage(MessageType::kHeartbeat, 2, 1, 13));
  leader.core().SnapshotSent(2, true);
  leader.core().ReportUnreachable(2);
  EXPECT_EQ(leader.role(), Role::kFollower);
}

// A follower answers a message of an earlier term so, and that must not cost
// the transfer of a snapshot.
TEST(SnapshotTest, AnAnswerThatSaysNothingButATermIsNoReasonForOne) {
  TestMember leader = MakeLeaderBehindSnapshot();
  ASSERT_EQ(leader.progress(2).state, State::kProbe);
  ASSERT_EQ(leader.progress(2).next, 12u);
  leader.Step(MakeAcknowledgement(2, 1, 12, 0));
  for (const Message& message : leader.Take()) {
    EXPECT_NE(message.type, MessageType::kSnapshot);
  }
  EXPECT_EQ(leader.progress(2).state, State::kProbe);
  EXPECT_EQ(leader.progress(2).next, 12u);
}

TEST(SnapshotTest, AnAcknowledgementEndsIt) {
  TestMember leader = MakeLeaderBehindSnapshot();
  RefuseAll(leader);
  leader.Step(MakeAcknowledgement(2, 1, 12, 11));
  ProgressStatus progress = leader.progress(2);
  EXPECT_EQ(progress.state, State::kReplicate);
  EXPECT_EQ(progress.pending_snapshot, 0u);
  // The leader's first entry is on its way.
  EXPECT_EQ(progress.next, 13u);
  EXPECT_EQ(progress.inflight, 1);
}

// A member may get a snapshot from elsewhere. What counts is whether the log
// goes on from there.
TEST(SnapshotTest, AnySnapshotThatTheLogGoesOnFromWillDo) {
  for (const uint64_t index : {9u, 10u, 11u, 12u, 20u}) {
    TestMember leader(PlainConfig(1), {{11, kNobody, 10},
                                       VotersUpTo(2),
                                       MemoryLog(SnapshotMeta{{11, 10}, {}})});
    leader.BecomeLeader();
    ASSERT_TRUE(leader.core().Propose(std::vector<std::string>(10, "x")).ok());
    leader.Take();
    leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 12));
    leader.Take();
    leader.log().TakeSnapshot({{12, 15}, VotersUpTo(2)});
    Message refusal = MakeAcknowledgement(2, 1, 12, 10);
    refusal.rejected = true;
    leader.Step(refusal);
    ASSERT_EQ(leader.progress(2).pending_snapshot, 15u);
    leader.Take();
    leader.Step(MakeAcknowledgement(2, 1, 12, index));
    EXPECT_EQ(leader.progress(2).state,
              index < 10 ? State::kSnapshot : State::kReplicate)
        << index;
    EXPECT_EQ(leader.progress(2).match, index);
  }
}

TEST(SnapshotTest, IsNotSentToWhoHasBeenSilentSinceTheLastCheck) {
  CoreConfig config = PlainConfig(1);
  config.check_quorum = true;
  TestMember leader(config, 3);
  leader.BecomeLeader();
  leader.Take();
  for (const NodeId id : {2u, 3u})
    leader.Step(MakeAcknowledgement(id, 1, 1, 1));
  leader.Take();
  for (int round = 0; round < 2; ++round) {
    leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 3, 1, 1));
    leader.Tick(10);
  }
  ASSERT_EQ(leader.role(), Role::kLeader);
  ASSERT_TRUE(leader.core().Propose({"x"}).ok());
  leader.Take();
  leader.Step(MakeAcknowledgement(3, 1, 1, 2));
  leader.Take();
  leader.core().ReportUnreachable(2);
  leader.log().DropThrough(2);
  ASSERT_FALSE(leader.progress(2).recently_active);
  ASSERT_FALSE(leader.progress(2).paused);
  ASSERT_TRUE(leader.core().Propose({"y"}).ok());
  for (const Message& message : leader.Take()) EXPECT_EQ(message.to, 3u);
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
  EXPECT_EQ(leader.Take().at(0).type, MessageType::kSnapshot);
}

TEST(SnapshotTest, IsNotSentToWhoDoesNotAnswer) {
  TestMember leader(
      PlainConfig(1),
      {{11, kNobody, 11}, kSnapshot.membership, MemoryLog(kSnapshot)});
  leader.BecomeLeader();
  leader.Take();
  leader.log().TakeSnapshot({{12, 12}, kSnapshot.membership});
  leader.log().DropThrough(12);
  // The probe was lost; now what comes next is gone, and the member silent.
  leader.core().ReportUnreachable(2);
  leader.Tick();
  for (const Message& message : leader.Take()) {
    EXPECT_EQ(message.type, MessageType::kHeartbeat);
  }
  leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 12));
  EXPECT_EQ(leader.Take().at(0).type, MessageType::kSnapshot);
}

TEST(SnapshotTest, ALogWithoutItsBeginningAndWithoutASnapshotIsABug) {
  for (const uint64_t newest : {0u, 9u}) {
    TestMember leader = MakeLeaderBehindSnapshot();
    leader.log().TakeSnapshot({{11, newest}, {}});
    Message refusal = MakeAcknowledgement(2, 1, 12, 11);
    refusal.rejected = true;
    EXPECT_EQ(leader.core().Step(refusal).code(), absl::StatusCode::kInternal);
  }
}

// ------------------------------------------------------------------- followers

TEST(RestoreTest, TheLogBeginsAnewBehindIt) {
  TestMember member(
      PlainConfig(1),
      {{5, kNobody, 0}, VotersUpTo(2), MemoryLog(std::vector<uint64_t>{1, 2})});
  member.Step(MakeSnapshot(2, 1, 12, {11, 11}, VotersUpTo(3)));
  EXPECT_EQ(member.last_index(), 11u);
  EXPECT_EQ(member.commit(), 11u);
  EXPECT_EQ(member.status().membership, VotersUpTo(3));
  EXPECT_EQ(member.status().soft_state.leader, 2u);
  // It answers, and applies entries behind it, when it is durable.
  EXPECT_EQ(member.status().applied, 0u);
  member.Step(MakeAppend(2, 1, 12, {11, 11}, EntriesOfTerms(12, {12}), 12));
  EXPECT_TRUE(member.TakeUnsynced().empty());
  EXPECT_TRUE(member.applied().empty());
  const std::vector<Message> sent = member.Sync();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0], MakeAcknowledgement(1, 2, 12, 11));
  EXPECT_EQ(sent[1], MakeAcknowledgement(1, 2, 12, 12));
  EXPECT_EQ(member.applied(), EntriesOfTerms(12, {12}));
  EXPECT_EQ(member.status().applied, 12u);
  EXPECT_EQ(member.log().first_index(), 12u);
}

TEST(RestoreTest, WritesCarryItBeforeTheEntriesBehindIt) {
  TestMember member(PlainConfig(1), 2);
  member.Step(MakeSnapshot(2, 1, 12, {11, 11}, VotersUpTo(3)));
  member.Step(MakeAppend(2, 1, 12, {11, 11}, EntriesOfTerms(12, {12})));
  const auto ready = member.core().TakeReady();
  ASSERT_TRUE(ready.ok() && ready->write.has_value());
  EXPECT_EQ(ready->write->snapshot, (SnapshotMeta{{11, 11}, VotersUpTo(3)}));
  EXPECT_FALSE(ready->write->truncate_from.has_value());
  EXPECT_EQ(ready->write->entries, EntriesOfTerms(12, {12}));
  EXPECT_EQ(ready->write->hard_state, (HardState{12, kNobody, 11}));
  EXPECT_TRUE(ready->write->must_sync);
  EXPECT_FALSE(member.core().HasReady());
}

TEST(RestoreTest, AnOlderOneIsNotTakenAndAnEqualLogIsKept) {
  TestMember member(PlainConfig(1),
                    {{1, kNobody, 1},
                     VotersUpTo(2),
                     MemoryLog(std::vector<uint64_t>{1, 1, 1})});
  member.Step(MakeSnapshot(2, 1, 2, {1, 1}, VotersUpTo(2)));
  EXPECT_EQ(member.Take(),
            std::vector<Message>{MakeAcknowledgement(1, 2, 2, 1)});
  EXPECT_EQ(member.commit(), 1u);
  // What it replaces is here, and more: that it is committed is news.
  member.Step(MakeSnapshot(2, 1, 2, {1, 2}, VotersUpTo(2)));
  EXPECT_EQ(member.commit(), 2u);
  EXPECT_EQ(member.last_index(), 3u);
  EXPECT_EQ(member.Take(),
            std::vector<Message>{MakeAcknowledgement(1, 2, 2, 2)});
  EXPECT_EQ(member.log().first_index(), 1u);
}

TEST(RestoreTest, ItMakesALearnerAVoterAndTheOtherWayRound) {
  Membership before = VotersUpTo(2);
  before[3].voter = false;
  Membership after = VotersUpTo(3);
  for (const bool promoted : {true, false}) {
    const Membership& from = promoted ? before : after;
    const Membership& to = promoted ? after : before;
    TestMember member(PlainConfig(3), {{}, from, {}});
    member.Step(MakeSnapshot(1, 3, 12, {11, 11}, to));
    member.Take();
    EXPECT_EQ(member.status().membership, to);
    EXPECT_EQ(member.core().Campaign().ok(), promoted);
  }
}

// It may be older than the change that added the member.
TEST(RestoreTest, ItNeedNotNameTheMember) {
  TestMember member(PlainConfig(3), {{}, {}, {}});
  member.Step(MakeSnapshot(1, 3, 12, {11, 11}, VotersUpTo(2)));
  EXPECT_EQ(member.Take(),
            std::vector<Message>{MakeAcknowledgement(3, 1, 12, 11)});
  const MembershipChange join{MembershipChange::Kind::kAddVoter, 3, ""};
  member.Step(MakeAppend(
      1, 3, 12, {11, 11},
      {{12, 12, kMembershipEntry, EncodeMembershipChange(join)}}, 12));
  member.Take();
  EXPECT_EQ(member.status().membership, VotersUpTo(3));
}

TEST(RestoreTest, NobodyCampaignsWhileOneIsBeingInstalled) {
  TestMember member(PlainConfig(1), 3);
  member.Step(MakeSnapshot(2, 1, 12, {11, 11}, VotersUpTo(3)));
  member.TakeUnsynced();
  EXPECT_EQ(member.core().Campaign().code(),
            absl::StatusCode::kFailedPrecondition);
  member.Tick(50);
  EXPECT_EQ(member.role(), Role::kFollower);
  member.Sync();
  EXPECT_TRUE(member.core().Campaign().ok());
}

TEST(RestoreTest, ANewerOneReplacesOneThatIsUnderWay) {
  TestMember member(PlainConfig(1), 3);
  member.Step(MakeSnapshot(2, 1, 12, {11, 11}, VotersUpTo(3)));
  member.TakeUnsynced();
  member.Step(MakeSnapshot(2, 1, 12, {12, 20}, VotersUpTo(3)));
  member.TakeUnsynced();
  ASSERT_EQ(member.writes_waiting(), 2u);
  member.Sync(1);
  EXPECT_EQ(member.status().applied, 0u);
  member.Sync(1);
  EXPECT_EQ(member.status().applied, 20u);
  EXPECT_EQ(member.log().first_index(), 21u);
}

TEST(RestoreTest, CandidatesAndOldLeadersTakeOneFromALeader) {
  TestMember candidate(PlainConfig(1), 3);
  ASSERT_TRUE(candidate.core().Campaign().ok());
  candidate.Step(MakeSnapshot(2, 1, 1, {1, 11}, VotersUpTo(3)));
  EXPECT_EQ(candidate.role(), Role::kFollower);
  EXPECT_EQ(candidate.last_index(), 11u);
  TestMember leader(PlainConfig(1), 3);
  leader.BecomeLeader();
  leader.Step(MakeSnapshot(2, 1, 2, {2, 11}, VotersUpTo(3)));
  EXPECT_EQ(leader.role(), Role::kFollower);
  EXPECT_EQ(leader.last_index(), 11u);
  // Of an old term there is nothing to take.
  leader.Step(MakeSnapshot(3, 1, 1, {1, 30}, VotersUpTo(3)));
  EXPECT_EQ(leader.last_index(), 11u);
}

TEST(RestoreTest, EntriesAppliedLateFromBeforeItDoNotMatter) {
  TestMember member(PlainConfig(1), 3);
  member.set_apply(false);
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1, 1}), 2));
  member.Take();
  member.Step(MakeSnapshot(2, 1, 2, {2, 11}, VotersUpTo(3)));
  member.Take();
  EXPECT_EQ(member.status().applied, 11u);
  ASSERT_TRUE(member.core().Applied(2).ok());
  EXPECT_EQ(member.status().applied, 11u);
}

// ------------------------------------------------------------------ a whole
// one

TEST(SnapshotTest, ASlowMemberIsBroughtBackByOne) {
  TestGroup group(3);
  group.Elect(1);
  group.Isolate(3);
  for (int i = 0; i < 100; ++i) group.Propose(1, "x");
  group[1].log().DropThrough(group[1].commit());
  int snapshots = 0;
  group.Heal();
  group.Lose([&](const Message& message) {
    snapshots += message.type == MessageType::kSnapshot;
    return false;
  });
  group.Tick(1, 2);
  EXPECT_EQ(snapshots, 1);
  group.Propose(1, "y");
  EXPECT_EQ(group[3].commit(), group[1].commit());
  EXPECT_EQ(group[3].AppliedPayloads(), std::vector<std::string>{"y"});
  EXPECT_EQ(group[1].progress(3).state, State::kReplicate);
}

TEST(SnapshotTest, ALearnerIsBroughtInByOne) {
  TestGroup group({{1, {true, ""}}}, {});
  group.Elect(1);
  for (int i = 0; i < 10; ++i) group.Propose(1, "x");
  ASSERT_TRUE(
      group[1]
          .core()
          .ProposeMembership({MembershipChange::Kind::kAddLearner, 2, "there"})
          .ok());
  group.Run();
  group[1].log().DropThrough(group[1].commit());
  group.Add(2);
  group.Tick(1, 3);
  EXPECT_EQ(group[2].commit(), group[1].commit());
  EXPECT_EQ(group[2].status().membership, group[1].status().membership);
  group.Propose(1, "y");
  EXPECT_EQ(group[2].AppliedPayloads(), std::vector<std::string>{"y"});
}

}  // namespace
}  // namespace millrace::raft
