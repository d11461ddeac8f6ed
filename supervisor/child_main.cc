#include "supervisor/child_main.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "common/errno_status.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/crash_handler.h"
#include "supervisor/process_tree.h"
#include "supervisor/stop_detector.h"

namespace millrace::supervisor {
namespace {

// Out of reach of programs that close or reuse the low descriptors.
constexpr int kWatchFdMin = 200;
constexpr size_t kWatchStackBytes = 512 << 10;
// How long the end of this process may wait for that of its descendants.
constexpr unsigned kFarewellSecondsMax = 10;

// Looks at the supervisor within its limit of being stopped.
constexpr int kStopLooks = 8;

struct Watch {
  int fd;
  int look_ms;  // Between two looks at the supervisor; -1: none.
  StopDetector supervisor;
  StatusPage& page;
  ProcessTable table;
};

// Waits for the supervisor's end of the socket to go, which nothing but the
// supervisor's own end can hold back: descendants have this end at most; or for
// a supervisor that is stopped for too long. Reads nothing. POLLHUP means that
// both directions are shut; a supervisor that closes only its sending half
// (Stop) lets the main thread come to its own end.
//
// (PR_SET_PDEATHSIG would be shorter, but it goes off with the thread that
// started us, not with the process, and leaves our descendants running.)
void* WatchSupervisor(void* argument) {
  Watch& watch = *static_cast<Watch*>(argument);
  pollfd wait = {watch.fd, 0, 0};
  while (true) {
    const int n = poll(&wait, 1, watch.look_ms);
    // POLLNVAL: the program closed the descriptor. Whoever holds no socket
    // holds no task; but that is noticed only when something wakes the poll.
    if (n > 0 && wait.revents != 0) break;
    if (n == 0 && watch.supervisor.Look() > kStopLooks) {
      watch.page.supervisor_stopped.store(1, std::memory_order_release);
      // The main thread goes on until the end, without the processes that it
      // may lean on: what it makes of that is no answer.
      shutdown(watch.fd, SHUT_WR);
      break;
    }
  }
  // Should one of the descendants be beyond killing, this ends us nevertheless.
  signal(SIGALRM, SIG_DFL);
  alarm(kFarewellSecondsMax);
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
  KillAndReapOwnDescendants(watch.table);
  _exit(1);
}

absl::Status StartWatch(int fd, StatusPage& page) {
  const uint64_t limit_ms =
      page.supervisor_stop_limit_ms.load(std::memory_order_relaxed);
  const int look_ms = static_cast<int>(std::min<uint64_t>(
      limit_ms / kStopLooks, std::numeric_limits<int>::max()));
  const bool looks = limit_ms > 0 && StopDetector::CanTell();
  auto* watch = new Watch{.fd = fd,  // Never ends.
                          .look_ms = looks ? std::max(look_ms, 1) : -1,
                          .supervisor = StopDetector(getppid()),
                          .page = page,
                          .table = {}};
  // Signals are the main thread's business.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kWatchStackBytes);
  pthread_t thread;
  const int error =
      pthread_create(&thread, &attributes, WatchSupervisor, watch);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return ErrnoStatus(error, "start", "watch of the supervisor");
  return absl::OkStatus();
}

bool IsSocket(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

}  // namespace

absl::StatusOr<ChildSide> EnterTaskMode() {
  // The watch and the crash handlers write there until the very end.
  static StatusPageMapping* const mapping =
      StatusPageMapping::MapOrNull(kStatusPageFd);
  if (!IsSocket(kTaskSocketFd) || mapping == nullptr) {
    return absl::FailedPreconditionError(
        "task mode is entered by a Millrace supervisor, which hands over a "
        "socket and a status page; run the program without the task flag");
  }
  // With few descriptors allowed the socket itself will do.
  const int high = fcntl(kTaskSocketFd, F_DUPFD_CLOEXEC, kWatchFdMin);
  ChildSide side = {nullptr, &mapping->page(), high < 0 ? kTaskSocketFd : high};
  // What user code starts inherits neither.
  fcntl(kTaskSocketFd, F_SETFD, FD_CLOEXEC);
  fcntl(kStatusPageFd, F_SETFD, FD_CLOEXEC);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    return ErrnoStatus(errno, "become", "subreaper");
  }
  MR_RETURN_IF_ERROR(StartWatch(side.watched, *side.status));
  setvbuf(stdout, nullptr, _IOLBF, 0);
  InstallCrashHandlers(side.status);
  side.channel = std::make_unique<BlockingChannel>(kTaskSocketFd);
  return side;
}

void LeaveTaskMode(const ChildSide& side) {
  pollfd socket = {side.watched, 0, 0};
  // With POLLNVAL the watch may never be woken.
  const bool gone =
      poll(&socket, 1, 0) > 0 && (socket.revents & (POLLHUP | POLLERR)) != 0;
  const bool stopped =
      side.status->supervisor_stopped.load(std::memory_order_acquire) != 0;
  while (gone || stopped) pause();
}

bool HasLeftProcesses() {
  while (true) {
    const pid_t pid = waitpid(-1, nullptr, __WALL | WNOHANG);
    if (pid > 0 || (pid < 0 && errno == EINTR)) continue;
    return pid == 0;  // Else ECHILD: no children at all.
  }
}

}  // namespace millrace::supervisor
