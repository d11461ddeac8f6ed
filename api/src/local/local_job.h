// Carries out what LocalJobCore decides: makes directories, starts attempts on
// a TaskHost, publishes the output.
#ifndef MILLRACE_API_SRC_LOCAL_LOCAL_JOB_H_
#define MILLRACE_API_SRC_LOCAL_LOCAL_JOB_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "api/src/flags.h"
#include "api/src/local/local_job_core.h"
#include "api/src/local/task_host.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/random.h"
#include "millrace/internal/job_definition.h"
#include "storage/commit/manifest.h"
#include "storage/plan/sizing.h"

namespace millrace::local {

// Where one run keeps what.
struct JobPaths {
  std::string output;   // Without trailing separators.
  std::string staging;  // S, beside the output.
  std::string spool;    // Map outputs, spill runs, the plan.

  std::string Plan() const { return JoinPath(spool, "plan"); }
  // Of an attempt: job output; map output; everything else.
  std::string AttemptOutput(const AttemptUid& uid) const {
    return JoinPath(JoinPath(staging, "att"), uid.ToHex());
  }
  std::string MapOutput(const AttemptUid& uid) const {
    return JoinPath(spool, uid.ToHex() + ".map");
  }
  std::string Scratch(const AttemptUid& uid) const {
    return JoinPath(spool, uid.ToHex());
  }
};

// What ended a job that did not succeed.
struct JobFailure {
  std::optional<TaskName> task;  // None: it was no task that failed.
  Failure failure;
};

// Confined to the thread of the local run.
class LocalJob {
 public:
  // All references outlive the job. The directories of `paths` exist.
  LocalJob(const internal::JobDefinition& job, const JobFlags& flags,
           const JobId& job_id, const JobPaths& paths, FileSystem& fs,
           Clock& clock, Random& random, TaskHost& host);

  // Runs until the output is published, the job has failed, or `interrupted`
  // says true (nothing is then returned, and nothing published). `on_tick` is
  // called several times a second and after every event.
  std::optional<JobFailure> Execute(const std::function<bool()>& interrupted,
                                    const std::function<void()>& on_tick);

  const LocalJobCore& core() const { return core_; }
  uint64_t input_bytes_done() const;
  // After planning.
  storage::Sizing sizing() const;
  // Of the published output; empty before.
  const storage::Manifest& manifest() const { return manifest_; }
  // The attempt that failed the job, if its own code did; its input is there
  // until the paths of the job are removed.
  const std::optional<proto::RunTask>& failed_run() const {
    return failed_run_;
  }
  // True: a finished output stays in the staging directory, because somebody
  // else made the output path meanwhile.
  bool keep_staging() const { return keep_staging_; }

 private:
  void Apply(const std::vector<Effect>& effects);
  void Run(const RunAttempt& run);
  void Drop(const AttemptUid& uid);
  void KeepFailedRun(const FailJob& fail);
  proto::RunTask MakeRunTask(const RunAttempt& run) const;
  void StepSlotGone(int slot, const absl::Status& status);
  absl::Status Publish();
  storage::Manifest MakeManifest() const;

  const internal::JobDefinition& job_;
  const JobFlags& flags_;
  const JobId job_id_;
  const JobPaths paths_;
  FileSystem& fs_;
  Clock& clock_;
  TaskHost& host_;
  LocalJobCore core_;

  std::vector<Event> pending_;  // Events that effects gave rise to.
  std::map<int, RunAttempt> running_;
  uint64_t winners_input_bytes_ = 0;
  std::optional<JobFailure> failure_;
  std::optional<proto::RunTask> failed_run_;
  bool committed_ = false;
  bool keep_staging_ = false;
  storage::Manifest manifest_;
};

}  // namespace millrace::local

#endif  // MILLRACE_API_SRC_LOCAL_LOCAL_JOB_H_
