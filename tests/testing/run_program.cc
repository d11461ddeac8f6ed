#include "tests/testing/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/clock.h"
#include "common/logging.h"
#include "common/strings.h"

extern char** environ;

namespace millrace {
namespace {

// So much of each output is kept; a flood beyond it is read and dropped.
constexpr size_t kOutputBytesMax = 64 << 20;

// How often a condition that nothing signals is asked again.
constexpr absl::Duration kPollInterval = absl::Milliseconds(5);

// The C library's own declaration lacks C linkage in glibc 2.36.
int OpenPidFd(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

struct Pipe {
  Pipe() { CHECK_EQ(pipe2(fds, O_CLOEXEC), 0) << std::strerror(errno); }
  int fds[2];
};

// Reads what is there without waiting; closes at the end of the stream.
void Drain(int* fd, std::string* text) {
  char buffer[64 << 10];
  while (*fd >= 0) {
    const ssize_t n = read(*fd, buffer, sizeof buffer);
    if (n > 0) {
      const size_t room =
          kOutputBytesMax - std::min(kOutputBytesMax, text->size());
      text->append(buffer, std::min(static_cast<size_t>(n), room));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    close(*fd);
    *fd = -1;
  }
}

int PollTimeout(absl::Duration duration) {
  const int64_t ms =
      absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1)));
  return static_cast<int>(std::clamp<int64_t>(ms, 0, 60'000));
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::ostream& operator<<(std::ostream& os, const ProgramResult& result) {
  if (result.timed_out) {
    os << "killed at the deadline";
  } else if (result.signal != 0) {
    os << "ended by signal " << result.signal;
  } else {
    os << "exit code " << result.exit_code;
  }
  return os << " after " << absl::FormatDuration(result.elapsed)
            << "\nstdout: " << result.out.substr(0, 4000)
            << "\nstderr: " << result.err.substr(0, 4000);
}

RunningProgram::RunningProgram(const ProgramOptions& options)
    : deadline_(options.deadline), started_(Clock::Real().Monotonic()) {
  Pipe out;
  Pipe err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.fds[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err.fds[1], 2);
  if (!options.directory.empty()) {
    posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
  }
  std::vector<std::string> argv = options.argv;
  std::vector<std::string> environment = options.environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool replaced =
        std::any_of(options.environment.begin(), options.environment.end(),
                    [&](const std::string& ours) {
                      return ours.compare(0, name.size(), name) == 0;
                    });
    if (!replaced) environment.emplace_back(text);
  }
  // However the tests were started, with nohup or in the background, the
  // program meets signals as it does under a terminal.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const int error =
      posix_spawn(&pid_, argv.at(0).c_str(), &actions, &attributes,
                  Pointers(argv).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(out.fds[1]);
  close(err.fds[1]);
  out_fd_ = out.fds[0];
  err_fd_ = err.fds[0];
  fcntl(out_fd_, F_SETFL, O_NONBLOCK);
  fcntl(err_fd_, F_SETFL, O_NONBLOCK);
  CHECK_EQ(error, 0) << "posix_spawn " << argv[0] << ": "
                     << std::strerror(error);
  pid_fd_ = OpenPidFd(pid_);
  CHECK_GE(pid_fd_, 0) << "pidfd_open: " << std::strerror(errno);
}

RunningProgram::~RunningProgram() {
  if (!ended_) {
    Signal(SIGKILL);
    Wait();
  }
  for (const int fd : {pid_fd_, out_fd_, err_fd_}) {
    if (fd >= 0) close(fd);
  }
}

void RunningProgram::Signal(int signal) {
  if (!ended_) kill(pid_, signal);
}

bool RunningProgram::Pump(absl::Duration timeout) {
  if (ended_) return true;
  const absl::Duration elapsed = Clock::Real().Monotonic() - started_;
  if (elapsed >= deadline_ && !result_.timed_out) {
    result_.timed_out = true;
    Signal(SIGKILL);
  }
  pollfd fds[] = {
      {pid_fd_, POLLIN, 0}, {out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}};
  if (!result_.timed_out) timeout = std::min(timeout, deadline_ - elapsed);
  poll(fds, 3, PollTimeout(timeout));
  Drain(&out_fd_, &result_.out);
  Drain(&err_fd_, &result_.err);
  if ((fds[0].revents & POLLIN) == 0) return false;

  int status = 0;
  rusage usage{};
  CHECK_EQ(wait4(pid_, &status, 0, &usage), pid_) << std::strerror(errno);
  ended_ = true;
  Drain(&out_fd_, &result_.out);
  Drain(&err_fd_, &result_.err);
  result_.elapsed = Clock::Real().Monotonic() - started_;
  result_.peak_rss_bytes = static_cast<uint64_t>(usage.ru_maxrss) << 10;
  if (WIFSIGNALED(status)) {
    result_.signal = WTERMSIG(status);
  } else {
    result_.exit_code = WEXITSTATUS(status);
  }
  return true;
}

bool RunningProgram::WaitUntil(const std::function<bool()>& condition) {
  while (!condition()) {
    if (Pump(kPollInterval)) return condition();
    if (result_.timed_out) return false;
  }
  return true;
}

ProgramResult RunningProgram::Wait() {
  while (!Pump(absl::InfiniteDuration())) {
  }
  return result_;
}

ProgramResult RunProgram(const ProgramOptions& options) {
  return RunningProgram(options).Wait();
}

bool ProcessEnds(pid_t pid, absl::Duration patience) {
  const int fd = OpenPidFd(pid);
  if (fd < 0) return errno == ESRCH;
  pollfd poll_fd = {fd, POLLIN, 0};
  const int ready = poll(&poll_fd, 1, PollTimeout(patience));
  close(fd);
  return ready == 1;
}

}  // namespace millrace
