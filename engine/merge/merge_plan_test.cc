#include "engine/merge/merge_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/strings.h"
#include "engine/format/test_records.h"

namespace millrace::engine {
namespace {

MergeLimits Limits(uint32_t fan_in_max, uint64_t memory = 1'000'000) {
  MergeLimits limits;
  limits.fan_in_max = fan_in_max;
  limits.last_memory_bytes = memory;
  limits.pass_memory_bytes = memory;
  return limits;
}

// Carries the plan out; returns the bytes that passes read.
uint64_t BytesOfPasses(std::vector<RunCost> runs, const MergeLimits& limits) {
  uint64_t bytes = 0;
  while (const std::optional<MergeStep> step = NextMergeStep(runs, limits)) {
    RunCost merged;
    uint64_t memory = 0;
    EXPECT_LT(step->begin, step->end);
    EXPECT_LE(step->end, runs.size());
    EXPECT_GE(step->end - step->begin, 2u);
    EXPECT_LE(step->end - step->begin, limits.fan_in_max);
    for (size_t i = step->begin; i < step->end; ++i) {
      merged.bytes += runs[i].bytes;
      merged.memory_bytes =
          std::max(merged.memory_bytes, runs[i].merged_memory_bytes);
      memory += runs[i].memory_bytes;
    }
    if (step->end - step->begin > 2) {
      EXPECT_LE(memory, limits.pass_memory_bytes);
    }
    merged.merged_memory_bytes = merged.memory_bytes;
    bytes += merged.bytes;
    runs[step->begin] = merged;
    runs.erase(runs.begin() + step->begin + 1, runs.begin() + step->end);
  }
  if (runs.size() > 2) {
    uint64_t memory = 0;
    for (const RunCost& run : runs) memory += run.memory_bytes;
    EXPECT_LE(memory, limits.last_memory_bytes);
    EXPECT_LE(runs.size(), limits.fan_in_max);
  }
  return bytes;
}

TEST(MergePlanTest, WhatFitsIsMergedAtOnce) {
  EXPECT_EQ(NextMergeStep({}, Limits(2)), std::nullopt);
  EXPECT_EQ(NextMergeStep({{1, 1, 1}}, Limits(2)), std::nullopt);
  EXPECT_EQ(NextMergeStep(std::vector<RunCost>(16, {1, 1, 100}), Limits(16)),
            std::nullopt);
  // Two, however large.
  EXPECT_EQ(
      NextMergeStep(std::vector<RunCost>(2, {1'000, 1, 100}), Limits(16, 10)),
      std::nullopt);
}

TEST(MergePlanTest, OneRunTooManyCostsTheTwoSmallestNeighbours) {
  std::vector<RunCost> runs(17, {1, 1, 100});
  runs[7].bytes = 10;
  runs[8].bytes = 20;
  runs[12].bytes = 5;
  EXPECT_EQ(NextMergeStep(runs, Limits(16)), (MergeStep{7, 9}));
}

TEST(MergePlanTest, MemoryBoundsTheFanIn) {
  const std::vector<RunCost> runs(10, {10, 1, 100});
  const std::optional<MergeStep> step = NextMergeStep(runs, Limits(512, 40));
  ASSERT_TRUE(step.has_value());
  EXPECT_EQ(step->end - step->begin, 4u);
  // One large run does not keep the small ones from being merged together.
  std::vector<RunCost> uneven(10, {1, 1, 1});
  uneven[4].memory_bytes = uneven[4].merged_memory_bytes = 1'000;
  EXPECT_EQ(BytesOfPasses(uneven, Limits(512, 1'005)), 5u);
}

TEST(MergePlanTest, RandomPlansKeepTheLimitsAndEnd) {
  for (uint64_t seed = 0; seed < 5'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    TestRandom random(seed);
    std::vector<RunCost> runs(random.Below(60));
    for (RunCost& run : runs) {
      run.memory_bytes = 1 + random.Below(random.Below(10) == 0 ? 500 : 20);
      run.merged_memory_bytes = random.Below(run.memory_bytes + 1);
      run.bytes = random.Below(1'000);
    }
    MergeLimits limits;
    limits.fan_in_max = static_cast<uint32_t>(2 + random.Below(10));
    limits.last_memory_bytes = random.Below(300);
    limits.pass_memory_bytes = random.Below(300);
    BytesOfPasses(runs, limits);
  }
}

TEST(MergePlanTest, PassesAreNoMoreThanTheTextbookNeeds) {
  for (uint32_t fan_in : {2u, 3u, 5u, 16u}) {
    for (size_t n : {3u, 17u, 100u, 257u}) {
      const double levels =
          std::ceil(std::log(static_cast<double>(n)) / std::log(fan_in));
      EXPECT_LE(
          BytesOfPasses(std::vector<RunCost>(n, {1, 1, 1}), Limits(fan_in)),
          static_cast<uint64_t>((levels - 1) * static_cast<double>(n)) + n / 2)
          << n << " runs, fan-in " << fan_in;
    }
  }
}

TEST(MergePlanTest, ManyRunsArePlannedQuickly) {
  EXPECT_GT(BytesOfPasses(std::vector<RunCost>(20'000, {1, 1, 1}), Limits(128)),
            0u);
}

}  // namespace
}  // namespace millrace::engine
