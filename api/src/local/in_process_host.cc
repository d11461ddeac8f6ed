// Attempts in the thread of the local run, one after the other: what a debugger
// wants. The code under it is the same as in a job process; what is missing is
// what processes give: crashes, hangs and memory are not contained.
#include <deque>

#include "api/src/local/task_host.h"
#include "api/src/task/attempt.h"
#include "common/file_system.h"
#include "common/strings.h"
#include "supervisor/exit_message.h"
#include "supervisor/status_page.h"

namespace millrace::local {
namespace {

class InProcessHost final : public TaskHost {
 public:
  InProcessHost(const internal::JobDefinition& job,
                const proto::Configure& configure)
      : page_(std::make_unique<supervisor::StatusPage>()),
        env_(job, configure, *page_, FileSystem::Posix()) {}

  absl::Status Start(int slot) override {
    events_.push_back(SlotReady{slot});
    return absl::OkStatus();
  }

  void Run(int slot, const proto::RunTask& task) override {
    queue_.emplace_back(slot, task);
  }

  void Retire(int slot) override {
    events_.push_back(SlotGone{slot, std::nullopt});
  }

  absl::StatusOr<std::vector<Event>> Wait(absl::Duration) override {
    if (events_.empty() && !queue_.empty()) {
      const auto [slot, run] = std::move(queue_.front());
      queue_.pop_front();
      task::AttemptOutcome outcome = task::RunAttempt(env_, run);
      if (auto* done = std::get_if<proto::TaskDone>(&outcome)) {
        events_.push_back(AttemptSucceeded{slot, std::move(*done)});
      } else {
        const auto& failed = std::get<proto::TaskFailed>(outcome);
        Failure failure;
        failure.cause = failed.cause();
        failure.message = Cat(failed.message(), Position());
        failure.stack = failed.stack();
        failure.map_index = failed.map_index();
        failure.retryable = failed.retryable();
        if (failed.cause() == proto::USER_EXCEPTION) {
          failure.bad_record = supervisor::RecordAtFault(
              *page_, failure.cause, failure.message, failure.stack);
        }
        events_.push_back(AttemptFailed{slot, std::move(failure)});
      }
    }
    return std::exchange(events_, {});
  }

  uint64_t RunningInputBytes(int) override {
    return page_->input_bytes.load(std::memory_order_relaxed);
  }

 private:
  // ", in map, /data/x offset 17 (record 3)", as the supervisor writes it.
  std::string Position() const { return supervisor::PositionSuffix(*page_); }

  const std::unique_ptr<supervisor::StatusPage> page_;
  task::TaskEnvironment env_;
  std::deque<std::pair<int, proto::RunTask>> queue_;
  std::vector<Event> events_;
};

}  // namespace

std::unique_ptr<TaskHost> MakeInProcessHost(const internal::JobDefinition& job,
                                            const proto::Configure& configure) {
  return std::make_unique<InProcessHost>(job, configure);
}

}  // namespace millrace::local
