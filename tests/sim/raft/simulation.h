// A group of masters in one thread, from one seed: production core, log,
// snapshots and node logic on simulated disks, network and clocks, under
// faults; then without faults, to see that it comes to life again.
#ifndef MILLRACE_TESTS_SIM_RAFT_SIMULATION_H_
#define MILLRACE_TESTS_SIM_RAFT_SIMULATION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/raft/clients.h"
#include "tests/sim/raft/faults.h"
#include "tests/sim/raft/invariants.h"
#include "tests/sim/raft/machine.h"
#include "tests/sim/raft/network.h"
#include "tests/sim/raft/operator.h"
#include "tests/sim/raft/options.h"
#include "tests/sim/raft/schedule.h"
#include "tests/sim/raft/trace.h"

namespace millrace::raftsim {

struct SimResult {
  std::string violation;  // "": none.
  uint64_t trace_hash = 0;
  uint64_t events = 0;
  absl::Duration virtual_time;
  FaultCounts faults;
  Reach reach;
  uint64_t entries = 0;  // Committed.
  uint64_t terms = 0;
  uint64_t answered = 0;
  uint64_t given_up = 0;
  uint64_t judge_steps = 0;
  uint64_t undecided = 0;  // Histories that are too hard to judge.
  std::vector<std::string> last_events;  // Of a violation.

  // Adds what can be added.
  void Add(const SimResult& other);
};

SimResult Simulate(const SimOptions& options);

// What a sum of results has done, for people.
std::string Statistics(const SimResult& sum);

// For people: seed, options, violation, how to replay, the last events.
std::string Story(const SimOptions& options, const SimResult& result);

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_SIMULATION_H_
