#include "master/why/why.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/counted.h"
#include "common/strings.h"
#include "master/scheduler/placement.h"
#include "master/why/attempts.h"
#include "master/why/causes.h"
#include "master/why/workers.h"

namespace millrace::master {
namespace why {
namespace {

void AddStage(Inquiry& inquiry, int depth, const SoftJob& job,
              proto::TaskKind kind);
void AddTask(Inquiry& inquiry, int depth, const SoftJob& job,
             const TaskId& task);

const Stage& StageOf(const Job& job, proto::TaskKind kind) {
  return kind == proto::MAP_TASK ? job.maps : job.reduces;
}

// ------------------------------------------------------- tasks without attempt

bool Grantable(const SoftJob& job, const TaskId& task) {
  return SoftState::Runnable(job, task) && job.delayed.count(task) == 0;
}

// The map that the scheduler would grant first (placement.cc).
std::optional<TaskId> FirstMap(const SoftJob& job) {
  for (const std::set<uint32_t>* maps : {&job.lost_maps, &job.retry_maps}) {
    for (uint32_t map : *maps) {
      const TaskId task{proto::MAP_TASK, map};
      if (Grantable(job, task)) return task;
    }
  }
  for (uint32_t map = job.next_map; map < job.job->maps.total; ++map) {
    const TaskId task{proto::MAP_TASK, map};
    if (Grantable(job, task)) return task;
  }
  return std::nullopt;
}

std::optional<TaskId> FirstReduce(const SoftJob& job) {
  for (uint32_t partition : job.reduces) {
    const TaskId task{proto::REDUCE_TASK, partition};
    if (Grantable(job, task)) return task;
  }
  return std::nullopt;
}

// The task of the kind whose time of waiting is over first.
std::optional<TaskId> FirstDelayed(const SoftJob& job, proto::TaskKind kind) {
  std::optional<TaskId> first;
  absl::Duration soonest = absl::InfiniteDuration();
  for (auto at = job.delayed.lower_bound({kind, 0});
       at != job.delayed.end() && at->first.kind == kind; ++at) {
    if (at->second >= soonest || job.live.count(at->first) > 0) continue;
    soonest = at->second;
    first = at->first;
  }
  return first;
}

// Maps of which so many must be done before reduces are placed; 0: they may be.
uint32_t HeldBackUntil(const SoftState& soft, const SoftJob& job) {
  const Stage& maps = job.job->maps;
  if (maps.all_done() || !FirstMap(job).has_value()) return 0;
  const auto share = static_cast<uint32_t>(
      std::max(1.0, std::ceil(soft.options.slow_start * maps.total)));
  return maps.done >= share ? 0 : share;
}

void AddFailures(Inquiry& inquiry, int depth, const SoftJob& job,
                 const TaskId& task) {
  if (task.kind == proto::PUBLISH_TASK) {
    if (job.publish_error.empty()) return;
    proto::WhyCause& cause =
        inquiry.Add(depth, proto::STORE_REFUSES,
                    Cat("the store has refused the output ",
                        Counted(job.publish_failures, "time"),
                        "; the last time: ", Said(job.publish_error)));
    cause.set_count(job.publish_failures);
    SetTask(cause, task);
    return;
  }
  const Trouble* trouble = job.job->FindTrouble(task);
  if (trouble == nullptr) return;
  const uint32_t failures =
      trouble->user_failures + trouble->infrastructure_failures;
  proto::WhyCause& cause = inquiry.Add(
      depth, proto::FAILED_BEFORE,
      Cat(ToString(task), " has failed or was lost ", Counted(failures, "time"),
          "; the last time: ", Said(trouble->last_message)));
  cause.set_count(failures);
  SetTask(cause, task);
  if (trouble->counted.empty()) return;
  SetWorkers(cause, {NameOf(inquiry.soft, trouble->counted.back().second)});
}

// When a reduce of the job makes way for its lost map (preemption.h).
void AddMakesWay(Inquiry& inquiry, int depth, const SoftJob& job) {
  if (!job.lost_waits_since.has_value()) return;
  const absl::Duration left =
      *job.lost_waits_since + inquiry.soft.options.preempt_after - inquiry.now;
  if (left <= absl::ZeroDuration()) return;
  proto::WhyCause& cause =
      inquiry.Add(depth, proto::GRANT_DUE,
                  Cat("a reduce of the job makes way for it in ", HowLong(left),
                      ", if one of its reduces has a slot"));
  SetEnd(cause, left);
}

// It may have no attempt yet for what comes before it; true: for nothing else.
bool AddBefore(Inquiry& inquiry, int depth, const SoftJob& job,
               const TaskId& task) {
  const Job& record = *job.job;
  if (task.kind == proto::REDUCE_TASK) {
    const uint32_t until = HeldBackUntil(inquiry.soft, job);
    if (until == 0) return false;
    proto::WhyCause& cause = inquiry.Add(
        depth, proto::REDUCES_HELD_BACK,
        Cat(ToString(task), " is given to a worker when ",
            Counted(until, "map"), " of ", record.maps.total,
            until == 1 ? " is done; " : " are done; ", record.maps.done,
            record.maps.done == 1 ? " is" : " are"));
    cause.set_count(record.maps.done);
    cause.set_of(until);
    SetTask(cause, task);
    AddStage(inquiry, depth + 1, job, proto::MAP_TASK);
    return true;
  }
  if (task.kind == proto::CHECK_TASK || task.kind == proto::PUBLISH_TASK) {
    if (!record.maps.all_done()) {
      AddStage(inquiry, depth, job, proto::MAP_TASK);
      return true;
    }
    if (!record.reduces.all_done()) {
      AddStage(inquiry, depth, job, proto::REDUCE_TASK);
      return true;
    }
  }
  return false;
}

void AddFailing(Inquiry& inquiry, int depth) {
  inquiry.Add(depth, proto::JOB_FAILS,
              "the job has failed, which is on its way into the masters' log");
}

void AddUngranted(Inquiry& inquiry, int depth, const SoftJob& job,
                  const TaskId& task) {
  const SoftState& soft = inquiry.soft;
  if (job.failing) return AddFailing(inquiry, depth);
  if (!GrantsOpen(soft, job)) return AddLeaderWaits(inquiry, depth);
  if (const auto delayed = job.delayed.find(task);
      delayed != job.delayed.end()) {
    const absl::Duration left = delayed->second - inquiry.now;
    proto::WhyCause& cause =
        inquiry.Add(depth, proto::RETRY_LATER,
                    Cat(ToString(task), " is tried again in ",
                        HowLong(std::max(left, absl::ZeroDuration()))));
    SetTask(cause, task);
    SetEnd(cause, left);
    return AddFailures(inquiry, depth + 1, job, task);
  }
  if (AddBefore(inquiry, depth, job, task)) return;
  AddCapacity(inquiry, depth, job, task);
  if (task.kind == proto::MAP_TASK && job.lost_maps.count(task.index) > 0) {
    AddMakesWay(inquiry, depth + 1, job);
  }
}

// ---------------------------------------------------------------------- tasks

// It had been done. Returns the depth of what explains it further.
int AddLoss(Inquiry& inquiry, int depth, const SoftJob& job,
            const TaskId& task) {
  const Task* known = job.job->FindTask(task);
  if (known == nullptr || known->has_winner || !known->had_winner) {
    return depth;
  }
  const Worker& holder = inquiry.soft.state.workers()[known->worker];
  const Trouble* trouble = job.job->FindTrouble(task);
  const bool with_worker = task.kind == proto::MAP_TASK && !holder.alive;
  std::string text = Cat(ToString(task), " is done again: ");
  if (with_worker) {
    text += Cat(WorkersText({holder.name}), ", which had its output, was lost");
  } else if (task.kind == proto::MAP_TASK || trouble != nullptr) {
    text += Cat("what it had made on ", WorkersText({holder.name}), " is lost");
    if (trouble != nullptr) text += Cat(": ", Said(trouble->last_message));
  } else {
    text += "what it had read was made again, with other records";
  }
  proto::WhyCause& cause = inquiry.Add(
      depth, with_worker ? proto::LOST_WITH_WORKER : proto::LOST_OUTPUT,
      std::move(text));
  SetTask(cause, task);
  SetWorkers(cause, {holder.name});
  return depth + 1;
}

void AddTask(Inquiry& inquiry, int depth, const SoftJob& job,
             const TaskId& task) {
  const int below = AddLoss(inquiry, depth, job, task);
  const auto live = job.live.find(task);
  if (live == job.live.end()) {
    return AddUngranted(inquiry, below, job, task);
  }
  AddAttempts(inquiry, below, job, task);
  // A loss has said so itself.
  if (below == depth) AddFailures(inquiry, below + 1, job, task);
  // It fetches what there is; what there is not yet it waits for.
  if (task.kind == proto::REDUCE_TASK && !Runs(*live->second) &&
      !live->second->reported && !job.job->maps.all_done()) {
    AddStage(inquiry, below + 1, job, proto::MAP_TASK);
  }
}

// Of the tasks of the kind that are on workers, the one to look at: whose
// worker is away, that stands still, that runs for longest.
std::optional<TaskId> Slowest(const Inquiry& inquiry, const SoftJob& job,
                              proto::TaskKind kind) {
  std::optional<TaskId> slowest;
  std::pair<int, absl::Duration> worst;
  for (auto at = job.live.lower_bound({kind, 0});
       at != job.live.end() && at->first.kind == kind; ++at) {
    const Attempt& attempt = *at->second;
    if (!SoftState::Wanted(job, at->first) || attempt.speculative) continue;
    const auto worker = inquiry.soft.workers.find(attempt.worker);
    const bool away =
        worker != inquiry.soft.workers.end() && IsAway(inquiry, worker->second);
    const int rank = away                          ? 4
                     : IsStalled(inquiry, attempt) ? 3
                     : Runs(attempt)               ? 2
                                                   : 1;
    const std::pair<int, absl::Duration> bad{
        rank, inquiry.now - RanSince(job, attempt)};
    if (!slowest.has_value() || bad > worst) {
      worst = bad;
      slowest = at->first;
    }
  }
  return slowest;
}

// Of the tasks of the kind that are on workers, the first that had been done.
std::optional<TaskId> FirstAgain(const SoftJob& job, proto::TaskKind kind) {
  for (auto at = job.live.lower_bound({kind, 0});
       at != job.live.end() && at->first.kind == kind; ++at) {
    const Task* task = job.job->FindTask(at->first);
    if (task != nullptr && task->had_winner && !task->has_winner) {
      return at->first;
    }
  }
  return std::nullopt;
}

void AddStage(Inquiry& inquiry, int depth, const SoftJob& job,
              proto::TaskKind kind) {
  const bool maps = kind == proto::MAP_TASK;
  const Stage& stage = StageOf(*job.job, kind);
  const uint32_t missing = stage.total - stage.done;
  const uint32_t live =
      std::min(missing, maps ? job.live_maps : job.live_reduces);
  const uint32_t waiting = missing - live;
  std::string text =
      Cat(missing, " of ", Counted(stage.total, maps ? "map" : "reduce"),
          missing == 1 ? " is" : " are", " not done");
  if (live > 0 && waiting > 0) {
    text += Cat(": ", live, live == 1 ? " is" : " are", " on workers, ",
                waiting, waiting == 1 ? " waits" : " wait",
                " to be given to "
                "one");
  }
  proto::WhyCause& cause =
      inquiry.Add(depth, maps ? proto::MAPS_MISSING : proto::REDUCES_MISSING,
                  std::move(text));
  cause.set_count(missing);
  cause.set_of(stage.total);
  const auto first = maps ? FirstMap(job) : FirstReduce(job);
  const auto delayed = FirstDelayed(job, kind);
  const auto slowest = Slowest(inquiry, job, kind);
  const auto again = FirstAgain(job, kind);
  if (first.has_value()) AddTask(inquiry, depth + 1, job, *first);
  if (delayed.has_value()) AddTask(inquiry, depth + 1, job, *delayed);
  if (slowest.has_value()) AddTask(inquiry, depth + 1, job, *slowest);
  if (again.has_value() && again != slowest) {
    AddTask(inquiry, depth + 1, job, *again);
  }
}

// ----------------------------------------------------------------------- jobs

void AddLeftovers(Inquiry& inquiry, int depth, const Job& job) {
  if (job.cleaned) return;
  const auto found = inquiry.soft.cleanings.find(job.id);
  std::vector<std::string> names;
  if (found != inquiry.soft.cleanings.end()) {
    const Cleaning& cleaning = found->second;
    std::set<WorkerNumber> numbers = cleaning.waiting;
    if (cleaning.remover.has_value()) numbers.insert(*cleaning.remover);
    for (WorkerNumber number : numbers) {
      names.push_back(NameOf(inquiry.soft, number));
    }
  }
  std::string text = "what it left is being deleted";
  if (!names.empty()) {
    text += Cat(": ", WorkersText(names), names.size() == 1 ? " has" : " have",
                " not said so yet");
  } else if (inquiry.soft.workers.empty()) {
    text = "what it left beside its output is deleted when a worker joins";
  }
  SetWorkers(inquiry.Add(depth, proto::LEFTOVERS, std::move(text)), names);
}

void AddEnded(Inquiry& inquiry, const Job& job) {
  std::string text =
      Cat("the job has ended: ", proto::JobState_Name(job.state));
  if (job.failure != nullptr) {
    text += Cat(", ", proto::FailureCause_Name(job.failure->cause()), ": ",
                Said(job.failure->message()));
  }
  proto::WhyCause& cause = inquiry.Add(0, proto::JOB_ENDED, std::move(text));
  SetFor(cause, absl::Milliseconds(inquiry.wall_ms - job.finished_at_ms));
  if (job.failure != nullptr) {
    cause.set_failure(job.failure->cause());
    if (job.failure->has_attempt()) {
      *cause.mutable_task() = job.failure->attempt().task();
    }
    if (!job.failure->worker().empty()) {
      SetWorkers(cause, {job.failure->worker()});
    }
  }
  AddLeftovers(inquiry, 1, job);
}

void AddNotPlanned(Inquiry& inquiry, const SoftJob& job) {
  const absl::Duration age =
      absl::Milliseconds(inquiry.wall_ms - job.job->submitted_at_ms);
  SetFor(inquiry.Add(0, proto::NOT_PLANNED,
                     Cat("the job has no plan yet, for ", HowLong(age))),
         age);
  AddTask(inquiry, 1, job, {proto::PLAN_TASK, 0});
}

void AddJob(Inquiry& inquiry, const SoftJob& job) {
  const Job& record = *job.job;
  if (job.failing) return AddFailing(inquiry, 0);
  if (!record.planned) return AddNotPlanned(inquiry, job);
  if (!record.maps.all_done()) {
    return AddStage(inquiry, 0, job, proto::MAP_TASK);
  }
  if (!record.reduces.all_done()) {
    return AddStage(inquiry, 0, job, proto::REDUCE_TASK);
  }
  if (!record.decided) {
    inquiry.Add(0, proto::NOT_CHECKED,
                "all tasks are done; the part files are checked next");
    return AddTask(inquiry, 1, job, {proto::CHECK_TASK, 0});
  }
  const absl::Duration age =
      absl::Milliseconds(inquiry.wall_ms - record.decided_at_ms);
  SetFor(inquiry.Add(0, proto::NOT_PUBLISHED,
                     Cat("the output is decided for ", HowLong(age),
                         " and not visible yet")),
         age);
  AddTask(inquiry, 1, job, {proto::PUBLISH_TASK, 0});
}

void AddDone(Inquiry& inquiry, const SoftJob& job, const TaskId& task) {
  std::string text = Cat(ToString(task), " is done");
  const Task* known = job.job->FindTask(task);
  std::vector<std::string> names;
  if (known != nullptr) {
    names.push_back(NameOf(inquiry.soft, known->worker));
    text += Cat(": by ", WorkersText(names));
  }
  proto::WhyCause& cause = inquiry.Add(0, proto::TASK_DONE, std::move(text));
  SetTask(cause, task);
  SetWorkers(cause, names);
}

bool IsDone(const Job& job, const TaskId& task) {
  switch (task.kind) {
    case proto::PLAN_TASK:
      return job.planned;
    case proto::MAP_TASK:
    case proto::REDUCE_TASK: {
      const Task* known = job.FindTask(task);
      return known != nullptr && known->has_winner;
    }
    case proto::CHECK_TASK:
      return job.decided;
    default:
      return false;
  }
}

void AddAskedTask(Inquiry& inquiry, const SoftJob& job, const TaskId& task) {
  const Job& record = *job.job;
  if (IsDone(record, task)) return AddDone(inquiry, job, task);
  if (!record.planned && task.kind != proto::PLAN_TASK) {
    return AddNotPlanned(inquiry, job);
  }
  // Of the publication of an output that is not decided.
  if (task.kind == proto::PUBLISH_TASK && !record.decided) {
    return AddJob(inquiry, job);
  }
  AddTask(inquiry, 0, job, task);
}

// OK: the job has it, or may have once it is planned.
absl::Status CheckTask(const Job& job, const TaskId& task) {
  if (task.kind < proto::PLAN_TASK || task.kind > proto::PUBLISH_TASK) {
    return absl::NotFoundError("there is no such kind of task");
  }
  const bool map = task.kind == proto::MAP_TASK;
  if (!map && task.kind != proto::REDUCE_TASK) return absl::OkStatus();
  const uint32_t total = map ? job.maps.total : job.reduces.total;
  if (!job.planned || task.index < total) return absl::OkStatus();
  return absl::NotFoundError(Av(Cat("job ", job.id.ToShort(), " has ",
                                    Counted(total, map ? "map" : "reduce"),
                                    ", numbered from 0, and "
                                    "no ",
                                    ToString(task))));
}

}  // namespace
}  // namespace why

absl::Status ExplainWait(const SchedulerCore& core, const Job& job,
                         const TaskId* task, absl::Duration now,
                         int64_t wall_ms, proto::WhyReply* reply) {
  const SoftState& soft = core.soft_state();
  if (!core.leading()) {
    return absl::FailedPreconditionError("this master does not lead");
  }
  if (task != nullptr) {
    const absl::Status known = why::CheckTask(job, *task);
    if (!known.ok()) return known;
    task->To(reply->mutable_task());
  }
  reply->set_job_id(std::string(job.id.bytes()));
  reply->set_name(job.spec->name());
  reply->set_state(job.state);
  why::Inquiry inquiry{soft, now, wall_ms, reply};
  const auto live = soft.jobs.find(job.index);
  if (job.ended() || live == soft.jobs.end()) {
    why::AddEnded(inquiry, job);
  } else if (task != nullptr) {
    why::AddAskedTask(inquiry, live->second, *task);
  } else {
    why::AddJob(inquiry, live->second);
  }
  return absl::OkStatus();
}

}  // namespace millrace::master
