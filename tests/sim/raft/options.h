// What a simulation is like. All of it follows from the seed; what is given
// beside it narrows a failure down, or makes a mutant.
#ifndef MILLRACE_TESTS_SIM_RAFT_OPTIONS_H_
#define MILLRACE_TESTS_SIM_RAFT_OPTIONS_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "master/state/state.h"
#include "raft/core/core.h"
#include "raft/log/mutants.h"
#include "tests/sim/raft/clients.h"
#include "tests/sim/raft/faults.h"
#include "tests/sim/raft/job_workload.h"
#include "tests/sim/raft/list_workload.h"

namespace millrace::raftsim {

// Rules that the driver of a member keeps, or the operator, to be left out.
struct DriverMutant {
  bool acknowledge_unsynced = false;    // Says durable before it was written.
  bool keep_going_after_error = false;  // Of the disk, as if it had worked.
  bool reuse_id = false;  // A member that lost its disk comes back as itself.
};

struct Mutant {
  raft::CoreMutant core;
  raft::CoreHabits habits;
  raft::LogMutant log;
  master::StateMutant state;
  DriverMutant driver;
};

// How the group ends: what must still work once the faults stop.
enum class Ending : uint8_t {
  kAllHealed,
  kMinorityDown,   // So many machines stay off as a quorum can spare.
  kHalfConnected,  // One machine hears, but is not heard, or the other way.
  kBridged,        // One machine reaches a single other one.
};

struct SimOptions {
  uint64_t seed = 1;
  bool verbose = false;
  Mutant mutant;
  bool durability_rule = true;  // See Invariants.
  // Bit i: fault number i never happens.
  uint32_t without_faults = 0;
};

// Drawn from a seed.
struct Scenario {
  int founding_size = 3;  // Voters at the beginning.
  int machines = 3;       // At most so many voters, later.
  std::array<bool, kFaults> faults{};
  // Between two faults: up to twice this.
  absl::Duration fault_interval = absl::Seconds(2);
  absl::Duration faults_end = absl::Seconds(90);
  Ending ending = Ending::kAllHealed;

  ClientOptions clients;
  bool has_jobs = false;  // Else lists.
  ListWorkloadOptions lists;
  JobWorkloadOptions jobs;

  raft::CoreConfig core;
  uint64_t uncommitted_bytes_max = 1 << 20;
  uint64_t group_bytes_max = 1 << 20;
  uint64_t cache_bytes_max = 1 << 20;
  // How long the node's thread may take to get to what has come; 0: every event
  // is a step of its own.
  absl::Duration busy_max;
  uint64_t segment_bytes = 16 << 10;
  uint64_t snapshot_entries = 100;
  uint64_t keep_entries = 20;
  uint64_t snapshot_chunk_bytes = 1024;
  size_t mailbox_max = 256;  // Messages that wait while a process stands still.
  absl::Duration sync_max = absl::Milliseconds(2);  // On a good day.
  absl::Duration apply_max = absl::Milliseconds(2);

  bool has(Fault fault) const { return faults[static_cast<size_t>(fault)]; }
};

Scenario DrawScenario(const SimOptions& options);

// One line, for stories.
std::string Describe(const Scenario& scenario);

inline constexpr absl::Duration kTickInterval = absl::Milliseconds(100);

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_OPTIONS_H_
