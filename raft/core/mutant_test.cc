// Every rule that a CoreMutant leaves out is one that a small situation shows:
// it holds in the core as it is, and does not hold in the mutant.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "raft/core/testing/mutants.h"
#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

CoreConfig ConfigWith(const CoreMutant& mutant, NodeId id = 1) {
  CoreConfig config = PlainConfig(id);
  config.mutant = mutant;
  return config;
}

TestMember MakeMember(const CoreMutant& mutant,
                      const std::vector<uint64_t>& log_terms = {},
                      const HardState& hard_state = {}) {
  return TestMember(ConfigWith(mutant),
                    {hard_state, VotersUpTo(3), MemoryLog(log_terms)});
}

bool OldTermsAreNotCommittedByCounting(const CoreMutant& mutant) {
  TestMember leader = MakeMember(mutant, {1, 2}, {2, kNobody, 0});
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 3, 2));
  return leader.commit() == 0;
}

bool ALeaderBeginsWithAnEntry(const CoreMutant& mutant) {
  TestMember leader = MakeMember(mutant, {1}, {1, kNobody, 0});
  leader.BecomeLeader();
  leader.Take();
  // Without it, who leads has not heard of what was committed before.
  return leader.last_index() == 2 && !leader.soft_state().leading;
}

bool AVoteWaitsForTheDisk(const CoreMutant& mutant) {
  TestMember member = MakeMember(mutant);
  member.Step(MakeMessage(MessageType::kVote, 2, 1, 1));
  return member.TakeUnsynced().empty();
}

// The answer to a request that was forgotten elects a shorter log: the request
// must not leave before what it says is durable.
bool ACampaignSurvivesACrash(const CoreMutant& mutant) {
  TestMember member = MakeMember(mutant, {1}, {1, kNobody, 1});
  member.Step(MakeAppend(2, 1, 1, {1, 1}, EntriesOfTerms(2, {1})));
  member.TakeUnsynced();
  EXPECT_TRUE(member.core().Campaign().ok());
  std::vector<Message> answers;
  for (const Message& request : member.TakeUnsynced()) {
    answers.push_back(
        MakeMessage(MessageType::kVoteResponse, request.to, 1, request.term));
  }
  member.Restart(VotersUpTo(3));
  EXPECT_TRUE(member.core().Campaign().ok());
  member.TakeUnsynced();
  for (const Message& answer : answers) member.Step(answer);
  return member.role() != Role::kLeader;
}

bool AnAcknowledgementWaitsForTheDisk(const CoreMutant& mutant) {
  TestMember member = MakeMember(mutant);
  member.Step(MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1})));
  return member.TakeUnsynced().empty();
}

bool ALeaderCountsWhatItHasSynced(const CoreMutant& mutant) {
  TestMember leader = MakeMember(mutant);
  leader.BecomeLeader();
  leader.TakeUnsynced();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  return leader.commit() == 0;
}

bool ALateAppendRemovesNothing(const CoreMutant& mutant) {
  TestMember member = MakeMember(mutant);
  const Message early = MakeAppend(2, 1, 1, {}, EntriesOfTerms(1, {1}));
  member.Step(early);
  member.Step(MakeAppend(2, 1, 1, {1, 1}, EntriesOfTerms(2, {1})));
  member.Take();
  member.Step(early);
  member.Take();
  return member.log().entries().size() == 2;
}

bool AcknowledgementsOfAnOldTermDoNotCount(const CoreMutant& mutant) {
  TestMember leader = MakeMember(mutant, {1}, {1, kNobody, 0});
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  return leader.progress(2).match == 0;
}

bool AWriteThatWasOverwrittenDoesNotCount(const CoreMutant& mutant) {
  TestMember member = MakeMember(mutant, {1}, {1, kNobody, 1});
  member.Take();
  member.Step(MakeAppend(2, 1, 1, {1, 1}, {{2, 1, kNormalEntry, "a"}}));
  member.TakeUnsynced();
  member.Step(MakeAppend(3, 1, 2, {1, 1}, {{2, 2, kNormalEntry, "b"}}, 2));
  member.TakeUnsynced();
  // Until the second write is done, the disk has a where b is committed.
  member.Sync(1);
  member.Sync(1);
  return member.AppliedPayloads() == std::vector<std::string>{"b"};
}

bool AHeartbeatCommitsWhatMatches(const CoreMutant& mutant) {
  TestGroup group(3, [&](CoreConfig& c) { c.mutant = mutant; });
  group.Elect(1);
  group.Isolate(3);
  group.Propose(1);
  group[1].Tick();
  bool capped = true;
  for (const Message& message : group[1].Take()) {
    capped &= message.to == 2 || message.commit == 1;
  }
  return capped;
}

bool APreVoteRaisesNoTerm(const CoreMutant& mutant) {
  CoreConfig config = ConfigWith(mutant);
  config.pre_vote = true;
  TestMember member(config, 3);
  member.Tick(100);
  const bool own = member.term() == 0;
  TestMember other(config, 3);
  other.Step(MakeMessage(MessageType::kPreVote, 2, 1, 5));
  return own && other.term() == 0;
}

bool AReadWaitsForACommitOfTheTerm(const CoreMutant& mutant) {
  TestMember leader = MakeMember(mutant, {1, 1}, {1, kNobody, 1});
  leader.BecomeLeader();
  leader.Take();
  EXPECT_TRUE(leader.core().ReadIndex(1).ok());
  leader.Take();
  Message answer = MakeMessage(MessageType::kHeartbeatResponse, 2, 1, 2);
  answer.read_context = 1;
  leader.Step(answer);
  leader.Take();
  // Entry 2 may be committed, and answered, long since.
  return leader.TakeReads().empty();
}

bool AChangeWaitsForACommitOfTheTerm(const CoreMutant& mutant) {
  TestMember leader = MakeMember(mutant, {1}, {1, kNobody, 1});
  leader.Take();
  leader.BecomeLeader();
  leader.Take();
  return !leader.core()
              .ProposeMembership({MembershipChange::Kind::kAddVoter, 4, ""})
              .ok();
}

bool AChangeWaitsForTheOneBefore(const CoreMutant& mutant) {
  TestMember leader = MakeMember(mutant);
  leader.BecomeLeader();
  leader.Take();
  leader.Step(MakeAcknowledgement(2, 1, 1, 1));
  leader.Take();
  for (const NodeId node : {4, 5}) {
    const bool taken =
        leader.core()
            .ProposeMembership({MembershipChange::Kind::kAddVoter, node, ""})
            .ok();
    if (node == 5) return !taken;
    EXPECT_TRUE(taken);
  }
  return false;
}

bool ASnapshotDoesNotReplaceANewerLog(const CoreMutant& mutant) {
  TestMember member = MakeMember(mutant, {1, 1, 1}, {1, kNobody, 2});
  member.Take();
  member.Step(MakeSnapshot(2, 1, 1, {1, 1}, VotersUpTo(3)));
  member.Step(MakeSnapshot(2, 1, 1, {1, 2}, VotersUpTo(3)));
  member.Take();
  return member.last_index() == 3 && member.commit() == 2;
}

bool AChangeIsNotAppliedToANewerSnapshot(const CoreMutant& mutant) {
  MemoryLog log(std::vector<uint64_t>{1});
  LogWrite write;
  write.entries = {
      {2, 1, kMembershipEntry,
       EncodeMembershipChange({MembershipChange::Kind::kAddLearner, 4, ""})}};
  log.Write(write);
  CoreConfig config = PlainConfig(1);
  config.mutant = mutant;
  TestMember member(config, {{1, kNobody, 2}, VotersUpTo(3), log});
  member.set_apply(false);
  member.Take();
  // Member 4 has become a voter meanwhile.
  member.Step(MakeSnapshot(2, 1, 1, {1, 9}, VotersUpTo(4)));
  member.ApplyNow();
  member.Take();
  return member.status().membership == VotersUpTo(4);
}

// Who asks for votes, and who refuses one, says what is committed.
bool VotesTellWhatIsCommitted(const CoreMutant& mutant) {
  TestMember member = MakeMember(mutant, {1, 1}, {1, kNobody, 1});
  member.Take();
  EXPECT_TRUE(member.core().Campaign().ok());
  const std::vector<Message> requests = member.Take();
  EXPECT_EQ(requests.size(), 2u);
  Message request = MakeMessage(MessageType::kVote, 2, 1, 9);
  request.prev = {1, 1};  // This member's log is longer.
  member.Step(request);
  const std::vector<Message> answers = member.Take();
  EXPECT_TRUE(answers.at(0).rejected);
  const EntryId committed = {1, 1};
  return requests.at(0).hint == committed && answers.at(0).hint == committed;
}

const std::map<std::string_view, bool (*)(const CoreMutant&)>& Rules() {
  static const auto* const rules =
      new std::map<std::string_view, bool (*)(const CoreMutant&)>{
          {"commit_old_term_by_counting", OldTermsAreNotCommittedByCounting},
          {"no_first_entry", ALeaderBeginsWithAnEntry},
          {"vote_before_durable", AVoteWaitsForTheDisk},
          {"campaign_on_unsynced_log", ACampaignSurvivesACrash},
          {"acknowledge_before_durable", AnAcknowledgementWaitsForTheDisk},
          {"count_own_unsynced", ALeaderCountsWhatItHasSynced},
          {"truncate_on_late_append", ALateAppendRemovesNothing},
          {"acknowledge_in_new_term", AcknowledgementsOfAnOldTermDoNotCount},
          {"accept_aba_ack", AWriteThatWasOverwrittenDoesNotCount},
          {"commit_not_capped_in_heartbeat", AHeartbeatCommitsWhatMatches},
          {"pre_vote_raises_term", APreVoteRaisesNoTerm},
          {"read_before_own_commit", AReadWaitsForACommitOfTheTerm},
          {"change_before_own_commit", AChangeWaitsForACommitOfTheTerm},
          {"two_pending_changes", AChangeWaitsForTheOneBefore},
          {"snapshot_over_newer_log", ASnapshotDoesNotReplaceANewerLog},
          {"change_over_snapshot", AChangeIsNotAppliedToANewerSnapshot},
          {"silent_on_commit", VotesTellWhatIsCommitted},
      };
  return *rules;
}

class MutantTest : public testing::TestWithParam<std::string_view> {};

TEST_P(MutantTest, IsCaught) {
  ASSERT_TRUE(Rules().contains(GetParam())) << "no rule shows it";
  CoreMutant mutant;
  ASSERT_TRUE(SetMutant(GetParam(), &mutant));
  EXPECT_TRUE(Rules().at(GetParam())(CoreMutant())) << "the rule is wrong";
  EXPECT_FALSE(Rules().at(GetParam())(mutant)) << "the mutant lives";
}

INSTANTIATE_TEST_SUITE_P(All, MutantTest, testing::ValuesIn(MutantNames()),
                         [](const auto& mutant) {
                           return std::string(mutant.param);
                         });

TEST(MutantNamesTest, AnUnknownNameIsNoMutant) {
  CoreMutant mutant;
  EXPECT_FALSE(SetMutant("no_such_thing", &mutant));
}

}  // namespace
}  // namespace millrace::raft
