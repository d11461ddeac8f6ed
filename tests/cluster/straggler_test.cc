// What a slow worker costs a job whose slots decide how long it takes, with and
// without second attempts. The bounds are those that users are promised; the
// figures are printed. Minutes: a test of ./test --long.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "common/clock.h"
#include "common/strings.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

constexpr int kMaps = 160;
constexpr int kRecordsOfMap = 4;
constexpr int kRecordMs = 100;
constexpr int kWorkers = 4;
constexpr int kSlow = 10;

class StragglerTest : public BehaviourTest {
 protected:
  StragglerTest() : BehaviourTest(kMaps * kRecordsOfMap, kMaps) {}

  // From submit to the end of a job, with that worker (-1: none) slowed.
  absl::Duration Run(const std::string& what, int slow,
                     const std::vector<std::string>& flags) {
    SCOPED_TRACE(what);
    MiniCluster::Options options{.workers = kWorkers, .slots = 1};
    if (slow >= 0) {
      options.worker_environment[slow] = Cat("BEHAVIOUR_SLOWNESS=", kSlow);
    }
    StartCluster(options);
    const absl::Duration began = Clock::Real().Monotonic();
    const std::string job = SubmitDetached("slow", flags, kRecordMs, what);
    const ProgramResult waited =
        RunProgram(cluster_->Command({"wait", job}, absl::Seconds(300)));
    const absl::Duration took = Clock::Real().Monotonic() - began;
    EXPECT_EQ(waited.exit_code, 0) << waited;
    ExpectRightCounts(what);
    ExpectLocalBytes(what);
    EXPECT_EQ(StatusNumber(job, "attempts", "failed"), 0);
    second_ = StatusNumber(job, "attempts", "speculative");
    std::printf("[ FIGURE ] %s: %.1f s, %d second attempts\n", what.c_str(),
                absl::ToDoubleSeconds(took), second_);
    cluster_.reset();
    return took;
  }

  int second_ = 0;
};

TEST_F(StragglerTest, SlowWorkerOfFourCostsLessThanAThird) {
  const absl::Duration undisturbed = Run("undisturbed", -1, {});
  const absl::Duration slowed = Run("one-slowed", 1, {});
  EXPECT_GE(second_, 1);
  const absl::Duration alone = Run("without", 1, {"--speculation", "off"});
  EXPECT_EQ(second_, 0);
  std::printf(
      "[ FIGURE ] one worker of %d slowed %d times: %.2f of undisturbed, "
      "without speculation %.2f; its lost slot alone makes %.2f\n",
      kWorkers, kSlow, absl::FDivDuration(slowed, undisturbed),
      absl::FDivDuration(alone, undisturbed),
      kWorkers / (kWorkers - 1 + 1.0 / kSlow));
  EXPECT_LE(slowed, 1.3 * undisturbed);
  EXPECT_LT(slowed, alone);
}

}  // namespace
}  // namespace millrace
