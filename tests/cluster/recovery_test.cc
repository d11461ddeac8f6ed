// What the loss of a worker or of the master costs, measured: jobs whose tasks
// take a fixed time, so that the slots decide how long a job takes and not the
// machine. The bounds are those that users are promised; the figures are
// printed, one line each. Minutes: a test of ./test --long.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "common/strings.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

constexpr int kMaps = 60;
constexpr int kRecordsOfMap = 6;
constexpr int kRecordMs = 150;
constexpr int kWorkers = 3;
constexpr absl::Duration kMapTime =
    absl::Milliseconds(kRecordsOfMap * kRecordMs);

class RecoveryTest : public BehaviourTest {
 protected:
  RecoveryTest() : BehaviourTest(kMaps * kRecordsOfMap, kMaps) {}

  absl::Duration Now() const { return Clock::Real().Monotonic(); }

  // Maps that are in the spool of that worker, as the disk says.
  int MapsHeldBy(int worker) const {
    int held = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             cluster_->SpoolOf(worker))) {
      held += entry.path().extension() == ".map";
    }
    return held;
  }
  int Executions() const { return static_cast<int>(Traces().size()); }

  // Submits, waits until so many maps are done, lets `fault` do its harm to
  // worker 1, and checks what is promised.
  void LoseWorkerAt(int percent, int signal, absl::Duration detection_max) {
    LoseWorkersAt(percent, signal, detection_max, kWorkers, 1);
  }

  // Of `workers`, those from 1 on, so many.
  void LoseWorkersAt(int percent, int signal, absl::Duration detection_max,
                     int workers, int lost) {
    SCOPED_TRACE(
        Cat(percent, " %, signal ", signal, ", ", lost, " of ", workers));
    StartCluster({.workers = workers, .slots = 1});
    const std::string output =
        Cat("out", percent, ".", signal, ".", workers, ".", lost);
    const std::string job =
        SubmitDetached("slow", {"--speculation=off"}, kRecordMs, output);
    const int done = kMaps * percent / 100;
    ASSERT_TRUE(
        WaitUntil([&] { return StatusNumber(job, "maps", "done") >= done; },
                  absl::Seconds(120)));
    const int done_then = StatusNumber(job, "maps", "done");
    for (int i = 1; i <= lost; ++i) cluster_->worker(i).Signal(signal);
    const absl::Duration lost_at = Now();
    int held = 0;
    for (int i = 1; i <= lost; ++i) held += MapsHeldBy(i);
    cluster_->WaitForWorkers(workers - lost);
    const absl::Duration detection = Now() - lost_at;
    const ProgramResult waited = cluster_->Cli({"wait", job});
    const absl::Duration rest = Now() - lost_at;
    ASSERT_EQ(waited.exit_code, 0) << waited;
    ExpectRightCounts(output);

    const int again = Executions() - kMaps - kReducers;
    // From the loss on the slots that are left have all of this to do, a map
    // that ran on each counted whole.
    const int left = kMaps - done_then + held;
    const absl::Duration ideal =
        kMapTime * std::ceil(static_cast<double>(left) / (workers - lost));
    std::printf(
        "[ FIGURE ] %d of %d workers %s at %d %%: %d maps done, %d of them "
        "lost; noticed "
        "after %.2f s; %d executions again; job ended %.1f s later, ideal from "
        "the slots left %.1f s\n",
        lost, workers, signal == SIGKILL ? "killed" : "stopped", percent,
        done_then, held, absl::ToDoubleSeconds(detection), again,
        absl::ToDoubleSeconds(rest), absl::ToDoubleSeconds(ideal));
    EXPECT_LE(detection, detection_max);
    // What they held, those that ran there, and second attempts of slow tasks.
    EXPECT_LE(again,
              held + lost + StatusNumber(job, "attempts", "speculative"));
    EXPECT_LE(rest, ideal * 1.15 + detection);
    for (int i = 1; i <= lost; ++i) cluster_->worker(i).Signal(SIGCONT);
    cluster_.reset();
    std::filesystem::remove(data_ / "traces/log");
  }
};

TEST_F(RecoveryTest, KilledWorkerCostsWhatItHeldAndNoMore) {
  for (const int percent : {30, 60, 90}) {
    LoseWorkerAt(percent, SIGKILL, absl::Seconds(2));
    if (HasFailure()) return;
  }
}

TEST_F(RecoveryTest, OneOrTwoOfSixCostTheirSlots) {
  for (const int lost : {1, 2}) {
    LoseWorkersAt(50, SIGKILL, absl::Seconds(2), 6, lost);
    if (HasFailure()) return;
  }
}

TEST_F(RecoveryTest, SilentWorkerIsDoneWithout) {
  LoseWorkerAt(30, SIGSTOP, absl::Seconds(12));
}

// Stopped for 30 s and no longer: it comes back while the job runs, and what it
// says then of its old self counts for nothing.
TEST_F(RecoveryTest, WorkerThatStoppedForHalfAMinuteHarmsNothing) {
  StartCluster({.workers = kWorkers, .slots = 1});
  const std::string job = SubmitDetached("slow", {}, 5 * kRecordMs);
  ASSERT_TRUE(
      WaitUntil([&] { return StatusNumber(job, "maps", "done") >= 6; }));
  cluster_->worker(1).Signal(SIGSTOP);
  const absl::Duration stopped_at = Now();
  cluster_->WaitForWorkers(kWorkers - 1);
  ASSERT_TRUE(WaitUntil([&] { return Now() - stopped_at > absl::Seconds(30); },
                        absl::Seconds(60)));
  cluster_->worker(1).Signal(SIGCONT);
  cluster_->WaitForWorkers(kWorkers);
  const ProgramResult waited =
      RunProgram(cluster_->Command({"wait", job}, absl::Seconds(400)));
  ASSERT_EQ(waited.exit_code, 0) << waited;
  ExpectRightCounts();
}

// Ten random moments in one job, a restart each.
TEST_F(RecoveryTest, MasterKilledTenTimesCostsNoTask) {
  const char* given = std::getenv("MILLRACE_SEED");
  const uint64_t seed = given == nullptr ? 1 : std::stoull(given);
  SCOPED_TRACE(Cat("MILLRACE_SEED=", seed));
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  StartCluster({.workers = kWorkers, .slots = 1});
  const std::string job =
      SubmitDetached("slow", {"--speculation=off"}, kRecordMs);
  const absl::Duration began = Now();
  // The maps take a third of 54 s; kills fall into the first 17.
  std::vector<absl::Duration> moments;
  for (int i = 0; i < 10; ++i) {
    moments.push_back(
        absl::Milliseconds(static_cast<int64_t>(random->Uniform(17'000))));
  }
  std::sort(moments.begin(), moments.end());
  int kills_in_job = 0;
  for (const absl::Duration moment : moments) {
    ASSERT_TRUE(WaitUntil([&] { return Now() - began >= moment; }));
    kills_in_job += StatusText(job, "state") == "RUNNING";
    cluster_->RestartMaster();
  }
  const ProgramResult waited = cluster_->Cli({"wait", job});
  ASSERT_EQ(waited.exit_code, 0) << waited;
  const absl::Duration elapsed = Now() - began;
  ExpectRightCounts();
  int again = 0;
  for (const auto& [task, attempts] : AttemptsByTask()) {
    EXPECT_EQ(attempts, 1) << task;
    again += attempts - 1;
  }
  std::printf(
      "[ FIGURE ] master killed and restarted 10 times, %d of them while tasks "
      "ran: job ended after %.1f s (its slots need %.1f s), %d executions "
      "again\n",
      kills_in_job, absl::ToDoubleSeconds(elapsed),
      absl::ToDoubleSeconds(kMapTime * kMaps / kWorkers), again);
  EXPECT_EQ(kills_in_job, 10);
}

}  // namespace
}  // namespace millrace
