// Many runs, with an account of them in a file, from which the next call goes
// on.
//
// The file has a line for each run:
//
//   {"sources":"3f..","commit":"ab..","seed":17,"jobs":[{"kind":"sort",
//    "state":"SUCCEEDED","cause":"","attempts":55,"lost":7,
//    "epoch":0},..],
//    "faults":{"kill-worker":{"tried":3,"effective":3},..},"effective":19,
//    "looks":9000,"seconds":24.1,"violations":[]}
//
// `sources` names the production code that ran: runs of other code do not
// count. Seeds are taken in order; one that stands there is not run again. The
// logs of a run with violations are kept.
#ifndef MILLRACE_TESTS_CHAOS_RUNNER_H_
#define MILLRACE_TESTS_CHAOS_RUNNER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "tests/chaos/plan.h"

namespace millrace::chaostest {

struct RunnerOptions {
  Suite suite = Suite::kMixed;
  std::optional<absl::Duration> lasts;  // Instead of the plan's.
  std::string record;     // Made if it is not there; "": none is kept.
  std::string keep;       // Directory for the logs of failed runs.
  uint64_t runs = 150;    // So many, all calls together.
  uint64_t first = 1;     // The first seed.
  unsigned seconds = 0;   // After so many no run is begun; 0: no limit.
  int effective_min = 0;  // So many effective faults, or the exit code is 1.
  std::string commit;     // For the record.
  std::string sources;    // Likewise; "" is a name, too.
};

// Prints a line for each run and the sum of all. Ends after the present run on
// SIGINT and SIGTERM. Returns the exit code: 0 no violation in the record, 1
// some, or too few effective faults; 2 the record cannot be read or written.
int RunAll(const RunnerOptions& options);

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_RUNNER_H_
