// What a simulated cluster is like. All of it follows from the seed; what is
// given beside it narrows a failure down, or leaves a rule out.
#ifndef MILLRACE_TESTS_SIM_WHOLE_OPTIONS_H_
#define MILLRACE_TESTS_SIM_WHOLE_OPTIONS_H_

#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "master/scheduler/options.h"
#include "master/state/state.h"
#include "tests/sim/whole/faults.h"

namespace millrace::wholesim {

// Rules that stand outside of the cores of the masters, to be left out one at a
// time. M1 to M25 as in docs/testing.md.
struct EdgeMutant {
  bool reuse_uids = false;             // M4: ids are predictable.
  bool write_into_output = false;      // M5: a reduce writes where it shows.
  bool rename_replaces = false;        // M6
  bool tell_before_committed = false;  // M8
  bool skip_checksums = false;         // M11: of what comes over the wire.
  bool skip_partition_id = false;      // M12: frames are taken for another's.
  bool charge_fetch_failures = false;  // M14: to the reduce.
  bool hide_input_changes = false;     // M21: identities are not compared.
  bool new_request_each_time = false;  // M22: a repeated submit is a new one.
  bool kill_deletes_staging = false;   // M23: also of a job that is decided.
  bool collect_live_staging = false;   // M24: with a failed attempt's.
  bool adopt_unchecked = false;        // M25: spool files are believed.
  bool forget_to_delete = false;       // A dropped job's files stay.
};

struct Mutant {
  master::StateMutant state;
  master::SchedulerMutant scheduler;
  EdgeMutant edge;
};

struct SimOptions {
  uint64_t seed = 1;
  bool verbose = false;  // Every event is printed.
  Mutant mutant;
  std::bitset<kFaults> without;  // Never happen.
};

// Drawn from a seed.
struct Scenario {
  int masters = 3;
  int workers = 4;
  int jobs = 3;
  bool hosts_shared = false;  // Two workers on one host.
  // Liveness: faults stop, and every job must come to its end. Else they go on
  // until the end, and nobody asks for progress.
  bool liveness = true;
  absl::Duration faults_end;
  absl::Duration fault_interval;  // Mean, between two.
  double op_faults = 0;         // Of disks and transfers: share of operations.
  double log_ms = 8;            // An entry takes at most so long.
  uint64_t snapshot_every = 0;  // Entries; 0: never.
  std::bitset<kFaults> faults;
  bool has(Fault fault) const {
    return faults.test(static_cast<size_t>(fault));
  }
};

struct SimResult {
  std::string violation;            // "": none.
  std::vector<std::string> events;  // The last ones.
  absl::Duration virtual_time;
  uint64_t event_count = 0;
  uint64_t trace_hash = 0;  // Of all that happened.
  Coverage coverage;
  bool liveness = false;
  uint64_t succeeded = 0;
  uint64_t failed = 0;
  uint64_t killed = 0;
  uint64_t compared = 0;  // Outputs, byte by byte with the reference.
  uint64_t attempts = 0;  // Of job processes.
  uint64_t transfers = 0;
  uint64_t sections = 0;          // Asked for in them.
  uint64_t shared_transfers = 0;  // That were to bring several.
  uint64_t broken_shared = 0;     // And ended with some of them.
  uint64_t epochs = 0;
  uint64_t speculative = 0;      // Attempts,
  uint64_t speculative_won = 0;  // and those of them that won.
  uint64_t excluded = 0;         // Workers, counted each second.
};

SimResult Simulate(const SimOptions& options);

// How to see it again, and what happened last.
std::string Story(const SimOptions& options, const SimResult& result);

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_OPTIONS_H_
