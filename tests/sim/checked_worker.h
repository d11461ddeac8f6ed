// What the checker sees of a worker, whatever runs in it: the truth, not what
// anybody has been told.
#ifndef MILLRACE_TESTS_SIM_CHECKED_WORKER_H_
#define MILLRACE_TESTS_SIM_CHECKED_WORKER_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "master/state/task_id.h"

namespace millrace::sim {

// An attempt that is live on a worker: granted there, its end not reported.
struct CheckedAttempt {
  AttemptUid uid;
  JobId job;
  master::TaskId task;
  bool speculative = false;  // As granted.
  bool executing = false;    // Has a slot.
};

class CheckedWorker {
 public:
  virtual ~CheckedWorker() = default;

  virtual const std::string& name() const = 0;
  virtual const WorkerIncarnation& incarnation() const = 0;
  virtual bool dead() const = 0;
  virtual bool paused() const = 0;
  // When it came to life last, or went on.
  virtual absl::Duration there_since() const = 0;
  virtual bool welcomed() const = 0;
  // The highest term in which a leader has answered it since it came to life.
  virtual uint64_t term_seen() const = 0;
  virtual uint32_t slots() const = 0;
  virtual uint32_t executing() const = 0;
  // It has not told that it can take nothing.
  virtual bool takes_work() const = 0;
  // Something waits for a slot, or nothing would get one.
  virtual bool has_queue() const = 0;
  virtual std::vector<CheckedAttempt> Live() const = 0;
  // The outcome of an attempt of the task is not acknowledged.
  virtual bool HasUnacked(const JobId& job,
                          const master::TaskId& task) const = 0;
  // Jobs of which it has anything.
  virtual std::set<JobId> Present() const = 0;
};

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_CHECKED_WORKER_H_
