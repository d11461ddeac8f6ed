#include "master/scheduler/stage_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/random.h"

namespace millrace::master {
namespace {

constexpr absl::Duration kSecond = absl::Seconds(1);

TEST(StageTimesTest, NothingIsTypicalOfNothing) {
  const StageTimes times;
  EXPECT_EQ(times.Typical(), std::nullopt);
  EXPECT_EQ(times.On(1), std::nullopt);
}

TEST(StageTimesTest, TypicalIsTheMedianToFivePercent) {
  const std::unique_ptr<Random> random = Random::Seeded(7);
  for (int round = 0; round < 200; ++round) {
    StageTimes times;
    std::vector<absl::Duration> all;
    const uint64_t count = 1 + random->Uniform(50);
    for (uint64_t i = 0; i < count; ++i) {
      all.push_back(absl::Milliseconds(1 + random->Uniform(100'000)));
      times.Add(static_cast<WorkerNumber>(i % 3), all.back());
    }
    std::sort(all.begin(), all.end());
    const absl::Duration median = all[(all.size() - 1) / 2];
    EXPECT_GT(*times.Typical(), 0.95 * median) << "round " << round;
    EXPECT_LT(*times.Typical(), 1.05 * median) << "round " << round;
  }
}

TEST(StageTimesTest, ExtremesHaveAClass) {
  StageTimes times;
  times.Add(1, absl::ZeroDuration());
  EXPECT_LT(*times.Typical(), absl::Milliseconds(1));
  for (int i = 0; i < 2; ++i) times.Add(1, 1000 * absl::Hours(24 * 365));
  EXPECT_GT(*times.Typical(), absl::Hours(24 * 365));
}

TEST(StageTimesTest, WorkerThatIsBeatenIsAsSlowAsThat) {
  StageTimes times;
  times.Add(1, kSecond);
  times.Add(2, kSecond);
  times.AddBeaten(2, 8 * kSecond);
  times.AddBeaten(3, 9 * kSecond);
  times.AddBeaten(1, kSecond / 2);
  EXPECT_EQ(times.On(1), kSecond);
  EXPECT_EQ(times.On(2), 8 * kSecond);
  EXPECT_EQ(times.On(3), 9 * kSecond);
  EXPECT_EQ(times.count(), 2u);  // The beaten ones took nobody knows how long.
  times.Add(2, kSecond);         // It has recovered.
  EXPECT_EQ(times.On(2), 4.5 * kSecond);
}

Standing After(double seconds, std::optional<double> done = {}) {
  return {absl::Seconds(seconds), absl::Seconds(seconds), done, {}};
}

TEST(TimeLeftTest, FollowsTheRate) {
  EXPECT_EQ(TimeLeft(After(10, 0.5), 20 * kSecond), 10 * kSecond);
  EXPECT_EQ(TimeLeft(After(10, 0.1), 20 * kSecond), 90 * kSecond);
}

TEST(TimeLeftTest, WithoutRateIsWhatOthersTake) {
  EXPECT_EQ(TimeLeft(After(4), 10 * kSecond), 6 * kSecond);
  EXPECT_EQ(TimeLeft(After(12), 10 * kSecond), absl::ZeroDuration());
  EXPECT_EQ(TimeLeft(After(16), 10 * kSecond), 16 * kSecond);
  Standing slow = After(4);
  slow.worker_takes = 50 * kSecond;
  EXPECT_EQ(TimeLeft(slow, 10 * kSecond), 46 * kSecond);
}

TEST(TimeLeftTest, LongerTaskAtTheUsualRateIsLeftAlone) {
  // It has read three times what others have to, in three times the time.
  EXPECT_EQ(TimeLeft(After(30, 3.0), 10 * kSecond), absl::ZeroDuration());
  // It stands still since then.
  EXPECT_EQ(TimeLeft(After(60, 3.0), 10 * kSecond), 60 * kSecond);
}

TEST(IsStragglerTest, NeedsEvidenceAndGain) {
  const absl::Duration typical = 10 * kSecond;
  EXPECT_FALSE(IsStraggler(After(0.9, 0.009), typical));  // Too early to say.
  EXPECT_FALSE(IsStraggler(After(1.9, 0.019), typical));
  EXPECT_TRUE(IsStraggler(After(2.1, 0.021), typical));
  EXPECT_FALSE(IsStraggler(After(5, 0.5), typical));    // As it should be.
  EXPECT_FALSE(IsStraggler(After(5, 0.4), typical));    // Not slow enough.
  EXPECT_TRUE(IsStraggler(After(5, 0.3), typical));     // 11.7 s to go.
  EXPECT_FALSE(IsStraggler(After(90, 0.92), typical));  // Nearly done.
  EXPECT_FALSE(IsStraggler(After(14), typical));
  EXPECT_TRUE(IsStraggler(After(16), typical));
}

TEST(IsStragglerTest, WorkerKnownToBeSlowNeedsNoMoreEvidence) {
  Standing standing = After(0.1);
  standing.worker_takes = 100 * kSecond;
  EXPECT_TRUE(IsStraggler(standing, 10 * kSecond));
  standing.worker_takes = 11 * kSecond;
  EXPECT_FALSE(IsStraggler(standing, 10 * kSecond));
  // Very short tasks are over before anything could be gained.
  standing.worker_takes = absl::Milliseconds(12);
  EXPECT_FALSE(IsStraggler(standing, absl::Milliseconds(10)));
}

}  // namespace
}  // namespace millrace::master
