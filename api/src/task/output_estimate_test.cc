#include "api/src/task/output_estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace millrace::task {
namespace {

constexpr uint64_t kMebibyte = 1 << 20;
constexpr uint64_t kGibibyte = 1 << 30;

TEST(OutputEstimateTest, WithoutCombinerItIsInProportion) {
  EXPECT_EQ(Extrapolate({}, {kMebibyte, 3 * kMebibyte}, kGibibyte, 8),
            3 * kGibibyte);
  EXPECT_EQ(Extrapolate({}, {kMebibyte, 0}, kGibibyte, 8), 0u);
}

// n^0.5 distinct keys: a split of 128 MiB has sqrt(128) times those of one MiB.
TEST(OutputEstimateTest, DistinctKeysGrowAsTheSamplesSay) {
  const double root = std::sqrt(2.0);
  const SampledOutput half = {kMebibyte / 2, static_cast<uint64_t>(1e6 / root)};
  const uint64_t estimate =
      Extrapolate(half, {kMebibyte, 1'000'000}, kGibibyte, 8);
  EXPECT_NEAR(static_cast<double>(estimate), 8 * std::sqrt(128.0) * 1e6, 1e3);
}

TEST(OutputEstimateTest, KeysThatAreAllThereGrowNoMore) {
  EXPECT_EQ(Extrapolate({kMebibyte / 2, 900}, {kMebibyte, 900}, kGibibyte, 8),
            8 * 900u);
  // By chance, or for a combiner that shortens: not less either.
  EXPECT_EQ(Extrapolate({kMebibyte / 2, 950}, {kMebibyte, 900}, kGibibyte, 8),
            8 * 900u);
}

TEST(OutputEstimateTest, MoreThanInProportionIsNotBelieved) {
  EXPECT_EQ(
      Extrapolate({kMebibyte / 2, 1}, {kMebibyte, kMebibyte}, kGibibyte, 4),
      kGibibyte);
}

TEST(OutputEstimateTest, OddSamplesHaveAnAnswer) {
  EXPECT_EQ(Extrapolate({}, {}, kGibibyte, 8), 0u);
  EXPECT_EQ(Extrapolate({5, 5}, {5, 10}, 50, 1), 100u);  // One range in all.
  EXPECT_EQ(Extrapolate({}, {5, 10}, 0, 0), 0u);
  EXPECT_GE(Extrapolate({}, {1, ~uint64_t{0}}, ~uint64_t{0}, 1),
            uint64_t{1} << 62);
}

}  // namespace
}  // namespace millrace::task
