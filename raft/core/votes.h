// The answers to one candidacy, or to one round of pre-votes.
#ifndef MILLRACE_RAFT_CORE_VOTES_H_
#define MILLRACE_RAFT_CORE_VOTES_H_

#include <map>

#include "raft/core/quorum.h"
#include "raft/core/types.h"

namespace millrace::raft {

// Thread-compatible.
class Votes {
 public:
  void Clear() { votes_.clear(); }

  // The first answer of a member stands: messages may come twice.
  void Record(NodeId voter, bool granted) { votes_.emplace(voter, granted); }

  // Counts those alone who are voters of `membership`.
  VoteResult Tally(const Membership& membership) const {
    int voters = 0;
    int granted = 0;
    int rejected = 0;
    for (const auto& [id, member] : membership) {
      if (!member.voter) continue;
      ++voters;
      const auto vote = votes_.find(id);
      if (vote == votes_.end()) continue;
      ++(vote->second ? granted : rejected);
    }
    return TallyVotes(voters, granted, rejected);
  }

 private:
  std::map<NodeId, bool> votes_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_VOTES_H_
