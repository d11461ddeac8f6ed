#include "raft/core/quorum.h"

#include <algorithm>
#include <functional>

namespace millrace::raft {

uint64_t MajorityIndex(std::vector<uint64_t> reached) {
  if (reached.empty()) return 0;
  // In descending order, n / 2 + 1 voters have reached the element at n / 2.
  const auto middle = reached.begin() + reached.size() / 2;
  std::nth_element(reached.begin(), middle, reached.end(), std::greater<>());
  return *middle;
}

VoteResult TallyVotes(int voters, int granted, int rejected) {
  const int majority = voters / 2 + 1;
  if (granted >= majority) return VoteResult::kWon;
  if (voters - rejected < majority) return VoteResult::kLost;
  return VoteResult::kPending;
}

}  // namespace millrace::raft
