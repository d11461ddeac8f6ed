// What leaves a member rests on what is durable, and what a leader counts of
// its own is. Every test here holds the disk back.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <vector>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

constexpr auto kVote = MessageType::kVote;
constexpr auto kVoteResponse = MessageType::kVoteResponse;
constexpr auto kHeartbeat = MessageType::kHeartbeat;
constexpr auto kHeartbeatResponse = MessageType::kHeartbeatResponse;

// What the next Ready wants written. Fails the test if it is nothing.
LogWrite TakeWrite(TestMember& member) {
  const auto ready = member.core().TakeReady();
  EXPECT_TRUE(ready.ok() && ready->write.has_value());
  return ready->write.value_or(LogWrite{});
}

TEST(DurabilityTest, AVoteWaitsForTheDisk) {
  for (const bool granted : {true, false}) {
    TestMember member(
        PlainConfig(1),
        {{1, kNobody, 0}, VotersUpTo(3), MemoryLog(std::vector<uint64_t>{1})});
    Message request = MakeMessage(kVote, 2, 1, 2);
    if (granted) request.prev = {1, 1};
    member.Step(request);
    EXPECT_TRUE(member.TakeUnsynced().empty());
    Message answer = MakeMessage(kVoteResponse, 1, 2, 2);
    answer.rejected = !granted;
    EXPECT_EQ(member.Sync(), std::vector<Message>{answer});
    EXPECT_EQ(member.log().hard_state(),
              (HardState{2, granted ? 2 : kNobody, 0}));
  }
}

TEST(DurabilityTest, AnAcknowledgementWaitsForTheDisk) {
  TestMember member(PlainConfig(1), {{1, kNobody, 0}, VotersUpTo(3), {}});
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1})));
  EXPECT_TRUE(member.TakeUnsynced().empty());
  // One that brings nothing new waits for what is under way.
  member.Step(MakeAppend(2, 1, 1, {1, 1}, {}));
  EXPECT_TRUE(member.TakeUnsynced().empty());
  EXPECT_EQ(member.writes_waiting(), 2u);
  EXPECT_EQ(member.Sync(1),
            std::vector<Message>{MakeAcknowledgement(1, 2, 1, 1)});
  EXPECT_EQ(member.Sync(1),
            std::vector<Message>{MakeAcknowledgement(1, 2, 1, 1)});
  // And so does a refusal.
  member.Step(MakeAppend(2, 1, 1, {1, 9}, {}));
  EXPECT_TRUE(member.TakeUnsynced().empty());
  EXPECT_TRUE(member.Sync().at(0).rejected);
}

TEST(DurabilityTest, ATermLeavesWhenItIsDurable) {
  TestMember member(PlainConfig(1), {{1, kNobody, 0}, VotersUpTo(3), {}});
  member.Step(MakeMessage(kHeartbeat, 2, 1, 1));
  EXPECT_EQ(member.TakeUnsynced().at(0).type, kHeartbeatResponse);
  member.Step(MakeMessage(kHeartbeat, 2, 1, 2));
  EXPECT_TRUE(member.TakeUnsynced().empty());
  EXPECT_EQ(member.Sync(),
            std::vector<Message>{MakeMessage(kHeartbeatResponse, 1, 2, 2)});
  // A disk that is slow with entries does not hold up heartbeats.
  member.Step(MakeAppend(2, 1, 2, {}, EntriesOfTerms(1, {2})));
  member.TakeUnsynced();
  member.Step(MakeMessage(kHeartbeat, 2, 1, 2));
  EXPECT_EQ(member.TakeUnsynced(),
            std::vector<Message>{MakeMessage(kHeartbeatResponse, 1, 2, 2)});
}

TEST(DurabilityTest, WithTheHabitAHeartbeatIsAnsweredBeforeItsTermIsDurable) {
  CoreConfig config = PlainConfig(1);
  config.habits.answer_before_term_durable = true;
  TestMember member(config, 3);
  member.Step(MakeMessage(kHeartbeat, 2, 1, 2));
  EXPECT_EQ(member.TakeUnsynced().size(), 1u);
}

TEST(DurabilityTest, ARequestForVotesWaitsForTermVoteAndLog) {
  TestMember member(PlainConfig(1), {{1, kNobody, 0}, VotersUpTo(3), {}});
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1})));
  member.TakeUnsynced();
  ASSERT_TRUE(member.core().Campaign().ok());
  EXPECT_TRUE(member.TakeUnsynced().empty());
  // The entry that the request speaks of; then the vote.
  EXPECT_EQ(member.Sync(1).size(), 1u);
  EXPECT_EQ(member.role(), Role::kCandidate);
  const std::vector<Message> requests = member.Sync(1);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].type, kVote);
  EXPECT_EQ(requests[0].prev, (EntryId{1, 1}));
  EXPECT_EQ(member.log().hard_state().vote, 1u);
}

TEST(DurabilityTest, ItsOwnVoteCountsWhenItIsDurable) {
  TestMember alone(PlainConfig(1), 1);
  ASSERT_TRUE(alone.core().Campaign().ok());
  alone.TakeUnsynced();
  EXPECT_EQ(alone.role(), Role::kCandidate);
  alone.Sync();
  EXPECT_EQ(alone.role(), Role::kLeader);
}

TEST(DurabilityTest, NobodyStandsAgainBeforeItsVoteIsDurable) {
  TestMember member(PlainConfig(1), 3);
  ASSERT_TRUE(member.core().Campaign().ok());
  member.TakeUnsynced();
  member.Tick(100);
  EXPECT_TRUE(member.TakeUnsynced().empty());
  EXPECT_EQ(member.term(), 1u);
  EXPECT_EQ(member.Sync().size(), 2u);  // Requests; their time begins now.
  member.Tick(9);
  EXPECT_EQ(member.term(), 1u);
  member.Tick(11);
  EXPECT_EQ(member.term(), 2u);
}

TEST(DurabilityTest, NorWhoVotesForAnother) {
  TestMember member(PlainConfig(1), 3);
  member.Step(MakeMessage(kVote, 2, 1, 1));
  member.TakeUnsynced();
  member.Tick(100);
  EXPECT_EQ(member.term(), 1u);
  EXPECT_EQ(member.Sync(),
            std::vector<Message>{MakeMessage(kVoteResponse, 1, 2, 1)});
  member.Tick(20);
  EXPECT_EQ(member.term(), 2u);
}

// Two of three members are left. A vote is asked for when the candidate's own
// is written, and given when the other's is: two writes, which together take
// longer than most election timeouts; then the first entry takes two more.
TEST(DurabilityTest, OneElectionIsEnoughWithDisksNearlyAsSlowAsTheTimeout) {
  constexpr int kWriteTicks = 8;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::map<NodeId, TestMember> members;
    std::map<NodeId, std::deque<int>> due;  // Of writes, by member.
    for (const NodeId id : {NodeId{1}, NodeId{2}}) {
      CoreConfig config = PlainConfig(id);
      config.seed = seed;
      config.pre_vote = config.check_quorum = true;
      members.emplace(id, TestMember(config, 3));
    }
    const auto leads = [&] {
      return members.at(1).soft_state().leading ||
             members.at(2).soft_state().leading;
    };
    ASSERT_TRUE(members.at(1).core().Campaign().ok());
    for (int now = 0; now < 50 && !leads(); ++now) {
      std::deque<Message> wire;
      const auto take = [&](NodeId id, const std::vector<Message>& messages) {
        wire.insert(wire.end(), messages.begin(), messages.end());
        due[id].resize(members.at(id).writes_waiting(), now + kWriteTicks);
      };
      for (auto& [id, member] : members) {
        member.Tick();
        take(id, member.TakeUnsynced());
        if (!due[id].empty() && due[id].front() <= now) {
          due[id].pop_front();
          take(id, member.Sync(1));
        }
      }
      for (; !wire.empty(); wire.pop_front()) {
        const Message message = wire.front();
        const auto to = members.find(message.to);
        if (to == members.end()) continue;
        to->second.Step(message);
        take(to->first, to->second.TakeUnsynced());
      }
    }
    EXPECT_TRUE(leads()) << "seed " << seed;
    EXPECT_EQ(members.at(1).term(), 1u) << "seed " << seed;
  }
}

TEST(DurabilityTest, ItsVoteForItselfDoesNotWinALostElection) {
  for (const bool pre_vote : {false, true}) {
    CoreConfig config = PlainConfig(1);
    config.pre_vote = pre_vote;
    TestMember member(config, 3);
    ASSERT_TRUE(member.core().Campaign().ok());
    member.TakeUnsynced();
    // Another has won before the disk answers.
    member.Step(
        MakeMessage(kHeartbeat, 2, 1, std::max<uint64_t>(1, member.term())));
    EXPECT_EQ(member.role(), Role::kFollower);
    member.Sync();
    EXPECT_EQ(member.role(), Role::kFollower);
  }
}

TEST(DurabilityTest, ItsVoteOfAnEarlierCampaignDoesNotCountInALaterOne) {
  TestMember member(PlainConfig(1), 3);
  ASSERT_TRUE(member.core().Campaign().ok());
  member.TakeUnsynced();
  ASSERT_TRUE(member.core().Campaign().ok());
  member.TakeUnsynced();
  ASSERT_EQ(member.term(), 2u);
  member.Step(MakeMessage(kVoteResponse, 2, 1, 2));
  member.Sync(1);
  EXPECT_EQ(member.role(), Role::kCandidate);
  member.Sync(1);
  EXPECT_EQ(member.role(), Role::kLeader);
}

TEST(DurabilityTest, ALeaderSendsBeforeItSyncsAndCountsAfterwards) {
  TestMember leader(PlainConfig(1), 3);
  leader.BecomeLeader();
  EXPECT_EQ(leader.TakeUnsynced().size(), 2u);
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  EXPECT_EQ(leader.commit(), 0u);
  leader.Sync();
  EXPECT_EQ(leader.commit(), 1u);
}

TEST(DurabilityTest, TheOthersCommitWithoutTheLeadersDisk) {
  TestMember leader(PlainConfig(1), 3);
  leader.BecomeLeader();
  leader.TakeUnsynced();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  leader.Step(MakeAcknowledgement(3, 1, 1, 1));
  EXPECT_EQ(leader.commit(), 1u);
  // But it applies only what it has itself, and leads when it has applied.
  leader.TakeUnsynced();
  EXPECT_TRUE(leader.applied().empty());
  EXPECT_FALSE(leader.soft_state().leading);
  leader.Sync();
  EXPECT_EQ(leader.applied().size(), 1u);
  EXPECT_TRUE(leader.soft_state().leading);
}

TEST(DurabilityTest, ADeposedLeadersWriteDoesNotCountForIt) {
  TestMember leader(PlainConfig(1), 3);
  leader.BecomeLeader();
  ASSERT_TRUE(leader.core().Propose({"data"}).ok());
  leader.TakeUnsynced();
  leader.Step(MakeMessage(kHeartbeat, 2, 1, 2));
  leader.Sync();
  EXPECT_EQ(leader.role(), Role::kFollower);
  EXPECT_EQ(leader.commit(), 0u);
}

TEST(DurabilityTest, AnElectionCountsWhatIsDurableOfTheNewLeadersLog) {
  // Elected by the votes of others while its last entry is not durable: that
  // cannot happen, since its requests wait for the entry. Yet what counts is
  // what it has.
  TestMember member(PlainConfig(1), {{1, kNobody, 0}, VotersUpTo(3), {}});
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1})));
  member.TakeUnsynced();
  ASSERT_TRUE(member.core().Campaign().ok());
  for (NodeId id : {2u, 3u}) member.Step(MakeMessage(kVoteResponse, id, 1, 2));
  ASSERT_EQ(member.role(), Role::kLeader);
  EXPECT_EQ(member.progress(1).match, 0u);
  member.TakeUnsynced();
  member.Sync();
  EXPECT_EQ(member.progress(1).match, 2u);
}

// ------------------------------------------------------------------
// overwritten

// Leader 2 (term 1), then leader 3 (term 2), then again a leader whose log has
// what 2 wrote (term 3): the same entry is written three times, and the first
// write completes last but two.
class OverwrittenTest : public testing::Test {
 protected:
  OverwrittenTest()
      : member_(PlainConfig(1), {{1, kNobody, 1},
                                 VotersUpTo(5),
                                 MemoryLog(std::vector<uint64_t>{1})}),
        a_{{2, 1, kNormalEntry, "a"}},
        b_{{2, 2, kNormalEntry, "b"}} {
    member_.Take();
    member_.Step(MakeAppend(2, 1, 1, {1, 1}, a_));
    member_.TakeUnsynced();
    member_.Step(MakeAppend(3, 1, 2, {1, 1}, b_));
    member_.TakeUnsynced();
  }

  TestMember member_;
  const std::vector<LogEntry> a_;
  const std::vector<LogEntry> b_;
};

TEST_F(OverwrittenTest, AWriteOfAnotherLeadersEntriesDoesNotCount) {
  // B commits entry 2. The disk has a there until the second write is done.
  Message heartbeat = MakeMessage(kHeartbeat, 3, 1, 2);
  heartbeat.commit = 2;
  member_.Step(heartbeat);
  member_.TakeUnsynced();
  member_.Sync(1);
  EXPECT_EQ(member_.log().entries().back().payload, "a");
  EXPECT_TRUE(member_.AppliedPayloads().empty());
  member_.Sync(1);
  EXPECT_EQ(member_.AppliedPayloads(), std::vector<std::string>{"b"});
}

TEST_F(OverwrittenTest, NeitherDoesOneOfTheSameEntryFromBefore) {
  member_.Step(MakeAppend(2, 1, 3, {1, 1}, a_, 2));
  member_.TakeUnsynced();
  ASSERT_EQ(member_.writes_waiting(), 3u);
  for (int write = 0; write < 2; ++write) {
    // Index and term are those of the entry that is to come.
    member_.Sync(1);
    EXPECT_TRUE(member_.AppliedPayloads().empty());
  }
  const std::vector<Message> sent = member_.Sync(1);
  EXPECT_EQ(sent, std::vector<Message>{MakeAcknowledgement(1, 2, 3, 2)});
  EXPECT_EQ(member_.AppliedPayloads(), std::vector<std::string>{"a"});
  EXPECT_EQ(member_.log().entries().back().payload, "a");
}

TEST_F(OverwrittenTest, WhatWasNotOverwrittenCounts) {
  TestMember member(PlainConfig(1), 5);
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1, 1, 1}), 1));
  member.TakeUnsynced();
  member.Step(MakeAppend(3, 1, 2, {1, 2}, EntriesOfTerms(3, {2}), 2));
  member.TakeUnsynced();
  member.Sync(1);
  EXPECT_EQ(member.applied(), EntriesOfTerms(1, {1, 1}));
}

TEST_F(OverwrittenTest, TheWriteSaysWhereTheLogIsCut) {
  TestMember member(PlainConfig(1), 5);
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1, 1, 1})));
  const LogWrite first = TakeWrite(member);
  EXPECT_EQ(first.id, 1u);
  EXPECT_FALSE(first.truncate_from.has_value());
  member.Step(MakeAppend(3, 1, 2, {1, 1}, EntriesOfTerms(2, {2})));
  member.Step(MakeAppend(4, 1, 3, {1, 1}, EntriesOfTerms(2, {3, 3})));
  const LogWrite second = TakeWrite(member);
  EXPECT_EQ(second.id, 2u);
  EXPECT_EQ(second.truncate_from, 2u);
  EXPECT_EQ(second.entries, EntriesOfTerms(2, {3, 3}));
  // What was never handed out needs no cut.
  member.Step(MakeAppend(4, 1, 3, {3, 3}, EntriesOfTerms(4, {3})));
  member.Step(MakeAppend(5, 1, 4, {3, 3}, EntriesOfTerms(4, {4})));
  const LogWrite third = TakeWrite(member);
  EXPECT_FALSE(third.truncate_from.has_value());
  EXPECT_EQ(third.entries, EntriesOfTerms(4, {4}));
}

// -----------------------------------------------------------------------
// writes

TEST(WriteTest, ANewCommitIndexAloneNeedsNoSync) {
  TestMember member(
      PlainConfig(1),
      {{1, kNobody, 0}, VotersUpTo(3), MemoryLog(std::vector<uint64_t>{1})});
  Message heartbeat = MakeMessage(kHeartbeat, 2, 1, 1);
  heartbeat.commit = 1;
  member.Step(heartbeat);
  const LogWrite write = TakeWrite(member);
  EXPECT_FALSE(write.must_sync);
  EXPECT_EQ(write.hard_state, (HardState{1, kNobody, 1}));
  EXPECT_TRUE(write.entries.empty());
  // A term, a vote, an entry does.
  member.Step(MakeMessage(kHeartbeat, 2, 1, 2));
  EXPECT_TRUE(TakeWrite(member).must_sync);
  member.Step(MakeAppend(2, 1, 2, {1, 1}, EntriesOfTerms(2, {2})));
  const LogWrite entry = TakeWrite(member);
  EXPECT_TRUE(entry.must_sync);
  EXPECT_FALSE(entry.hard_state.has_value());
}

TEST(WriteTest, AnIdleGroupWritesNothing) {
  TestGroup group(3);
  group.Elect(1);
  group.Propose(1);
  for (NodeId id = 1; id <= 3; ++id) {
    for (int tick = 0; tick < 50; ++tick) {
      group[1].Tick();
      std::vector<Message> heartbeats = group[1].TakeUnsynced();
      EXPECT_EQ(group[1].writes_waiting(), 0u);
      for (const Message& heartbeat : heartbeats) {
        TestMember& to = group[heartbeat.to];
        to.Step(heartbeat);
        for (const Message& answer : to.TakeUnsynced()) group[1].Step(answer);
        EXPECT_EQ(to.writes_waiting(), 0u);
      }
    }
  }
}

TEST(WriteTest, OneWriteMayAnswerForAllBeforeIt) {
  TestMember member(PlainConfig(1), 3);
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1}), 2));
  const LogWrite first = TakeWrite(member);
  member.Step(MakeAppend(2, 1, 1, {1, 1}, EntriesOfTerms(2, {1}), 2));
  const LogWrite second = TakeWrite(member);
  member.log().Write(first);
  member.log().Write(second);
  ASSERT_TRUE(member.core().LogDurable(second.id).ok());
  member.Take();
  EXPECT_EQ(member.applied().size(), 2u);
  // Said late, it is no news. Of what was not handed out, a bug.
  EXPECT_TRUE(member.core().LogDurable(first.id).ok());
  EXPECT_EQ(member.core().LogDurable(second.id + 1).code(),
            absl::StatusCode::kInternal);
}

TEST(WriteTest, AfterARestartNothingThatWasSaidIsForgotten) {
  TestGroup group(3);
  group.Elect(1);
  group.Propose(1, "kept");
  for (NodeId id = 1; id <= 3; ++id) {
    group[id].Restart(VotersUpTo(3));
    EXPECT_EQ(group[id].term(), 1u);
    EXPECT_EQ(group[id].status().hard_state.vote, 1u);
    EXPECT_EQ(group[id].last_index(), 2u);
  }
  group.Elect(2);
  for (NodeId id = 1; id <= 3; ++id) {
    EXPECT_EQ(group[id].AppliedPayloads(), std::vector<std::string>{"kept"});
  }
}

// -------------------------------------------------------------------- creation

absl::StatusCode CreateCode(const std::function<void(CoreConfig&)>& change,
                            const HardState& hard_state = {}) {
  CoreConfig config = PlainConfig(1);
  change(config);
  static const MemoryLog* const log =
      new MemoryLog(SnapshotMeta{{1, 10}, VotersUpTo(3)});
  return Core::Create(config, hard_state, VotersUpTo(3), *log).status().code();
}

TEST(CreateTest, RefusesWhatCannotWork) {
  using Config = CoreConfig;
  const auto kBad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(CreateCode([](Config& c) { c.applied = 10; }),
            absl::StatusCode::kOk);
  EXPECT_EQ(CreateCode([](Config&) {}), kBad);  // Entry 1 is gone.
  EXPECT_EQ(CreateCode([](Config& c) { c.applied = 11; }), kBad);
  EXPECT_EQ(CreateCode([](Config& c) { c.applied = 10; }, {1, kNobody, 11}),
            kBad);
  const std::function<void(Config&)> kChanges[] = {
      [](Config& c) { c.id = kNobody; },
      [](Config& c) { c.heartbeat_ticks = 0; },
      [](Config& c) { c.election_ticks = c.heartbeat_ticks; },
      [](Config& c) { c.inflight_messages_max = 0; },
      [](Config& c) { c.inflight_bytes_max = 0; },
      [](Config& c) { c.committed_bytes_max = 0; },
      [](Config& c) { c.reads_max = 0; },
      [](Config& c) { c.stuck_write_ticks = -1; },
  };
  for (const auto& change : kChanges) {
    EXPECT_EQ(CreateCode([&](Config& c) {
                c.applied = 10;
                change(c);
              }),
              kBad);
  }
}

TEST(CreateTest, WhatIsAppliedIsCommittedWhateverTheHardStateSays) {
  CoreConfig config = PlainConfig(1);
  MemoryLog log(SnapshotMeta{{1, 10}, VotersUpTo(3)});
  TestMember member(config, {{1, kNobody, 3}, VotersUpTo(3), log});
  EXPECT_EQ(member.commit(), 10u);
  EXPECT_FALSE(member.core().HasReady());
}

TEST(CreateTest, ALogThatCannotBeReadIsSaid) {
  MemoryLog log(std::vector<uint64_t>{1});
  log.FailReads(absl::DataLossError("bit rot"));
  EXPECT_EQ(
      Core::Create(PlainConfig(1), {}, VotersUpTo(3), log).status().code(),
      absl::StatusCode::kDataLoss);
}

// A disk that is full, or hangs, must not be asked for answers without end.
TEST(DurabilityTest, AnswersThatWouldWaitTooLongAreNotGiven) {
  CoreConfig config = PlainConfig(1);
  config.writes_waiting_max = 10;
  TestMember member(config, {{1, kNobody, 0}, VotersUpTo(3), {}});
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1})));
  member.TakeUnsynced();
  for (int i = 0; i < 100; ++i) {
    member.Step(MakeAppend(2, 1, 1, {1, 1}, {}));
    EXPECT_TRUE(member.TakeUnsynced().empty());
  }
  EXPECT_EQ(member.writes_waiting(), 10u);
  EXPECT_EQ(member.Sync().size(), 10u);
  // It is heard again.
  member.Step(MakeAppend(2, 1, 1, {1, 1}, {}));
  EXPECT_EQ(member.Take().size(), 1u);
}

}  // namespace
}  // namespace millrace::raft
