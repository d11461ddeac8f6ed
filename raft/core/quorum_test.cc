// The arithmetic of majorities against dumb twins.
#include "raft/core/quorum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "common/random.h"
#include "raft/core/testing/test_group.h"
#include "raft/core/votes.h"

namespace millrace::raft {
namespace {

constexpr int kCases = 10000;

// By definition: the largest index that more than half have reached.
uint64_t DumbMajorityIndex(const std::vector<uint64_t>& reached) {
  uint64_t best = 0;
  for (const uint64_t index : reached) {
    size_t count = 0;
    for (const uint64_t other : reached) count += other >= index;
    if (count > reached.size() / 2) best = std::max(best, index);
  }
  return best;
}

// By trying every way in which those who have not answered may still answer.
VoteResult DumbTally(int voters, int granted, int rejected) {
  bool may_win = false;
  bool may_lose = false;
  for (int more = 0; more <= voters - granted - rejected; ++more) {
    const bool wins = 2 * (granted + more) > voters;
    (wins ? may_win : may_lose) = true;
  }
  if (!may_lose) return VoteResult::kWon;
  return may_win ? VoteResult::kPending : VoteResult::kLost;
}

TEST(QuorumTest, MajorityIndexIsWhatMoreThanHalfHaveReached) {
  EXPECT_EQ(MajorityIndex({}), 0u);
  EXPECT_EQ(MajorityIndex({7}), 7u);
  EXPECT_EQ(MajorityIndex({7, 3}), 3u);
  EXPECT_EQ(MajorityIndex({7, 3, 5}), 5u);
  const std::unique_ptr<Random> random = Random::Seeded(1);
  for (int i = 0; i < kCases; ++i) {
    std::vector<uint64_t> reached(1 + random->Uniform(9));
    for (uint64_t& index : reached) {
      index = random->Uniform(3) == 0 ? random->Next64() : random->Uniform(10);
    }
    ASSERT_EQ(MajorityIndex(reached), DumbMajorityIndex(reached))
        << "seed 1, case " << i;
  }
}

TEST(QuorumTest, VotesAreWonLostOrOpen) {
  for (int voters = 0; voters <= 9; ++voters) {
    for (int granted = 0; granted <= voters; ++granted) {
      for (int rejected = 0; granted + rejected <= voters; ++rejected) {
        EXPECT_EQ(TallyVotes(voters, granted, rejected),
                  DumbTally(voters, granted, rejected))
            << granted << " and " << rejected << " of " << voters;
      }
    }
  }
}

// The fewest that win an election among so many.
int SmallestMajority(int voters) {
  int count = 0;
  while (TallyVotes(voters, count, voters - count) != VoteResult::kWon) ++count;
  return count;
}

TEST(QuorumTest, TwoMajoritiesThatDifferByAVoterMeet) {
  // Why one change at a time needs no joint majorities.
  for (int voters = 1; voters <= 9; ++voters) {
    for (const int next : {voters, voters + 1}) {
      EXPECT_GT(SmallestMajority(voters) + SmallestMajority(next), next);
    }
  }
}

TEST(VotesTest, TheFirstAnswerOfAVoterCounts) {
  const std::unique_ptr<Random> random = Random::Seeded(2);
  for (int i = 0; i < kCases; ++i) {
    Membership membership;
    for (uint64_t n = random->Uniform(8); n > 0; --n) {
      membership[1 + random->Uniform(10)].voter = random->Uniform(4) > 0;
    }
    Votes votes;
    std::map<NodeId, bool> first;
    for (uint64_t n = random->Uniform(12); n > 0; --n) {
      const NodeId from = 1 + random->Uniform(10);
      const bool granted = random->Uniform(2) == 0;
      votes.Record(from, granted);
      first.try_emplace(from, granted);
    }
    int voters = 0;
    int granted = 0;
    int rejected = 0;
    for (const auto& [id, member] : membership) {
      if (!member.voter) continue;
      ++voters;
      granted += first.contains(id) && first.at(id);
      rejected += first.contains(id) && !first.at(id);
    }
    ASSERT_EQ(votes.Tally(membership), DumbTally(voters, granted, rejected))
        << "seed 2, case " << i;
    votes.Clear();
    ASSERT_EQ(votes.Tally(membership), DumbTally(voters, 0, 0));
  }
}

}  // namespace
}  // namespace millrace::raft
