#include "raft/core/read_queue.h"

#include <algorithm>

#include "raft/core/quorum.h"

namespace millrace::raft {

bool ReadQueue::Release(uint64_t commit) {
  if (held_.empty()) return false;
  for (const uint64_t id : held_) Ask(id, commit);
  held_.clear();
  return true;
}

void ReadQueue::Acknowledge(NodeId member, uint64_t round) {
  uint64_t& known = acknowledged_[member];
  // What was never asked confirms nothing that is asked later.
  known = std::max(known, std::min(round, answered_ + asked_.size()));
}

std::vector<ReadState> ReadQueue::TakeConfirmed(const Membership& membership,
                                                NodeId self) {
  std::vector<uint64_t> reached;
  for (const auto& [id, member] : membership) {
    if (!member.voter) continue;
    if (id == self) {
      reached.push_back(answered_ + asked_.size());
    } else {
      const auto known = acknowledged_.find(id);
      reached.push_back(known == acknowledged_.end() ? 0 : known->second);
    }
  }
  const uint64_t confirmed = MajorityIndex(std::move(reached));
  std::vector<ReadState> reads;
  while (answered_ < confirmed) {
    reads.push_back({asked_.front().id, asked_.front().index});
    asked_.pop_front();
    ++answered_;
  }
  return reads;
}

std::vector<ReadState> ReadQueue::TakeFailed() {
  std::vector<ReadState> reads;
  for (const Read& read : asked_) reads.push_back({read.id, std::nullopt});
  for (const uint64_t id : held_) reads.push_back({id, std::nullopt});
  answered_ += asked_.size();
  asked_.clear();
  held_.clear();
  return reads;
}

}  // namespace millrace::raft
