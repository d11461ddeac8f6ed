// What the Raft paper says of followers, candidates and leaders, section by
// section. The list of statements is that of etcd-raft's paper tests.
#include <gtest/gtest.h>

#include <set>

#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

constexpr auto kAppend = MessageType::kAppend;
constexpr auto kVote = MessageType::kVote;
constexpr auto kVoteResponse = MessageType::kVoteResponse;

TestMember MakeMember(NodeId id, NodeId voters,
                      const std::vector<uint64_t>& log_terms = {},
                      const HardState& hard_state = {}) {
  return TestMember(PlainConfig(id),
                    {hard_state, VotersUpTo(voters), MemoryLog(log_terms)});
}

// A leader of term 1 whose first entry everybody has.
TestMember MakeSettledLeader(NodeId voters) {
  TestMember leader = MakeMember(1, voters);
  leader.BecomeLeader();
  for (const Message& message : leader.Take()) {
    if (message.type == kAppend && !message.entries.empty()) {
      leader.Step(Acknowledge(message));
    }
  }
  leader.Take();
  return leader;
}

// ------------------------------------------------------------------------ 5.1

void ExpectFollowsNewerTerm(TestMember& member, uint64_t term) {
  member.Step(MakeAppend(2, 1, term, {}, {}));
  EXPECT_EQ(member.term(), term);
  EXPECT_EQ(member.role(), Role::kFollower);
  EXPECT_EQ(member.status().soft_state.leader, 2u);
}

TEST(PaperTest, FollowerTakesANewerTerm) {
  TestMember member = MakeMember(1, 3);
  member.Step(MakeAppend(2, 1, 1, {}, {}));
  ExpectFollowsNewerTerm(member, 2);
}

TEST(PaperTest, CandidateOfAnOlderTermFollows) {
  TestMember member = MakeMember(1, 3);
  ASSERT_TRUE(member.core().Campaign().ok());
  ASSERT_EQ(member.role(), Role::kCandidate);
  ExpectFollowsNewerTerm(member, 2);
}

TEST(PaperTest, LeaderOfAnOlderTermFollows) {
  TestMember member = MakeMember(1, 3);
  member.BecomeLeader();
  ExpectFollowsNewerTerm(member, 2);
}

TEST(PaperTest, MessagesOfOlderTermsAreRefused) {
  TestMember member = MakeMember(1, 3, {}, {2, kNobody, 0});
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1}), 1));
  EXPECT_EQ(member.last_index(), 0u);
  EXPECT_EQ(member.status().soft_state.leader, kNobody);
  EXPECT_FALSE(member.core().HasReady());
}

// ------------------------------------------------------------------------ 5.2

TEST(PaperTest, MembersStartAsFollowers) {
  EXPECT_EQ(MakeMember(1, 3).role(), Role::kFollower);
}

TEST(PaperTest, LeaderSendsHeartbeatsToAll) {
  TestMember leader = MakeMember(1, 3);
  leader.BecomeLeader();
  leader.Take();
  leader.Tick();
  const std::vector<Message> sent = leader.Take();
  ASSERT_EQ(sent.size(), 2u);
  for (NodeId to = 2; to <= 3; ++to) {
    EXPECT_EQ(sent[to - 2], MakeMessage(MessageType::kHeartbeat, 1, to, 1));
  }
}

// It raises its term, votes for itself and asks all others.
void ExpectStartsElection(TestMember& member, uint64_t term) {
  const std::vector<Message> sent = member.Take();
  EXPECT_EQ(member.term(), term);
  EXPECT_EQ(member.role(), Role::kCandidate);
  EXPECT_EQ(member.status().hard_state.vote, 1u);
  ASSERT_EQ(sent.size(), 2u);
  for (NodeId to = 2; to <= 3; ++to) {
    EXPECT_EQ(sent[to - 2], MakeMessage(kVote, 1, to, term));
  }
  // It counts its own vote: one more is a majority.
  member.Step(MakeMessage(kVoteResponse, 2, 1, term));
  EXPECT_EQ(member.role(), Role::kLeader);
}

TEST(PaperTest, FollowerThatHearsNobodyStandsForElection) {
  TestMember member = MakeMember(1, 3, {}, {1, kNobody, 0});
  member.Step(MakeMessage(MessageType::kHeartbeat, 2, 1, 1));
  member.Take();
  member.Tick(19);
  ExpectStartsElection(member, 2);
}

TEST(PaperTest, CandidateThatDoesNotWinStandsAgain) {
  TestMember member = MakeMember(1, 3);
  ASSERT_TRUE(member.core().Campaign().ok());
  member.Take();
  member.Tick(19);
  ExpectStartsElection(member, 2);
}

TEST(PaperTest, MajorityDecidesAnElection) {
  struct Case {
    NodeId voters;
    std::map<NodeId, bool> votes;
    Role outcome;
  };
  const Case kCases[] = {
      {1, {}, Role::kLeader},
      {3, {{2, true}, {3, true}}, Role::kLeader},
      {3, {{2, true}}, Role::kLeader},
      {5, {{2, true}, {3, true}, {4, true}, {5, true}}, Role::kLeader},
      {5, {{2, true}, {3, true}}, Role::kLeader},
      {3, {{2, false}, {3, false}}, Role::kFollower},
      {5, {{2, false}, {3, false}, {4, false}}, Role::kFollower},
      {5, {{2, true}, {3, false}, {4, false}, {5, false}}, Role::kFollower},
      {3, {}, Role::kCandidate},
      {3, {{2, false}}, Role::kCandidate},
      {5, {{2, true}}, Role::kCandidate},
      {5, {{2, false}, {3, false}}, Role::kCandidate},
  };
  for (const Case& test : kCases) {
    SCOPED_TRACE(&test - kCases);
    TestMember member = MakeMember(1, test.voters);
    ASSERT_TRUE(member.core().Campaign().ok());
    member.Take();
    for (const auto& [from, granted] : test.votes) {
      Message vote = MakeMessage(kVoteResponse, from, 1, 1);
      vote.rejected = !granted;
      member.Step(vote);
    }
    EXPECT_EQ(member.role(), test.outcome);
    EXPECT_EQ(member.term(), 1u);
  }
}

TEST(PaperTest, VotesOncePerTermFirstComeFirstServed) {
  struct Case {
    NodeId voted_for;
    NodeId asks;
    bool rejected;
  };
  for (const Case& test :
       {Case{kNobody, 2, false}, Case{kNobody, 3, false}, Case{2, 2, false},
        Case{3, 3, false}, Case{2, 3, true}, Case{3, 2, true}}) {
    TestMember member = MakeMember(1, 3, {}, {1, test.voted_for, 0});
    member.Step(MakeMessage(kVote, test.asks, 1, 1));
    Message answer = MakeMessage(kVoteResponse, 1, test.asks, 1);
    answer.rejected = test.rejected;
    EXPECT_EQ(member.Take(), std::vector<Message>{answer});
  }
}

TEST(PaperTest, CandidateFollowsALeaderOfItsTermOrANewerOne) {
  for (const uint64_t term : {1u, 2u}) {
    TestMember member = MakeMember(1, 3);
    ASSERT_TRUE(member.core().Campaign().ok());
    ASSERT_EQ(member.role(), Role::kCandidate);
    member.Step(MakeAppend(2, 1, term, {}, {}));
    EXPECT_EQ(member.role(), Role::kFollower);
    EXPECT_EQ(member.term(), term);
  }
}

// Ticks to the next campaign.
int TicksToCampaign(TestMember& member) {
  int ticks = 0;
  do {
    member.Tick();
    ++ticks;
  } while (member.Take().empty());
  return ticks;
}

void ExpectAllTimeouts(const std::set<int>& timeouts) {
  EXPECT_EQ(timeouts.size(), 10u);
  EXPECT_EQ(*timeouts.begin(), 10);
  EXPECT_EQ(*timeouts.rbegin(), 19);
}

TEST(PaperTest, FollowersTimeOutAtRandom) {
  TestMember member = MakeMember(1, 3);
  std::set<int> timeouts;
  for (int round = 0; round < 500; ++round) {
    member.Step(MakeMessage(MessageType::kHeartbeat, 2, 1, member.term() + 1));
    member.Take();
    timeouts.insert(TicksToCampaign(member));
  }
  ExpectAllTimeouts(timeouts);
}

TEST(PaperTest, CandidatesTimeOutAtRandom) {
  TestMember member = MakeMember(1, 3);
  std::set<int> timeouts;
  TicksToCampaign(member);
  for (int round = 0; round < 500; ++round) {
    timeouts.insert(TicksToCampaign(member));
  }
  ExpectAllTimeouts(timeouts);
}

// Of 1000 rounds, those in which several members time out in the same tick.
int CountConflicts(bool as_candidates) {
  std::vector<TestMember> members;
  for (NodeId id = 1; id <= 5; ++id) members.push_back(MakeMember(id, 5));
  int conflicts = 0;
  for (uint64_t round = 1; round <= 1000; ++round) {
    for (TestMember& member : members) {
      // A newer term from somebody who is no leader.
      Message vote = MakeMessage(kVote, kNobody, kNobody, round * 10);
      vote.to = member.status().id;
      vote.from = vote.to == 1 ? 2 : 1;
      vote.prev = {0, 0};
      member.Step(vote);
      if (as_candidates) {
        EXPECT_TRUE(member.core().Campaign().ok());
      }
      member.Take();
    }
    int timeouts = 0;
    while (timeouts == 0) {
      for (TestMember& member : members) {
        member.Tick();
        if (!member.Take().empty()) ++timeouts;
      }
    }
    if (timeouts > 1) ++conflicts;
  }
  return conflicts;
}

TEST(PaperTest, FollowersSeldomTimeOutTogether) {
  EXPECT_LE(CountConflicts(false), 300);
}

TEST(PaperTest, CandidatesSeldomTimeOutTogether) {
  EXPECT_LE(CountConflicts(true), 300);
}

// ------------------------------------------------------------------------ 5.3

TEST(PaperTest, LeaderAppendsAndSendsAProposal) {
  TestMember leader = MakeSettledLeader(3);
  ASSERT_EQ(leader.commit(), 1u);
  const auto place = leader.core().Propose({"data"});
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(*place, (EntryId{1, 2}));
  const LogEntry entry{2, 1, kNormalEntry, "data"};
  const std::vector<Message> sent = leader.TakeUnsynced();
  ASSERT_EQ(sent.size(), 2u);
  for (NodeId to = 2; to <= 3; ++to) {
    EXPECT_EQ(sent[to - 2], MakeAppend(1, to, 1, {1, 1}, {entry}, 1));
  }
  EXPECT_EQ(leader.commit(), 1u);
  leader.Sync();
  EXPECT_EQ(leader.log().entries().back(), entry);
}

TEST(PaperTest, LeaderCommitsWhatAMajorityHasAndTellsIt) {
  TestMember leader = MakeSettledLeader(3);
  ASSERT_TRUE(leader.core().Propose({"data"}).ok());
  for (const Message& message : leader.Take()) {
    leader.Step(Acknowledge(message));
  }
  EXPECT_EQ(leader.commit(), 2u);
  const std::vector<Message> sent = leader.Take();
  EXPECT_EQ(leader.AppliedPayloads(), std::vector<std::string>{"data"});
  ASSERT_EQ(sent.size(), 2u);
  for (const Message& message : sent) {
    EXPECT_EQ(message.type, kAppend);
    EXPECT_EQ(message.commit, 2u);
  }
}

TEST(PaperTest, EntryIsCommittedOnceAMajorityAcknowledgedIt) {
  struct Case {
    NodeId voters;
    std::set<NodeId> acknowledge;
    bool committed;
  };
  for (const Case& test :
       {Case{1, {}, true}, Case{3, {}, false}, Case{3, {2}, true},
        Case{3, {2, 3}, true}, Case{5, {}, false}, Case{5, {2}, false},
        Case{5, {2, 3}, true}, Case{5, {2, 3, 4, 5}, true}}) {
    TestMember leader = MakeSettledLeader(test.voters);
    ASSERT_TRUE(leader.core().Propose({"data"}).ok());
    for (const Message& message : leader.Take()) {
      if (test.acknowledge.contains(message.to)) {
        leader.Step(Acknowledge(message));
      }
    }
    EXPECT_EQ(leader.commit() == 2, test.committed)
        << test.voters << " voters, " << test.acknowledge.size() << " answers";
  }
}

TEST(PaperTest, CommittingAnEntryCommitsAllBeforeIt) {
  for (const std::vector<uint64_t>& terms :
       {std::vector<uint64_t>{}, {2}, {1, 2}, {1}}) {
    TestMember leader = MakeMember(1, 3, terms, {2, kNobody, 0});
    leader.BecomeLeader();
    ASSERT_TRUE(leader.core().Propose({"data"}).ok());
    leader.Take();
    leader.Step(MakeAcknowledgement(2, 1, 3, terms.size() + 2));
    leader.Take();
    std::vector<LogEntry> expected = EntriesOfTerms(1, terms);
    expected.push_back({terms.size() + 1, 3, kNormalEntry, ""});
    expected.push_back({terms.size() + 2, 3, kNormalEntry, "data"});
    EXPECT_EQ(leader.applied(), expected);
  }
}

TEST(PaperTest, FollowerAppliesWhatItsLeaderCommitted) {
  const std::vector<LogEntry> entries = {{1, 1, kNormalEntry, "one"},
                                         {2, 1, kNormalEntry, "two"}};
  for (uint64_t commit = 0; commit <= 2; ++commit) {
    TestMember member = MakeMember(1, 3);
    member.Step(MakeAppend(2, 1, 1, {}, entries, commit));
    member.Take();
    EXPECT_EQ(member.commit(), commit);
    EXPECT_EQ(member.applied(),
              std::vector<LogEntry>(entries.begin(), entries.begin() + commit));
  }
}

TEST(PaperTest, FollowerRefusesAnAppendThatDoesNotFit) {
  struct Case {
    EntryId prev;
    bool rejected;
    uint64_t index;
    EntryId hint;
  };
  const Case kCases[] = {
      // What is committed fits in any case.
      {{0, 0}, false, 1, {}},
      {{1, 1}, false, 1, {}},
      {{2, 2}, false, 2, {}},
      // Another entry there, or none.
      {{1, 2}, true, 2, {1, 1}},
      {{3, 3}, true, 3, {2, 2}},
  };
  for (const Case& test : kCases) {
    SCOPED_TRACE(&test - kCases);
    TestMember member = MakeMember(1, 3, {1, 2}, {3, kNobody, 1});
    member.Step(MakeAppend(2, 1, 3, test.prev, {}));
    Message answer = MakeAcknowledgement(1, 2, 3, test.index);
    answer.rejected = test.rejected;
    answer.hint = test.hint;
    EXPECT_EQ(member.Take(), std::vector<Message>{answer});
  }
}

TEST(PaperTest, FollowerReplacesWhatDiffersAndKeepsWhatAgrees) {
  struct Case {
    EntryId prev;
    std::vector<uint64_t> terms;
    std::vector<uint64_t> log;
    std::optional<uint64_t> truncate_from;
    size_t written;
  };
  const Case kCases[] = {
      {{2, 2}, {3}, {1, 2, 3}, {}, 1},
      {{1, 1}, {3, 4}, {1, 3, 4}, 2, 2},
      {{0, 0}, {1}, {1, 2}, {}, 0},
      {{0, 0}, {3}, {3}, 1, 1},
  };
  for (const Case& test : kCases) {
    SCOPED_TRACE(&test - kCases);
    TestMember member = MakeMember(1, 3, {1, 2}, {4, kNobody, 0});
    member.Step(MakeAppend(2, 1, 4, test.prev,
                           EntriesOfTerms(test.prev.index + 1, test.terms)));
    const auto ready = member.core().TakeReady();
    ASSERT_TRUE(ready.ok() && ready->write.has_value());
    EXPECT_EQ(ready->write->truncate_from, test.truncate_from);
    EXPECT_EQ(ready->write->entries.size(), test.written);
    member.log().Write(*ready->write);
    EXPECT_EQ(member.log().entries(), EntriesOfTerms(1, test.log));
  }
}

// Figure 7.
TEST(PaperTest, LeaderBringsFollowersIntoLine) {
  const std::vector<uint64_t> leader_terms = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
  for (const std::vector<uint64_t>& terms :
       {std::vector<uint64_t>{1, 1, 1, 4, 4, 5, 5, 6, 6},
        {1, 1, 1, 4},
        {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
        {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7},
        {1, 1, 1, 4, 4, 4, 4},
        {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3}}) {
    std::map<NodeId, TestMember::Start> start;
    start[1] = {{8, kNobody, 3}, {}, MemoryLog(leader_terms)};
    start[2] = {{7, kNobody, 3}, {}, MemoryLog(terms)};
    start[3] = {{8, kNobody, 3}, {}, MemoryLog(leader_terms)};
    TestGroup group(VotersUpTo(3), {}, std::move(start));
    // The vote of 2 cannot be counted on: it may be ahead.
    group.Elect(1);
    group.Propose(1);
    EXPECT_EQ(group[1].log().entries(), group[2].log().entries());
    EXPECT_EQ(group[1].applied(), group[2].applied());
    EXPECT_EQ(group[2].commit(), 12u);
  }
}

// ------------------------------------------------------------------------ 5.4

TEST(PaperTest, VoteRequestTellsTheLastEntry) {
  for (const std::vector<uint64_t>& terms :
       {std::vector<uint64_t>{1}, {1, 2}}) {
    TestMember member = MakeMember(1, 3);
    const uint64_t term = terms.back();
    member.Step(MakeAppend(2, 1, term, {}, EntriesOfTerms(1, terms)));
    member.Take();
    member.Tick(19);
    const std::vector<Message> sent = member.Take();
    ASSERT_EQ(sent.size(), 2u);
    for (NodeId to = 2; to <= 3; ++to) {
      Message request = MakeMessage(kVote, 1, to, term + 1);
      request.prev = {term, terms.size()};
      EXPECT_EQ(sent[to - 2], request);
    }
  }
}

TEST(PaperTest, VotesForNobodyWhoseLogIsBehind) {
  struct Case {
    std::vector<uint64_t> log;
    EntryId candidate;
    bool rejected;
  };
  const Case kCases[] = {
      {{1}, {1, 1}, false}, {{1}, {1, 2}, false}, {{1, 1}, {1, 1}, true},
      {{1}, {2, 1}, false}, {{1}, {2, 2}, false}, {{1, 1}, {2, 1}, false},
      {{2}, {1, 1}, true},  {{2}, {1, 2}, true},  {{2, 2}, {1, 1}, true},
  };
  for (const Case& test : kCases) {
    SCOPED_TRACE(&test - kCases);
    TestMember member = MakeMember(1, 2, test.log);
    Message request = MakeMessage(kVote, 2, 1, 3);
    request.prev = test.candidate;
    member.Step(request);
    const std::vector<Message> sent = member.Take();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].type, kVoteResponse);
    EXPECT_EQ(sent[0].rejected, test.rejected);
  }
}

TEST(PaperTest, OnlyEntriesOfItsOwnTermAreCommittedByCounting) {
  for (uint64_t acknowledged = 1; acknowledged <= 3; ++acknowledged) {
    TestMember leader = MakeMember(1, 2, {1, 2}, {2, kNobody, 0});
    leader.BecomeLeader();
    ASSERT_TRUE(leader.core().Propose({"data"}).ok());
    leader.Take();
    leader.Step(MakeAcknowledgement(2, 1, 3, acknowledged));
    EXPECT_EQ(leader.commit(), acknowledged == 3 ? 3u : 0u);
  }
}

}  // namespace
}  // namespace millrace::raft
