// Stands in for millrace-master, millrace-worker and millrace-chaos, by the
// name it is called by, with their flags: for tests of bringing clusters up and
// down.
//
// Chaos has a worker-1 that is reached elsewhere, with a flag and a variable of
// its own (FAKE_DAEMON_CHAOS), and does nothing but what it is told at the end.
//
// A master adds others at once, as far as anybody can see; each leads.
//
// A worker joins by a file in its directory, which the master's ListWorkers
// shows. What goes wrong is set by the environment:
//   FAKE_DAEMON_CRASH=NAME     that worker prints a line and ends
//   FAKE_DAEMON_SHY=NAME       that worker serves and never joins
//   FAKE_DAEMON_STUBBORN=NAME  that worker ignores SIGTERM
// Each worker starts a process of its own group that sleeps, as a job process.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "client/testing/fake_cluster.h"
#include "common/file_system.h"
#include "common/strings.h"

namespace millrace::client {
namespace {

constexpr int kLookMs = 10;

bool Is(const char* variable, const std::string& name) {
  const char* value = std::getenv(variable);
  return value != nullptr && name == value;
}

void WriteAtomically(const std::string& path, const std::string& text) {
  FileSystem& fs = FileSystem::Posix();
  fs.RemoveFile(path + ".next").IgnoreError();
  WriteWholeFile(fs, path + ".next", text).IgnoreError();
  fs.Rename(path + ".next", path).IgnoreError();
}

// Readable when SIGTERM has come.
int BlockSigterm(int another = SIGTERM) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, another);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

bool Terminated(int signals) {
  pollfd fd = {signals, POLLIN, 0};
  return poll(&fd, 1, kLookMs) == 1;
}

void StartJobProcess(const std::string& directory) {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  std::string program = "/bin/sleep";
  std::string argument = "1000";
  char* argv[] = {program.data(), argument.data(), nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, "/bin/sleep", nullptr, &attributes, argv, environ) ==
      0) {
    WriteAtomically(JoinPath(directory, "job_process"), Cat(pid));
  }
  posix_spawnattr_destroy(&attributes);
}

void WriteFlags(const std::map<std::string, std::string>& flags) {
  std::string lines;
  for (const auto& [flag, value] : flags) lines += Cat(flag, "=", value, "\n");
  WriteAtomically(JoinPath(flags.at("--dir"), "flags"), lines);
}

int RunMaster(const std::map<std::string, std::string>& flags) {
  const int signals = BlockSigterm();
  FakeState state;
  const FakeMaster master(state);
  WriteFlags(flags);
  WriteAtomically(flags.at("--address-file"), master.address());
  const std::string above = ParentPath(flags.at("--dir"));
  FileSystem& fs = FileSystem::Posix();
  do {
    std::vector<proto::WorkerStatus> workers;
    const auto entries = fs.List(above);
    for (const DirEntry& entry : *entries) {
      const auto pid =
          ReadWholeFile(fs, Cat(above, "/", entry.name, "/joined"), 100);
      if (!pid.ok()) continue;
      proto::WorkerStatus& worker = workers.emplace_back();
      worker.set_name(entry.name);
      worker.set_pid(std::stol(*pid));
      worker.set_state("up");
    }
    const absl::MutexLock lock(&state.mu_);
    state.workers_ = workers;
  } while (!Terminated(signals));
  return 0;
}

int RunChaos(const std::map<std::string, std::string>& flags) {
  const int signals = BlockSigterm(SIGUSR1);
  const std::string run = JoinPath(flags.at("--dir"), "run");
  WriteAtomically(JoinPath(run, "chaos.flags"), flags.at("--spec"));
  WriteAtomically(
      JoinPath(run, "chaos.ready"),
      R"({"worker-1": {"advertise": "127.0.0.1:7", "flags": ["--slow", "3"],
          "environment": ["FAKE_DAEMON_CHAOS=here"]}})");
  for (;;) {
    if (!Terminated(signals)) continue;
    signalfd_siginfo info = {};
    if (read(signals, &info, sizeof info) != sizeof info) return 1;
    if (info.ssi_signo == SIGTERM) return 0;
    FileSystem::Posix().RemoveFile(JoinPath(run, "chaos.begin")).IgnoreError();
    WriteAtomically(JoinPath(run, "chaos.calm"), "");
  }
}

int RunWorker(const std::map<std::string, std::string>& flags) {
  const std::string& name = flags.at("--name");
  const std::string& directory = flags.at("--dir");
  if (Is("FAKE_DAEMON_CRASH", name)) {
    std::fprintf(stderr, "the disk is on fire\n");
    return 1;
  }
  const int signals = BlockSigterm();
  StartJobProcess(directory);
  WriteFlags(flags);
  if (const char* chaos = std::getenv("FAKE_DAEMON_CHAOS")) {
    WriteAtomically(JoinPath(directory, "chaos"), chaos);
  }
  WriteAtomically(flags.at("--address-file"), "127.0.0.1:1\n");
  if (!Is("FAKE_DAEMON_SHY", name)) {
    WriteAtomically(JoinPath(directory, "joined"), Cat(getpid()));
  }
  while (!Terminated(signals) || Is("FAKE_DAEMON_STUBBORN", name)) {
  }
  return 0;
}

}  // namespace
}  // namespace millrace::client

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i < argc; ++i) {
    const bool has_value =
        i + 1 < argc && std::string(argv[i + 1]).substr(0, 2) != "--";
    flags[argv[i]] = has_value ? argv[i + 1] : "";
    if (has_value) ++i;
  }
  const std::string name = millrace::BaseName(argv[0]);
  if (name == "millrace-master") return millrace::client::RunMaster(flags);
  if (name == "millrace-chaos") return millrace::client::RunChaos(flags);
  return millrace::client::RunWorker(flags);
}
