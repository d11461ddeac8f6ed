// The program `millrace-master`.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>

#include "common/clock.h"
#include "common/daemon_log.h"
#include "common/daemon_setup.h"
#include "common/fault_point.h"
#include "common/file_system.h"
#include "common/flag_kinds.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/version.h"
#include "master/master.h"
#include "rpc/address.h"
#include "rpc/address_file.h"
#include "rpc/credentials.h"

namespace millrace::master {
namespace {

enum ExitCode : int { kOk = 0, kUsage = 2, kRefused = 5 };

struct Flags {
  MasterOptions master;
  std::string address_file;
  std::string log_file;
};

int Complain(int exit_code, std::string_view what) {
  std::fprintf(stderr, "millrace-master: %s\n", std::string(what).c_str());
  return exit_code;
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", Cat("millrace-master ", Version()));
  app.set_config("--config", "", "Read flags from this file (key = value)");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--dir", flags.master.directory,
                 "Where the log and the blobs are kept; made if missing")
      ->required();
  app.add_option("--listen", flags.master.listen,
                 "Address to serve clients and workers on; port 0 takes a free "
                 "one. Off loopback this needs TLS, which is not built yet")
      ->capture_default_str();
  app.add_option(
      "--advertise", flags.master.advertise,
      "Address at which the other masters, workers and clients reach "
      "this one, if it is not the one of --listen");
  app.add_flag("--join", flags.master.join,
               "In a new --dir: wait to be added to a group of masters (by: "
               "millrace master add HOST:PORT) instead of founding one");
  app.add_option("--address-file", flags.address_file,
                 "Write host:port here once it serves");
  app.add_option("--log-file", flags.log_file,
                 "Append the log to this file instead of stderr, and why the "
                 "master does not start; when it has 64 MiB it becomes FILE.1 "
                 "and is begun anew");
  // Without one, nobody would be told how a job has ended.
  AddNumber(app, "--finished-jobs", flags.master.scheduler.finished_jobs_kept,
            "Finished jobs that are kept, at least 1; older ones are forgotten",
            1, std::numeric_limits<uint32_t>::max())
      ->capture_default_str();
  SchedulerOptions& limits = flags.master.scheduler;
  AddNumber(app, "--max-jobs", limits.live_jobs_max,
            "Jobs that have not ended; a submit beyond is refused", 1,
            1'000'000)
      ->capture_default_str();
  AddNumber(app, "--max-tasks", limits.live_tasks_max,
            "Maps and reduces of all jobs that are planned and have not ended, "
            "at some 190 bytes of memory each on every master; a job that does "
            "not fit waits unplanned",
            1, 1'000'000'000)
      ->capture_default_str();
  AddNumber(app, "--max-job-tasks", limits.job_tasks_max,
            "Maps and reduces of one job; a larger one is refused, or fails "
            "when its input has been listed",
            1, uint64_t{kMapsMax} + kPartitionsMax)
      ->capture_default_str();
  AddNumber(app, "--max-job-transfers", limits.job_transfers_max,
            "Maps times reduces of one job; likewise", 1,
            kMapsTimesPartitionsMax)
      ->capture_default_str();
  app.footer("Exit codes: 0 stopped by a signal, 2 usage, 5 refused.");
}

// What is no address at all; one that is may still be refused.
absl::Status CheckAddresses(const MasterOptions& options) {
  MR_RETURN_IF_ERROR(
      Annotate(rpc::ParseAddress(options.listen).status(), "--listen"));
  if (options.advertise.empty()) return absl::OkStatus();
  return Annotate(rpc::ParseAddress(options.advertise).status(), "--advertise");
}

int Serve(const Flags& flags, DaemonLog& log) {
  FileSystem& fs = FileSystem::Posix();
  absl::StatusOr<std::unique_ptr<Master>> master = Master::Start(
      flags.master, rpc::LoopbackCredentials(), fs, Clock::Real());
  if (!master.ok()) {
    return Complain(kRefused, ToStd(master.status().message()));
  }
  if (!flags.address_file.empty()) {
    const absl::Status written =
        rpc::WriteAddressFile(fs, flags.address_file, (*master)->address());
    if (!written.ok()) return Complain(kRefused, ToStd(written.message()));
  }
  LOG(INFO) << "listening on " << (*master)->listening() << " from "
            << flags.master.directory << ", reached at "
            << (*master)->address();
  const int signal_number = AwaitEndSignal([&log] { log.PutAsideIfLarge(); });
  LOG(INFO) << "stopping: signal " << signal_number;
  return kOk;
}

}  // namespace
}  // namespace millrace::master

int main(int argc, char** argv) {
  using namespace millrace;          // NOLINT(google-build-using-namespace)
  using namespace millrace::master;  // NOLINT(google-build-using-namespace)

  CLI::App app("The control process of a Millrace cluster.", "millrace-master");
  Flags flags;
  AddFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return Complain(kUsage, Cat(UsageErrorText(app, error),
                                "; see millrace-master --help"));
  }
  if (const absl::Status wrong = CheckAddresses(flags.master); !wrong.ok()) {
    return Complain(kUsage, ToStd(wrong.message()));
  }
  if (const absl::Status faults = TakeFaultsFromEnvironment(); !faults.ok()) {
    return Complain(kUsage, ToStd(faults.message()));
  }
  InitLogging(argv[0], 0);
  DaemonLog log;
  if (const absl::Status opened = log.Open(flags.log_file); !opened.ok()) {
    return Complain(kRefused, Cat("--log-file: ", ToStd(opened.message())));
  }
  SetUpDaemon();
  return Serve(flags, log);
}
