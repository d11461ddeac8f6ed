#include "api/src/replay/replay.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "api/src/flags.h"
#include "api/src/local/local_job.h"
#include "api/src/local/summary.h"
#include "api/src/replay/bundle.h"
#include "api/src/replay/capture.h"
#include "api/src/replay/make_input.h"
#include "api/src/replay/passed_over.h"
#include "api/src/task/attempt.h"
#include "api/src/task/task_mode.h"
#include "common/bundle_names.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/exit_message.h"
#include "supervisor/supervisor.h"

namespace millrace::replay {
namespace {

constexpr absl::Duration kWait = absl::Seconds(1);

void Say(std::string_view text) {
  std::fprintf(stderr, "replay: %s\n", std::string(text).c_str());
}

std::string AbsoluteDirectory(const std::string& directory) {
  std::array<char, 4096> here;
  if (directory.empty() || directory[0] == '/' ||
      getcwd(here.data(), here.size()) == nullptr) {
    return directory;
  }
  return JoinPath(here.data(), directory);
}

int ExitCodeOf(const absl::Status& status) {
  return absl::IsNotFound(status) ? kExitNotFound : kExitRefused;
}

// An empty directory for what the task writes.
absl::Status MakeRun(FileSystem& fs, const Bundle& bundle) {
  MR_RETURN_IF_ERROR(fs.RemoveTree(bundle.Run()));
  return fs.MakeDirectory(bundle.Run());
}

absl::Status Capture(FileSystem& fs, Bundle* bundle) {
  if (bundle->head().captured()) return absl::OkStatus();
  MR_RETURN_IF_ERROR(MakeRun(fs, *bundle));
  if (bundle->head().task().has_map()) {
    Say("copying the split that the map reads");
    MR_RETURN_IF_ERROR(CaptureSplit(fs, bundle));
  } else {
    const int slots =
        std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    uint32_t said = 0;
    MR_ASSIGN_OR_RETURN(const bool same,
                        RemakeMapOutputs(
                            fs, Clock::Real(), slots,
                            [&said](uint32_t done, uint32_t total) {
                              if (std::exchange(said, done) == done) return;
                              Say(Cat("making the reduce's input again: map ",
                                      done, "/", total));
                            },
                            bundle));
    if (!same) {
      Say("the maps gave other records than in the job, so this is not the "
          "input that its reduce had: they depend on more than their input");
    }
  }
  bundle->head().set_captured(true);
  return bundle->Save(fs);
}

using Outcome = std::variant<proto::TaskDone, local::JobFailure>;

local::JobFailure MakeFailure(const proto::RunTask& task,
                              proto::FailureCause cause, std::string message,
                              std::string stack, std::string log) {
  local::JobFailure failure;
  failure.task = local::TaskName{task.kind(), task.index()};
  failure.failure.cause = cause;
  failure.failure.message = std::move(message);
  failure.failure.stack = std::move(stack);
  failure.failure.log = std::move(log);
  failure.failure.retryable = false;
  return failure;
}

absl::StatusOr<Outcome> RunHere(FileSystem& fs, const Bundle& bundle,
                                const internal::JobDefinition& job) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<FileSystem> files,
                      MakeReplayFileSystem(fs, bundle));
  const auto page = std::make_unique<supervisor::StatusPage>();
  const proto::Configure configure = bundle.Configure();
  const proto::RunTask task = bundle.Task();
  task::TaskEnvironment env(job, configure, *page, *files);
  task::AttemptOutcome outcome = task::RunAttempt(env, task);
  if (auto* done = std::get_if<proto::TaskDone>(&outcome)) {
    return Outcome(std::move(*done));
  }
  const auto& failed = std::get<proto::TaskFailed>(outcome);
  return Outcome(
      MakeFailure(task, failed.cause(),
                  Cat(failed.message(), supervisor::PositionSuffix(*page)),
                  failed.stack(), ""));
}

struct Run {
  Outcome outcome;
  std::optional<proto::BadRecord> bad_record;  // Where a map ended.
};

absl::StatusOr<Run> RunInProcess(const Bundle& bundle,
                                 const proto::RunTask& task) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<supervisor::Supervisor> processes,
                      supervisor::Supervisor::Create(Clock::Real()));
  const proto::ReplayBundle& head = bundle.head();
  supervisor::ChildOptions options;
  options.executable = bundle.Program();
  options.arguments = {task::kTaskModeArgument, bundle.directory()};
  options.memory_limit_bytes = head.memory_limit_bytes();
  options.log_bytes_max = head.log_bytes_max();
  options.task_timeout = absl::Milliseconds(head.task_timeout_ms());
  options.task_time_limit = absl::Milliseconds(head.task_time_limit_ms());
  MR_ASSIGN_OR_RETURN(const supervisor::ChildId child,
                      processes->Start(options, bundle.Configure()));
  for (;;) {
    MR_ASSIGN_OR_RETURN(std::vector<supervisor::ChildEvent> events,
                        processes->Wait(kWait));
    for (supervisor::ChildEvent& event : events) {
      using Kind = supervisor::ChildEvent::Kind;
      switch (event.kind) {
        case Kind::kReady:
          MR_RETURN_IF_ERROR(processes->Run(child, task));
          break;
        case Kind::kDone:
          return Run{std::move(event.done), std::nullopt};
        case Kind::kFailed:
          return Run{
              MakeFailure(task, event.failed.cause(), event.failed.message(),
                          event.failed.stack(), processes->Log(child)),
              std::move(event.bad_record)};
        case Kind::kExited:
          return Run{MakeFailure(task, event.exit.cause, event.exit.message,
                                 event.exit.stack, processes->Log(child)),
                     std::move(event.bad_record)};
      }
    }
  }
}

// In as many as it takes to pass over what the job passed over.
absl::StatusOr<Outcome> RunInProcessOfItsOwn(FileSystem& fs,
                                             const Bundle& bundle) {
  proto::RunTask task = bundle.Task();
  for (;;) {
    MR_ASSIGN_OR_RETURN(Run run, RunInProcess(bundle, task));
    if (!task.has_map() ||
        !PassOver(run.bad_record, bundle.head().skip_bad_records(),
                  task.mutable_map())) {
      return std::move(run.outcome);
    }
    Say(Cat("passing over the record, as the job did: ",
            run.bad_record->message()));
    MR_RETURN_IF_ERROR(MakeRun(fs, bundle));
  }
}

int Report(const Bundle& bundle, const Outcome& outcome) {
  if (const auto* failure = std::get_if<local::JobFailure>(&outcome)) {
    Say(local::FailureLine(*failure, 1));
    std::fputs(local::FailureDetails(*failure).c_str(), stderr);
    return kExitJobFailed;
  }
  const auto& done = std::get<proto::TaskDone>(outcome);
  const proto::RunTask& task = bundle.head().task();
  Say(Cat(local::ToString({task.kind(), task.index()}),
          " ran to its end; what it wrote is ",
          Printable(bundle.Output(), 4096)));
  for (const proto::Counter& counter : done.counters()) {
    std::fprintf(stderr, "  %s %s  %lld\n", Printable(counter.group()).c_str(),
                 Printable(counter.name()).c_str(),
                 static_cast<long long>(counter.value()));
  }
  return kExitOk;
}

}  // namespace

int RunReplay(int argc, char** argv, const internal::JobDefinition& job) {
  bool in_process = false;
  bool prepare = false;
  std::string directory;
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--in-process") {
      in_process = true;
    } else if (word == "--prepare") {
      prepare = true;
    } else if (directory.empty() && word.substr(0, 1) != "-") {
      directory = word;
    } else {
      directory.clear();
      break;
    }
  }
  if (directory.empty()) {
    Say(Cat("usage: ", BaseName(argv[0]), " ", kReplayArgument,
            " DIR [--in-process] [--prepare]"));
    return kExitUsage;
  }
  FileSystem& fs = FileSystem::Posix();
  absl::StatusOr<Bundle> bundle =
      Bundle::Open(fs, AbsoluteDirectory(directory));
  absl::Status status = bundle.status();
  if (status.ok()) status = Capture(fs, &*bundle);
  if (status.ok()) status = MakeRun(fs, *bundle);
  if (!status.ok()) {
    Say(ToStd(status.message()));
    return ExitCodeOf(status);
  }
  if (prepare) return kExitOk;
  const absl::StatusOr<Outcome> outcome =
      in_process ? RunHere(fs, *bundle, job)
                 : RunInProcessOfItsOwn(fs, *bundle);
  if (!outcome.ok()) {
    Say(ToStd(outcome.status().message()));
    return ExitCodeOf(outcome.status());
  }
  return Report(*bundle, *outcome);
}

absl::Status KeepBundle(FileSystem& fs, const std::string& directory,
                        const proto::ReplayBundle& head,
                        const proto::RunTask& task) {
  MR_RETURN_IF_ERROR(fs.MakeDirectory(directory));
  Bundle bundle(AbsoluteDirectory(directory));
  bundle.head() = head;
  MR_RETURN_IF_ERROR(
      CopyFile(fs, "/proc/self/exe", bundle.Program(), /*executable=*/true));
  for (int i = 0; i < head.configure().side_files_size(); ++i) {
    MR_RETURN_IF_ERROR(CopyFile(fs, head.configure().side_files(i).path(),
                                bundle.SideFile(i), /*executable=*/false));
    bundle.head().mutable_configure()->mutable_side_files(i)->clear_path();
  }
  proto::RunTask* kept = bundle.head().mutable_task();
  *kept = task;
  if (task.has_map()) {
    proto::MapTask* map = kept->mutable_map();
    map->clear_plan_path();
    map->clear_scratch_dir();
    map->clear_output_path();
    map->clear_dead_letter_path();
    MR_RETURN_IF_ERROR(CopyFile(fs, task.map().plan_path(), bundle.Plan(),
                                /*executable=*/false));
    MR_RETURN_IF_ERROR(CaptureSplit(fs, &bundle));
  } else {
    proto::ReduceTask* reduce = kept->mutable_reduce();
    reduce->clear_scratch_dir();
    reduce->clear_output_path();
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<MapOutputCapture> capture,
                        MapOutputCapture::Create(fs, &bundle));
    for (const proto::MapOutputRef& ref : task.reduce().map_outputs()) {
      MR_RETURN_IF_ERROR(capture->Add(ref));
    }
    MR_RETURN_IF_ERROR(capture->Finish());
  }
  bundle.head().set_captured(true);
  return bundle.Save(fs);
}

}  // namespace millrace::replay
