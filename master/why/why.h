// What a job or task waits for, as a chain of causes
// (proto/messages/why.proto).
//
//   asked about        explained by
//   a job              what is not done of its stage: of that which waits for a
//                      worker the first, of that which runs the one that takes
//                      longest
//   a task with an     what that does on its worker, or waits for there
//   attempt
//   a task without     what keeps it from being granted, in the order in which
//                      the scheduler looks: a new leader, a time of waiting
//                      after a failure, tasks before it, workers
//
// A function of the replicated state and of what the leader knows beside it:
// reads, changes nothing. So it needs no record of decisions, and cannot differ
// from what the scheduler does next but where it repeats a rule in words.
//
// Costs time in what it prints and in the workers; of a reduce that fetches
// while a worker is away, in the maps of its job.
#ifndef MILLRACE_MASTER_WHY_WHY_H_
#define MILLRACE_MASTER_WHY_WHY_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "master/scheduler/scheduler_core.h"
#include "master/state/task_id.h"
#include "proto/messages/why.pb.h"

namespace millrace::master {

// `task` null: of the job as a whole. `now` is monotonic, as that of the core's
// steps and not before the last one; `wall_ms` tells how old the job is. On the
// master loop.
//   kNotFound            the job has no such task
//   kFailedPrecondition  this master does not lead
absl::Status ExplainWait(const SchedulerCore& core, const Job& job,
                         const TaskId* task, absl::Duration now,
                         int64_t wall_ms, proto::WhyReply* reply);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_WHY_WHY_H_
