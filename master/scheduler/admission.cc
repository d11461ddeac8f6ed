#include "master/scheduler/admission.h"

#include <algorithm>

#include "common/counted.h"
#include "common/strings.h"
#include "rpc/retry_after.h"

namespace millrace::master {
namespace {

// Until a submit that found no room is worth another try.
constexpr absl::Duration kRetryAfter = absl::Seconds(5);

// The tasks of a job that has a plan, or whose plan is on its way into the log.
uint64_t TasksOf(const SoftJob& job) {
  if (!job.job->planned) return job.tasks_proposed;
  return uint64_t{job.job->maps.total} + job.job->reduces.total;
}

bool Waits(const SoftJob& job) {
  return !job.job->planned && job.tasks_wanted > 0;
}

}  // namespace

absl::Status CheckJobSize(const JobSize& size,
                          const SchedulerOptions& options) {
  std::string what;
  if (size.tasks() > options.job_tasks_max) {
    what = Cat(size.tasks(), " tasks; at most ", options.job_tasks_max,
               " are allowed (--max-job-tasks of the masters)");
  } else if (size.tasks() > options.live_tasks_max) {
    what = Cat(size.tasks(), " tasks; the cluster takes no more than ",
               options.live_tasks_max, " (--max-tasks of the masters)");
  } else if (size.maps * size.partitions > options.job_transfers_max) {
    what = Cat(size.maps * size.partitions, " transfers between them; at most ",
               options.job_transfers_max,
               " are allowed (--max-job-transfers of the masters)");
  } else {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      Av(Cat("the job has ", size.planned ? "" : "at least ",
             Counted(size.maps, "map"), " and ",
             Counted(size.partitions, "reduce"), ", ", what, ": ask for ",
             size.maps > 1 ? "larger splits (--split-bytes) or " : "",
             "fewer reducers")));
}

absl::Status CheckRoomForJob(const SoftState& soft) {
  const size_t jobs = soft.state.live_jobs().size() + soft.submits.size();
  if (jobs < soft.options.live_jobs_max) return absl::OkStatus();
  return rpc::WithRetryAfter(
      absl::ResourceExhaustedError(
          Av(Cat("the cluster has ", jobs,
                 " jobs that have not ended, and takes no more than ",
                 soft.options.live_jobs_max,
                 " (--max-jobs of the masters): wait until one has ended, or "
                 "kill one"))),
      kRetryAfter);
}

bool PlanRoom::Has(const SoftJob& job) const {
  if (first_waiting.has_value() && *first_waiting < job.job->index) {
    return false;
  }
  const uint64_t wanted = std::max<uint64_t>(1, job.tasks_wanted);
  return tasks < tasks_max && wanted <= tasks_max - tasks;
}

PlanRoom PlanRoomOf(const SoftState& soft) {
  PlanRoom room;
  room.tasks_max = soft.options.live_tasks_max;
  for (const auto& [index, job] : soft.jobs) {
    room.tasks += TasksOf(job);
    if (!room.first_waiting.has_value() && Waits(job)) {
      room.first_waiting = index;
    }
  }
  return room;
}

bool RoomForPlan(const SoftState& soft, const SoftJob& job, uint64_t tasks) {
  uint64_t others = 0;
  for (const auto& [index, other] : soft.jobs) {
    if (&other != &job) others += TasksOf(other);
  }
  return others + tasks <= soft.options.live_tasks_max;
}

std::string WaitsForRoom(const SoftState& soft, const SoftJob& job) {
  if (job.job->planned || job.tasks_proposed > 0) return "";
  const PlanRoom room = PlanRoomOf(soft);
  if (room.Has(job)) return "";
  const std::string limit = Cat(
      "the cluster has ", room.tasks, " tasks in jobs that have not ended, of ",
      room.tasks_max, " that it takes (--max-tasks of the masters)");
  if (job.tasks_wanted > 0) {
    return Cat("room for its ", job.tasks_wanted, " tasks: ", limit);
  }
  if (room.first_waiting.has_value() && *room.first_waiting < job.job->index) {
    const SoftJob& first = soft.jobs.at(*room.first_waiting);
    return Cat("job ", first.job->id.ToShort(), ", which waits for room for ",
               first.tasks_wanted, " tasks: ", limit);
  }
  return Cat("room for its tasks: ", limit);
}

}  // namespace millrace::master
