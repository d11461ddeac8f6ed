// Elections: who wins them, who is not disturbed by them, and how a group gets
// out of those that nobody wins. Many of the situations are those of
// etcd-raft's tests, told anew.
#include <gtest/gtest.h>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

void UsePreVote(CoreConfig& config) { config.pre_vote = true; }
void UseCheckQuorum(CoreConfig& config) { config.check_quorum = true; }
void UseBoth(CoreConfig& config) {
  config.pre_vote = true;
  config.check_quorum = true;
}

const TestGroup::Configure kStyles[] = {
    {}, UsePreVote, UseCheckQuorum, UseBoth};

TEST(ElectionTest, AMajorityThatCanBeReachedIsEnough) {
  for (const auto& style : kStyles) {
    for (NodeId down = 0; down <= 4; ++down) {
      TestGroup group(5, style);
      for (NodeId id = 2; id < 2 + down; ++id) group.Isolate(id);
      group.Campaign(1);
      const bool won = group[1].role() == Role::kLeader;
      EXPECT_EQ(won, down <= 2) << down << " down";
    }
  }
}

TEST(ElectionTest, EveryMemberCanLeadInItsTurn) {
  for (const auto& style :
       {TestGroup::Configure(), TestGroup::Configure(UsePreVote)}) {
    TestGroup group(3, style);
    for (int round = 0; round < 2; ++round) {
      for (NodeId id = 1; id <= 3; ++id) {
        group.Elect(id);
        for (NodeId other = 1; other <= 3; ++other) {
          EXPECT_EQ(group[other].status().soft_state.leader, id);
          EXPECT_EQ(group[other].role(),
                    other == id ? Role::kLeader : Role::kFollower);
        }
      }
    }
  }
}

// Members 1 and 2 have an entry of term 1, member 3 one of term 2, for which 4
// and 5 have voted. None of it is committed, and any of 1, 2 and 3 may win.
TEST(ElectionTest, UncommittedEntriesOfANewerTermMayBeOverwritten) {
  for (const bool pre_vote : {false, true}) {
    std::map<NodeId, TestMember::Start> start;
    for (NodeId id = 1; id <= 2; ++id) {
      start[id] = {{1, kNobody, 0}, {}, MemoryLog(std::vector<uint64_t>{1})};
    }
    start[3] = {{2, 3, 0}, {}, MemoryLog(std::vector<uint64_t>{2})};
    start[4].hard_state = start[5].hard_state = {2, 3, 0};
    TestGroup group(
        VotersUpTo(5), [&](CoreConfig& c) { c.pre_vote = pre_vote; },
        std::move(start));
    // A majority knows of term 2 already.
    group.Campaign(1);
    EXPECT_EQ(group[1].role(), Role::kFollower);
    EXPECT_EQ(group[1].term(), 2u);
    group.Campaign(1);
    EXPECT_EQ(group[1].role(), Role::kLeader);
    EXPECT_EQ(group[1].term(), 3u);
    for (NodeId id = 1; id <= 5; ++id) {
      EXPECT_EQ(group[id].log().entries(), EntriesOfTerms(1, {1, 3})) << id;
    }
  }
}

TEST(ElectionTest, OfTwoCandidatesOneWinsAndTheOtherDisturbsItLater) {
  TestGroup group(3);
  group.Cut(1, 3);
  group.Campaign(1);
  group.Campaign(3);
  EXPECT_EQ(group[1].role(), Role::kLeader);
  EXPECT_EQ(group[3].role(), Role::kCandidate);
  group.Heal();
  // Its term is newer, its log is not.
  group.Campaign(3);
  for (NodeId id = 1; id <= 3; ++id) {
    EXPECT_EQ(group[id].role(), Role::kFollower);
    EXPECT_EQ(group[id].term(), 2u);
    EXPECT_EQ(group[id].last_index(), id == 3 ? 0u : 1u);
  }
}

TEST(ElectionTest, OfTwoPreCandidatesOneWinsAndIsNotDisturbed) {
  TestGroup group(3, UsePreVote);
  group.Cut(1, 3);
  group.Campaign(1);
  group.Campaign(3);
  EXPECT_EQ(group[1].role(), Role::kLeader);
  EXPECT_EQ(group[3].role(), Role::kFollower);
  group.Heal();
  group.Campaign(3);
  EXPECT_EQ(group[1].role(), Role::kLeader);
  EXPECT_EQ(group[3].role(), Role::kFollower);
  for (NodeId id = 1; id <= 3; ++id) {
    EXPECT_EQ(group[id].term(), 1u);
    EXPECT_EQ(group[id].last_index(), id == 3 ? 0u : 1u);
  }
}

TEST(ElectionTest, CandidateConcedesToALeaderOfItsTerm) {
  TestGroup group(3);
  group.Isolate(1);
  group.Campaign(1);
  group.Campaign(3);
  group.Heal();
  group.Tick(3, 1);
  group.Propose(3, "follow");
  EXPECT_EQ(group[1].role(), Role::kFollower);
  EXPECT_EQ(group[1].term(), 1u);
  for (NodeId id = 1; id <= 3; ++id) {
    EXPECT_EQ(group[id].AppliedPayloads(), std::vector<std::string>{"follow"});
  }
}

TEST(ElectionTest, AGroupOfOneElectsItself) {
  for (const auto& style : kStyles) {
    TestGroup group(1, style);
    group.Campaign(1);
    EXPECT_EQ(group[1].role(), Role::kLeader);
    group.Propose(1, "alone");
    EXPECT_EQ(group[1].AppliedPayloads(), std::vector<std::string>{"alone"});
  }
}

TEST(ElectionTest, NobodyCampaignsWhoLeadsOrHasNoVote) {
  TestGroup group({{1, {true, ""}}, {2, {false, ""}}}, {});
  group.Elect(1);
  EXPECT_TRUE(group[1].core().Campaign().ok());
  EXPECT_EQ(group[1].term(), 1u);
  EXPECT_EQ(group[2].core().Campaign().code(),
            absl::StatusCode::kFailedPrecondition);
  group[2].Tick(100);
  EXPECT_EQ(group[2].role(), Role::kFollower);
  // Nor at somebody's request.
  group[2].Step(MakeMessage(MessageType::kTimeoutNow, 1, 2, 1));
  EXPECT_EQ(group[2].role(), Role::kFollower);
}

// --------------------------------------------------------------- the quorum

TEST(CheckQuorumTest, LeaderStaysWhileAMajorityAnswers) {
  CoreConfig config = PlainConfig(1);
  config.check_quorum = true;
  TestMember leader(config, 3);
  leader.BecomeLeader();
  leader.Take();
  for (int tick = 0; tick < 30; ++tick) {
    leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
    leader.Tick();
  }
  EXPECT_EQ(leader.role(), Role::kLeader);
}

TEST(CheckQuorumTest, LeaderStepsDownWhenNoMajorityAnswers) {
  CoreConfig config = PlainConfig(1);
  config.check_quorum = true;
  TestMember leader(config, 3);
  leader.BecomeLeader();
  leader.Take();
  leader.Tick(9);
  EXPECT_EQ(leader.role(), Role::kLeader);
  leader.Tick();
  EXPECT_EQ(leader.role(), Role::kFollower);
  EXPECT_EQ(leader.term(), 1u);
  EXPECT_EQ(leader.status().soft_state.leader, kNobody);
}

TEST(CheckQuorumTest, OneOfFiveIsNotAMajority) {
  CoreConfig config = PlainConfig(1);
  config.check_quorum = true;
  TestMember leader(config, 5);
  leader.BecomeLeader();
  leader.Take();
  for (int tick = 0; tick < 10; ++tick) {
    leader.Step(MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 1));
    leader.Tick();
  }
  EXPECT_EQ(leader.role(), Role::kFollower);
}

TEST(CheckQuorumTest, LearnersAreNoPartOfIt) {
  for (const NodeId answers : {2u, 3u}) {
    CoreConfig config = PlainConfig(1);
    config.check_quorum = true;
    Membership membership = VotersUpTo(2);
    membership[3].voter = false;
    TestMember leader(config, {{}, membership, {}});
    leader.BecomeLeader();
    leader.Take();
    leader.Step(MakeMessage(MessageType::kHeartbeatResponse, answers, 1, 1));
    leader.Tick(10);
    EXPECT_EQ(leader.role(), answers == 2 ? Role::kLeader : Role::kFollower);
  }
}

TEST(CheckQuorumTest, NoVoteWhileALeaderIsHeard) {
  TestGroup group(3, UseCheckQuorum);
  group.Elect(1);
  group.Campaign(3);
  EXPECT_EQ(group[3].role(), Role::kCandidate);
  EXPECT_EQ(group[1].role(), Role::kLeader);
  // Member 2 hears of its leader no more.
  group[2].core().SetElectionTimeout(11);
  group[2].Tick(10);
  group.Campaign(3);
  EXPECT_EQ(group[3].role(), Role::kLeader);
  EXPECT_EQ(group[1].role(), Role::kFollower);
}

TEST(CheckQuorumTest, VotesAreGivenAtOnceBeforeAnyLeaderIsHeard) {
  TestGroup group(3, UseCheckQuorum);
  group.Elect(1);
  EXPECT_EQ(group[2].status().soft_state.leader, 1u);
}

// Cut off, member 3 has raised its term so far that it neither follows nor
// wins.
TEST(CheckQuorumTest, MemberThatIsAheadIsFreedByANewElection) {
  TestGroup group(3, UseCheckQuorum);
  group.Elect(1);
  group.Isolate(1);
  for (int round = 1; round <= 2; ++round) {
    group.Campaign(3);
    EXPECT_EQ(group[2].role(), Role::kFollower);
    EXPECT_EQ(group[3].role(), Role::kCandidate);
    EXPECT_EQ(group[3].term(), group[2].term() + round);
  }
  group.Heal();
  group.Send({MakeMessage(MessageType::kHeartbeat, 1, 3, group[1].term())});
  EXPECT_EQ(group[1].role(), Role::kFollower);
  EXPECT_EQ(group[1].term(), group[3].term());
  // Member 2 has not heard its leader for a while by now.
  group[2].core().SetElectionTimeout(100);
  group[2].Tick(10);
  group.Campaign(3);
  EXPECT_EQ(group.Leader(), 3u);
  EXPECT_EQ(group[3].last_index(), group[1].last_index());
}

TEST(CheckQuorumTest, MemberThatIsNotOneOfItsOwnMembershipFollows) {
  std::map<NodeId, TestMember::Start> start;
  TestGroup group({{1, {true, ""}}, {2, {true, ""}}}, UseCheckQuorum);
  // Member 2 has applied its own removal, member 1 has not.
  ASSERT_TRUE(group[2]
                  .core()
                  .ApplyMembership({MembershipChange::Kind::kRemove, 2, ""})
                  .ok());
  group[2].Tick(100);
  EXPECT_EQ(group[2].role(), Role::kFollower);
  group.Campaign(1);
  EXPECT_EQ(group[1].role(), Role::kLeader);
  EXPECT_EQ(group[2].role(), Role::kFollower);
  EXPECT_EQ(group[2].status().soft_state.leader, 1u);
}

TEST(CheckQuorumTest, ADelayedHeartbeatLetsACandidateDeposeTheLeader) {
  TestGroup group(3, UseCheckQuorum);
  group.Elect(1);
  group[3].core().SetElectionTimeout(12);
  group[3].Tick(12);
  ASSERT_EQ(group[3].role(), Role::kCandidate);
  ASSERT_EQ(group[3].term(), 2u);
  // Its requests for votes are still on their way.
  group.Ignore(MessageType::kVote);
  group.Send({MakeMessage(MessageType::kHeartbeat, 1, 3, 1)});
  EXPECT_EQ(group[1].role(), Role::kFollower);
  EXPECT_EQ(group[1].term(), 2u);
  EXPECT_EQ(group[2].term(), 1u);
  EXPECT_EQ(group[3].role(), Role::kCandidate);
}

// ------------------------------------------------------------------ pre-votes

TEST(PreVoteTest, AMemberThatWasCutOffDoesNotDeposeTheLeader) {
  TestGroup group(3, UseBoth);
  group.Elect(1);
  group.Isolate(3);
  for (int i = 0; i < 3; ++i) group.Propose(1);
  group[3].Tick(50);
  group.Run();
  EXPECT_EQ(group[3].role(), Role::kPreCandidate);
  EXPECT_EQ(group[3].term(), 1u);
  group.Heal();
  group.Campaign(3);
  EXPECT_EQ(group[1].role(), Role::kLeader);
  EXPECT_EQ(group[3].role(), Role::kPreCandidate);
  group.Tick(1, 1);
  EXPECT_EQ(group[1].role(), Role::kLeader);
  EXPECT_EQ(group[3].role(), Role::kFollower);
  EXPECT_EQ(group[3].commit(), group[1].commit());
  for (NodeId id = 1; id <= 3; ++id) EXPECT_EQ(group[id].term(), 1u);
}

TEST(PreVoteTest, VotesThatAreSplitAreCastAgain) {
  TestGroup group(3, UsePreVote);
  group.Elect(1);
  group.Isolate(1);
  // Both are granted the pre-vote before either asks for the vote itself.
  ASSERT_TRUE(group[2].core().Campaign().ok());
  ASSERT_TRUE(group[3].core().Campaign().ok());
  group.Run();
  for (NodeId id = 2; id <= 3; ++id) {
    EXPECT_EQ(group[id].term(), 2u);
    EXPECT_EQ(group[id].role(), Role::kCandidate);
  }
  group.Campaign(2);
  EXPECT_EQ(group[2].role(), Role::kLeader);
  EXPECT_EQ(group[3].role(), Role::kFollower);
  EXPECT_EQ(group[2].term(), 3u);
  EXPECT_EQ(group[3].term(), 3u);
}

TEST(PreVoteTest, AMemberOfAnOlderTermCanCompleteAnElection) {
  TestGroup group(3, UsePreVote);
  group.Isolate(3);
  group.Elect(1);
  group.Campaign(3);
  EXPECT_EQ(group[3].role(), Role::kPreCandidate);
  group.Elect(2);
  EXPECT_EQ(group[2].term(), 2u);
  EXPECT_EQ(group[3].term(), 0u);
  group.Heal();
  group.Isolate(2);
  group.Campaign(3);
  group.Campaign(1);
  EXPECT_EQ(group.Leader(), 1u);
}

TEST(PreVoteTest, NobodyIsElectedAgainstALeaderThatOthersHear) {
  TestGroup group(3, UseBoth);
  group.Elect(1);
  group.Isolate(1);
  group.Campaign(3);
  EXPECT_EQ(group[2].term(), 1u);
  EXPECT_EQ(group[3].term(), 1u);
  // After a while nobody hears it any more.
  group.TickAll(40);
  EXPECT_NE(group.Leader(), 1u);
  EXPECT_NE(group.Leader(), kNobody);
}

TEST(PreVoteTest, PreVotesAreCountedBeforeTheDiskAnswersAndVotesAfter) {
  CoreConfig config = PlainConfig(1);
  config.pre_vote = true;
  TestMember member(config, 3);
  ASSERT_TRUE(member.core().Campaign().ok());
  EXPECT_EQ(member.role(), Role::kPreCandidate);
  EXPECT_EQ(member.TakeUnsynced().size(), 2u);
  EXPECT_EQ(member.writes_waiting(), 0u);
  member.Step(MakeMessage(MessageType::kPreVoteResponse, 2, 1, 1));
  EXPECT_EQ(member.role(), Role::kCandidate);
  EXPECT_EQ(member.TakeUnsynced(), std::vector<Message>{});
  // A vote alone is no majority: its own is not durable.
  member.Step(MakeMessage(MessageType::kVoteResponse, 2, 1, 1));
  EXPECT_EQ(member.role(), Role::kCandidate);
  EXPECT_EQ(member.Sync().size(), 4u);  // Two requests; two appends.
  EXPECT_EQ(member.role(), Role::kLeader);
}

TEST(PreVoteTest, AnAnswerToAnotherKindOfVoteDoesNotCount) {
  CoreConfig config = PlainConfig(1);
  config.pre_vote = true;
  TestMember member(config, 5);
  ASSERT_TRUE(member.core().Campaign().ok());
  member.Step(MakeMessage(MessageType::kVoteResponse, 2, 1, 1));
  EXPECT_EQ(member.term(), 1u);  // Of a newer term, so it follows.
  EXPECT_EQ(member.role(), Role::kFollower);
  ASSERT_TRUE(member.core().Campaign().ok());
  for (NodeId id = 2; id <= 3; ++id) {
    member.Step(MakeMessage(MessageType::kPreVoteResponse, id, 1, 2));
  }
  ASSERT_EQ(member.role(), Role::kCandidate);
  member.Take();
  for (NodeId id = 2; id <= 5; ++id) {
    member.Step(MakeMessage(MessageType::kPreVoteResponse, id, 1, 2));
  }
  EXPECT_EQ(member.role(), Role::kCandidate);
}

TEST(PreVoteTest, ARefusalTellsANewerTerm) {
  CoreConfig config = PlainConfig(1);
  config.pre_vote = true;
  TestMember member(config,
                    TestMember::Start{{5, kNobody, 0}, VotersUpTo(3), {}});
  // One of an older term is told.
  member.Step(MakeMessage(MessageType::kPreVote, 2, 1, 4));
  Message refusal = MakeMessage(MessageType::kPreVoteResponse, 1, 2, 5);
  refusal.rejected = true;
  EXPECT_EQ(member.Take(), std::vector<Message>{refusal});
  // And learns from it.
  refusal = MakeMessage(MessageType::kPreVoteResponse, 2, 1, 7);
  refusal.rejected = true;
  ASSERT_TRUE(member.core().Campaign().ok());
  member.Step(refusal);
  EXPECT_EQ(member.role(), Role::kFollower);
  EXPECT_EQ(member.term(), 7u);
}

// ------------------------------------------------------- votes in every state

TEST(ElectionTest, ANewerTermWithAGoodLogGetsTheVoteOfAnybody) {
  for (const bool pre_vote : {false, true}) {
    for (const Role role : {Role::kFollower, Role::kPreCandidate,
                            Role::kCandidate, Role::kLeader}) {
      CoreConfig config = PlainConfig(1);
      config.pre_vote = role == Role::kPreCandidate;
      TestMember member(config,
                        TestMember::Start{{1, kNobody, 0}, VotersUpTo(3), {}});
      if (role == Role::kLeader) {
        member.BecomeLeader();
      } else if (role != Role::kFollower) {
        ASSERT_TRUE(member.core().Campaign().ok());
      }
      ASSERT_EQ(member.role(), role);
      member.Take();
      const uint64_t before = member.term();
      Message request = MakeMessage(
          pre_vote ? MessageType::kPreVote : MessageType::kVote, 2, 1, 10);
      request.prev = {9, 100};
      member.Step(request);
      EXPECT_EQ(member.Take(), std::vector<Message>{MakeMessage(
                                   pre_vote ? MessageType::kPreVoteResponse
                                            : MessageType::kVoteResponse,
                                   1, 2, 10)});
      if (pre_vote) {
        // Nothing has happened yet.
        EXPECT_EQ(member.role(), role);
        EXPECT_EQ(member.term(), before);
        EXPECT_NE(member.status().hard_state.vote, 2u);
      } else {
        EXPECT_EQ(member.role(), Role::kFollower);
        EXPECT_EQ(member.term(), 10u);
        EXPECT_EQ(member.status().hard_state.vote, 2u);
      }
    }
  }
}

TEST(ElectionTest, EverybodyStepsDownForANewerTerm) {
  for (const Role role : {Role::kFollower, Role::kCandidate, Role::kLeader}) {
    for (const MessageType type :
         {MessageType::kVote, MessageType::kAppend, MessageType::kHeartbeat,
          MessageType::kAppendResponse, MessageType::kHeartbeatResponse}) {
      TestMember member(PlainConfig(1), 3);
      if (role == Role::kLeader) {
        member.BecomeLeader();
      } else if (role == Role::kCandidate) {
        ASSERT_TRUE(member.core().Campaign().ok());
      }
      ASSERT_EQ(member.role(), role);
      member.Step(MakeMessage(type, 2, 1, 3));
      EXPECT_EQ(member.role(), Role::kFollower);
      EXPECT_EQ(member.term(), 3u);
      const bool from_leader =
          type == MessageType::kAppend || type == MessageType::kHeartbeat;
      EXPECT_EQ(member.status().soft_state.leader, from_leader ? 2u : kNobody);
    }
  }
}

TEST(ElectionTest, NoVoteInATermThatHasALeader) {
  TestMember member(PlainConfig(1), 3);
  member.Step(MakeMessage(MessageType::kHeartbeat, 2, 1, 1));
  member.Take();
  member.Step(MakeMessage(MessageType::kVote, 3, 1, 1));
  EXPECT_TRUE(member.Take().at(0).rejected);
}

TEST(ElectionTest, AnOldLeaderIsToldOfTheTermWhereItMustBe) {
  for (const bool pre_vote : {false, true}) {
    for (const bool check_quorum : {false, true}) {
      CoreConfig config = PlainConfig(1);
      config.pre_vote = pre_vote;
      config.check_quorum = check_quorum;
      TestMember member(config,
                        TestMember::Start{{5, kNobody, 0}, VotersUpTo(3), {}});
      for (const MessageType type :
           {MessageType::kAppend, MessageType::kHeartbeat}) {
        member.Step(MakeMessage(type, 2, 1, 4));
        const std::vector<Message> sent = member.Take();
        EXPECT_EQ(sent.size(), pre_vote || check_quorum ? 1u : 0u);
        for (const Message& message : sent) {
          EXPECT_EQ(message, MakeAcknowledgement(1, 2, 5, 0));
        }
      }
      // A candidate of an old term asks again in a newer one by itself.
      member.Step(MakeMessage(MessageType::kVote, 2, 1, 4));
      EXPECT_TRUE(member.Take().empty());
    }
  }
}

TEST(ElectionTest, TwoLeadersOfOneTermAreABug) {
  TestMember member(PlainConfig(1), 3);
  member.Step(MakeMessage(MessageType::kHeartbeat, 2, 1, 1));
  EXPECT_EQ(
      member.core().Step(MakeMessage(MessageType::kHeartbeat, 3, 1, 1)).code(),
      absl::StatusCode::kInternal);
}

TEST(ElectionTest, LearnersVote) {
  // It may be a voter already, and not know it.
  TestGroup group({{1, {true, ""}}, {2, {false, ""}}}, {});
  Message request = MakeMessage(MessageType::kVote, 3, 2, 2);
  request.prev = {1, 5};
  group[2].Step(request);
  EXPECT_EQ(group[2].Take(), std::vector<Message>{MakeMessage(
                                 MessageType::kVoteResponse, 2, 3, 2)});
}

TEST(ElectionTest, APromotedLearnerCanLead) {
  TestGroup group({{1, {true, ""}}, {2, {false, ""}}}, {});
  group.Elect(1);
  ASSERT_TRUE(group[1]
                  .core()
                  .ProposeMembership({MembershipChange::Kind::kAddVoter, 2, ""})
                  .ok());
  group.Run();
  group.Tick(1, 1);
  group[2].Tick(20);
  group.Run();
  EXPECT_EQ(group.Leader(), 2u);
  EXPECT_EQ(group[1].role(), Role::kFollower);
}

// Soundness of what comes in.
TEST(ElectionTest, MessagesThatMakeNoSenseAreDropped) {
  TestMember member(PlainConfig(1), 3);
  const Message good = MakeMessage(MessageType::kHeartbeat, 2, 1, 5);
  Message bad = good;
  bad.to = 2;
  member.Step(bad);
  bad = good;
  bad.from = 1;
  member.Step(bad);
  bad = good;
  bad.from = kNobody;
  member.Step(bad);
  bad = good;
  bad.term = 0;
  member.Step(bad);
  // An answer from who is no member, and a snapshot without one.
  member.Step(MakeMessage(MessageType::kVoteResponse, 9, 1, 5));
  member.Step(MakeMessage(MessageType::kSnapshot, 2, 1, 5));
  member.Step(MakeSnapshot(2, 1, 5, {0, 0}, VotersUpTo(3)));
  ASSERT_TRUE(
      member.core().Step(MakeSnapshot(2, 1, 5, {1, 1}, VotersUpTo(3))).ok());
  ASSERT_TRUE(member.core().InstallSnapshot(good).ok());
  // Entries that do not follow one another, or are newer than their leader.
  member.Step(MakeAppend(2, 1, 5, {1, 1}, EntriesOfTerms(3, {1})));
  member.Step(MakeAppend(2, 1, 5, {2, 1}, EntriesOfTerms(2, {1})));
  member.Step(MakeAppend(2, 1, 5, {}, EntriesOfTerms(1, {6})));
  member.Step(MakeAppend(2, 1, 5, {6, 1}, {}));
  EXPECT_EQ(member.term(), 0u);
  EXPECT_FALSE(member.core().HasReady());
  member.Step(good);
  EXPECT_EQ(member.term(), 5u);
}

}  // namespace
}  // namespace millrace::raft
