// Calls of ConfirmLeading that wait: for the next round of heartbeats, for its
// outcome, for the entries that the reader has to have seen.
#ifndef MILLRACE_RAFT_NODE_CONFIRMATIONS_H_
#define MILLRACE_RAFT_NODE_CONFIRMATIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "raft/core/core.h"

namespace millrace::raft {

// One round is under way at a time, and serves everybody who had asked when it
// began; who asks meanwhile is served by the next. So the number of heartbeats
// does not grow with that of the reads. Thread-compatible.
class Confirmations {
 public:
  using Answer = std::function<void(absl::Status)>;
  // Answers and what they are to be called with, in order.
  using Answers = std::vector<std::pair<Answer, absl::Status>>;

  void Ask(uint64_t term, Answer done);

  // Begins a round if one is due and possible. `leading`: the term that this
  // member leads; 0: none. Who asked about another is answered. True: the core
  // was asked.
  bool BeginRound(Core& core, uint64_t leading, Answers* answers);
  void OnRead(const ReadState& read, Answers* answers);
  // Everything up to `index` is on its way to the reader.
  void OnHandedOver(uint64_t index, Answers* answers);

  // All that are left.
  std::vector<Answer> TakeAll();

 private:
  struct Call {
    uint64_t term = 0;
    Answer done;
  };

  std::vector<Call> waiting_;
  uint64_t round_ = 0;                         // Number of the last one.
  std::vector<Answer> in_round_;               // Not empty: it is under way.
  std::multimap<uint64_t, Answer> confirmed_;  // By the index to wait for.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_CONFIRMATIONS_H_
