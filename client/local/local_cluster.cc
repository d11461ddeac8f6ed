#include "client/local/local_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cluster_client.h"
#include "client/local/chaos_process.h"
#include "client/local/cluster_record.h"
#include "common/errno_status.h"
#include "common/file_system.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "common/usable_cores.h"
#include "rpc/address.h"
#include "supervisor/pidfd.h"
#include "supervisor/unique_fd.h"

namespace millrace::client {
namespace {

// More than a worker takes when its store hangs.
constexpr absl::Duration kStopGrace = absl::Seconds(15);

// How often is looked for what nothing announces: an address file, a worker
// that has joined.
constexpr absl::Duration kLookInterval = absl::Milliseconds(20);

// Of the log of a process that did not get ready.
constexpr size_t kLogLinesShown = 5;
constexpr uint64_t kLogBytesRead = 16 << 10;

constexpr int kMastersMax = 7;
constexpr int kWorkersMax = 1000;
constexpr int kSlotsMax = 1024;

// Held while a cluster is brought up or down in a directory; goes with the
// process.
absl::StatusOr<supervisor::UniqueFd> LockDirectory(
    const std::string& directory) {
  const std::string path = JoinPath(directory, "lock");
  supervisor::UniqueFd lock(
      open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!lock.valid()) return ErrnoStatus(errno, "open", path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, "lock", path);
    return absl::AlreadyExistsError(
        Av(Cat("another millrace brings a cluster up or down in ", directory)));
  }
  return lock;
}

std::string EndOfLog(const std::string& path) {
  FileSystem& fs = FileSystem::Posix();
  const auto file = fs.OpenRead(path);
  if (!file.ok()) return "";
  const auto info = (*file)->Stat();
  if (!info.ok()) return "";
  const uint64_t size = info->identity.size;
  std::string text(std::min(size, kLogBytesRead), '\0');
  const auto n = (*file)->ReadAt(size - text.size(), text.data(), text.size());
  if (!n.ok()) return "";
  text.resize(*n);
  std::vector<absl::string_view> lines =
      absl::StrSplit(text, '\n', absl::SkipEmpty());
  if (lines.size() > kLogLinesShown) {
    lines.erase(lines.begin(), lines.end() - kLogLinesShown);
  }
  return absl::StrJoin(lines, " / ");
}

absl::Status CheckOptions(const LocalClusterOptions& options) {
  if (options.masters < 0 || options.masters > kMastersMax) {
    return absl::InvalidArgumentError(
        Av(Cat("a cluster has 1 to ", kMastersMax, " masters")));
  }
  if (options.workers < 1 || options.workers > kWorkersMax) {
    return absl::InvalidArgumentError(
        Av(Cat("a local cluster has 1 to ", kWorkersMax, " workers")));
  }
  if (options.slots < 0 || options.slots > kSlotsMax) {
    return absl::InvalidArgumentError(
        Av(Cat("a worker has 1 to ", kSlotsMax, " slots")));
  }
  return absl::OkStatus();
}

// One start. Whatever it has started is stopped by the destructor, unless
// Keep() was called.
class Start {
 public:
  explicit Start(const LocalClusterOptions& options) : options_(options) {
    cluster_.directory = options.directory;
  }
  ~Start() {
    if (kept_ || cluster_.processes.empty()) return;
    StopDaemons(Identities(), kStopGrace, *options_.clock).IgnoreError();
    RemoveClusterRecord(options_.directory).IgnoreError();
  }
  Start(const Start&) = delete;
  Start& operator=(const Start&) = delete;

  absl::Status Run() {
    deadline_ = options_.clock->Monotonic() + options_.patience;
    MR_RETURN_IF_ERROR(MakeDirectories(FileSystem::Posix(), In("logs")));
    MR_RETURN_IF_ERROR(MakeDirectories(FileSystem::Posix(), In("run")));
    if (!options_.chaos.empty()) MR_RETURN_IF_ERROR(StartChaos());
    MR_RETURN_IF_ERROR(StartMasters());
    const int slots = options_.slots > 0
                          ? options_.slots
                          : std::max(1, UsableCores() / options_.workers);
    Say(Cat("starting ", options_.workers,
            options_.workers == 1 ? " worker" : " workers"));
    for (int i = 1; i <= options_.workers; ++i) {
      const std::string name = Cat("worker-", i);
      MR_RETURN_IF_ERROR(StartProcess(
          name, LocalRole::kWorker, "millrace-worker",
          {"--masters", cluster_.masters, "--name", name, "--slots", Cat(slots),
           "--host-id", options_.same_host ? "local" : name,
           // Processes that are killed would leave cgroups behind.
           "--memory-guard", "rss"}));
    }
    MR_RETURN_IF_ERROR(AwaitAddresses());
    MR_RETURN_IF_ERROR(AwaitWorkers());
    if (options_.chaos.empty()) return absl::OkStatus();
    return WriteWholeFile(FileSystem::Posix(),
                          ChaosBeginPath(options_.directory), "");
  }

  // Masters of earlier starts in the directory.
  int KnownMasters() const {
    int known = 0;
    while (!KeptAddress(MasterNamed(known + 1)).empty()) ++known;
    return known;
  }

  int MastersToStart() const {
    return options_.masters > 0 ? options_.masters
                                : std::max(KnownMasters(), 1);
  }

  absl::Status StartChaos() {
    Say("starting chaos");
    FileSystem& fs = FileSystem::Posix();
    for (const std::string& path : {ChaosReadyPath(options_.directory),
                                    ChaosBeginPath(options_.directory)}) {
      const absl::Status removed = fs.RemoveFile(path);
      if (!absl::IsNotFound(removed)) MR_RETURN_IF_ERROR(removed);
    }
    std::vector<std::string> arguments = {"--dir",     options_.directory,
                                          "--masters", Cat(MastersToStart()),
                                          "--workers", Cat(options_.workers)};
    arguments.insert(arguments.end(), options_.chaos.begin(),
                     options_.chaos.end());
    LocalProcess process;
    process.name = kChaosName;
    process.role = LocalRole::kChaos;
    MR_RETURN_IF_ERROR(Launch(std::move(process), "millrace-chaos", arguments));
    for (;;) {
      auto starts = ReadChaosReady(options_.directory);
      if (starts.ok()) {
        chaos_starts_ = *std::move(starts);
        return absl::OkStatus();
      }
      if (!absl::IsNotFound(starts.status())) return starts.status();
      MR_RETURN_IF_ERROR(WaitALittle("chaos to be ready"));
    }
  }

  absl::Status StartMasters() {
    const int known = KnownMasters();
    const int count = MastersToStart();
    if (count < known) {
      return absl::InvalidArgumentError(
          Av(Cat("the cluster in ", options_.directory, " has ", known,
                 " masters; start all of them, and remove some afterwards "
                 "with: millrace master remove")));
    }
    Say(Cat("starting ", count, count == 1 ? " master" : " masters"));
    for (int i = 1; i <= count; ++i) {
      // The first one founds the group.
      std::vector<std::string> arguments;
      if (i > 1) arguments.push_back("--join");
      if (options_.finished_jobs > 0) {
        arguments.insert(arguments.end(),
                         {"--finished-jobs", Cat(options_.finished_jobs)});
      }
      MR_RETURN_IF_ERROR(StartProcess(MasterNamed(i), LocalRole::kMaster,
                                      "millrace-master", std::move(arguments)));
    }
    MR_RETURN_IF_ERROR(AwaitAddresses());
    std::vector<std::string> addresses;
    for (const LocalProcess& process : cluster_.processes) {
      if (process.role != LocalRole::kMaster) continue;
      MR_RETURN_IF_ERROR(KeepAddress(process));
      addresses.push_back(process.address);
    }
    cluster_.masters = absl::StrJoin(addresses, ",");
    MR_RETURN_IF_ERROR(WriteClusterRecord(cluster_));
    return count == 1 ? absl::OkStatus() : FormGroup();
  }

  absl::Status FormGroup() {
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<ClusterClient> client, Client());
    MasterChangeOptions look;
    look.timeout = absl::ZeroDuration();  // We ask again ourselves.
    for (const LocalProcess& process : std::vector(cluster_.processes)) {
      const std::string& name = process.name;
      // The first one has founded the group.
      if (process.role != LocalRole::kMaster || name == MasterNamed(1)) {
        continue;
      }
      for (;;) {
        const absl::Status added =
            client->AddMaster(process.address, look).status();
        if (added.ok()) break;
        if (!absl::IsDeadlineExceeded(added) && !absl::IsUnavailable(added)) {
          return Annotate(added, name);
        }
        MR_RETURN_IF_ERROR(WaitALittle(
            Cat(name, " to become a voter (", ToStd(added.message()), ")")));
      }
    }
    return absl::OkStatus();
  }

  LocalCluster Keep() {
    kept_ = true;
    return cluster_;
  }

 private:
  std::string In(std::string_view name) const {
    return JoinPath(options_.directory, name);
  }

  void Say(std::string_view step) const {
    if (options_.on_step != nullptr) options_.on_step(step);
  }

  std::vector<ProcessIdentity> Identities() const {
    std::vector<ProcessIdentity> identities;
    for (const LocalProcess& process : cluster_.processes) {
      identities.push_back(process.identity);
    }
    return identities;
  }

  static std::string MasterNamed(int i) { return Cat("master-", i); }

  std::string ListenFile(const std::string& name) const {
    return ListenPath(options_.directory, name);
  }

  // "" if the process has never served.
  std::string KeptAddress(const std::string& name) const {
    absl::StatusOr<std::string> text =
        ReadWholeFile(FileSystem::Posix(), ListenFile(name), 4096);
    if (!text.ok()) return "";
    absl::StripAsciiWhitespace(&*text);
    return rpc::ParseAddress(*text).ok() ? *text : "";
  }

  absl::Status KeepAddress(const LocalProcess& process) const {
    if (KeptAddress(process.name) == process.address) return absl::OkStatus();
    FileSystem& fs = FileSystem::Posix();
    const std::string path = ListenFile(process.name);
    const std::string next = path + ".next";
    fs.RemoveFile(next).IgnoreError();
    MR_RETURN_IF_ERROR(WriteWholeFile(fs, next, process.address + "\n"));
    return fs.Rename(next, path);
  }

  absl::StatusOr<std::unique_ptr<ClusterClient>> Client() const {
    ClientOptions client_options;
    client_options.clock = options_.clock;
    client_options.stop = options_.stop;
    client_options.patience = absl::ZeroDuration();  // We ask again ourselves.
    return ClusterClient::Connect(cluster_.masters, client_options);
  }

  std::string AddressFile(const std::string& name) const {
    return JoinPath(In("run"), name + ".address");
  }
  std::string LogFile(const std::string& name) const {
    return JoinPath(In("logs"), name + ".log");
  }

  absl::Status StartProcess(const std::string& name, LocalRole role,
                            std::string_view program,
                            std::vector<std::string> arguments) {
    LocalProcess process;
    process.name = name;
    process.role = role;
    MR_RETURN_IF_ERROR(MakeDirectories(FileSystem::Posix(), In(name)));
    const absl::Status removed =
        FileSystem::Posix().RemoveFile(AddressFile(name));
    if (!absl::IsNotFound(removed)) MR_RETURN_IF_ERROR(removed);
    const ChaosStart& chaos = chaos_starts_[name];
    std::string kept = role == LocalRole::kMaster ? KeptAddress(name) : "";
    if (!chaos.advertise.empty()) {
      // What listens there hands on to wherever the process is.
      kept.clear();
      arguments.insert(arguments.end(), {"--advertise", chaos.advertise});
    }
    arguments.insert(arguments.end(), chaos.flags.begin(), chaos.flags.end());
    const std::vector<std::string> common = {
        "--dir",          In(name),
        "--listen",       kept.empty() ? "127.0.0.1:0" : kept,
        "--address-file", AddressFile(name),
        "--log-file",     LogFile(name)};
    arguments.insert(arguments.end(), common.begin(), common.end());
    return Launch(std::move(process), program, arguments);
  }

  absl::Status Launch(LocalProcess process, std::string_view program,
                      const std::vector<std::string>& arguments) {
    process.log = LogFile(process.name);
    process.running = true;
    MR_ASSIGN_OR_RETURN(
        process.identity,
        StartDaemon(JoinPath(options_.bin_directory, program), arguments,
                    process.log, chaos_starts_[process.name].environment));
    cluster_.processes.push_back(std::move(process));
    // At once, so that a later `down` finds it whatever becomes of us.
    return WriteClusterRecord(cluster_);
  }

  // An error when there is no point in waiting on.
  absl::Status WaitALittle(std::string_view waited_for) {
    if (options_.stop != nullptr && options_.stop->stopped()) {
      return absl::CancelledError("interrupted; what was started is stopped");
    }
    for (const LocalProcess& process : cluster_.processes) {
      if (IsRunning(process.identity)) continue;
      return absl::UnavailableError(
          Av(Cat(process.name, " ended; its log, ", process.log,
                 ", ends with: ", Printable(EndOfLog(process.log), 2000))));
    }
    if (options_.clock->Monotonic() >= deadline_) {
      return absl::DeadlineExceededError(Av(
          Cat("waited ", ToStd(absl::FormatDuration(options_.patience)),
              " in vain for ", waited_for, "; see the logs in ", In("logs"))));
    }
    WaitForEndOfAny(Identities(), kLookInterval);
    return absl::OkStatus();
  }

  // "" as long as the process does not serve.
  std::string ReadAddress(const std::string& name) {
    const absl::StatusOr<std::string> text =
        ReadWholeFile(FileSystem::Posix(), AddressFile(name), 4096);
    if (!text.ok()) return "";
    // Whole if it has its final newline, or has not grown since the last look.
    const std::string before = std::exchange(seen_[name], *text);
    std::string address = *text;
    absl::StripAsciiWhitespace(&address);
    const bool whole = address.size() < text->size() || before == *text;
    return whole && rpc::ParseAddress(address).ok() ? address : "";
  }

  absl::Status AwaitAddresses() {
    for (LocalProcess& process : cluster_.processes) {
      if (process.role == LocalRole::kChaos) continue;
      while (process.address.empty()) {
        process.address = ReadAddress(process.name);
        if (!process.address.empty()) break;
        MR_RETURN_IF_ERROR(WaitALittle(Cat(process.name, " to serve")));
      }
    }
    return WriteClusterRecord(cluster_);
  }

  // A worker that died before may still be listed under the same name, so that
  // only the pid tells that it is this one that has joined.
  bool HasJoined(const std::vector<proto::WorkerStatus>& listed,
                 const LocalProcess& worker) const {
    return std::any_of(
        listed.begin(), listed.end(), [&](const proto::WorkerStatus& status) {
          return status.pid() == worker.identity.pid &&
                 status.name() == worker.name && status.state() != "silent" &&
                 status.state() != "lost";
        });
  }

  absl::Status AwaitWorkers() {
    MR_ASSIGN_OR_RETURN(const std::unique_ptr<ClusterClient> client, Client());
    while (true) {
      const absl::StatusOr<std::vector<proto::WorkerStatus>> listed =
          client->ListWorkers();
      std::vector<std::string> missing;
      for (const LocalProcess& process : cluster_.processes) {
        if (process.role != LocalRole::kWorker) continue;
        if (!listed.ok() || !HasJoined(*listed, process)) {
          missing.push_back(process.name);
        }
      }
      if (missing.empty()) return absl::OkStatus();
      std::string waited_for =
          Cat(absl::StrJoin(missing, ", "), " to join the cluster");
      if (!listed.ok()) {
        waited_for += Cat(" (", ToStd(listed.status().message()), ")");
      }
      MR_RETURN_IF_ERROR(WaitALittle(waited_for));
    }
  }

  const LocalClusterOptions& options_;
  LocalCluster cluster_;
  std::map<std::string, ChaosStart> chaos_starts_;  // By name.
  std::map<std::string, std::string> seen_;  // In address files, by name.
  absl::Duration deadline_;
  bool kept_ = false;
};

// Returns when chaos, if there is any, has put everything right that can be.
// What it has started again in place of what it killed is in the record then.
void EndChaos(const LocalCluster& cluster, absl::Duration grace, Clock& clock) {
  for (const LocalProcess& process : cluster.processes) {
    if (process.role != LocalRole::kChaos || !process.running) continue;
    const supervisor::UniqueFd pidfd(
        supervisor::PidfdOpen(process.identity.pid));
    if (!pidfd.valid() || !IsRunning(process.identity)) continue;
    supervisor::PidfdSendSignal(pidfd.get(), SIGUSR1);
    const absl::Duration deadline = clock.Monotonic() + grace;
    while (IsRunning(process.identity) && clock.Monotonic() < deadline &&
           FileSystem::Posix().Stat(ChaosBeginPath(cluster.directory)).ok()) {
      WaitForEndOfAny({process.identity}, kLookInterval);
    }
  }
}

}  // namespace

std::string_view RoleName(LocalRole role) {
  switch (role) {
    case LocalRole::kMaster:
      return "master";
    case LocalRole::kWorker:
      return "worker";
    case LocalRole::kChaos:
      return "chaos";
  }
  return "";
}

bool LocalCluster::AnyRunning() const {
  return std::any_of(processes.begin(), processes.end(),
                     [](const LocalProcess& p) { return p.running; });
}

bool LocalCluster::AllRunning() const {
  return std::all_of(processes.begin(), processes.end(),
                     [](const LocalProcess& p) { return p.running; });
}

absl::StatusOr<LocalCluster> StartLocalCluster(
    const LocalClusterOptions& options) {
  MR_RETURN_IF_ERROR(CheckOptions(options));
  std::vector<std::string_view> programs = {"millrace-master",
                                            "millrace-worker"};
  if (!options.chaos.empty()) programs.push_back("millrace-chaos");
  for (const std::string_view program : programs) {
    const std::string path = JoinPath(options.bin_directory, program);
    if (!FileSystem::Posix().Stat(path).ok()) {
      return absl::NotFoundError(
          Av(Cat(path,
                 " is not there: the programs of a cluster belong into "
                 "one directory")));
    }
  }
  const absl::Status made =
      MakeDirectories(FileSystem::Posix(), options.directory);
  if (absl::IsAlreadyExists(made)) {
    return absl::InvalidArgumentError(
        Av(Cat(options.directory, " is a file; a cluster needs a directory")));
  }
  MR_RETURN_IF_ERROR(made);
  MR_ASSIGN_OR_RETURN(const supervisor::UniqueFd lock,
                      LockDirectory(options.directory));
  const absl::StatusOr<LocalCluster> earlier =
      ReadClusterRecord(options.directory);
  if (earlier.ok() && earlier->AnyRunning()) {
    return absl::AlreadyExistsError(
        Av(Cat("a cluster runs in ", options.directory, " (masters ",
               earlier->masters, ")")));
  }
  if (!earlier.ok() && !absl::IsNotFound(earlier.status())) {
    return earlier.status();
  }
  Start start(options);
  MR_RETURN_IF_ERROR(start.Run());
  return start.Keep();
}

absl::StatusOr<LocalCluster> ReadLocalCluster(const std::string& directory) {
  return ReadClusterRecord(directory);
}

absl::StatusOr<LocalCluster> StopLocalCluster(const std::string& directory,
                                              absl::Duration grace,
                                              Clock& clock) {
  // Without the directory there is no lock to take.
  MR_RETURN_IF_ERROR(ReadClusterRecord(directory).status());
  MR_ASSIGN_OR_RETURN(const supervisor::UniqueFd lock,
                      LockDirectory(directory));
  MR_ASSIGN_OR_RETURN(LocalCluster cluster, ReadClusterRecord(directory));
  EndChaos(cluster, grace, clock);
  MR_ASSIGN_OR_RETURN(cluster, ReadClusterRecord(directory));
  // Workers first: they say good-bye to a master that still listens.
  for (const LocalRole role :
       {LocalRole::kWorker, LocalRole::kMaster, LocalRole::kChaos}) {
    std::vector<ProcessIdentity> identities;
    for (const LocalProcess& process : cluster.processes) {
      if (process.role == role && process.running) {
        identities.push_back(process.identity);
      }
    }
    MR_RETURN_IF_ERROR(StopDaemons(identities, grace, clock));
  }
  MR_RETURN_IF_ERROR(RemoveClusterRecord(directory));
  return cluster;
}

}  // namespace millrace::client
