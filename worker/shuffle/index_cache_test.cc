#include "worker/shuffle/index_cache.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/ids.h"
#include "worker/shuffle/testing/map_outputs.h"

namespace millrace::worker {
namespace {

constexpr uint64_t kEach = IndexCache<int>::kRowsOfEach;

TEST(IndexCache, LetsGoOfWhatWasNotUsedForLongest) {
  IndexCache<int> cache(2 * (kEach + 10));
  const auto job = TestId<JobId>(1);
  const auto a = TestId<AttemptUid>(1), b = TestId<AttemptUid>(2),
             c = TestId<AttemptUid>(3);
  cache.Keep(job, a, std::make_shared<int>(1), 10);
  cache.Keep(job, b, std::make_shared<int>(2), 10);
  ASSERT_NE(cache.Find(job, a), nullptr);
  cache.Keep(job, c, std::make_shared<int>(3), 10);
  EXPECT_EQ(cache.Find(job, b), nullptr);
  EXPECT_EQ(*cache.Find(job, a), 1);
  EXPECT_EQ(*cache.Find(job, c), 3);
  EXPECT_EQ(cache.Find(TestId<JobId>(2), c), nullptr);
  // One that is larger than all that may be kept.
  cache.Keep(job, b, std::make_shared<int>(4), 1000);
  EXPECT_EQ(*cache.Find(job, b), 4);
  EXPECT_EQ(cache.Find(job, a), nullptr);
}

TEST(IndexCache, AnotherOfTheSameAttemptTakesItsPlace) {
  IndexCache<int> cache(2 * (kEach + 10));
  const auto job = TestId<JobId>(1);
  const auto a = TestId<AttemptUid>(1), b = TestId<AttemptUid>(2);
  cache.Keep(job, a, std::make_shared<int>(1), 10);
  for (int i = 0; i < 100; ++i) {
    cache.Keep(job, b, std::make_shared<int>(i), 10);
    ASSERT_EQ(*cache.Find(job, b), i);
  }
  EXPECT_NE(cache.Find(job, a), nullptr);
}

TEST(IndexCache, WhatIsKeptOfAJobGoesWithIt) {
  IndexCache<int> cache(1000);
  const auto before = TestId<JobId>(1), job = TestId<JobId>(2),
             after = TestId<JobId>(3);
  const AttemptUid first;
  const auto last = *AttemptUid::FromHex(std::string(32, 'f'));
  const auto held = std::make_shared<int>(1);
  for (const JobId& id : {before, job, after}) {
    for (const AttemptUid& uid : {first, last}) cache.Keep(id, uid, held, 10);
  }
  cache.ForgetJob(job);
  EXPECT_EQ(cache.Find(job, first), nullptr);
  EXPECT_EQ(cache.Find(job, last), nullptr);
  for (const JobId& id : {before, after}) {
    EXPECT_NE(cache.Find(id, first), nullptr);
    EXPECT_NE(cache.Find(id, last), nullptr);
  }
  cache.ForgetJob(job);
  EXPECT_EQ(held.use_count(), 5);
  // Its room is there for others.
  IndexCache<int> full(2 * (kEach + 10));
  full.Keep(before, first, held, 10);
  full.Keep(job, first, held, 10);
  full.ForgetJob(job);
  full.Keep(after, first, held, 10);
  EXPECT_NE(full.Find(before, first), nullptr);
}

}  // namespace
}  // namespace millrace::worker
