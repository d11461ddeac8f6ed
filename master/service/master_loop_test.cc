#include "master/service/master_loop.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "common/strings.h"

namespace millrace::master {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

// A log of a group of one without a disk. Takes `bytes_max` at a time; what is
// proposed is committed when the test says so, or at once.
class MemoryLog final : public raft::ReplicatedLog {
 public:
  MemoryLog(MasterLoop& loop, size_t bytes_max)
      : loop_(loop), bytes_max_(bytes_max) {}

  absl::Status Propose(uint64_t term,
                       std::vector<std::string> payloads) override {
    size_t bytes = 0;
    for (const std::string& payload : payloads) bytes += payload.size();
    if (bytes > bytes_max_) {
      return absl::InvalidArgumentError("the proposal is too long");
    }
    absl::MutexLock lock(&mu_);
    if (waiting_bytes_ + bytes > bytes_max_) {
      ++refused_;
      return absl::ResourceExhaustedError("too much waits");
    }
    waiting_bytes_ += bytes;
    for (std::string& payload : payloads) {
      waiting_.push_back({++index_, term, std::move(payload)});
    }
    if (!hold_) CommitLocked();
    return absl::OkStatus();
  }

  void Hold() {
    absl::MutexLock lock(&mu_);
    hold_ = true;
  }
  // Waits until it had to refuse something, and lets go.
  void ReleaseWhenFull() {
    absl::MutexLock lock(&mu_);
    const auto full = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return refused_ > 0;
    };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&full), kPatience))
        << "nothing was refused";
    hold_ = false;
    CommitLocked();
  }

 private:
  void CommitLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    loop_.OnCommitted(std::exchange(waiting_, {}));
    waiting_bytes_ = 0;
  }

  MasterLoop& loop_;
  const size_t bytes_max_;
  absl::Mutex mu_;
  bool hold_ ABSL_GUARDED_BY(mu_) = false;
  int refused_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t index_ ABSL_GUARDED_BY(mu_) = 0;
  size_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<raft::CommittedEntry> waiting_ ABSL_GUARDED_BY(mu_);
};

void AwaitLeading(MasterLoop& loop) {
  for (bool leads = false; !leads;) {
    absl::Notification looked;
    loop.Read(
        [&](const absl::Status& status, const State&, const SchedulerCore&) {
          leads = status.ok();
          looked.Notify();
        });
    looked.WaitForNotification();
  }
}

TEST(MasterLoopTest, MoreEntriesThanTheLogTakesAtATimeAreAllWritten) {
  const std::unique_ptr<Random> random = Random::Seeded(1);
  MasterLoop loop({}, Clock::Real(), *random);
  WorkerStreams streams(loop);
  MemoryLog log(loop, 16 << 20);
  loop.Start(log, *ClusterId::FromHex(std::string(32, 'c')), streams);
  loop.OnLeading(1);
  AwaitLeading(loop);

  // While the loop is held up, more is submitted than the log ever takes.
  absl::Notification go_on;
  loop.Read([&](const absl::Status&, const State&, const SchedulerCore&) {
    go_on.WaitForNotification();
  });
  log.Hold();
  constexpr int kJobs = 40;
  absl::BlockingCounter answers(kJobs);
  for (int i = 0; i < kJobs; ++i) {
    proto::JobSpec spec;
    spec.set_name("job");
    spec.set_program_sha256(std::string(32, 'p'));
    spec.add_inputs("/in");
    spec.add_arguments(std::string(1'000'000, 'a'));
    spec.set_output(Cat("/out", i));
    loop.Submit(RequestId::Generate(*random), std::move(spec),
                [&](const Reply& reply) {
                  EXPECT_TRUE(reply.status.ok()) << reply.status;
                  answers.DecrementCount();
                });
  }
  go_on.Notify();
  log.ReleaseWhenFull();
  answers.Wait();

  absl::Notification counted;
  loop.Read([&](const absl::Status&, const State& state, const SchedulerCore&) {
    EXPECT_EQ(state.jobs().size(), static_cast<size_t>(kJobs));
    counted.Notify();
  });
  counted.WaitForNotification();
  loop.Stop();
}

}  // namespace
}  // namespace millrace::master
