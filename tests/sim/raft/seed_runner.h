// Runs many seeds and keeps account of them in a file, from which the next run
// goes on.
//
// The file has a line per batch of kBatchSeeds consecutive seeds:
//
//   {"sources":"3f..","commit":"ab..","first":1,"last":200,"seeds":198,
//    "thin":2,"virtual_minutes":412.5,"events":3200000,
//    "faults":{"loss":310,...},"faults_of_seeds":[57,31,...],
//    "violations":["seed 17: ..."]}
//
// A file that is kept in the tree (`seen`) has sums of such lines, one for each
// run of batches without a gap that have the same commit: without
// faults_of_seeds, but with the least of them, `faults_min`.
//
// `sources` is a hash of the files of raft/core, raft/log and raft/node that
// the program was built from: seeds count for these sources alone, and a batch
// that stands there for them is not run again. A seed is thin when it lasted
// less than two virtual minutes or had fewer than five effective faults; it is
// counted apart.
#ifndef MILLRACE_TESTS_SIM_RAFT_SEED_RUNNER_H_
#define MILLRACE_TESTS_SIM_RAFT_SEED_RUNNER_H_

#include <cstdint>
#include <string>

namespace millrace::raftsim {

inline constexpr uint64_t kBatchSeeds = 200;

struct RunOptions {
  std::string record;  // Made if it is not there.
  std::string seen;    // Read if it is there; what it has is not run again.
  // So many that are not thin, all runs together.
  uint64_t seeds = 200'000;
  int jobs = 1;          // Processes.
  unsigned seconds = 0;  // After so many no new batch is begun; 0: no limit.
  std::string commit;    // For the record; what was built.
};

// Prints what it does and the sum of all runs. Also ends, with the batches that
// it has, on SIGINT and SIGTERM. Returns the exit code: 0 no violation in the
// record, 1 some, 2 the record cannot be read or written.
int RunSeeds(const RunOptions& options);

// Prints the record for these sources as sums, in the form of `seen`, whose
// lines for these sources are among them. The exit code as above.
int SumSeeds(const RunOptions& options);

// Of core, log and node, and of the simulation; made when the program is built.
extern const char kRaftSourcesHash[];
extern const char kSimSourcesHash[];

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_SEED_RUNNER_H_
