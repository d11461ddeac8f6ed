// Linearizable reads of a leader (Ongaro's dissertation, 6.4). A read remembers
// the commit index of its moment, and is answered once a majority has replied
// to heartbeats sent after it: then no other leader had been elected when it
// was asked, so nothing was committed that the index does not cover.
//
// Reads are numbered in the order in which they came; a heartbeat carries the
// number of the last one, and its answer confirms every read up to there. So
// each heartbeat serves all that wait, a lost answer is made up for by the
// next, and a read that is asked twice is two reads.
#ifndef MILLRACE_RAFT_CORE_READ_QUEUE_H_
#define MILLRACE_RAFT_CORE_READ_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "raft/core/core.h"
#include "raft/core/types.h"

namespace millrace::raft {

// Of one leader in one term. Thread-compatible.
class ReadQueue {
 public:
  size_t size() const { return held_.size() + asked_.size(); }

  // The leader does not know yet what is committed: see Release.
  void Hold(uint64_t read_id) { held_.push_back(read_id); }
  void Ask(uint64_t read_id, uint64_t commit) {
    asked_.push_back({read_id, commit});
  }
  // It knows now. True: some reads were held, and are asked.
  bool Release(uint64_t commit);

  // What a heartbeat that leaves now is to carry; 0: no read waits.
  uint64_t round() const {
    return asked_.empty() ? 0 : answered_ + asked_.size();
  }
  void Acknowledge(NodeId member, uint64_t round);
  // Reads that a majority of voters, `self` among them, has confirmed since the
  // last call, in the order in which they were asked.
  std::vector<ReadState> TakeConfirmed(const Membership& membership,
                                       NodeId self);
  // All that are left, without an index: leadership is lost.
  std::vector<ReadState> TakeFailed();

 private:
  struct Read {
    uint64_t id = 0;
    uint64_t index = 0;
  };

  std::deque<uint64_t> held_;
  std::deque<Read> asked_;  // The first of them is number answered_ + 1.
  uint64_t answered_ = 0;
  std::map<NodeId, uint64_t> acknowledged_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_READ_QUEUE_H_
