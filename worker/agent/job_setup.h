// From what the masters say of a job to what a job process is told. Pure.
#ifndef MILLRACE_WORKER_AGENT_JOB_SETUP_H_
#define MILLRACE_WORKER_AGENT_JOB_SETUP_H_

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "proto/messages/job.pb.h"
#include "proto/messages/task.pb.h"
#include "proto/messages/worker.pb.h"
#include "worker/agent/events.h"
#include "worker/spool/layout.h"

namespace millrace::worker {

// argv[1] of a job process in task mode (api/src/task/task_mode.h).
inline constexpr char kTaskModeArgument[] = "--millrace-task";

// What a spec that says nothing gets; the local run has the same.
inline constexpr uint64_t kMemoryBudgetDefault = uint64_t{512} << 20;
inline constexpr uint64_t kMemoryLimitExtra = uint64_t{2} << 30;
inline constexpr uint64_t kLogBytesMaxDefault = uint64_t{64} << 20;

// Whether ids, hashes and names in it have the form that paths are made from.
// kInvalidArgument: which has not.
absl::Status CheckSpec(const proto::JobSpec& spec);

// The blobs that every process of the job needs.
std::set<std::string> JobBlobs(const proto::JobSpec& spec);

StartChild MakeStartChild(ChildNumber child, const JobId& job,
                          const AttemptUid& attempt, const proto::JobSpec& spec,
                          const WorkerLayout& layout);

// S/att/<uid> and the part file in it.
std::string OutputDirectory(const std::string& output, const JobId& job,
                            const AttemptUid& uid);
std::string OutputPath(const std::string& output, const JobId& job,
                       const AttemptUid& uid, uint32_t index);

// Where the planning attempt writes.
std::string PlanPath(const WorkerLayout& layout, const JobId& job,
                     const AttemptUid& uid);

// Both are the record at one place.
bool SameRecord(const proto::BadRecord& a, const proto::BadRecord& b);

// The file of a map with bad records, beside its part file if it has one.
std::string DeadLetterPath(const std::string& output, const JobId& job,
                           const AttemptUid& uid, uint32_t map);

// The command for a PLAN, MAP or REDUCE attempt. `inputs`: of a reduce;
// `bad_records`: of a map or plan.
proto::RunTask MakeRunTask(const proto::Grant& grant, const JobId& job,
                           const AttemptUid& uid, const proto::JobSpec& spec,
                           const WorkerLayout& layout,
                           const std::vector<proto::MapOutputRef>& inputs,
                           const std::vector<proto::BadRecord>& bad_records);

// A map-only job's maps write part files, as reduces do.
bool WritesPart(const proto::Grant& grant);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_AGENT_JOB_SETUP_H_
