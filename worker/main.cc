// The program `millrace-worker`.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "common/daemon_log.h"
#include "common/daemon_setup.h"
#include "common/descriptor_limit.h"
#include "common/fault_point.h"
#include "common/file_system.h"
#include "common/flag_kinds.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/usable_cores.h"
#include "common/version.h"
#include "rpc/address.h"
#include "rpc/address_file.h"
#include "rpc/credentials.h"
#include "rpc/leader_finder.h"
#include "rpc/server.h"
#include "supervisor/memory_cgroups.h"
#include "worker/rpc/grpc_blob_client.h"
#include "worker/rpc/grpc_master_link.h"
#include "worker/shuffle/grpc_transport.h"
#include "worker/shuffle/server.h"
#include "worker/shuffle/shuffle_fetcher.h"
#include "worker/spool/live_attempts.h"
#include "worker/worker.h"

namespace millrace::worker {
namespace {

enum ExitCode : int { kOk = 0, kUsage = 2, kRefused = 5 };

constexpr uint64_t kSlotsMax = 4096;
// Of open files: what is asked for, and what is worth a warning.
constexpr uint64_t kDescriptorsWanted = 65536;
constexpr uint64_t kDescriptorsFew = 1024;
// A store that hangs holds up threads that nobody can wake; the process ends
// all the same.
constexpr absl::Duration kStopPatience = absl::Seconds(10);

struct Flags {
  std::string masters;
  std::string directory;
  std::string name;
  uint32_t slots = static_cast<uint32_t>(UsableCores());
  std::string host_id;
  std::string listen = "127.0.0.1:0";
  std::string advertise;
  std::string address_file;
  std::string log_file;
  std::string shuffle_memory = "256MiB";
  std::string free_disk_min = "1GiB";
  std::string spool_limit;  // Empty: none.
  std::string memory_guard = "auto";
  std::string log_space = "512MiB";
};

int Complain(int exit_code, std::string_view what) {
  std::fprintf(stderr, "millrace-worker: %s\n", std::string(what).c_str());
  return exit_code;
}

void AddFlags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", Cat("millrace-worker ", Version()));
  app.set_config("--config", "", "Read flags from this file (key = value)");
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--masters", flags.masters,
                 "Masters of the cluster: host:port,host:port,...")
      ->required();
  app.add_option("--dir", flags.directory,
                 "Where programs, intermediate data and logs are kept; made if "
                 "missing, and this worker's alone")
      ->required();
  app.add_option("--name", flags.name,
                 "Name in the cluster, kept over restarts; made up if not "
                 "given");
  AddNumber(app, "--slots", flags.slots,
            "Tasks that run at the same time; by default as many as it has "
            "processors, by its affinity mask and its cgroups' quotas",
            1, kSlotsMax)
      ->capture_default_str();
  app.add_option("--host-id", flags.host_id,
                 "Workers of the same host id read each other's intermediate "
                 "files directly; default: the worker's name, so that none do");
  app.add_option("--listen", flags.listen,
                 "Address to serve intermediate data and logs on; port 0 takes "
                 "a free one. Off loopback this needs TLS, which is not built "
                 "yet")
      ->capture_default_str();
  app.add_option("--advertise", flags.advertise,
                 "Address at which the other workers and the masters reach "
                 "this one, if it is not the one of --listen");
  app.add_option("--address-file", flags.address_file,
                 "Write host:port here once it serves");
  app.add_option("--log-file", flags.log_file,
                 "Append the log to this file instead of stderr, and why the "
                 "worker does not start; when it has 64 MiB it becomes FILE.1 "
                 "and is begun anew");
  AddBytes(app, "--shuffle-memory", flags.shuffle_memory,
           "Memory for intermediate data fetched from other workers; what is "
           "more goes to disk",
           1 << 20)
      ->capture_default_str();
  AddBytes(app, "--min-free-disk", flags.free_disk_min,
           "Free space below --dir under which no tasks are taken", 1)
      ->capture_default_str();
  AddBytes(app, "--spool-limit", flags.spool_limit,
           "Space that intermediate data below --dir may take; at it no tasks "
           "are taken, above it the task that has written most fails and runs "
           "elsewhere. Looked at every second, so it may be exceeded for a "
           "moment. By default none but --min-free-disk",
           1 << 20);
  AddBytes(app, "--log-space", flags.log_space,
           "Space for what the attempts of running jobs have printed, and as "
           "much for jobs that are over; the oldest logs of attempts that have "
           "ended go first",
           1 << 20)
      ->capture_default_str();
  app.add_option("--memory-guard", flags.memory_guard,
                 "What keeps job processes within --memory-limit: a cgroup for "
                 "each (version 2 or 1), or a look at their resident memory 40 "
                 "times a second (rss). auto: a cgroup where that is possible")
      ->check(CLI::IsMember({"auto", "cgroup", "rss"}))
      ->capture_default_str();
  app.footer(
      "Stops at SIGTERM; its intermediate data stay, and are offered again "
      "when it is started anew.\n"
      "Exit codes: 0 stopped by a signal, 2 usage, 5 refused.");
}

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0) return "";
  const std::string_view whole(name);
  return std::string(whole.substr(0, std::min<size_t>(whole.find('.'), 40)));
}

// Everything of a worker process, in the order in which it is made; unmade in
// the reverse order, after Stop().
class Process {
 public:
  // `on_give_up` is called on a thread of the worker.
  absl::Status Start(const Flags& flags,
                     const std::vector<std::string>& masters,
                     std::function<void(const std::string&)> on_give_up) {
    FileSystem& fs = FileSystem::Posix();
    Clock& clock = Clock::Real();
    const rpc::Credentials& credentials = rpc::LoopbackCredentials();

    WorkerDirectoryOptions directory;
    // Other workers of this host, and job processes, use paths below it.
    std::error_code error;
    directory.path =
        std::filesystem::absolute(flags.directory, error).lexically_normal();
    if (error) return absl::UnknownError(error.message());
    directory.name = flags.name;
    directory.host_name = HostName();
    MR_ASSIGN_OR_RETURN(directory.boot_id, BootId(fs));
    MR_ASSIGN_OR_RETURN(directory_,
                        WorkerDirectory::Open(fs, directory, *random_));
    const WorkerLayout& layout = directory_->layout();

    WorkerOptions options;
    options.slots = flags.slots;
    options.host_id =
        flags.host_id.empty() ? directory_->name() : flags.host_id;
    options.spool.free_bytes_min = *ParseBytes(flags.free_disk_min);
    if (!flags.spool_limit.empty()) {
      options.spool.spool_bytes_max = *ParseBytes(flags.spool_limit);
    }

    store_ = std::make_unique<SpoolStore>(layout, live_);
    shuffle_ = std::make_unique<ShuffleServer>(fs, *store_);
    MR_ASSIGN_OR_RETURN(server_, rpc::Server::Start(credentials, flags.listen,
                                                    {shuffle_->service()}));
    options.address = flags.advertise.empty() ? server_->address().ToString()
                                              : flags.advertise;

    FetchOptions fetch;
    fetch.host_id = options.host_id;
    fetch.spool_dir = layout.Spool();
    fetch.memory_bytes = *ParseBytes(flags.shuffle_memory);
    transport_ = MakeGrpcTransport(credentials, Clock::Real());
    fetcher_ = MakeFetcher(fetch, clock, fs, Random::Entropy(), *transport_);
    blob_client_ =
        MakeBlobClient(credentials, masters, clock, fs, Random::Entropy());
    MasterLinkOptions link;
    link.on_masters = [this](const std::vector<std::string>& all) {
      blob_client_->Learn(all);
    };
    link_ = MakeMasterLink(credentials, masters, Random::Entropy(), link);

    options.loop.log_bytes_max = *ParseBytes(flags.log_space);
    options.loop.on_job_deleted = [this](const JobId& job) {
      shuffle_->ForgetJob(job);
    };
    MR_RETURN_IF_ERROR(ChooseMemoryGuard(flags.memory_guard));
    options.cgroups = cgroups_.get();

    const WorkerEdges edges{fs,        clock, *random_,   *link_, *blob_client_,
                            *fetcher_, live_, *directory_};
    worker_ = std::make_unique<Worker>(options, edges, std::move(on_give_up));
    MR_RETURN_IF_ERROR(worker_->Start());
    LOG(INFO) << "worker " << directory_->name() << " serves on "
              << options.address << " from " << layout.root << " with "
              << options.slots << " slots";
    if (flags.address_file.empty()) return absl::OkStatus();
    return rpc::WriteAddressFile(fs, flags.address_file, options.address);
  }

  // Whatever Start has made so far.
  ~Process() {
    // Nobody may call the worker when it is gone, and the server's handlers end
    // before what they serve from.
    if (worker_ != nullptr) worker_->Stop();
    link_.reset();
    fetcher_.reset();
    if (server_ != nullptr) server_->Shutdown(absl::Seconds(1));
    worker_.reset();
  }

 private:
  absl::Status ChooseMemoryGuard(const std::string& wanted) {
    std::string why = "as --memory-guard says";
    if (wanted != "rss") {
      supervisor::MemoryCgroups::Found found = supervisor::MemoryCgroups::Probe(
          supervisor::CgroupFiles::Real(), getpid());
      cgroups_ = std::move(found.groups);
      why = found.said;
    }
    if (cgroups_ == nullptr && wanted == "cgroup") {
      return absl::FailedPreconditionError(
          Av(Cat("--memory-guard is cgroup, and none can be used: ", why)));
    }
    LOG(INFO) << "memory limits of job processes: "
              << (cgroups_ != nullptr ? "a cgroup for each, "
                                      : "resident memory is watched, ")
              << why;
    return absl::OkStatus();
  }

  const std::unique_ptr<Random> random_ = Random::Entropy();
  std::unique_ptr<supervisor::MemoryCgroups> cgroups_;  // Null: none.
  std::unique_ptr<WorkerDirectory> directory_;
  LiveAttempts live_;
  std::unique_ptr<SpoolStore> store_;
  std::unique_ptr<ShuffleServer> shuffle_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<FetchTransport> transport_;
  std::unique_ptr<Fetcher> fetcher_;
  std::unique_ptr<GrpcBlobClient> blob_client_;
  std::unique_ptr<MasterLink> link_;
  std::unique_ptr<Worker> worker_;
};

// Why the worker gave up. Thread-safe.
class Reason {
 public:
  void Set(const std::string& text) {
    absl::MutexLock lock(&mu_);
    text_ = text;
  }
  std::string Get() const {
    absl::MutexLock lock(&mu_);
    return text_;
  }

 private:
  mutable absl::Mutex mu_;
  std::string text_ ABSL_GUARDED_BY(mu_);
};

int Serve(const Flags& flags, const std::vector<std::string>& masters,
          DaemonLog& log) {
  Reason reason;
  auto process = std::make_unique<Process>();
  const absl::Status started =
      process->Start(flags, masters, [&reason](const std::string& why) {
        reason.Set(why);
        kill(getpid(), SIGTERM);
      });
  if (!started.ok()) return Complain(kRefused, ToStd(started.message()));

  const int signal_number = AwaitEndSignal([&log] { log.PutAsideIfLarge(); });
  const std::string why = reason.Get();
  const int exit_code = why.empty() ? kOk : Complain(kRefused, why);
  if (why.empty()) LOG(INFO) << "stopping: signal " << signal_number;

  absl::Notification stopped;
  std::thread watch([&stopped, exit_code] {
    if (stopped.WaitForNotificationWithTimeout(kStopPatience)) return;
    LOG(ERROR) << "work on a store hangs; it is left where it is";
    _exit(exit_code);
  });
  process.reset();
  stopped.Notify();
  watch.join();
  return exit_code;
}

}  // namespace
}  // namespace millrace::worker

int main(int argc, char** argv) {
  using namespace millrace;          // NOLINT(google-build-using-namespace)
  using namespace millrace::worker;  // NOLINT(google-build-using-namespace)

  CLI::App app("Runs the tasks of a Millrace cluster on this host.",
               "millrace-worker");
  Flags flags;
  AddFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return Complain(kUsage, Cat(UsageErrorText(app, error),
                                "; see millrace-worker --help"));
  }
  const absl::StatusOr<std::vector<std::string>> masters =
      rpc::ParseMasters(flags.masters);
  if (!masters.ok()) {
    return Complain(kUsage,
                    Cat("--masters: ", ToStd(masters.status().message())));
  }
  if (const auto listen = rpc::ParseAddress(flags.listen); !listen.ok()) {
    return Complain(kUsage,
                    Cat("--listen: ", ToStd(listen.status().message())));
  }
  if (const absl::Status faults = TakeFaultsFromEnvironment(); !faults.ok()) {
    return Complain(kUsage, ToStd(faults.message()));
  }
  if (!flags.advertise.empty() && !rpc::ParseAddress(flags.advertise).ok()) {
    return Complain(kUsage, Cat("--advertise: \"", Printable(flags.advertise),
                                "\" is not HOST:PORT"));
  }
  InitLogging(argv[0], 0);
  DaemonLog log;
  if (const absl::Status opened = log.Open(flags.log_file); !opened.ok()) {
    return Complain(kRefused, Cat("--log-file: ", ToStd(opened.message())));
  }
  SetUpDaemon();
  // Connections, files under way, and what its job processes may have each.
  const uint64_t descriptors = RaiseDescriptorLimit(kDescriptorsWanted);
  if (descriptors < kDescriptorsFew) {
    LOG(WARNING) << "only " << descriptors
                 << " files may be open at once (ulimit -n, LimitNOFILE); "
                    "merges take more passes, and many workers or slots may be "
                    "too many";
  }
  return Serve(flags, *masters, log);
}
