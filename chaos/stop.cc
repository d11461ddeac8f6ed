// SIGSTOP and SIGCONT: of a daemon or of a job process.
#include <signal.h>

#include <cerrno>

#include "chaos/nemesis.h"
#include "common/errno_status.h"
#include "common/strings.h"
#include "supervisor/pidfd.h"
#include "supervisor/unique_fd.h"

namespace millrace::chaos {
namespace {

// As /proc names a process that a signal has stopped.
constexpr char kStopped[] = "T";

class Stop final : public Nemesis {
 public:
  Stop(const PlannedFault& fault, Subject& subject)
      : fault_(fault), subject_(subject) {}

  absl::Status Begin() override {
    process_ = subject_.identity;
    if (fault_.kind == FaultKind::kStopTask) {
      const auto processes = JobProcessesOf(subject_);
      if (processes.empty()) {
        return absl::NotFoundError("it has no job process");
      }
      process_ = processes[fault_.detail % processes.size()];
    }
    pidfd_ = supervisor::UniqueFd(supervisor::PidfdOpen(process_.pid));
    if (!pidfd_.valid() || !client::IsRunning(process_)) {
      return absl::NotFoundError("it does not run");
    }
    if (supervisor::PidfdSendSignal(pidfd_.get(), SIGSTOP) != 0) {
      return ErrnoStatus(errno, "stop process", Cat(process_.pid));
    }
    stopped_ = AwaitState(process_, kStopped);
    return absl::OkStatus();
  }

  Effect End() override {
    // Who is killed meanwhile was stopped until then.
    const bool killed = !client::IsRunning(process_);
    const bool still = !killed && AwaitState(process_, kStopped);
    supervisor::PidfdSendSignal(pidfd_.get(), SIGCONT);
    return {stopped_ && (still || killed),
            Cat("pid ", process_.pid,
                !stopped_ ? " did not stop"
                : killed  ? " stood still until it was killed"
                : still   ? " stood still"
                          : " was continued by somebody else")};
  }

 private:
  const PlannedFault fault_;
  Subject& subject_;
  client::ProcessIdentity process_;
  supervisor::UniqueFd pidfd_;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<Nemesis> MakeStop(const PlannedFault& fault, Subject& subject) {
  return std::make_unique<Stop>(fault, subject);
}

}  // namespace millrace::chaos
