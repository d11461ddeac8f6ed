// Executing one attempt: what task mode does with a RunTask command, and what
// --in-process does with it in the same process.
#ifndef MILLRACE_API_SRC_TASK_ATTEMPT_H_
#define MILLRACE_API_SRC_TASK_ATTEMPT_H_

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "api/src/task/user_code.h"
#include "common/file_system.h"
#include "engine/format/map_output.h"
#include "millrace/internal/job_definition.h"
#include "proto/messages/plan.pb.h"
#include "proto/messages/task.pb.h"
#include "supervisor/status_page.h"

namespace millrace::task {

// What every attempt of one process shares. Confined to the task's thread.
class TaskEnvironment {
 public:
  // All arguments outlive the environment.
  TaskEnvironment(const internal::JobDefinition& job,
                  const proto::Configure& configure,
                  supervisor::StatusPage& page, FileSystem& fs)
      : job_(job), configure_(configure), page_(page), fs_(fs) {}

  const internal::JobDefinition& job() const { return job_; }
  const proto::Configure& configure() const { return configure_; }
  supervisor::StatusPage& page() { return page_; }
  FileSystem& fs() { return fs_; }

  JobId job_id() const;
  engine::Codec codec() const;
  // What an attempt may use for its buffers: its budget less a fixed share for
  // the program, the read buffer and the blocks being written.
  uint64_t buffer_bytes() const;

  // The plan at `path`; kept, since all tasks of a job have the same.
  absl::StatusOr<std::shared_ptr<const proto::Plan>> LoadPlan(
      const std::string& path);

 private:
  const internal::JobDefinition& job_;
  const proto::Configure& configure_;
  supervisor::StatusPage& page_;
  FileSystem& fs_;
  std::string plan_path_;
  std::shared_ptr<const proto::Plan> plan_;
};

using AttemptOutcome = std::variant<proto::TaskDone, proto::TaskFailed>;

// Runs one task to its end. Never throws; leaves nothing behind but what the
// task's paths name. The outcome's attempt uid is filled in.
AttemptOutcome RunAttempt(TaskEnvironment& env, const proto::RunTask& run);

// ------------------------------------------------- for the three kinds of task

proto::TaskFailed MakeFailure(proto::FailureCause cause, std::string message,
                              bool retryable);
// A status of the storage layer while reading input.
proto::TaskFailed InputFailure(const absl::Status& status);
// A status of the engine while sorting, spilling or writing map output.
proto::TaskFailed EngineFailure(const absl::Status& status);
// A status while writing the job's output.
proto::TaskFailed OutputFailure(const absl::Status& status);
// What user code threw. `aborted` is the failure of the port that gave up, for
// when it was not user code that failed.
proto::TaskFailed UserFailure(
    const UserCodeFailure& failure,
    const std::function<proto::TaskFailed()>& aborted);

// Forgets where in its input the process was.
void ClearPosition(supervisor::StatusPage& page);

AttemptOutcome RunPlanAttempt(TaskEnvironment& env, const proto::RunTask& run);
AttemptOutcome RunMapAttempt(TaskEnvironment& env, const proto::RunTask& run);
// What a map of a sample has otherwise than the job's maps.
struct MapSettings {
  engine::Codec codec = engine::Codec::kNone;
  uint64_t buffer_bytes = 0;
  uint32_t partitions_told = 0;  // To user code.
};
// As RunMapAttempt, by a plan that no file holds.
AttemptOutcome RunMapOf(TaskEnvironment& env, const proto::Plan& plan,
                        const proto::RunTask& run, const MapSettings& settings);
AttemptOutcome RunReduceAttempt(TaskEnvironment& env,
                                const proto::RunTask& run);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_ATTEMPT_H_
