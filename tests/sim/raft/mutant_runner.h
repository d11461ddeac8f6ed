// Shows of each mutant how many seeds it takes until the simulation notices:
// the table of docs/testing.md. What was found is kept in a file, so that an
// interrupted run goes on where it stopped: a line per mutant, which counts as
// long as neither the sources of core, log and node nor those of the simulation
// change.
#ifndef MILLRACE_TESTS_SIM_RAFT_MUTANT_RUNNER_H_
#define MILLRACE_TESTS_SIM_RAFT_MUTANT_RUNNER_H_

#include <cstdint>
#include <string>

namespace millrace::raftsim {

struct MutantRunOptions {
  std::string only;    // The mutant of that name; "": all.
  uint64_t limit = 0;  // Seeds to try at most; 0: each mutant's own.
  std::string record;  // Made if it is not there; "": nothing is kept.
};

// Returns the exit code: 0 all were noticed, 1 some were not, 2 the record
// cannot be read or written.
int RunMutants(const MutantRunOptions& options);

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_MUTANT_RUNNER_H_
