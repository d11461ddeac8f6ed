// The loop's dealings with the supervisor.
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "worker/agent/job_setup.h"
#include "worker/loop/worker_loop.h"

namespace millrace::worker {
namespace {

// Logs are looked through when so large a part of what is kept is new; it may
// be exceeded by that.
constexpr uint64_t kLogTrimShare = 8;

using supervisor::ChildEvent;
using supervisor::ChildExit;

// Whether a program that could not be started never will be: there is nothing
// to execute in it, as opposed to a machine that is out of something.
bool CannotExecute(const absl::Status& status) {
  const std::string exec_format = strerror(ENOEXEC);
  return absl::IsNotFound(status) || absl::IsPermissionDenied(status) ||
         absl::IsInvalidArgument(status) ||
         ToStd(status.message()).find(exec_format) != std::string_view::npos;
}

}  // namespace

void WorkerLoop::Do(const StartChild& effect) {
  Process& process = processes_[effect.child];
  process.number = effect.child;
  process.job = effect.job;
  process.log = std::make_shared<std::unique_ptr<AttemptLog>>();
  OpenLog(process, effect.job, effect.attempt);

  supervisor::ChildOptions options;
  options.executable = layout_.Blob(effect.program_sha256);
  options.arguments = {kTaskModeArgument};
  options.memory_limit_bytes = effect.memory_limit_bytes;
  options.log_bytes_max = effect.log_bytes_max;
  options.task_timeout = effect.task_timeout;
  options.task_time_limit = effect.task_time_limit;
  options.stop_limit = effect.stop_limit;
  options.start_timeout = options_.start_timeout;
  options.log_sink = [log = process.log,
                      bytes = log_bytes_](std::string_view text) {
    if (*log != nullptr) (*log)->Append(text);
    *bytes += text.size();
  };
  const absl::StatusOr<supervisor::ChildId> started =
      supervisor_->Start(options, effect.configure);
  if (started.ok()) {
    process.id = *started;
    numbers_[*started] = effect.child;
    return;
  }
  ChildExited exited;
  exited.child = effect.child;
  exited.cause = proto::SPAWN_FAILED;
  exited.message = std::string(ToStd(started.status().message()));
  // A program that has vanished from the cache says nothing about itself.
  exited.program_invalid = CannotExecute(started.status()) &&
                           parts_.fs.Stat(options.executable).ok();
  CloseLog(process);
  processes_.erase(effect.child);
  own_.push_back(std::move(exited));
}

void WorkerLoop::Do(const RunTask& effect) {
  const auto at = processes_.find(effect.child);
  if (at == processes_.end()) return;  // Its end is on the way to the core.
  Process& process = at->second;
  const auto attempt = AttemptUid::FromBytes(effect.task.attempt_uid());
  CHECK(attempt.has_value());
  process.run_error = supervisor_->Run(process.id, effect.task);
  // Only now: what came before belongs to the task before.
  if (process.attempt != *attempt) {
    CloseLog(process);
    OpenLog(process, effect.job, *attempt);
  }
  proto::TaskName task;
  task.set_kind(effect.task.kind());
  task.set_index(effect.task.index());
  (*process.log)->Label(task, effect.task.attempt());
  process.busy = true;
}

void WorkerLoop::Do(const KillChild& effect) {
  const auto at = processes_.find(effect.child);
  if (at == processes_.end()) return;
  supervisor_->Kill(at->second.id, proto::CANCELLED, effect.reason, false);
}

void WorkerLoop::Do(const StopChild& effect) {
  const auto at = processes_.find(effect.child);
  if (at == processes_.end()) return;
  supervisor_->Stop(at->second.id);
}

void WorkerLoop::OpenLog(Process& process, const JobId& job,
                         const AttemptUid& attempt) {
  process.attempt = attempt;
  *process.log = std::make_unique<AttemptLog>(parts_.fs, layout_, job, attempt,
                                              options_.log_head_bytes,
                                              options_.log_tail_bytes);
  parts_.live.Add(attempt);
}

void WorkerLoop::CloseLog(Process& process) {
  if (process.attempt.is_zero()) return;
  process.log->reset();
  parts_.live.Remove(process.attempt);
  process.attempt = AttemptUid();
  TrimLogsIfDue();
}

void WorkerLoop::TrimLogsIfDue() {
  if (*log_bytes_ < options_.log_bytes_max / kLogTrimShare) return;
  *log_bytes_ = 0;
  std::set<JobId> running;
  for (const auto& [number, process] : processes_) running.insert(process.job);
  local_work_.Run([this, running = std::move(running)] {
    TrimRunningLogs(parts_.fs, layout_, running, parts_.live,
                    options_.log_bytes_max);
  });
}

void WorkerLoop::PumpSupervisor() {
  absl::StatusOr<std::vector<ChildEvent>> events =
      supervisor_->Wait(absl::ZeroDuration());
  if (!events.ok()) {
    LOG(FATAL) << "job processes cannot be watched: " << events.status();
  }
  for (ChildEvent& event : *events) OnChildEvent(event);
}

void WorkerLoop::OnChildEvent(ChildEvent& event) {
  const auto at = numbers_.find(event.child);
  if (at == numbers_.end()) return;
  Process& process = processes_.at(at->second);
  switch (event.kind) {
    case ChildEvent::Kind::kReady:
      Step(ChildReady{process.number});
      return;
    case ChildEvent::Kind::kDone:
      process.busy = false;
      CloseLog(process);
      Step(ChildDone{process.number, std::move(event.done)});
      return;
    case ChildEvent::Kind::kFailed: {
      process.busy = false;
      std::string log = supervisor_->Log(event.child);
      CloseLog(process);
      Step(ChildFailed{process.number, std::move(event.failed), std::move(log),
                       std::move(event.bad_record)});
      return;
    }
    case ChildEvent::Kind::kExited: {
      ChildExited exited = MakeExited(process, event.exit);
      if (event.exit.was_running_task) NoteEnd(process, exited);
      exited.bad_record = std::move(event.bad_record);
      CloseLog(process);
      processes_.erase(at->second);
      numbers_.erase(at);
      Step(exited);
      return;
    }
  }
}

void WorkerLoop::NoteEnd(Process& process, ChildExited& exited) {
  if (exited.cause == proto::FAILURE_CAUSE_UNSPECIFIED ||
      exited.cause == proto::CANCELLED) {
    return;  // It was told to go.
  }
  const std::string words =
      Cat(exited.log.empty() || exited.log.back() == '\n' ? "" : "\n",
          "millrace: ", exited.message, "\n", exited.stack);
  exited.log += words;
  if (*process.log != nullptr) (*process.log)->Append(words);
}

ChildExited WorkerLoop::MakeExited(const Process& process,
                                   const ChildExit& exit) {
  ChildExited exited;
  exited.child = process.number;
  exited.cause = exit.cause;
  exited.message = exit.message;
  exited.stack = exit.stack;
  exited.log = supervisor_->Log(process.id);
  if (!process.run_error.ok()) {
    // It ended after its last task and never saw this one.
    exited.cause = proto::SPAWN_FAILED;
    exited.message =
        Cat(ToStd(process.run_error.message()), "; ", exit.message);
  }
  // Ended by itself before it said a word. One that was killed for being slow,
  // or by the system, may do better elsewhere, and so may one of another
  // version, where a cluster is upgraded worker by worker.
  exited.program_invalid =
      exit.cause == proto::SPAWN_FAILED && WIFEXITED(exit.exit_status);
  return exited;
}

}  // namespace millrace::worker
