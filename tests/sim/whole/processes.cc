// The job processes of a simulated worker.
#include <memory>
#include <utility>

#include "api/src/task/attempt.h"
#include "common/logging.h"
#include "common/strings.h"
#include "engine/format/map_output_reader.h"
#include "supervisor/exit_message.h"
#include "supervisor/status_page.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/shuffle.h"
#include "tests/sim/whole/worker.h"
#include "worker/agent/job_setup.h"
#include "worker/shuffle/remote_index.h"

namespace millrace::wholesim {
namespace {

// The last task of a job that is poisoned.
bool IsLast(const ClientJob& job, const proto::RunTask& task) {
  if (job.partitions > 0) {
    return task.has_reduce() && task.index() + 1 == job.partitions;
  }
  return task.has_map() && task.index() == 0;
}

}  // namespace

void Worker::ProcessLater(worker::ChildNumber number, absl::Duration wait,
                          std::function<void(Process& process)> what) {
  world_.queue.After(Slowed(wait), [this, number, life = life_number_,
                                    what = std::move(what)] {
    if (life != life_number_) return;
    const auto run = [this, number, what] {
      const auto found = processes_.find(number);
      if (found != processes_.end()) what(found->second);
    };
    if (processes_paused_) {
      processes_held_back_.push_back(run);
    } else {
      run();
    }
  });
}

void Worker::Do(const worker::StartChild& effect) {
  SetPhase(effect.attempt, Phase::kRunning);
  if (world_.May(Fault::kSpawnFailed) && world_.Chance(0.03)) {
    world_.Hit(Fault::kSpawnFailed, StepOf(effect.attempt));
    worker::ChildExited exited;
    exited.child = effect.child;
    exited.cause = proto::SPAWN_FAILED;
    exited.message = "no process could be made";
    own_.push_back(std::move(exited));
    return;
  }
  Process& process = processes_[effect.child];
  process.start = effect;
  process.job = world_.jobs.FindByProgram(effect.program_sha256);
  CHECK(process.job != nullptr);
  if (!world_.fs.Stat(layout_.Blob(effect.program_sha256)).ok()) {
    world_.Violate("a process is started before its program is there");
  }
  ProcessLater(effect.child, world_.Between(2, 150), [this](Process& started) {
    if (started.leaving) return;
    started.ready = true;
    Post(worker::ChildReady{started.start.child});
  });
}

void Worker::Do(const worker::RunTask& effect) {
  const auto found = processes_.find(effect.child);
  if (found == processes_.end()) return;
  Process& process = found->second;
  process.task = effect.task;
  process.records = 0;
  const uint64_t which = ++process.tasks;
  const AttemptUid uid = *AttemptUid::FromBytes(effect.task.attempt_uid());
  SetPhase(uid, Phase::kRunning);
  if (effect.task.has_reduce()) {
    std::map<uint32_t, std::string> roots;
    for (const proto::MapOutputRef& ref : effect.task.reduce().map_outputs()) {
      roots[ref.map_index()] = ref.root();
    }
    world_.checker.OnConsumed(uid, roots);
  }
  const StepSet step = StepOf(uid);
  const double mean = absl::ToDoubleMilliseconds(process.job->task_time);
  absl::Duration time = world_.Between(0.2 * mean, 1.8 * mean);
  proto::FailureCause fate = proto::FAILURE_CAUSE_UNSPECIFIED;
  const auto happens = [&](Fault fault, proto::FailureCause cause) {
    if (fate != proto::FAILURE_CAUSE_UNSPECIFIED) return;
    if (!world_.May(fault) || !world_.Chance(0.02)) return;
    world_.Hit(fault, step);
    fate = cause;
  };
  happens(Fault::kProcessCrashed, proto::CRASHED);
  happens(Fault::kProcessExited, proto::EXITED);
  happens(Fault::kProcessHung, proto::TASK_TIMEOUT);
  if (process.job->poisoned && IsLast(*process.job, effect.task)) {
    fate = proto::CRASHED;
  }
  if (fate == proto::TASK_TIMEOUT) time = process.start.task_timeout;
  ProcessLater(effect.child, time, [this, which, fate](Process& running) {
    if (!running.task.has_value() || running.tasks != which) return;
    const worker::ChildNumber number = running.start.child;
    if (fate == proto::FAILURE_CAUSE_UNSPECIFIED) {
      Execute(number, std::nullopt);
      return;
    }
    // It did some of its work.
    Execute(number, world_.Pick(60));
    EndProcess(number, fate, "ended by the simulation");
  });
}

void Worker::Do(const worker::KillChild& effect) {
  const auto found = processes_.find(effect.child);
  if (found == processes_.end()) return;
  found->second.leaving = true;
  ProcessLater(effect.child, world_.Between(0.5, 30), [this](Process& process) {
    const worker::ChildNumber number = process.start.child;
    if (process.task.has_value() && world_.Chance(0.5)) {
      Execute(number, world_.Pick(30));
    }
    EndProcess(number, proto::CANCELLED, "killed");
  });
}

void Worker::Do(const worker::StopChild& effect) {
  ProcessLater(effect.child, world_.Between(0.5, 30), [this](Process& process) {
    EndProcess(process.start.child, proto::FAILURE_CAUSE_UNSPECIFIED,
               "told to go");
  });
}

void Worker::EndProcess(worker::ChildNumber number, proto::FailureCause cause,
                        const std::string& message) {
  const auto found = processes_.find(number);
  if (found == processes_.end()) return;  // It ended in the middle of that.
  worker::ChildExited exited;
  exited.child = number;
  exited.cause = cause;
  exited.message = message;
  processes_.erase(found);
  Post(std::move(exited));
}

// Also of an attempt that has been told to stop, and is told of, meanwhile.
StepSet Worker::RunningStep(const proto::RunTask& task) const {
  const auto found = seen_.find(*AttemptUid::FromBytes(task.attempt_uid()));
  if (found == seen_.end()) return StepSet();
  Seen seen = found->second;
  seen.phase = Phase::kRunning;
  return StepOf(seen);
}

void Worker::Execute(worker::ChildNumber number,
                     std::optional<uint64_t> operations) {
  Process& process = processes_.at(number);
  if (!process.task.has_value()) return;
  const proto::RunTask task = *process.task;
  const proto::Configure configure = process.start.configure;
  const ClientJob& job = *process.job;
  const uint64_t life = life_number_;
  ++world_.result.attempts;
  const auto page = std::make_unique<supervisor::StatusPage>();
  task::TaskEnvironment environment(DefinitionOf(job.program), configure, *page,
                                    disk_);
  UserWorld& user = CurrentUserWorld();
  user.random = world_.random.get();
  user.violate = [this](const std::string& what) { world_.Violate(what); };
  // Another one may run while the store keeps this one waiting.
  const bool throws = std::exchange(user.throws, world_.Chance(job.throws));
  const std::optional<Work> before =
      std::exchange(work_, Work{life, RunningStep(task), operations, number});
  const task::AttemptOutcome outcome = task::RunAttempt(environment, task);
  work_ = before;
  user.throws = throws;
  if (life != life_number_ || operations.has_value()) return;
  // It may have been killed while the store kept it waiting.
  const auto found = processes_.find(number);
  if (found == processes_.end() || !found->second.task.has_value()) return;
  found->second.task.reset();
  const auto* failed = std::get_if<proto::TaskFailed>(&outcome);
  if (failed == nullptr) {
    return Report(number, task, std::get<proto::TaskDone>(outcome));
  }
  world_.Note(Cat(name_, ": ", job.name, " task ", task.index(),
                  " fails: ", failed->cause(), " ", failed->message()));
  worker::ChildFailed event{number, *failed, ""};
  if (failed->cause() == proto::USER_EXCEPTION) {
    event.bad_record = supervisor::RecordAtFault(
        *page, failed->cause(), failed->message(), failed->stack());
  }
  Post(std::move(event));
}

void Worker::Report(worker::ChildNumber number, const proto::RunTask& task,
                    const proto::TaskDone& done) {
  const Process& process = processes_.at(number);
  const JobId job = *JobId::FromBytes(process.start.configure.job_id());
  if (!done.map_output_root().empty()) {
    KeepOutput(job, task, done.map_output_root());
  }
  if (world_.options.mutant.edge.write_into_output && task.has_reduce()) {
    world_.fs.MakeDirectory(process.job->output).IgnoreError();
    world_.fs.SetContents(Cat(process.job->output, "/part-", task.index()),
                          world_.fs.Contents(task.reduce().output_path()));
  }
  Post(worker::ChildDone{number, done});
}

void Worker::KeepOutput(const JobId& job, const proto::RunTask& task,
                        const std::string& root) {
  const AttemptUid uid = *AttemptUid::FromBytes(task.attempt_uid());
  const std::string path = worker::MapOutputPath(layout_.Spool(), job, uid);
  if (world_.fs.Exists(path)) {
    world_.fs.SetContents(PristinePath(uid), world_.fs.Contents(path));
  }
  std::string& known = world_.roots[{job, task.index()}];
  if (!known.empty() && known != root) {
    world_.Hit(Fault::kOtherRecords,
               Only(Step::kMapRun) | (StepOf(uid) & Only(Step::kSecond)));
  }
  known = root;
  roots_given_[job][task.index()] = Cat(root, uid.bytes());
}

}  // namespace millrace::wholesim
