// Entries on their way from a leader to its followers, and what is committed.
// Many of the situations are those of etcd-raft's tests, told anew.
#include <gtest/gtest.h>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

using State = ProgressStatus::State;

TEST(ReplicationTest, EverybodyAppliesTheSame) {
  TestGroup group(3);
  group.Elect(1);
  group.Propose(1, "a");
  group.Elect(2);
  group.Propose(2, "b");
  for (NodeId id = 1; id <= 3; ++id) {
    EXPECT_EQ(group[id].commit(), 4u);
    EXPECT_EQ(group[id].AppliedPayloads(),
              (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(group[id].log().entries(), group[1].log().entries());
  }
}

TEST(ReplicationTest, LearnersGetEntriesAndDoNotCount) {
  TestGroup group({{1, {true, ""}}, {2, {true, ""}}, {3, {false, ""}}}, {});
  group.Elect(1);
  group.Propose(1, "a");
  EXPECT_EQ(group[3].AppliedPayloads(), std::vector<std::string>{"a"});
  EXPECT_EQ(group[1].progress(3).match, 2u);
  EXPECT_TRUE(group[1].progress(3).learner);
  group.Cut(1, 2);
  group.Propose(1, "b");
  EXPECT_EQ(group[3].last_index(), 3u);
  EXPECT_EQ(group[1].commit(), 2u);
}

// Of five, entries of term 1 are on two. The leader of term 2 has them, too,
// but nobody gets the first entry of its term.
TEST(ReplicationTest, EntriesOfAnEarlierTermAreNotCommittedByCounting) {
  TestGroup group(5);
  group.Elect(1);
  for (NodeId id = 3; id <= 5; ++id) group.Cut(1, id);
  group.Propose(1);
  group.Propose(1);
  EXPECT_EQ(group[1].commit(), 1u);
  group.Heal();
  group.Lose([](const Message& message) {
    return message.type == MessageType::kAppend && !message.entries.empty() &&
           message.entries.back().term == 2;
  });
  group.Elect(2);
  // Everything but that entry reaches everybody.
  std::vector<Message> appends;
  for (NodeId id : {3u, 4u, 5u}) {
    appends.push_back(MakeAppend(2, id, 2, {1, 1}, EntriesOfTerms(2, {1, 1})));
  }
  group.Send(appends);
  for (NodeId id = 3; id <= 5; ++id) EXPECT_EQ(group[id].last_index(), 3u);
  EXPECT_EQ(group[2].commit(), 1u);
  group.Heal();
  group.Tick(2, 1);
  group.Propose(2);
  EXPECT_EQ(group[2].commit(), 5u);
}

TEST(ReplicationTest, ANewLeadersFirstEntryCommitsAllBeforeIt) {
  TestGroup group(5);
  group.Elect(1);
  for (NodeId id = 3; id <= 5; ++id) group.Cut(1, id);
  group.Propose(1);
  group.Propose(1);
  EXPECT_EQ(group[1].commit(), 1u);
  group.Heal();
  group.Elect(2);
  EXPECT_EQ(group[2].commit(), 4u);
}

TEST(ReplicationTest, MessagesOfAnOldLeaderChangeNothing) {
  TestGroup group(3);
  group.Elect(1);
  group.Elect(2);
  group.Elect(1);
  group.Send({MakeAppend(2, 1, 2, {2, 2}, EntriesOfTerms(3, {2}))});
  group.Propose(1, "new");
  for (NodeId id = 1; id <= 3; ++id) {
    const std::vector<LogEntry> entries = group[id].log().entries();
    ASSERT_EQ(entries.size(), 4u);
    EXPECT_EQ(entries[2].term, 3u);
    EXPECT_EQ(entries[3].payload, "new");
  }
}

TEST(ReplicationTest, ProposalsAreRefusedByWhoDoesNotLead) {
  TestGroup group(3);
  EXPECT_EQ(group[1].core().Propose({"x"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  group.Elect(1);
  EXPECT_EQ(group[2].core().Propose({"x"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(group[1].core().Propose({}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(group[1].core().Propose({"x", ""}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(group[1].last_index(), 1u);
}

TEST(ReplicationTest, ABatchIsAppendedInOrderAndSentTogether) {
  TestGroup group(3);
  group.Elect(1);
  const auto place = group[1].core().Propose({"a", "b", "c"});
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(*place, (EntryId{1, 4}));
  const std::vector<Message> sent = group[1].TakeUnsynced();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].entries.size(), 3u);
  group.Send(sent);
  EXPECT_EQ(group[3].AppliedPayloads(),
            (std::vector<std::string>{"a", "b", "c"}));
}

TEST(ReplicationTest, CommitFollowsTheMajorityOfTheSlowest) {
  // {match of the others}, expected commit. The leader's own log ends at 4.
  struct Case {
    std::vector<uint64_t> match;
    uint64_t commit;
  };
  for (const Case& test :
       {Case{{}, 4}, Case{{4}, 4}, Case{{2}, 2}, Case{{2, 1}, 2},
        Case{{2, 2}, 2}, Case{{1, 1}, 1}, Case{{4, 1}, 4}, Case{{2, 2, 1}, 2},
        Case{{4, 2, 1}, 2}, Case{{4, 4, 1, 1}, 4}, Case{{4, 3, 1, 1}, 3}}) {
    TestMember leader(PlainConfig(1), test.match.size() + 1);
    leader.BecomeLeader();
    ASSERT_TRUE(leader.core().Propose({"a", "b", "c"}).ok());
    leader.Take();
    for (size_t i = 0; i < test.match.size(); ++i) {
      leader.Step(MakeAcknowledgement(i + 2, 1, 1, test.match[i]));
    }
    EXPECT_EQ(leader.commit(), test.commit);
  }
}

// A hint of a later term skips all entries of it at once, on either side.
TEST(ReplicationTest, DivergedLogsAreBroughtTogetherInAFewSteps) {
  struct Case {
    std::vector<uint64_t> leader;
    std::vector<uint64_t> follower;
    EntryId hint;
    EntryId next_prev;
  };
  const Case kCases[] = {
      {{1, 2, 2, 4, 4, 4, 4},
       {1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3},
       {3, 7},
       {2, 3}},
      {{1, 2, 2, 3, 4, 4, 4, 5},
       {1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3},
       {3, 8},
       {3, 4}},
      {{1, 1, 1, 1}, {1, 2, 2, 4}, {1, 1}, {1, 1}},
      {{1, 1, 1, 1, 1, 1}, {1, 2, 2, 4}, {1, 1}, {1, 1}},
      {{1, 1, 1, 1}, {1, 2, 2, 4, 4, 4}, {1, 1}, {1, 1}},
      {{1, 1, 1, 4, 5}, {1, 1, 1, 4}, {4, 4}, {4, 4}},
      {{2, 5, 5, 5, 5, 5, 5, 5, 5}, {2, 4, 4, 4, 4, 4}, {4, 6}, {2, 1}},
      {{2, 2, 2, 2, 2}, {2, 4, 4, 4, 4, 4, 4, 4}, {2, 1}, {2, 1}},
  };
  for (const Case& test : kCases) {
    SCOPED_TRACE(&test - kCases);
    const uint64_t term = 10;
    TestMember leader(
        PlainConfig(1),
        {{term - 1, kNobody, 0}, VotersUpTo(3), MemoryLog(test.leader)});
    leader.BecomeLeader();
    const std::vector<Message> probes = leader.Take();
    ASSERT_EQ(probes.size(), 2u);
    EXPECT_EQ(probes[0].prev,
              (EntryId{test.leader.back(), test.leader.size()}));
    TestMember follower(
        PlainConfig(2),
        {{term - 1, kNobody, 0}, VotersUpTo(3), MemoryLog(test.follower)});
    follower.Step(probes[0]);
    const std::vector<Message> refusal = follower.Take();
    ASSERT_EQ(refusal.size(), 1u);
    EXPECT_TRUE(refusal[0].rejected);
    EXPECT_EQ(refusal[0].hint, test.hint);
    leader.Step(refusal[0]);
    const std::vector<Message> next = leader.Take();
    ASSERT_EQ(next.size(), 1u);
    EXPECT_EQ(next[0].prev, test.next_prev);
    // And that is where they agree.
    follower.Step(next[0]);
    const std::vector<Message> answer = follower.Take();
    ASSERT_EQ(answer.size(), 1u);
    EXPECT_FALSE(answer[0].rejected);
    EXPECT_EQ(follower.log().entries(), leader.log().entries());
  }
}

// An append that arrives when the follower has dropped the entries before it.
TEST(ReplicationTest, AHintWithoutATermStepsBackByOne) {
  TestMember leader(PlainConfig(1),
                    {{2, kNobody, 0},
                     VotersUpTo(3),
                     MemoryLog(std::vector<uint64_t>{1, 1, 2})});
  leader.BecomeLeader();
  leader.Take();
  Message refusal = MakeAcknowledgement(2, 1, 3, 3);
  refusal.rejected = true;
  refusal.hint = {0, 3};
  leader.Step(refusal);
  const std::vector<Message> sent = leader.Take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].prev, (EntryId{1, 2}));
}

TEST(ReplicationTest, ADelayedRefusalDoesNotSetBackTheMatch) {
  TestGroup group(2);
  group.Elect(1);
  // Two appends, the second overtakes the first.
  ASSERT_TRUE(group[1].core().Propose({"a"}).ok());
  const std::vector<Message> first = group[1].TakeUnsynced();
  ASSERT_TRUE(group[1].core().Propose({"b"}).ok());
  const std::vector<Message> second = group[1].TakeUnsynced();
  group[1].Sync();
  group[2].Step(second.at(0));
  const std::vector<Message> refusal = group[2].Take();
  ASSERT_TRUE(refusal.at(0).rejected);
  group[2].Step(first.at(0));
  group[1].Step(group[2].Take().at(0));
  EXPECT_EQ(group[1].progress(2).match, 2u);
  group[1].Take();
  group[1].core().ReportUnreachable(2);
  EXPECT_EQ(group[1].progress(2).state, State::kProbe);
  group[1].Step(refusal.at(0));
  const std::vector<Message> again = group[1].Take();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].prev.index, 2u);
}

TEST(ReplicationTest, AppendsAreCutToTheirLimit) {
  TestGroup group(2, [](CoreConfig& c) { c.append_bytes_max = 10; });
  group.Elect(1);
  group.Isolate(2);
  const auto place = group[1].core().Propose(
      {"four", "four", "four", std::string(100, 'x'), "four"});
  ASSERT_TRUE(place.ok());
  group.Run();
  group.Heal();
  std::vector<size_t> sizes;
  group.Lose([&](const Message& message) {
    if (message.type == MessageType::kAppend && !message.entries.empty()) {
      sizes.push_back(message.entries.size());
    }
    return false;
  });
  group.Tick(1, 2);
  // One goes on where the lost one ended, and is refused.
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 2, 1, 1, 1}));
  EXPECT_EQ(group[2].applied().size(), 6u);
}

TEST(ReplicationTest, AnAcknowledgementOfWhatTheLeaderDoesNotHaveIsABug) {
  TestMember leader(PlainConfig(1), 3);
  leader.BecomeLeader();
  leader.Take();
  EXPECT_EQ(leader.core().Step(MakeAcknowledgement(2, 1, 1, 2)).code(),
            absl::StatusCode::kInternal);
}

TEST(ReplicationTest, AHeartbeatThatCommitsWhatWasLostIsABug) {
  TestMember member(PlainConfig(1), 3);
  Message heartbeat = MakeMessage(MessageType::kHeartbeat, 2, 1, 1);
  heartbeat.commit = 1;
  EXPECT_EQ(member.core().Step(heartbeat).code(), absl::StatusCode::kInternal);
}

TEST(ReplicationTest, AHeartbeatCommitsNoMoreThanIsKnownToMatch) {
  TestGroup group(3);
  group.Elect(1);
  group.Isolate(3);
  group.Propose(1);
  group.Propose(1);
  ASSERT_EQ(group[1].commit(), 3u);
  group[1].Tick();
  for (const Message& message : group[1].Take()) {
    EXPECT_EQ(message.type, MessageType::kHeartbeat);
    EXPECT_EQ(message.commit, message.to == 2 ? 3u : 1u);
  }
}

TEST(ReplicationTest, AFollowersCommitIndexNeverFalls) {
  TestMember member(PlainConfig(1),
                    {{1, kNobody, 3},
                     VotersUpTo(3),
                     MemoryLog(std::vector<uint64_t>{1, 1, 1})});
  for (const uint64_t commit : {0u, 2u, 3u}) {
    Message heartbeat = MakeMessage(MessageType::kHeartbeat, 2, 1, 1);
    heartbeat.commit = commit;
    member.Step(heartbeat);
    member.Step(MakeAppend(2, 1, 1, {1, 3}, {}, commit));
    EXPECT_EQ(member.commit(), 3u);
  }
}

TEST(ReplicationTest, AnAppendThatComesLateRemovesNothing) {
  TestMember member(PlainConfig(1), 3);
  const Message early = MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1}));
  member.Step(early);
  member.Step(MakeAppend(2, 1, 1, {1, 1}, EntriesOfTerms(2, {1, 1})));
  member.Step(early);
  EXPECT_EQ(member.last_index(), 3u);
  const std::vector<Message> sent = member.Take();
  EXPECT_EQ(sent.back(), MakeAcknowledgement(1, 2, 1, 1));
}

TEST(ReplicationTest, ACommittedEntryIsNeverReplaced) {
  TestMember member(
      PlainConfig(1),
      {{2, kNobody, 2}, VotersUpTo(3), MemoryLog(std::vector<uint64_t>{1, 1})});
  // prev is what is committed, so nothing before it is looked at.
  member.Step(MakeAppend(2, 1, 3, {}, EntriesOfTerms(1, {2, 2})));
  EXPECT_EQ(member.Take(),
            std::vector<Message>{MakeAcknowledgement(1, 2, 3, 2)});
  EXPECT_EQ(member.log().entries(), EntriesOfTerms(1, {1, 1}));
}

TEST(ReplicationTest, AMemberThatWasAwayCatchesUp) {
  TestGroup group(3);
  group.Elect(1);
  group.Isolate(3);
  for (int i = 0; i < 20; ++i) group.Propose(1, "x");
  group.Heal();
  group.Tick(1, 2);
  EXPECT_EQ(group[3].commit(), group[1].commit());
  EXPECT_EQ(group[3].AppliedPayloads().size(), 20u);
  EXPECT_EQ(group[1].progress(3).state, State::kReplicate);
}

// The log is dropped behind a snapshot between two questions of the core.
class RacingView final : public LogView {
 public:
  uint64_t first_index() const override { return 1; }
  uint64_t last_index() const override { return 2; }
  absl::StatusOr<uint64_t> Term(uint64_t index) const override {
    if (index > 2) return absl::OutOfRangeError("not yet");
    return index == 0 ? 0 : 1;
  }
  absl::StatusOr<std::vector<LogEntry>> Read(uint64_t, uint64_t,
                                             uint64_t) const override {
    return absl::OutOfRangeError("gone");
  }
  SnapshotMeta Snapshot() const override { return {{1, 2}, VotersUpTo(1)}; }
};

TEST(ReplicationTest, EntriesThatWereJustDroppedAreReplacedByASnapshot) {
  const RacingView view;
  CoreConfig config = PlainConfig(1);
  config.applied = 2;
  Membership membership = VotersUpTo(1);
  membership[2].voter = false;
  const auto core = Core::Create(config, {1, kNobody, 2}, membership, view);
  ASSERT_TRUE(core.ok()) << core.status();
  ASSERT_TRUE((*core)->Campaign().ok());
  auto ready = (*core)->TakeReady();
  ASSERT_TRUE(ready.ok() && ready->write.has_value());
  ASSERT_TRUE((*core)->LogDurable(ready->write->id).ok());
  ASSERT_EQ((*core)->GetStatus().soft_state.role, Role::kLeader);
  ASSERT_TRUE((*core)->TakeReady().ok());
  Message refusal = MakeAcknowledgement(2, 1, 2, 2);
  refusal.rejected = true;
  ASSERT_TRUE((*core)->Step(refusal).ok());
  ready = (*core)->TakeReady();
  ASSERT_TRUE(ready.ok());
  ASSERT_EQ(ready->messages.size(), 1u);
  EXPECT_EQ(ready->messages[0].type, MessageType::kSnapshot);
}

TEST(ReplicationTest, ALogThatCannotBeReadEndsIt) {
  TestMember leader(
      PlainConfig(1),
      {{1, kNobody, 0}, VotersUpTo(3), MemoryLog(std::vector<uint64_t>{1, 1})});
  leader.BecomeLeader();
  leader.Take();
  leader.log().FailReads(absl::DataLossError("bit rot"));
  Message refusal = MakeAcknowledgement(2, 1, 2, 2);
  refusal.rejected = true;
  EXPECT_EQ(leader.core().Step(refusal).code(), absl::StatusCode::kDataLoss);
  // For good.
  EXPECT_EQ(leader.core().Tick().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(leader.core().TakeReady().status().code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace millrace::raft
