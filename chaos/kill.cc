// SIGKILL: of a daemon, which is started again afterwards, or of a job process,
// which its worker replaces.
#include <signal.h>

#include <cerrno>

#include "chaos/nemesis.h"
#include "common/errno_status.h"
#include "common/strings.h"
#include "supervisor/pidfd.h"
#include "supervisor/unique_fd.h"

namespace millrace::chaos {
namespace {

// Exactly that process, or nobody; waits until it has ended.
absl::Status Kill(const client::ProcessIdentity& process) {
  const supervisor::UniqueFd pidfd(supervisor::PidfdOpen(process.pid));
  // The check comes after the opening: now the number cannot change hands.
  if (!pidfd.valid() || !client::IsRunning(process)) {
    return absl::NotFoundError("it does not run");
  }
  if (supervisor::PidfdSendSignal(pidfd.get(), SIGKILL) != 0) {
    return ErrnoStatus(errno, "kill process", Cat(process.pid));
  }
  if (!AwaitState(process, "")) {
    return absl::DeadlineExceededError(
        Av(Cat("process ", process.pid, " does not end")));
  }
  return absl::OkStatus();
}

class KillDaemon final : public Nemesis {
 public:
  explicit KillDaemon(Subject& subject) : subject_(subject) {}

  absl::Status Begin() override {
    // Before: it must not look as if it had ended by itself.
    subject_.killed = true;
    const pid_t pid = subject_.identity.pid;
    const absl::Status killed = Kill(subject_.identity);
    if (!killed.ok()) {
      subject_.killed = false;
      return killed;
    }
    pid_ = pid;
    return absl::OkStatus();
  }

  Effect End() override {
    const bool down = !subject_.running();
    const absl::Status started = StartAgain(subject_);
    if (!started.ok()) {
      return {down, Cat("pid ", pid_, " ended; cannot be started again: ",
                        ToStd(started.message()))};
    }
    return {down, Cat("pid ", pid_, " ended, started again as pid ",
                      subject_.identity.pid)};
  }

 private:
  Subject& subject_;
  pid_t pid_ = 0;
};

class KillTask final : public Nemesis {
 public:
  KillTask(Subject& subject, uint64_t detail)
      : subject_(subject), detail_(detail) {}

  absl::Status Begin() override {
    const auto processes = JobProcessesOf(subject_);
    if (processes.empty()) {
      return absl::NotFoundError("it has no job process");
    }
    process_ = processes[detail_ % processes.size()];
    return Kill(process_);
  }
  Effect End() override {
    return {true, Cat("job process ", process_.pid, " ended")};
  }

 private:
  Subject& subject_;
  const uint64_t detail_;
  client::ProcessIdentity process_;
};

}  // namespace

std::unique_ptr<Nemesis> MakeKill(const PlannedFault& fault, Subject& subject) {
  if (fault.kind == FaultKind::kKillTask) {
    return std::make_unique<KillTask>(subject, fault.detail);
  }
  return std::make_unique<KillDaemon>(subject);
}

}  // namespace millrace::chaos
