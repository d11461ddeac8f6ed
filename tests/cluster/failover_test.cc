// Workers and the master die in the middle of a job whose tasks take a fixed
// time. MILLRACE_FAULT_REPEATS says how often each case runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <set>
#include <string>

#include "common/clock.h"
#include "common/random.h"
#include "common/strings.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

class FailoverTest : public BehaviourTest {
 protected:
  // 6 maps of 20 records; so many milliseconds a record.
  static constexpr int kRecordMs = 40;

  void WaitForMaps(const std::string& job, int done) {
    EXPECT_TRUE(WaitUntil([&] {
      return StatusNumber(job, "maps", "done") >= done;
    })) << "maps done: "
        << StatusNumber(job, "maps", "done");
  }
  void ExpectSuccess(const std::string& job, const std::string& output) {
    const ProgramResult waited = cluster_->Cli({"wait", job});
    ASSERT_EQ(waited.exit_code, 0) << waited;
    EXPECT_EQ(StatusText(job, "state"), "SUCCEEDED");
    ExpectRightCounts(output);
  }
  // Until the list no longer shows the worker as up.
  absl::Duration TimeUntilNotUp(int up_before) {
    Clock& clock = Clock::Real();
    const absl::Duration began = clock.Monotonic();
    cluster_->WaitForWorkers(up_before - 1);
    return clock.Monotonic() - began;
  }
};

TEST_F(FailoverTest, JobSurvivesAKilledWorkerAtAnyTime) {
  for (const int done : {1, 3, 5}) {
    SCOPED_TRACE(Cat("killed when ", done, " of 6 maps are done"));
    StartCluster({.workers = 3, .slots = 1});
    const std::string output = Cat("out", done);
    const std::string job = SubmitDetached("slow", {}, kRecordMs, output);
    WaitForMaps(job, done);
    cluster_->worker(1).Kill();
    EXPECT_LE(TimeUntilNotUp(3), absl::Seconds(3));
    ExpectSuccess(job, output);
    // What ran there, and what it held, at most: one attempt and some maps.
    EXPECT_LE(StatusNumber(job, "attempts", "launched"), 1 + 6 + 3 + 5);
    EXPECT_EQ(StatusNumber(job, "attempts", "failed"), 0);
    cluster_.reset();
    std::filesystem::remove(data_ / "traces/log");
  }
}

TEST_F(FailoverTest, JobSurvivesASilentWorker) {
  StartCluster({.workers = 3, .slots = 1});
  const std::string job = SubmitDetached("slow", {}, kRecordMs);
  WaitForMaps(job, 2);
  cluster_->worker(1).Signal(SIGSTOP);
  EXPECT_LE(TimeUntilNotUp(3), absl::Seconds(13));
  ExpectSuccess(job, "out");
  // The zombie comes back as a new incarnation, and can be used again.
  cluster_->worker(1).Signal(SIGCONT);
  cluster_->WaitForWorkers(3);
  const std::string next = SubmitDetached("plain", {}, 0, "next");
  ExpectSuccess(next, "next");
}

TEST_F(FailoverTest, RunningTasksSurviveARestartOfTheMaster) {
  StartCluster({.workers = 2, .slots = 1});
  const uint64_t seed = 7;
  SCOPED_TRACE(Cat("seed ", seed));
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  const std::string job =
      SubmitDetached("slow", {"--speculation=off"}, kRecordMs);
  for (int i = 0; i < 3; ++i) {
    WaitForMaps(job, static_cast<int>(random->Uniform(2)) + 2 * i);
    cluster_->RestartMaster();
  }
  ExpectSuccess(job, "out");
  // No task ran twice: neither those that had finished nor those that ran.
  for (const auto& [task, attempts] : AttemptsByTask()) {
    EXPECT_EQ(attempts, 1) << task;
  }
}

TEST_F(FailoverTest, AcknowledgedSubmitSurvivesTheMaster) {
  StartCluster({.workers = 1, .slots = 1});
  const std::string job = SubmitDetached("plain");
  cluster_->RestartMaster();
  ExpectSuccess(job, "out");
}

TEST_F(FailoverTest, RestartedWorkerOffersWhatItHolds) {
  StartCluster({.workers = 1, .slots = 1});
  const std::string job = SubmitDetached("slow", {}, kRecordMs);
  WaitForMaps(job, 4);
  cluster_->worker(0).Kill();
  cluster_->worker(0).Start();
  cluster_->worker(0).WaitForAddress();
  ExpectSuccess(job, "out");
  // The four that were done are not done again.
  int again = 0;
  for (const auto& [task, attempts] : AttemptsByTask()) again += attempts > 1;
  EXPECT_LE(again, 1) << "only what ran when it was killed";
}

}  // namespace
}  // namespace millrace
