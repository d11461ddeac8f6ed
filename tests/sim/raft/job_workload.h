// What masters keep: jobs that clients submit, look at and kill, in the
// production state (master/state). A job is an object; its request id and its
// id follow from its number, so a submit that is repeated, or made by two
// clients, is the same job.
#ifndef MILLRACE_TESTS_SIM_RAFT_JOB_WORKLOAD_H_
#define MILLRACE_TESTS_SIM_RAFT_JOB_WORKLOAD_H_

#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "master/state/state.h"
#include "tests/sim/raft/subject.h"

namespace millrace::raftsim {

struct JobWorkloadOptions {
  uint32_t jobs = 30;
  // Added to each submit, so that segments fill and messages are split.
  uint32_t padding_bytes_max = 0;
  uint32_t reads_percent = 40;
  master::StateMutant mutant;
};

class JobWorkload final : public Workload {
 public:
  // A submit answers which job it is, the others also who killed it.
  enum Kind : uint32_t { kStatus, kSubmit, kKill };

  explicit JobWorkload(const JobWorkloadOptions& options) : options_(options) {}

  std::unique_ptr<Subject> NewSubject() const override;
  Request Next(Random& random) override;
  void Saw(const Request& request, const Answer& answer) override;
  std::vector<Request> LastReads() const override;
  Specification specification() const override;

 private:
  const JobWorkloadOptions options_;
  uint64_t next_argument_ = 1;
  uint32_t newest_ = 0;  // Job that anybody has asked for.
  // Jobs that are known to be there. Others are not killed: a request that was
  // repeated, and told that there is no such job, could still arrive once more
  // and kill what was submitted meanwhile. Who kills knows the job's id from
  // its submit, so this does not happen.
  std::set<uint32_t> known_;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_JOB_WORKLOAD_H_
