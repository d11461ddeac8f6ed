#include "supervisor/spawn.h"

#include <fcntl.h>
#include <spawn.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/errno_status.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/child_main.h"
#include "supervisor/pidfd.h"

namespace millrace::supervisor {
namespace {

// Descriptors that become 0 to 4 of the child are moved out of the way first:
// one that already had such a number would be overwritten by another.
constexpr int kSourceFdMin = 10;

struct Register {
  absl::Mutex mu;
  std::set<pid_t> pids ABSL_GUARDED_BY(mu);
};

Register& JobChildren() {
  static Register* const children = new Register;
  return *children;
}

absl::StatusOr<UniqueFd> CopyUp(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, kSourceFdMin));
  if (!copy.valid()) return ErrnoStatus(errno, "duplicate", "descriptor");
  return copy;
}

// Ours, except what `added` replaces, and `added`.
std::vector<std::string> MergeEnvironment(
    const std::vector<std::string>& added) {
  std::set<std::string_view> replaced;
  for (const std::string& entry : added) {
    replaced.insert(std::string_view(entry).substr(0, entry.find('=')));
  }
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!replaced.contains(text.substr(0, text.find('=')))) {
      merged.emplace_back(text);
    }
  }
  merged.insert(merged.end(), added.begin(), added.end());
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// posix_spawn's two argument objects, with their lifetime.
class SpawnArguments {
 public:
  SpawnArguments() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnArguments() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

absl::StatusOr<pid_t> Spawn(const ChildOptions& options, int socket, int log,
                            int status_page) {
  SpawnArguments spawn;
  // Each returns an error number; the only one is ENOMEM.
  int error = posix_spawn_file_actions_addopen(&spawn.actions, 0, "/dev/null",
                                               O_RDONLY, 0);
  const int places[][2] = {{log, 1},
                           {log, 2},
                           {socket, kTaskSocketFd},
                           {status_page, kStatusPageFd}};
  for (const auto& [from, to] : places) {
    error |= posix_spawn_file_actions_adddup2(&spawn.actions, from, to);
  }
  // Everything of ours is close-on-exec; descriptors of the embedding program
  // and what it inherited itself may not be.
  error |= posix_spawn_file_actions_addclosefrom_np(&spawn.actions,
                                                    kStatusPageFd + 1);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  error |= posix_spawnattr_setsigmask(&spawn.attributes, &none);
  error |= posix_spawnattr_setsigdefault(&spawn.attributes, &all);
  error |= posix_spawnattr_setpgroup(&spawn.attributes, 0);
  error |= posix_spawnattr_setflags(
      &spawn.attributes,
      POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  if (error != 0) {
    return absl::ResourceExhaustedError("no memory to start a process");
  }

  std::vector<std::string> arguments = {options.executable};
  arguments.insert(arguments.end(), options.arguments.begin(),
                   options.arguments.end());
  std::vector<std::string> environment = MergeEnvironment(options.environment);

  Register& children = JobChildren();
  // Held over the start, so that a scan by another supervisor of this process
  // that sees the new child also finds it registered.
  absl::MutexLock lock(&children.mu);
  pid_t pid = 0;
  error = posix_spawn(&pid, options.executable.c_str(), &spawn.actions,
                      &spawn.attributes, Pointers(arguments).data(),
                      Pointers(environment).data());
  if (error != 0) return ErrnoStatus(error, "start", options.executable);
  children.pids.insert(pid);
  return pid;
}

}  // namespace

absl::StatusOr<SpawnedChild> SpawnChild(const ChildOptions& options) {
  SpawnedChild child;
  child.status.reset(StatusPageMapping::CreateOrNull());
  if (child.status == nullptr) {
    return absl::ResourceExhaustedError("no memory for a status page");
  }
  child.status->page().supervisor_stop_limit_ms.store(
      static_cast<uint64_t>(absl::ToInt64Milliseconds(options.stop_limit)),
      std::memory_order_relaxed);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoStatus(errno, "create", "task socket");
  }
  child.socket = UniqueFd(ends[0]);
  UniqueFd theirs(ends[1]);
  MR_ASSIGN_OR_RETURN(const UniqueFd their_socket, CopyUp(theirs.get()));
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return ErrnoStatus(errno, "create", "log pipe");
  }
  child.log = UniqueFd(ends[0]);
  theirs = UniqueFd(ends[1]);
  MR_ASSIGN_OR_RETURN(const UniqueFd their_log, CopyUp(theirs.get()));
  MR_ASSIGN_OR_RETURN(const UniqueFd their_page, CopyUp(child.status->fd()));
  fcntl(child.socket.get(), F_SETFL, O_NONBLOCK);
  fcntl(child.log.get(), F_SETFL, O_NONBLOCK);

  MR_ASSIGN_OR_RETURN(child.pid, Spawn(options, their_socket.get(),
                                       their_log.get(), their_page.get()));
  child.process = UniqueFd(PidfdOpen(child.pid));
  if (!child.process.valid()) {
    const int error = errno;
    kill(child.pid, SIGKILL);
    // Not reaped at once, so that no orphan's pid is taken for it.
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT);
    ReapJobChild(child.pid);
    return ErrnoStatus(error, "open process descriptor of", options.executable);
  }
  child.statm = UniqueFd(
      open(Cat("/proc/", child.pid, "/statm").c_str(), O_RDONLY | O_CLOEXEC));
  return child;
}

bool IsJobChild(pid_t pid) {
  Register& children = JobChildren();
  absl::MutexLock lock(&children.mu);
  return children.pids.contains(pid);
}

std::optional<int> ReapJobChild(pid_t pid) {
  Register& children = JobChildren();
  // Both steps at once: a new child may get this number as soon as it is free.
  absl::MutexLock lock(&children.mu);
  int status = 0;
  pid_t reaped;
  do {
    reaped = waitpid(pid, &status, WNOHANG);
  } while (reaped < 0 && errno == EINTR);
  if (reaped == 0) return std::nullopt;
  children.pids.erase(pid);
  return reaped < 0 ? 0 : status;
}

}  // namespace millrace::supervisor
