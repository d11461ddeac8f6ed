#include "master/scheduler/exclusion.h"

#include <gtest/gtest.h>

#include "common/random.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

using Standing = Exclusions::Standing;
using testing::MakeId;

constexpr absl::Duration kSecond = absl::Seconds(1);

class ExclusionTest : public ::testing::Test {
 protected:
  void Fail(WorkerNumber worker, uint32_t map) {
    exclusions_.OnFailure(worker, MakeId<JobId>(1), {proto::MAP_TASK, map},
                          "disk full", now_);
  }
  void Exclude(WorkerNumber worker) {
    for (uint32_t map = 0; map < 3; ++map) Fail(worker, 10 * worker + map);
    Update();
  }
  void Update() { exclusions_.Update(candidates_, now_); }
  void Pass(absl::Duration how_long) {
    now_ += how_long;
    Update();
  }

  ExclusionRules rules_;
  Exclusions exclusions_{rules_};
  std::set<WorkerNumber> candidates_ = {1, 2, 3, 4, 5, 6};
  absl::Duration now_ = absl::Seconds(1000);
};

TEST_F(ExclusionTest, ThreeDistinctTasksExclude) {
  Fail(1, 0);
  Fail(1, 0);
  Fail(1, 0);
  Fail(1, 1);
  Update();
  EXPECT_EQ(exclusions_.Of(1), Standing::kGood);
  EXPECT_EQ(exclusions_.Why(1), "");
  Fail(1, 2);
  Update();
  EXPECT_EQ(exclusions_.Of(1), Standing::kExcluded);
  EXPECT_EQ(exclusions_.Why(1), "disk full");
  EXPECT_EQ(exclusions_.Until(1), now_ + 30 * kSecond);
  EXPECT_EQ(exclusions_.Of(2), Standing::kGood);
}

TEST_F(ExclusionTest, WhereMoreSucceedsThanFailsIsGood) {
  for (uint32_t map = 0; map < 50; ++map) {
    Fail(1, map);
    exclusions_.OnSuccess(1);
    Update();
    EXPECT_EQ(exclusions_.Of(1), Standing::kGood);
  }
}

TEST_F(ExclusionTest, OldFailuresDoNotCount) {
  Fail(1, 0);
  Fail(1, 1);
  now_ += rules_.window + kSecond;
  Fail(1, 2);
  Update();
  EXPECT_EQ(exclusions_.Of(1), Standing::kGood);
}

TEST_F(ExclusionTest, ProbationEndsWithSuccessOrWithTwiceTheTime) {
  Exclude(1);
  EXPECT_EQ(exclusions_.NextUpdate(), now_ + 30 * kSecond);
  exclusions_.OnSuccess(1);  // Of before.
  Pass(29 * kSecond);
  EXPECT_EQ(exclusions_.Of(1), Standing::kExcluded);
  Pass(kSecond);
  EXPECT_EQ(exclusions_.Of(1), Standing::kProbation);
  EXPECT_EQ(exclusions_.Why(1), "disk full");
  Fail(1, 99);  // One is enough.
  Update();
  EXPECT_EQ(exclusions_.Of(1), Standing::kExcluded);
  Pass(59 * kSecond);
  EXPECT_EQ(exclusions_.Of(1), Standing::kExcluded);
  Pass(kSecond);
  EXPECT_EQ(exclusions_.Of(1), Standing::kProbation);
  exclusions_.OnSuccess(1);
  EXPECT_EQ(exclusions_.Of(1), Standing::kGood);
  // It is remembered for a while.
  Exclude(1);
  EXPECT_EQ(exclusions_.Until(1), now_ + 120 * kSecond);
  Pass(rules_.window + 121 * kSecond);
  exclusions_.OnSuccess(1);
  Exclude(1);
  EXPECT_EQ(exclusions_.Until(1), now_ + 30 * kSecond);
}

TEST_F(ExclusionTest, NoMoreThanAThird) {
  EXPECT_EQ(Exclusions::Most(rules_, 0), 0u);
  EXPECT_EQ(Exclusions::Most(rules_, 1), 0u);
  EXPECT_EQ(Exclusions::Most(rules_, 2), 1u);
  EXPECT_EQ(Exclusions::Most(rules_, 5), 1u);
  EXPECT_EQ(Exclusions::Most(rules_, 6), 2u);
  for (WorkerNumber worker = 1; worker <= 6; ++worker) Exclude(worker);
  int excluded = 0;
  for (WorkerNumber worker = 1; worker <= 6; ++worker) {
    excluded += exclusions_.Of(worker) == Standing::kExcluded;
  }
  EXPECT_EQ(excluded, 2);
}

TEST_F(ExclusionTest, WorkersThatLeaveMakeRoomForTheOneExcludedLongest) {
  Exclude(1);
  now_ += kSecond;
  Exclude(2);
  candidates_ = {1, 2, 3, 4, 5};
  Update();
  EXPECT_EQ(exclusions_.Of(1), Standing::kProbation);
  EXPECT_EQ(exclusions_.Of(2), Standing::kExcluded);
  candidates_ = {2};
  Update();
  EXPECT_EQ(exclusions_.Of(2), Standing::kProbation);
}

// Whatever happens: never more than the share, never all.
TEST_F(ExclusionTest, LimitsHoldAlways) {
  const std::unique_ptr<Random> random = Random::Seeded(5);
  for (int step = 0; step < 20'000; ++step) {
    now_ += absl::Milliseconds(random->Uniform(3000));
    const auto worker = static_cast<WorkerNumber>(1 + random->Uniform(9));
    switch (random->Uniform(5)) {
      case 0:
        exclusions_.OnSuccess(worker);
        break;
      case 1:
        if (!candidates_.erase(worker)) candidates_.insert(worker);
        break;
      default:
        Fail(worker, static_cast<uint32_t>(random->Uniform(20)));
        break;
    }
    Update();
    size_t excluded = 0;
    for (WorkerNumber one : candidates_) {
      excluded += exclusions_.Of(one) == Standing::kExcluded;
    }
    ASSERT_LE(excluded, Exclusions::Most(rules_, candidates_.size()));
    ASSERT_TRUE(candidates_.empty() || excluded < candidates_.size());
  }
}

}  // namespace
}  // namespace millrace::master
