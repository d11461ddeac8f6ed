#include "api/src/local/local_run.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "api/src/local/local_job.h"
#include "api/src/local/progress_display.h"
#include "api/src/local/summary.h"
#include "api/src/local/task_host.h"
#include "api/src/replay/replay.h"
#include "common/clock.h"
#include "common/descriptor_limit.h"
#include "common/file_system.h"
#include "common/hash.h"
#include "common/ids.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/commit/output_commit.h"

namespace millrace::local {
namespace {

volatile sig_atomic_t g_interrupted = 0;

void OnInterrupt(int) { g_interrupted = 1; }

// Ctrl-C, a closed terminal and a polite kill all stop the run in good order.
void CatchInterrupts(bool in_process) {
  struct sigaction action;
  std::memset(&action, 0, sizeof action);
  action.sa_handler = &OnInterrupt;
  // User code in this thread may never come back to where the request is
  // looked at: a second one then ends it all.
  if (in_process) action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before;
    sigaction(signal, nullptr, &before);
    // Under nohup the run is to outlive its terminal.
    if (signal == SIGHUP && before.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
  action.sa_flags = 0;
  // A closed stderr or task socket is an error to be read, not a death.
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

// A file that is opened as descriptor 1 or 2, because that was closed, would
// receive what is printed.
void OpenStandardDescriptors() {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

// Every slot takes five descriptors here, and a merge one for each map up to
// its fan-in: more than some shells allow at first, if not at last.
constexpr uint64_t kEnoughDescriptors = 16384;

bool IsLiveTerminal(int fd) {
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && std::getenv("NO_COLOR") == nullptr &&
         (term == nullptr || std::strcmp(term, "dumb") != 0);
}

std::string WithoutTrailingSeparators(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

proto::Configure MakeConfigure(const internal::JobDefinition& job,
                               const JobFlags& flags, const JobId& job_id) {
  proto::Configure configure;
  configure.set_protocol_version(proto::TASK_PROTOCOL_VERSION);
  configure.set_job_id(std::string(job_id.bytes()));
  for (const std::string& argument : flags.arguments) {
    configure.add_arguments(argument);
  }
  configure.set_memory_budget_bytes(flags.memory_bytes);
  configure.set_map_output_codec(flags.codec);
  configure.set_output_bytes_max(flags.output_limit_bytes);
  configure.set_job_seed(Hash64Seeded(job.name, flags.seed));
  for (const auto& [name, path] : flags.side_files) {
    proto::SideFile* file = configure.add_side_files();
    file->set_name(name);
    file->set_path(path);
  }
  return configure;
}

int ExitCodeOf(const JobFailure& failure) {
  const bool planning =
      failure.task.has_value() && failure.task->kind == proto::PLAN_TASK;
  switch (failure.failure.cause) {
    case proto::INPUT_INVALID:
      return planning ? kExitNotFound : kExitJobFailed;
    case proto::INPUT_UNREADABLE:
    case proto::INPUT_UNFIT:
      return planning ? kExitRefused : kExitJobFailed;
    case proto::OUTPUT_EXISTS:
      return kExitRefused;
    default:
      return kExitJobFailed;
  }
}

// What the flags name and the run needs later: better refused now than missed
// when a task, or the report of a failure, comes to it.
absl::Status CheckFlagPaths(FileSystem& fs, const JobFlags& flags) {
  for (const auto& [name, path] : flags.side_files) {
    absl::StatusOr<FileInfo> info = fs.Stat(path);
    if (info.ok() && info->kind != FileKind::kRegular) {
      info = absl::InvalidArgumentError(
          Av(Cat(Printable(path, 4096), " is not a regular file")));
    }
    absl::Status status = info.status();
    if (status.ok()) status = fs.OpenRead(path).status();
    if (!status.ok()) return Annotate(status, "--side-file");
  }
  if (!flags.keep_bundle.empty()) {
    if (fs.StatLink(flags.keep_bundle).ok()) {
      return absl::AlreadyExistsError(
          Av(Cat("--keep-bundle: ", Printable(flags.keep_bundle, 4096),
                 " exists already")));
    }
    const std::string parent = ParentPath(flags.keep_bundle);
    const absl::StatusOr<FileInfo> parent_info = fs.Stat(parent);
    if (!parent_info.ok() || parent_info->kind != FileKind::kDirectory) {
      return absl::NotFoundError(Av(Cat("--keep-bundle: there is no directory ",
                                        Printable(parent, 4096))));
    }
  }
  // The logs' directory is made when there is something to keep.
  std::string directory = flags.keep_logs;
  if (directory.empty()) return absl::OkStatus();
  if (!fs.StatLink(directory).ok()) directory = ParentPath(directory);
  const absl::StatusOr<FileInfo> info = fs.Stat(directory);
  if (info.ok() && info->kind == FileKind::kDirectory) return absl::OkStatus();
  return absl::NotFoundError(Av(
      Cat("--keep-logs: there is no directory ", Printable(directory, 4096))));
}

// Makes what Execute needs on disk, and takes it away again: also when Make
// fails, Remove is due.
class Workspace {
 public:
  Workspace(FileSystem& fs, const JobFlags& flags, const JobId& job_id,
            const AttemptUid& attempt)
      : fs_(fs), job_id_(job_id), attempt_(attempt) {
    paths_.output = WithoutTrailingSeparators(flags.output);
    paths_.staging = storage::StagingPath(paths_.output, job_id);
    paths_.spool =
        flags.scratch.empty()
            ? JoinPath(paths_.staging, "spool")
            : JoinPath(flags.scratch, Cat("millrace-", job_id.ToHex()));
  }

  absl::Status Make() {
    absl::Status status =
        storage::PrepareStaging(fs_, paths_.output, job_id_, attempt_);
    if (status.ok()) status = fs_.MakeDirectory(paths_.spool);
    return status;
  }

  absl::Status RemoveSpool() { return fs_.RemoveTree(paths_.spool); }

  absl::Status Remove() {
    absl::Status spool = RemoveSpool();
    absl::Status staging = storage::RemoveStaging(fs_, paths_.output, job_id_);
    return staging.ok() ? spool : staging;
  }

  const JobPaths& paths() const { return paths_; }

 private:
  FileSystem& fs_;
  const JobId job_id_;
  const AttemptUid attempt_;
  JobPaths paths_;
};

void KeepLog(FileSystem& fs, const std::string& directory,
             const std::string& program, const JobFailure& failure) {
  std::string name = failure.task.has_value() ? ToString(*failure.task) : "job";
  std::replace(name.begin(), name.end(), ' ', '-');  // "map 17"
  const std::string path = JoinPath(directory, Cat(name, ".log"));
  fs.MakeDirectory(directory).IgnoreError();
  fs.RemoveFile(path).IgnoreError();
  const absl::Status status = WriteWholeFile(fs, path, failure.failure.log);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: the log could not be kept: %s\n", program.c_str(),
                 std::string(ToStd(status.message())).c_str());
  }
}

// A line for below the error: how to run it again.
std::string KeepFailedAttempt(FileSystem& fs, const JobFlags& flags,
                              const proto::Configure& configure,
                              const std::string& program, const LocalJob& job,
                              const Failure& failure) {
  if (!job.failed_run().has_value()) {
    return "  no bundle was made: it was no attempt's code that failed\n";
  }
  proto::ReplayBundle head;
  head.set_job_name(program);
  *head.mutable_configure() = configure;
  head.set_memory_limit_bytes(flags.memory_limit_bytes);
  head.set_log_bytes_max(flags.log_limit_bytes);
  head.set_task_timeout_ms(LimitMillis(flags.task_timeout));
  head.set_task_time_limit_ms(LimitMillis(flags.task_time_limit));
  head.mutable_failed()->set_cause(failure.cause);
  head.mutable_failed()->set_message(failure.message);
  head.mutable_failed()->set_stack(failure.stack);
  const absl::Status status =
      replay::KeepBundle(fs, flags.keep_bundle, head, *job.failed_run());
  return status.ok()
             ? Cat("  to run it again: millrace replay ",
                   Printable(flags.keep_bundle, 4096), " [--gdb]\n")
             : Cat("  the attempt could not be kept: ", ToStd(status.message()),
                   "\n");
}

}  // namespace

int RunLocally(const std::string& program_path,
               const internal::JobDefinition& job, const JobFlags& flags) {
  const std::string program = BaseName(program_path);
  FileSystem& fs = FileSystem::Posix();
  Clock& clock = Clock::Real();
  const std::unique_ptr<Random> random = Random::Entropy();
  const absl::Duration began = clock.Monotonic();
  const JobId job_id = JobId::Generate(*random);
  const auto complain = [&](std::string_view what) {
    std::fprintf(stderr, "%s: %s\n", program.c_str(),
                 std::string(what).c_str());
  };

  OpenStandardDescriptors();
  RaiseDescriptorLimit(kEnoughDescriptors);
  CatchInterrupts(flags.in_process);
  if (absl::Status status = CheckFlagPaths(fs, flags); !status.ok()) {
    complain(ToStd(status.message()));
    return absl::IsNotFound(status)          ? kExitNotFound
           : absl::IsInvalidArgument(status) ? kExitUsage
                                             : kExitRefused;
  }
  Workspace workspace(fs, flags, job_id, AttemptUid::Generate(*random));
  if (absl::Status status = workspace.Make(); !status.ok()) {
    workspace.Remove().IgnoreError();
    complain(ToStd(status.message()));
    return kExitRefused;
  }

  const proto::Configure configure = MakeConfigure(job, flags, job_id);
  std::unique_ptr<TaskHost> host;
  if (flags.in_process) {
    host = MakeInProcessHost(job, configure);
  } else {
    absl::StatusOr<std::unique_ptr<TaskHost>> made =
        MakeProcessHost(flags, configure, clock);
    if (!made.ok()) {
      workspace.Remove().IgnoreError();
      complain(Cat("cannot run tasks: ", ToStd(made.status().message())));
      return kExitJobFailed;
    }
    host = *std::move(made);
  }

  LocalJob local_job(job, flags, job_id, workspace.paths(), fs, clock, *random,
                     *host);
  std::optional<JobFailure> failure;
  {
    ProgressDisplay display(stderr, IsLiveTerminal(STDERR_FILENO), program,
                            clock);
    const auto on_tick = [&] {
      if (flags.quiet) return;
      ProgressSnapshot now;
      now.planned = local_job.core().planned();
      now.input_bytes = now.planned ? local_job.core().plan().input_bytes() : 0;
      now.input_bytes_done = local_job.input_bytes_done();
      now.maps = local_job.core().maps();
      now.reduces = local_job.core().reduces();
      now.failed_attempts = local_job.core().attempts().failed;
      display.Update(now);
    };
    failure = local_job.Execute([] { return g_interrupted != 0; }, on_tick);
  }
  host.reset();  // Ends every process before their files are taken away.

  std::string kept;
  if (failure.has_value() && !flags.keep_bundle.empty()) {
    kept = KeepFailedAttempt(fs, flags, configure, program, local_job,
                             failure->failure);
  }
  const bool succeeded =
      !local_job.manifest().job_id.empty() && !failure.has_value();
  const absl::Status removed =
      local_job.keep_staging() ? workspace.RemoveSpool() : workspace.Remove();
  if (!removed.ok()) {
    complain(Cat("intermediate files could not be removed: ",
                 ToStd(removed.message())));
  }
  if (succeeded) {
    if (!flags.quiet) {
      std::fputs(SuccessSummary(local_job, flags, workspace.paths(),
                                clock.Monotonic() - began)
                     .c_str(),
                 stderr);
    }
    return kExitOk;
  }
  if (!failure.has_value()) {
    complain("interrupted; nothing was written");
    return kExitInterrupted;
  }
  complain(FailureLine(*failure, flags.max_attempts));
  std::fputs(FailureDetails(*failure).c_str(), stderr);
  std::fputs(kept.c_str(), stderr);
  if (!flags.keep_logs.empty()) {
    KeepLog(fs, flags.keep_logs, program, *failure);
  }
  return ExitCodeOf(*failure);
}

}  // namespace millrace::local
