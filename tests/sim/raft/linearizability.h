// Whether a history of operations on one object could have happened one at a
// time, each between its call and its answer (Herlihy and Wing 1990). The
// search is Wing and Gong's (1993) with Lowe's memo of the configurations that
// led nowhere ("Testing for linearizability", 2017).
//
// Objects are judged one by one, as linearizability is local: a history of many
// keys is linearizable when that of each key is.
#ifndef MILLRACE_TESTS_SIM_RAFT_LINEARIZABILITY_H_
#define MILLRACE_TESTS_SIM_RAFT_LINEARIZABILITY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace millrace::raftsim {

// Moments are numbers of a clock that everybody sees; no two are equal.
struct Operation {
  static constexpr uint64_t kNever = UINT64_MAX;

  uint64_t called = 0;
  // kNever: the outcome is not known. It may have happened at any time after
  // the call, or not at all.
  uint64_t answered = kNever;
  // What the specification makes of them: what was asked, and what was
  // answered.
  uint32_t kind = 0;
  uint64_t argument = 0;
  uint64_t answer = 0;
};

// The object, alone and sequential. Does `operation` to `*state` and returns
// whether its answer is the right one; an operation of unknown outcome has no
// answer, so every one is right. `*state` is whatever tells two objects with
// different futures apart, at the beginning 0.
using Specification =
    std::function<bool(const Operation& operation, uint64_t* state)>;

enum class Verdict : uint8_t {
  kLinearizable,
  kNotLinearizable,
  kGaveUp,  // Not decided within `steps_max`.
};

struct LinearizabilityResult {
  Verdict verdict = Verdict::kLinearizable;
  uint64_t steps = 0;
  // Unless linearizable: the first operation in time that could not be placed
  // behind the longest order that was found, by its place in the history.
  size_t stuck_at = 0;
};

// `history` in any order. Deterministic.
LinearizabilityResult CheckLinearizable(const std::vector<Operation>& history,
                                        const Specification& specification,
                                        uint64_t steps_max = 2'000'000);

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_LINEARIZABILITY_H_
