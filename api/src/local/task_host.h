// Where the attempts of a local run execute: in child processes (the rule) or
// in this thread (--in-process, for a debugger).
#ifndef MILLRACE_API_SRC_LOCAL_TASK_HOST_H_
#define MILLRACE_API_SRC_LOCAL_TASK_HOST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/src/flags.h"
#include "api/src/local/local_job_core.h"
#include "common/clock.h"
#include "millrace/internal/job_definition.h"
#include "proto/messages/task.pb.h"
#include "supervisor/supervisor.h"

namespace millrace::local {

// Confined to the thread of the local run.
class TaskHost {
 public:
  virtual ~TaskHost() = default;

  // Each is answered by events: Start by SlotReady or SlotGone, Run by
  // AttemptSucceeded, AttemptFailed or SlotGone, Retire by SlotGone. A slot
  // whose SlotGone has been handed out, but not yet acted upon, may be told to
  // Run or to Retire: that SlotGone is the answer.
  virtual absl::Status Start(int slot) = 0;
  virtual void Run(int slot, const proto::RunTask& task) = 0;
  virtual void Retire(int slot) = 0;

  // Waits until something has happened, at most `timeout`.
  virtual absl::StatusOr<std::vector<Event>> Wait(absl::Duration timeout) = 0;

  // Input bytes read so far by the attempt that runs in the slot; 0: none.
  virtual uint64_t RunningInputBytes(int slot) = 0;
};

// All arguments outlive the host.
absl::StatusOr<std::unique_ptr<TaskHost>> MakeProcessHost(
    const JobFlags& flags, const proto::Configure& configure, Clock& clock);
// The same over a supervisor that is there already.
std::unique_ptr<TaskHost> MakeProcessHost(
    std::unique_ptr<supervisor::Supervisor> supervisor, const JobFlags& flags,
    const proto::Configure& configure);
std::unique_ptr<TaskHost> MakeInProcessHost(const internal::JobDefinition& job,
                                            const proto::Configure& configure);

}  // namespace millrace::local

#endif  // MILLRACE_API_SRC_LOCAL_TASK_HOST_H_
