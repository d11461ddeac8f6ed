// Attempts in child processes, one per slot, over the supervisor.
#include <map>
#include <utility>

#include "api/src/local/task_host.h"
#include "api/src/task/task_mode.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::local {
namespace {

using supervisor::ChildEvent;
using supervisor::ChildId;

// The child executes this very program again, by the name the kernel keeps for
// it: the file may have been replaced since.
constexpr char kOwnExecutable[] = "/proc/self/exe";

class ProcessHost final : public TaskHost {
 public:
  ProcessHost(std::unique_ptr<supervisor::Supervisor> supervisor,
              const JobFlags& flags, const proto::Configure& configure)
      : supervisor_(std::move(supervisor)),
        flags_(flags),
        configure_(configure) {}

  absl::Status Start(int slot) override {
    supervisor::ChildOptions options;
    options.executable = kOwnExecutable;
    options.arguments = {task::kTaskModeArgument};
    options.memory_limit_bytes = flags_.memory_limit_bytes;
    options.log_bytes_max = flags_.log_limit_bytes;
    options.task_timeout = flags_.task_timeout;
    options.task_time_limit = flags_.task_time_limit;
    MR_ASSIGN_OR_RETURN(const ChildId child,
                        supervisor_->Start(options, configure_));
    children_[slot] = child;
    slots_[child] = slot;
    return absl::OkStatus();
  }

  void Run(int slot, const proto::RunTask& task) override {
    const auto found = children_.find(slot);
    if (found == children_.end()) return;
    const absl::Status status = supervisor_->Run(found->second, task);
    // kFailedPrecondition: it has ended, or hung up; kExited will tell how.
    if (status.ok() || absl::IsFailedPrecondition(status)) return;
    supervisor_->Kill(found->second, proto::SPAWN_FAILED,
                      std::string(ToStd(status.message())),
                      /*take_stack=*/false);
  }

  void Retire(int slot) override {
    const auto found = children_.find(slot);
    if (found != children_.end()) supervisor_->Stop(found->second);
  }

  absl::StatusOr<std::vector<Event>> Wait(absl::Duration timeout) override {
    MR_ASSIGN_OR_RETURN(std::vector<ChildEvent> from,
                        supervisor_->Wait(timeout));
    std::vector<Event> events;
    for (ChildEvent& event : from) {
      const auto found = slots_.find(event.child);
      if (found == slots_.end()) continue;
      const int slot = found->second;
      switch (event.kind) {
        case ChildEvent::Kind::kReady:
          events.push_back(SlotReady{slot});
          break;
        case ChildEvent::Kind::kDone:
          events.push_back(AttemptSucceeded{slot, std::move(event.done)});
          break;
        case ChildEvent::Kind::kFailed: {
          Failure failure;
          failure.cause = event.failed.cause();
          failure.message = event.failed.message();
          failure.stack = event.failed.stack();
          failure.log = supervisor_->Log(event.child);
          failure.map_index = event.failed.map_index();
          failure.retryable = event.failed.retryable();
          failure.bad_record = std::move(event.bad_record);
          events.push_back(AttemptFailed{slot, std::move(failure)});
          break;
        }
        case ChildEvent::Kind::kExited: {
          SlotGone gone{slot, std::nullopt};
          if (event.exit.cause != proto::FAILURE_CAUSE_UNSPECIFIED) {
            Failure failure;
            // A task that was given to a process which had ended already, or
            // that never got there, is not what ended it.
            failure.cause = event.exit.was_running_task ? event.exit.cause
                                                        : proto::SPAWN_FAILED;
            failure.message = event.exit.message;
            failure.stack = event.exit.stack;
            failure.log = supervisor_->Log(event.child);
            failure.bad_record = std::move(event.bad_record);
            gone.failure = std::move(failure);
          }
          events.push_back(std::move(gone));
          slots_.erase(found);
          children_.erase(slot);
          break;
        }
      }
    }
    return events;
  }

  uint64_t RunningInputBytes(int slot) override {
    const auto found = children_.find(slot);
    if (found == children_.end()) return 0;
    return supervisor_->Progress(found->second).input_bytes;
  }

 private:
  const std::unique_ptr<supervisor::Supervisor> supervisor_;
  const JobFlags& flags_;
  const proto::Configure& configure_;
  std::map<int, ChildId> children_;
  std::map<ChildId, int> slots_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TaskHost>> MakeProcessHost(
    const JobFlags& flags, const proto::Configure& configure, Clock& clock) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<supervisor::Supervisor> supervisor,
                      supervisor::Supervisor::Create(clock));
  return MakeProcessHost(std::move(supervisor), flags, configure);
}

std::unique_ptr<TaskHost> MakeProcessHost(
    std::unique_ptr<supervisor::Supervisor> supervisor, const JobFlags& flags,
    const proto::Configure& configure) {
  return std::make_unique<ProcessHost>(std::move(supervisor), flags, configure);
}

}  // namespace millrace::local
