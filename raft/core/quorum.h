// What a majority says. Knows nothing of logs or members: numbers in, numbers
// out.
#ifndef MILLRACE_RAFT_CORE_QUORUM_H_
#define MILLRACE_RAFT_CORE_QUORUM_H_

#include <cstdint>
#include <vector>

namespace millrace::raft {

enum class VoteResult : uint8_t { kPending, kWon, kLost };

// The largest index that more than half of the voters have reached, where
// `reached` has one element per voter (0: none yet). 0 without voters: an empty
// group agrees on nothing.
uint64_t MajorityIndex(std::vector<uint64_t> reached);

// Of `voters` so many said yes and no, the others nothing yet. Without voters
// nothing is ever won.
VoteResult TallyVotes(int voters, int granted, int rejected);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_QUORUM_H_
