// Runs many seeds of a simulation and keeps account of them in a file, from
// which the next run goes on.
//
// The file has a line per batch of kBatchSeeds consecutive seeds:
//
//   {"sources":"3f..","commit":"ab..","first":1,"last":200,"seeds":198,
//    "thin":2,"virtual_minutes":412.5,"events":3200000,
//    "faults":{"loss":310,...},"faults_of_seeds":[57,31,...],
//    "violations":["seed 17: ..."]}
//
// and "cells":{"loss x fetch":12,...} if the simulation counts what its faults
// met.
//
// A file that is kept in the tree (`seen`) has sums of such lines, one for each
// run of batches without a gap that have the same commit: without
// faults_of_seeds, but with the least of them, `faults_min`.
//
// `sources` is a hash of the files that the simulation is about, as the
// program was built from them: seeds count for these sources alone, and a batch
// that stands there for them is not run again. A seed is thin when it lasted
// less than two virtual minutes, had fewer than five effective faults, or left
// something undecided; it is counted apart.
#ifndef MILLRACE_TESTS_SIM_SEED_RUNNER_H_
#define MILLRACE_TESTS_SIM_SEED_RUNNER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace millrace::sim {

inline constexpr uint64_t kBatchSeeds = 200;

// What one seed gave.
struct SeedResult {
  std::string violation;  // "": none.
  bool decided = true;    // Whether there is none of all that is looked for.
  absl::Duration virtual_time;
  uint64_t events = 0;
  std::map<std::string, uint64_t> faults;  // Effective ones, by name.
  std::map<std::string, uint64_t> cells;

  uint64_t fault_count() const {
    uint64_t sum = 0;
    for (const auto& [name, count] : faults) sum += count;
    return sum;
  }
};

struct SeedTotals {
  uint64_t seeds = 0;
  uint64_t thin = 0;
  double virtual_minutes = 0;
  uint64_t events = 0;
  uint64_t violations = 0;
  std::map<std::string, uint64_t> faults;
  std::map<std::string, uint64_t> cells;
};

struct SeedRunOptions {
  std::string record;   // Made if it is not there.
  std::string seen;     // Read if it is there; what it has is not run again.
  std::string sources;  // The hash.
  // So many that are not thin, all runs together.
  uint64_t seeds = 200'000;
  int jobs = 1;          // Processes.
  unsigned seconds = 0;  // After so many no new batch is begun; 0: no limit.
  std::string commit;    // For the record; what was built.
  // Called with a seed, in a process of its own.
  std::function<SeedResult(uint64_t)> simulate;
  // Called at the end; may be empty. Its answer is the exit code if there is no
  // violation.
  std::function<int(const SeedTotals&)> at_end;
};

// Prints what it does and the sum of all runs. Also ends, with the batches that
// it has, on SIGINT and SIGTERM. Returns the exit code: 0 no violation in the
// record, 1 some, 2 the record cannot be read or written.
int RunSeeds(const SeedRunOptions& options);

// Prints the record for these sources as sums, in the form of `seen`, whose
// lines for these sources are among them. The exit code as above.
int SumSeeds(const SeedRunOptions& options);

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_SEED_RUNNER_H_
