#include "chaos/controller.h"

#include <sys/wait.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "chaos/small_disk.h"
#include "client/local/chaos_process.h"
#include "client/local/cluster_record.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::chaos {
namespace {

using client::LocalRole;

constexpr absl::Duration kLookInterval = absl::Milliseconds(20);
// A process that ends by itself again and again is started no more often.
constexpr absl::Duration kReviveInterval = absl::Seconds(1);
// Until somebody listens; nobody does at port 1.
constexpr char kNobody[] = "127.0.0.1:1";
constexpr char kAnyPort[] = "127.0.0.1:0";

// Where the process listened at an earlier start; any port if it never did.
std::string KeptAddress(const std::string& directory, const std::string& name) {
  absl::StatusOr<std::string> text = ReadWholeFile(
      FileSystem::Posix(), client::ListenPath(directory, name), 4096);
  if (!text.ok()) return kAnyPort;
  absl::StripAsciiWhitespace(&*text);
  return text->empty() ? kAnyPort : *text;
}

}  // namespace

Controller::Controller(ControllerOptions options, Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

Controller::~Controller() = default;

// ------------------------------------------------------------------ beginning

absl::Status Controller::Prepare() {
  MR_RETURN_IF_ERROR(journal_.Open(options_.directory));
  if (options_.spec.needs_small_disks() && !options_.private_mounts) {
    LOG(WARNING) << "mounting is not allowed here: full-disk and "
                    "read-only-disk are left out";
  }
  if (options_.spec.needs_preload() && options_.preload.empty()) {
    LOG(WARNING) << "libmillrace-chaos.so is not there: slow-disk and "
                    "shift-clock are left out";
  }
  Population population;
  for (int i = 1; i <= options_.masters; ++i) {
    population.masters.push_back(Cat("master-", i));
    MR_RETURN_IF_ERROR(
        PrepareSubject(population.masters.back(), LocalRole::kMaster));
  }
  for (int i = 1; i <= options_.workers; ++i) {
    population.workers.push_back(Cat("worker-", i));
    MR_RETURN_IF_ERROR(
        PrepareSubject(population.workers.back(), LocalRole::kWorker));
  }
  schedule_ =
      std::make_unique<Schedule>(options_.spec, options_.seed, population);
  next_ = schedule_->Next();

  std::map<std::string, client::ChaosStart> starts;
  for (const Subject& subject : subjects_) {
    client::ChaosStart& start = starts[subject.name];
    if (subject.proxy != nullptr) start.advertise = subject.proxy->address();
    start.environment = subject.environment;
    // What a worker asks for by default is more than there is.
    if (!subject.disk.empty()) start.flags = {"--min-free-disk", "4MiB"};
  }
  return client::WriteChaosReady(options_.directory, starts);
}

absl::Status Controller::PrepareSubject(const std::string& name,
                                        LocalRole role) {
  Subject& subject = subjects_.emplace_back();
  subject.name = name;
  subject.role = role;
  const std::string& directory = options_.directory;
  if (options_.spec.needs_proxies()) {
    const std::string listen =
        role == LocalRole::kMaster ? KeptAddress(directory, name) : kAnyPort;
    MR_ASSIGN_OR_RETURN(subject.proxy, TcpProxy::Start(kNobody, listen));
    subject.unaimed = true;
  }
  if (options_.spec.needs_preload() && !options_.preload.empty()) {
    MR_ASSIGN_OR_RETURN(
        subject.page,
        FaultPage::Create(JoinPath(directory, Cat("run/", name, ".faults"))));
    subject.environment = {Cat("LD_PRELOAD=", options_.preload),
                           Cat(kFaultPageVariable, "=", subject.page->path())};
  }
  if (role != LocalRole::kWorker) return absl::OkStatus();
  subject.spool = JoinPath(directory, Cat(name, "/spool"));
  if (options_.spec.needs_small_disks() && options_.private_mounts) {
    const std::string own = JoinPath(directory, name);
    MR_RETURN_IF_ERROR(MakeDirectories(FileSystem::Posix(), own));
    const absl::Status mounted = MountSmallDisk(own);
    if (mounted.ok()) subject.disk = own;
    if (!mounted.ok()) LOG(WARNING) << name << ": " << mounted;
  }
  return absl::OkStatus();
}

void Controller::ReadRecord() {
  const auto cluster = client::ReadClusterRecord(options_.directory);
  if (!cluster.ok()) return;
  for (const client::LocalProcess& process : cluster->processes) {
    Subject* subject = Find(process.name);
    if (subject == nullptr) continue;
    subject->identity = process.identity;
    subject->log = process.log;
    if (!begun_) continue;
    const auto words = CommandLineOf(process.identity.pid);
    if (!words.ok()) {
      LOG(WARNING) << process.name << ": " << words.status();
      continue;
    }
    subject->executable = (*words)[0];
    subject->arguments.assign(words->begin() + 1, words->end());
    // The others and the clients look for a master where it is.
    if (subject->role == LocalRole::kMaster && subject->proxy == nullptr) {
      const auto listen = std::find(subject->arguments.begin(),
                                    subject->arguments.end(), "--listen");
      if (listen != subject->arguments.end()) listen[1] = process.address;
    }
  }
}

void Controller::Adopt() {
  begun_ = true;
  began_ = clock_.Monotonic();
  ReadRecord();
  journal_.Begin(options_.spec_text, options_.seed);
}

// ----------------------------------------------------------------- the rounds

void Controller::Tick() {
  // Of those that were started again.
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  if (clock_.Monotonic() - looked_ >= kLookInterval) {
    looked_ = clock_.Monotonic();
    if (!begun_) {
      ReadRecord();
      const std::string begin = client::ChaosBeginPath(options_.directory);
      if (FileSystem::Posix().Stat(begin).ok()) Adopt();
    }
    Aim();
  }
  if (!begun_ || calm_) return;
  for (Active& active : active_) active.nemesis->Watch();
  for (auto at = active_.begin(); at != active_.end();) {
    if (at->end > Now() || AwaitsDisk(*at)) {
      ++at;
      continue;
    }
    End(*at);
    at = active_.erase(at);
  }
  while (next_.has_value() && next_->at <= Now()) {
    Begin(*next_);
    next_ = schedule_->Next();
  }
  Revive();
}

void Controller::Calm() {
  for (Active& active : active_) End(active);
  active_.clear();
  calm_ = true;
  FileSystem::Posix()
      .RemoveFile(client::ChaosBeginPath(options_.directory))
      .IgnoreError();
  LOG(INFO) << "chaos is over";
}

void Controller::Begin(const PlannedFault& fault) {
  const std::string_view name = InfoOf(fault.kind).name;
  Subject& subject = *Find(fault.victim);
  const Domain domain = DomainOf(fault.kind);
  const bool busy = domain != Domain::kMoment && IsActive(subject, domain);
  const bool starting = domain == Domain::kDisk && !subject.killed &&
                        ListeningAddressOf(subject.identity.pid).empty();
  if (busy || starting) {
    journal_.Add(Now(), name, fault.victim, fault.length,
                 {false, busy ? "another one is on" : "it is just starting"});
    return;
  }
  Active active = {fault, &subject, MakeNemesis(fault, subject), {}};
  active.fault.at = Now();
  active.end = active.fault.at + fault.length;
  const absl::Status begun = active.nemesis->Begin();
  if (!begun.ok()) {
    journal_.Add(active.fault.at, name, fault.victim, fault.length,
                 {false, std::string(ToStd(begun.message()))});
    return;
  }
  if (fault.length == absl::ZeroDuration()) {
    End(active);
  } else {
    active_.push_back(std::move(active));
  }
}

bool Controller::IsActive(const Subject& subject, Domain domain) const {
  return std::any_of(active_.begin(), active_.end(), [&](const Active& active) {
    return active.subject == &subject && DomainOf(active.fault.kind) == domain;
  });
}

// A daemon that cannot write where it is to start says so and ends; whoever
// starts it sees to the disk first.
bool Controller::AwaitsDisk(const Active& active) const {
  return active.subject->killed &&
         DomainOf(active.fault.kind) == Domain::kProcess &&
         IsActive(*active.subject, Domain::kDisk);
}

void Controller::End(Active& active) {
  const client::ProcessIdentity before = active.subject->identity;
  const Effect effect = active.nemesis->End();
  if (active.subject->identity != before) RecordIdentity(*active.subject);
  journal_.Add(active.fault.at, InfoOf(active.fault.kind).name,
               active.fault.victim, active.fault.length, effect);
}

// Proxies learn where the processes behind them listen now.
void Controller::Aim() {
  for (Subject& subject : subjects_) {
    if (!subject.unaimed || !subject.running()) continue;
    const std::string address = ListeningAddressOf(subject.identity.pid);
    if (address.empty()) continue;
    subject.proxy->SetTarget(address);
    subject.unaimed = false;
  }
}

// Nobody is to end but who is killed.
void Controller::Revive() {
  if (clock_.Monotonic() - revived_ < kReviveInterval) return;
  revived_ = clock_.Monotonic();
  for (Subject& subject : subjects_) {
    if (subject.killed || subject.running()) continue;
    const pid_t pid = subject.identity.pid;
    const absl::Status started = StartAgain(subject);
    if (started.ok()) RecordIdentity(subject);
    journal_.Add(Now(), "ended-by-itself", subject.name, absl::ZeroDuration(),
                 {true, Cat("pid ", pid, "; see ", subject.log)});
  }
}

// `millrace cluster down` stops whom the record names.
void Controller::RecordIdentity(const Subject& subject) {
  auto cluster = client::ReadClusterRecord(options_.directory);
  if (!cluster.ok()) return;
  for (client::LocalProcess& process : cluster->processes) {
    if (process.name == subject.name) process.identity = subject.identity;
  }
  const absl::Status written = client::WriteClusterRecord(*cluster);
  if (!written.ok()) LOG(ERROR) << "the record of the cluster: " << written;
}

Subject* Controller::Find(const std::string& name) {
  for (Subject& subject : subjects_) {
    if (subject.name == name) return &subject;
  }
  return nullptr;
}

}  // namespace millrace::chaos
