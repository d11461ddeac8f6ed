// How much a leader takes on: jobs, their tasks, and the transfers of one
// shuffle. The leader decides before it proposes, so that other limits on
// another master, or after a restart, change nothing that is in the log.
//
// What a submit tells is checked there. How many tasks a job has is known when
// it is planned: more than a job may have fail it; more than there is room for
// beside the jobs that are planned make it wait, unplanned, in the order of
// submission, so that no small one is for ever ahead of a large one.
#ifndef MILLRACE_MASTER_SCHEDULER_ADMISSION_H_
#define MILLRACE_MASTER_SCHEDULER_ADMISSION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "master/scheduler/options.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {

// Of one job. Before there is a plan, `maps` is the least that it can have.
struct JobSize {
  uint64_t maps = 1;
  uint64_t partitions = 0;
  bool planned = false;

  uint64_t tasks() const { return maps + partitions; }
};

// kResourceExhausted: it has more tasks or transfers than a job may have.
absl::Status CheckJobSize(const JobSize& size, const SchedulerOptions& options);

// kResourceExhausted: there are as many jobs as may be.
absl::Status CheckRoomForJob(const SoftState& soft);

// What is left for jobs that have no plan yet, as of now.
struct PlanRoom {
  uint64_t tasks = 0;  // Of the jobs that are planned and have not ended.
  uint64_t tasks_max = 0;
  // The oldest job that waits for room: younger ones are not planned before.
  std::optional<uint64_t> first_waiting;

  bool Has(const SoftJob& job) const;
};
PlanRoom PlanRoomOf(const SoftState& soft);

// Whether the plan may be proposed; if not, the job waits for room.
// REQUIRES: CheckJobSize said OK.
bool RoomForPlan(const SoftState& soft, const SoftJob& job, uint64_t tasks);

// Why the job is not planned; "": nothing of this keeps it from it.
std::string WaitsForRoom(const SoftState& soft, const SoftJob& job);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_ADMISSION_H_
