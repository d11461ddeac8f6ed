// One run: a cluster under chaos, two jobs, and what must be true of them.
#ifndef MILLRACE_TESTS_CHAOS_RUN_H_
#define MILLRACE_TESTS_CHAOS_RUN_H_

#include <map>
#include <string>
#include <vector>

#include "tests/chaos/chaos_cluster.h"
#include "tests/chaos/checks.h"
#include "tests/chaos/inputs.h"
#include "tests/chaos/plan.h"
#include "tests/chaos/vitals.h"

namespace millrace::chaostest {

struct JobOutcome {
  std::string kind;   // JobKind::name.
  std::string state;  // "SUCCEEDED", "FAILED"; "" when it never came to an end.
  std::string cause;  // The code; "" if there is none.
  int attempts = 0;
  int lost = 0;
  int epoch = 0;  // So often output was given up that reduces had read.
};

struct RunResult {
  std::vector<JobOutcome> jobs;
  std::map<std::string, FaultCount> faults;
  uint64_t looks = 0;  // At the outputs.
  double seconds = 0;
  std::vector<Growth> growths;  // Of daemons, in a run that lasts.
  Findings violations;

  int effective() const;
};

// In `directory`, which is made; the caller removes it.
RunResult Run(const RunPlan& plan, const Inputs& inputs,
              const std::string& directory);

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_RUN_H_
