#include "api/src/task/task_mode.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "api/src/replay/bundle.h"
#include "api/src/replay/capture.h"
#include "api/src/task/attempt.h"
#include "common/file_system.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/child_main.h"
#include "supervisor/task_frames.h"

namespace millrace::task {
namespace {

int Complain(const absl::Status& status) {
  std::fprintf(stderr, "task process: %s\n", status.ToString().c_str());
  return 1;
}

// The file system that tasks see.
absl::StatusOr<std::unique_ptr<FileSystem>> ReplayFiles(
    const std::string& directory) {
  FileSystem& fs = FileSystem::Posix();
  MR_ASSIGN_OR_RETURN(const replay::Bundle bundle,
                      replay::Bundle::Open(fs, directory));
  return replay::MakeReplayFileSystem(fs, bundle);
}

// Until the supervisor says that it is over.
int Serve(const internal::JobDefinition& job, const std::string& bundle,
          supervisor::ChildSide& side) {
  std::unique_ptr<FileSystem> files;
  if (!bundle.empty()) {
    absl::StatusOr<std::unique_ptr<FileSystem>> made = ReplayFiles(bundle);
    if (!made.ok()) return Complain(made.status());
    files = *std::move(made);
  }
  FileSystem& fs = files == nullptr ? FileSystem::Posix() : *files;
  proto::Configure configure;
  std::optional<TaskEnvironment> env;
  for (;;) {
    proto::TaskCommand command;
    absl::StatusOr<bool> more =
        supervisor::ReceiveCommand(*side.channel, &command);
    if (!more.ok()) return Complain(more.status());
    if (!*more) return 0;
    proto::TaskEvent event;
    switch (command.command_case()) {
      case proto::TaskCommand::kConfigure:
        configure = std::move(*command.mutable_configure());
        env.emplace(job, configure, *side.status, fs);
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
      case proto::TaskCommand::kInputs:  // Are in the task that follows them.
      case proto::TaskCommand::COMMAND_NOT_SET:
        return Complain(absl::InvalidArgumentError("command of unknown kind"));
    }
    if (absl::Status status = side.channel->Send(event); !status.ok()) {
      return Complain(status);
    }
  }
}

}  // namespace

int RunTaskMode(const internal::JobDefinition& job, const std::string& bundle) {
  absl::StatusOr<supervisor::ChildSide> side = supervisor::EnterTaskMode();
  if (!side.ok()) return Complain(side.status());
  const int exit_code = Serve(job, bundle, *side);
  supervisor::LeaveTaskMode(*side);
  return exit_code;
}

}  // namespace millrace::task
