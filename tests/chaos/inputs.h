// What the jobs of all runs read, and what a local run makes of it: made once,
// in a directory of the runner's.
#ifndef MILLRACE_TESTS_CHAOS_INPUTS_H_
#define MILLRACE_TESTS_CHAOS_INPUTS_H_

#include <string>

#include "tests/chaos/plan.h"

namespace millrace::chaostest {

class Inputs {
 public:
  // Makes the files: text for all, and nothing at all for jobs without input.
  explicit Inputs(std::string directory);

  // Flags of a job of this kind, local or not: program, input, splits,
  // reducers. `ms`: of each task; 0 for the reference, which behaves.
  std::vector<std::string> Words(const JobKind& kind, bool reference) const;
  // A local run's output of that kind, made when it is asked for first; "" when
  // the local run fails, which it must not.
  std::string Reference(const JobKind& kind) const;
  // Of each job with input.
  int maps() const;

  static std::string Program(const JobKind& kind);

 private:
  const std::string directory_;
};

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_INPUTS_H_
