// millrace submit BIN ... [-- ARGS]: hand a job to the cluster, and wait for
// it.
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/interrupt.h"
#include "cli/job_format.h"
#include "cli/table.h"
#include "cli/watch.h"
#include "client/describe_program.h"
#include "client/job_request.h"
#include "common/errno_status.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/job_flags.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct SubmitFlags {
  // Between workers records travel over a network, which compression spares.
  JobFlagSet job{"lz4"};
  std::string program;
  std::string name;
  std::string request_id;
  std::string format = "table";
  bool detach = false;
  bool quiet = false;
  bool wait_for_room = false;
};

// A request id is 16 bytes. 32 hexadecimal digits are these bytes; any other
// text, such as "nightly-2024-03-01", stands for the beginning of its SHA-256.
RequestId RequestIdOf(const std::string& text) {
  if (text.empty()) return RequestId::Generate(*Random::Entropy());
  const std::optional<RequestId> hex = RequestId::FromHex(text);
  if (hex.has_value()) return *hex;
  return *RequestId::FromBytes(
      std::string_view(Sha256Of(text)).substr(0, RequestId::kBytes));
}

std::string UserName() {
  passwd entry;
  passwd* found = nullptr;
  std::array<char, 4096> buffer;
  if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) !=
          0 ||
      found == nullptr) {
    return Cat("uid ", geteuid());
  }
  return found->pw_name;
}

absl::StatusOr<std::string> WorkingDirectory() {
  std::array<char, 4096> buffer;
  if (getcwd(buffer.data(), buffer.size()) == nullptr) {
    return ErrnoStatus(errno, "find out", "the working directory");
  }
  return std::string(buffer.data());
}

// The file that a shell would run: a name without a slash that is no file here
// is looked for in $PATH.
std::string FindProgram(const std::string& name) {
  const char* const path = std::getenv("PATH");
  if (path == nullptr || name.empty() || name.find('/') != std::string::npos ||
      access(name.c_str(), F_OK) == 0) {
    return name;
  }
  std::istringstream directories(path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string file = JoinPath(directory, name);
    if (!directory.empty() && access(file.c_str(), X_OK) == 0) return file;
  }
  return name;
}

// Everything that can be said against the job without the cluster.
absl::StatusOr<client::PreparedJob> Prepare(const Globals& globals,
                                            const SubmitFlags& flags) {
  const std::string program = FindProgram(flags.program);
  if (access(program.c_str(), F_OK) != 0 && errno == ENOENT) {
    return absl::NotFoundError(Av(Cat(
        "there is no program ", Printable(program, 4096),
        program.find('/') == std::string::npos ? " here or in $PATH" : "")));
  }
  // The program is hashed while it describes itself; each takes milliseconds.
  std::future<absl::StatusOr<std::string>> sha256 = std::async(
      std::launch::async,
      [&program] { return Sha256OfFile(FileSystem::Posix(), program); });
  MR_ASSIGN_OR_RETURN(
      const client::ProgramDescription description,
      client::DescribeProgram(program, globals.program_arguments));
  client::JobRequest request;
  request.program = program;
  MR_ASSIGN_OR_RETURN(request.program_sha256, sha256.get());
  request.arguments = globals.program_arguments;
  request.name = flags.name;
  request.user = UserName();
  // Who names the request may repeat it after the job has made its output.
  request.refuse_existing_output = flags.request_id.empty();
  MR_ASSIGN_OR_RETURN(request.settings, flags.job.Take(description.shape));
  MR_ASSIGN_OR_RETURN(const std::string directory, WorkingDirectory());
  return client::PrepareJob(FileSystem::Posix(), directory, description,
                            request);
}

ExitCode FailSubmit(const absl::Status& status, const RequestId& request_id) {
  const std::string again =
      Cat("submit again with --request-id ", request_id.ToHex(),
          " to get the same job in any case");
  if (absl::IsCancelled(status)) {
    return Fail(kInterrupted, "submit",
                "interrupted; whether the cluster took the job is not known",
                again);
  }
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
    return Fail(kUnreachable, "submit", ToStd(status.message()), again);
  }
  if (absl::IsAborted(status)) {
    return Fail(kInterrupted, "submit", ToStd(status.message()));
  }
  const auto wait = client::RetrySubmitAfter(status);
  return Fail(ClusterExitCodeOf(status), "submit", ToStd(status.message()),
              wait.has_value()
                  ? Cat("try again in ", absl::ToInt64Seconds(*wait),
                        " s, or let it wait: --wait-for-room")
                  : "");
}

// Again and again, if so wanted, while the cluster has as many jobs as it
// takes.
absl::StatusOr<client::SubmitResult> SubmitJob(client::ClusterClient& cluster,
                                               const client::PreparedJob& job,
                                               const RequestId& request_id,
                                               const SubmitFlags& flags,
                                               client::StopSignal& stop) {
  const std::unique_ptr<Random> random = Random::Entropy();
  for (bool told = false;; told = true) {
    absl::StatusOr<client::SubmitResult> submitted =
        cluster.Submit(job, request_id);
    const auto wait = client::RetrySubmitAfter(submitted.status());
    if (!flags.wait_for_room || !wait.has_value()) return submitted;
    if (!told && !flags.quiet) {
      std::fprintf(
          stderr, "millrace submit: waiting for room: %s\n",
          Printable(ToStd(submitted.status().message()), 4096).c_str());
    }
    // Not all that wait at the same moment.
    if (stop.WaitFor(*wait * (1 + random->Uniform(1000) / 2000.0))) {
      return absl::AbortedError(
          "interrupted while it waited for room; the cluster has not taken the "
          "job");
    }
  }
}

ExitCode RunSubmit(const Globals& globals, const SubmitFlags& flags) {
  const absl::StatusOr<client::PreparedJob> job = Prepare(globals, flags);
  if (!job.ok()) {
    const ExitCode code = ClusterExitCodeOf(job.status());
    return Fail(code, "submit", ToStd(job.status().message()),
                code == kUsage ? "see millrace submit --help" : "");
  }
  Interrupt interrupt;
  const auto cluster = ConnectToCluster(globals, &interrupt.signal());
  if (!cluster.ok()) return FailCluster(cluster.status(), "submit");
  const RequestId request_id = RequestIdOf(flags.request_id);
  const absl::StatusOr<client::SubmitResult> submitted =
      SubmitJob(**cluster, *job, request_id, flags, interrupt.signal());
  if (!submitted.ok()) return FailSubmit(submitted.status(), request_id);

  const std::string id = submitted->job_id.ToHex();
  if (submitted->existed) {
    // The same request is the same job; a request id used again by mistake
    // would be taken for a success.
    const auto earlier = (*cluster)->GetJob(id);
    if (earlier.ok() && earlier->status().output() != job->spec.output()) {
      return Fail(
          kRefused, "submit",
          Cat("--request-id: an earlier submit under this name has made "
              "job ",
              id.substr(0, 8), ", which writes to ",
              Printable(earlier->status().output(), 4096)),
          "name another request");
    }
  }
  if (flags.detach) {
    return Print("submit",
                 flags.format == "json"
                     ? FormatJson({{"id", id}, {"existed", submitted->existed}})
                     : id + "\n");
  }
  if (!flags.quiet) {
    std::fprintf(
        stderr, "millrace submit: job %s (%s)%s\n", id.substr(0, 8).c_str(),
        Printable(job->spec.name()).c_str(),
        submitted->existed ? ", which an earlier submit has made" : "");
  }
  return WatchToEnd(**cluster, id,
                    {.command = "submit",
                     .quiet = flags.quiet,
                     .json = flags.format == "json"});
}

}  // namespace

void AddSubmit(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command = app.add_subcommand(
      "submit", "Run a job program on the cluster, and wait for it");
  auto flags = std::make_shared<SubmitFlags>();  // Shared with both callbacks.
  command
      ->add_option("BIN", flags->program,
                   "The job program, such as ./wordcount; a name that is no "
                   "file here is looked for in $PATH")
      ->required();
  command->option_defaults()->always_capture_default(true);
  flags->job.AddDataFlags(*command, std::nullopt);
  flags->job.AddTaskFlags(*command);
  command->option_defaults()->always_capture_default(false);
  command->add_option("--name", flags->name,
                      "Name of the job; its program's if not given");
  command->add_option("--request-id", flags->request_id,
                      "A name for this submit: submitting again under it gives "
                      "the same job");
  command->add_flag("--detach,-d", flags->detach,
                    "Do not wait; print the id alone on stdout");
  command->add_flag("--quiet,-q", flags->quiet, "Print errors only");
  command->add_flag(
      "--wait-for-room", flags->wait_for_room,
      "While the cluster has as many jobs as it takes (--max-jobs "
      "of the masters), wait until one has ended");
  command
      ->add_option("--output-format", flags->format,
                   "json: the job's status at its end on stdout")
      ->check(CLI::IsMember({"table", "json"}));
  command->footer(
      "Program arguments follow \"--\". Sizes take K, M, G. Paths are those of "
      "the workers;\nrelative ones are seen from here. Ctrl-C stops the "
      "waiting, "
      "not the job. Exit codes:\n0 success, 1 job failed, 2 usage, 3 cluster "
      "not "
      "reached, 4 input not found,\n5 refused (output taken, program or input "
      "unusable, a limit), 6 killed,\n130 detached by Ctrl-C.");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunSubmit(globals, *flags); };
  });
}

}  // namespace millrace::cli
