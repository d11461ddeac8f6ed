#include "api/src/task/task_mode.h"

#include <cstdio>
#include <optional>
#include <variant>

#include "api/src/task/attempt.h"
#include "common/strings.h"
#include "supervisor/child_main.h"

namespace millrace::task {
namespace {

int Complain(const absl::Status& status) {
  std::fprintf(stderr, "task process: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace

int RunTaskMode(const internal::JobDefinition& job) {
  absl::StatusOr<supervisor::ChildSide> side = supervisor::EnterTaskMode();
  if (!side.ok()) return Complain(side.status());

  proto::Configure configure;
  std::optional<TaskEnvironment> env;
  for (;;) {
    proto::TaskCommand command;
    absl::StatusOr<bool> more = side->channel->Receive(&command);
    if (!more.ok()) return Complain(more.status());
    if (!*more) return 0;
    proto::TaskEvent event;
    switch (command.command_case()) {
      case proto::TaskCommand::kConfigure:
        configure = std::move(*command.mutable_configure());
        env.emplace(job, configure, side->status->page(), FileSystem::Posix());
        event.mutable_ready()->set_protocol_version(
            proto::TASK_PROTOCOL_VERSION);
        event.mutable_ready()->set_job_name(job.name);
        break;
      case proto::TaskCommand::kRun: {
        if (!env.has_value()) {
          return Complain(
              absl::FailedPreconditionError("task before configure"));
        }
        AttemptOutcome outcome = RunAttempt(*env, command.run());
        // What user code printed belongs to this task's log, and the processes
        // it left behind end before the task does.
        std::fflush(nullptr);
        const bool left_processes = supervisor::HasLeftProcesses();
        if (auto* done = std::get_if<proto::TaskDone>(&outcome)) {
          *event.mutable_done() = std::move(*done);
          event.mutable_done()->set_left_processes(left_processes);
        } else {
          *event.mutable_failed() =
              std::move(std::get<proto::TaskFailed>(outcome));
          event.mutable_failed()->set_left_processes(left_processes);
        }
        break;
      }
      case proto::TaskCommand::COMMAND_NOT_SET:
        return Complain(absl::InvalidArgumentError("command of unknown kind"));
    }
    if (absl::Status status = side->channel->Send(event); !status.ok()) {
      return Complain(status);
    }
  }
}

}  // namespace millrace::task
