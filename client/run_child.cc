#include "client/run_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "client/spawn.h"
#include "common/errno_status.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/pidfd.h"
#include "supervisor/unique_fd.h"

namespace millrace::client {
namespace {

using supervisor::UniqueFd;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "create", "pipe");
  Pipe made{UniqueFd(ends[0]), UniqueFd(ends[1])};
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return made;
}

// Reads what is there; keeps `kept` bytes at most. Returns false once there is
// more than that.
bool Drain(UniqueFd& fd, std::string& text, size_t kept) {
  char buffer[16 << 10];
  bool fits = true;
  while (fd.valid()) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n > 0) {
      const size_t room = kept - std::min(kept, text.size());
      fits = fits && static_cast<size_t>(n) <= room;
      text.append(buffer, std::min(static_cast<size_t>(n), room));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    fd.Reset();
  }
  return fits;
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const ChildCommand& command,
                                     Clock& clock) {
  MR_ASSIGN_OR_RETURN(Pipe out, MakePipe());
  MR_ASSIGN_OR_RETURN(Pipe err, MakePipe());
  MR_ASSIGN_OR_RETURN(const pid_t pid, Spawn({.executable = command.executable,
                                              .arguments = command.arguments,
                                              .stdout_fd = out.write.get(),
                                              .stderr_fd = err.write.get()}));
  out.write.Reset();
  err.write.Reset();
  const UniqueFd process(supervisor::PidfdOpen(pid));
  if (!process.valid()) {
    const int error = errno;
    kill(-pid, SIGKILL);
    WaitFor(pid);
    return ErrnoStatus(error, "watch", command.executable);
  }

  ChildResult result;
  const absl::Duration deadline = clock.Monotonic() + command.timeout;
  bool ended = false;
  while (!ended) {
    pollfd fds[] = {{process.get(), POLLIN, 0},
                    {out.read.get(), POLLIN, 0},
                    {err.read.get(), POLLIN, 0}};
    const int64_t left_ms = absl::ToInt64Milliseconds(
        absl::Ceil(deadline - clock.Monotonic(), absl::Milliseconds(1)));
    if (left_ms <= 0) result.timed_out = true;
    if (result.timed_out || result.too_long) break;
    poll(fds, 3, static_cast<int>(std::min<int64_t>(left_ms, 60'000)));
    ended = (fds[0].revents & POLLIN) != 0;
    if (!Drain(out.read, result.out, command.stdout_bytes_max)) {
      result.too_long = true;
    }
    Drain(err.read, result.err, command.stderr_bytes_kept);
  }
  // Before it is reaped: its pid still names its group and nobody else's.
  kill(-pid, SIGKILL);
  const int status = WaitFor(pid);
  if (WIFSIGNALED(status)) {
    result.signal = WTERMSIG(status);
  } else {
    result.exit_code = WEXITSTATUS(status);
  }
  return result;
}

}  // namespace millrace::client
