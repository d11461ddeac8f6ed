#include "client/local/daemon_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "absl/strings/ascii.h"
#include "client/spawn.h"
#include "common/errno_status.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "supervisor/pidfd.h"
#include "supervisor/process_tree.h"
#include "supervisor/unique_fd.h"

namespace millrace::client {
namespace {

using supervisor::UniqueFd;

// What SIGKILL may take: a process in the middle of a slow write.
constexpr absl::Duration kKillPatience = absl::Seconds(30);

int PollTimeout(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(
      absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1))), 0,
      60'000));
}

// A hold on one process: signals through it reach that one or nobody.
struct Target {
  ProcessIdentity identity;
  UniqueFd process;
};

// Nothing when it has ended.
std::optional<Target> Hold(const ProcessIdentity& identity) {
  Target target{identity, UniqueFd(supervisor::PidfdOpen(identity.pid))};
  // The check comes after the opening: now the number cannot change hands.
  if (!target.process.valid() || !IsRunning(identity)) return std::nullopt;
  return target;
}

std::vector<Target> HoldAll(const std::vector<ProcessIdentity>& identities) {
  std::vector<Target> targets;
  for (const ProcessIdentity& identity : identities) {
    std::optional<Target> target = Hold(identity);
    if (target.has_value()) targets.push_back(*std::move(target));
  }
  return targets;
}

absl::Status Signal(const std::vector<Target>& targets, int signal_number) {
  for (const Target& target : targets) {
    if (supervisor::PidfdSendSignal(target.process.get(), signal_number) != 0 &&
        errno != ESRCH) {
      return ErrnoStatus(errno, "stop process", Cat(target.identity.pid));
    }
  }
  return absl::OkStatus();
}

// Drops those that have ended; returns when none is left or time is up.
void WaitForEnds(std::vector<Target>& targets, absl::Duration patience,
                 Clock& clock) {
  const absl::Duration deadline = clock.Monotonic() + patience;
  while (!targets.empty()) {
    std::vector<pollfd> fds;
    for (const Target& target : targets) {
      fds.push_back({target.process.get(), POLLIN, 0});
    }
    const absl::Duration left = deadline - clock.Monotonic();
    const int ready = poll(fds.data(), fds.size(),
                           PollTimeout(std::max(left, absl::ZeroDuration())));
    for (size_t i = fds.size(); i-- > 0;) {
      if (fds[i].revents == 0) continue;
      // Of this process or, as a rule, of an earlier one: then not ours to
      // collect.
      waitpid(targets[i].identity.pid, nullptr, WNOHANG);
      targets.erase(targets.begin() + static_cast<ptrdiff_t>(i));
    }
    if (ready <= 0 && left <= absl::ZeroDuration()) return;
  }
}

std::vector<ProcessIdentity> DescendantsOf(const std::vector<Target>& targets) {
  supervisor::ProcessTable table;
  std::vector<ProcessIdentity> found;
  if (!table.Scan()) return found;
  for (const Target& target : targets) {
    table.MarkDescendants(target.identity.pid);
  }
  for (const supervisor::ProcessEntry& entry : table.entries()) {
    if (entry.marked && !entry.dead()) {
      found.push_back({entry.pid, entry.start_ticks});
    }
  }
  return found;
}

void Append(std::vector<ProcessIdentity>& to,
            const std::vector<ProcessIdentity>& more) {
  for (const ProcessIdentity& identity : more) {
    if (std::find(to.begin(), to.end(), identity) == to.end()) {
      to.push_back(identity);
    }
  }
}

}  // namespace

std::string BootId() {
  // By hand: files of /proc say that they are empty.
  const UniqueFd file(
      open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  char text[64];
  const ssize_t n = file.valid() ? read(file.get(), text, sizeof text) : -1;
  if (n <= 0) return "";
  return std::string(
      ToStd(absl::StripAsciiWhitespace({text, static_cast<size_t>(n)})));
}

bool IsRunning(const ProcessIdentity& process) {
  if (process.pid <= 0) return false;
  const std::optional<supervisor::ProcessEntry> entry =
      supervisor::ReadProcess(process.pid);
  return entry.has_value() && !entry->dead() &&
         entry->start_ticks == process.start_ticks;
}

absl::StatusOr<ProcessIdentity> StartDaemon(
    const std::string& executable, const std::vector<std::string>& arguments,
    const std::string& log, const std::vector<std::string>& environment) {
  const UniqueFd out(
      open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!out.valid()) return ErrnoStatus(errno, "open", log);
  MR_ASSIGN_OR_RETURN(const pid_t pid, Spawn({.executable = executable,
                                              .arguments = arguments,
                                              .environment = environment,
                                              .stdout_fd = out.get(),
                                              .stderr_fd = out.get(),
                                              .detached = true}));
  // It is our child: its entry stays until we wait for it, dead or alive.
  const std::optional<supervisor::ProcessEntry> entry =
      supervisor::ReadProcess(pid);
  if (!entry.has_value()) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return absl::InternalError("/proc does not show the process just started");
  }
  return ProcessIdentity{pid, entry->start_ticks};
}

absl::Status StopDaemons(const std::vector<ProcessIdentity>& processes,
                         absl::Duration grace, Clock& clock) {
  std::vector<Target> targets = HoldAll(processes);
  std::vector<ProcessIdentity> below = DescendantsOf(targets);
  MR_RETURN_IF_ERROR(Signal(targets, SIGTERM));
  WaitForEnds(targets, grace, clock);
  // What the stubborn ones have started meanwhile.
  Append(below, DescendantsOf(targets));
  MR_RETURN_IF_ERROR(Signal(targets, SIGKILL));
  WaitForEnds(targets, kKillPatience, clock);

  std::vector<Target> left = HoldAll(below);
  MR_RETURN_IF_ERROR(Signal(left, SIGKILL));
  WaitForEnds(left, kKillPatience, clock);
  if (!targets.empty() || !left.empty()) {
    const ProcessIdentity& stuck =
        targets.empty() ? left[0].identity : targets[0].identity;
    return absl::DeadlineExceededError(
        Av(Cat("process ", stuck.pid, " does not end, not even by SIGKILL")));
  }
  return absl::OkStatus();
}

void WaitForEndOfAny(const std::vector<ProcessIdentity>& processes,
                     absl::Duration duration) {
  std::vector<UniqueFd> holds;
  std::vector<pollfd> fds;
  for (const ProcessIdentity& process : processes) {
    holds.emplace_back(supervisor::PidfdOpen(process.pid));
    if (holds.back().valid()) fds.push_back({holds.back().get(), POLLIN, 0});
  }
  poll(fds.data(), fds.size(), PollTimeout(duration));
}

}  // namespace millrace::client
