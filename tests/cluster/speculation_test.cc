// Second attempts on real processes: whoever wins, the output is the same, and
// nothing counts as failed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/strings.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

// Nine maps of some 0.4 s each, of which the slow worker makes 12 s.
class SpeculationTest : public BehaviourTest {
 protected:
  static constexpr int kMaps = 9;

  SpeculationTest() : BehaviourTest(kMaps * 4, kMaps) {}

  void StartWithSlowWorker() {
    StartCluster({.workers = 3,
                  .slots = 1,
                  .worker_environment = {{2, "BEHAVIOUR_SLOWNESS=30"}}});
  }
};

TEST_F(SpeculationTest, SlowTaskIsOvertakenAndTheOutputIsTheSame) {
  StartWithSlowWorker();
  const std::string job = SubmitDetached("slow", {}, 100);
  const ProgramResult waited = cluster_->Cli({"wait", job});
  ASSERT_EQ(waited.exit_code, 0) << waited;
  ExpectRightCounts();
  ExpectLocalBytes();
  EXPECT_GE(StatusNumber(job, "attempts", "speculative"), 1);
  EXPECT_EQ(StatusNumber(job, "attempts", "failed"), 0);
  EXPECT_EQ(StatusNumber(job, "attempts", "lost"), 0);
  int twice = 0;
  for (const auto& [task, attempts] : AttemptsByTask()) {
    EXPECT_LE(attempts, 2) << task;
    twice += attempts == 2;
  }
  EXPECT_GE(twice, 1);
  // Who was told to stop in time has not begun.
  EXPECT_LE(twice, StatusNumber(job, "attempts", "speculative"));
}

TEST_F(SpeculationTest, OffMeansOnceEach) {
  StartWithSlowWorker();
  const std::string job = SubmitDetached("slow", {"--speculation=off"}, 20);
  const ProgramResult waited = cluster_->Cli({"wait", job});
  ASSERT_EQ(waited.exit_code, 0) << waited;
  ExpectRightCounts();
  EXPECT_EQ(StatusNumber(job, "attempts", "speculative"), 0);
  for (const auto& [task, attempts] : AttemptsByTask()) {
    EXPECT_EQ(attempts, 1) << task;
  }
}

// The slow map and its second attempt both go on under the new leader.
TEST_F(SpeculationTest, NewLeaderGoesOnWithBothAttempts) {
  StartWithSlowWorker();
  const std::string job = SubmitDetached("slow", {}, 250);
  ASSERT_TRUE(WaitUntil([&] {
    return StatusNumber(job, "attempts", "speculative") >= 1;
  })) << cluster_->Logs();
  cluster_->RestartMaster();
  const ProgramResult waited = cluster_->Cli({"wait", job});
  ASSERT_EQ(waited.exit_code, 0) << waited;
  ExpectRightCounts();
  ExpectLocalBytes();
  EXPECT_GE(StatusNumber(job, "attempts", "speculative"), 1);
  EXPECT_EQ(StatusNumber(job, "attempts", "failed"), 0);
  for (const auto& [task, attempts] : AttemptsByTask()) {
    EXPECT_LE(attempts, 2) << task;
  }
}

}  // namespace
}  // namespace millrace
