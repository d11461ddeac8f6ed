#include "worker/shuffle/slice_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace millrace::worker {
namespace {

constexpr size_t kSlice = 100;

TEST(SlicePoolTest, GivenBackBuffersAreTakenAgain) {
  const auto pool = SlicePool::Create(kSlice, 2);
  char* data = nullptr;
  {
    const auto one = pool->Take();
    data = one->data();
    EXPECT_EQ(pool->bytes_out(), kSlice);
    EXPECT_EQ(pool->bytes_kept(), 0u);
  }
  EXPECT_EQ(pool->bytes_out(), 0u);
  EXPECT_EQ(pool->bytes_kept(), kSlice);
  EXPECT_EQ(pool->Take()->data(), data);
}

TEST(SlicePoolTest, WhatABurstHasTakenIsNotKeptForEver) {
  const auto pool = SlicePool::Create(kSlice, 8);
  {
    std::vector<std::unique_ptr<SlicePool::Buffer>> burst;
    for (int i = 0; i < 20; ++i) burst.push_back(pool->Take());
    EXPECT_EQ(pool->bytes_out(), 20 * kSlice);
  }
  EXPECT_EQ(pool->bytes_kept(), 8 * kSlice);
  for (size_t i = 0; i < 2 * SlicePool::kRound; ++i) {
    const auto one = pool->Take();
    const auto other = pool->Take();
  }
  EXPECT_EQ(pool->bytes_kept(), 2 * kSlice);
}

TEST(SlicePoolTest, WhatIsNeededAgainAndAgainStays) {
  const auto pool = SlicePool::Create(kSlice, 8);
  for (size_t i = 0; i < SlicePool::kRound; ++i) {
    std::vector<std::unique_ptr<SlicePool::Buffer>> all;
    for (int j = 0; j < 6; ++j) all.push_back(pool->Take());
  }
  EXPECT_EQ(pool->bytes_kept(), 6 * kSlice);
}

}  // namespace
}  // namespace millrace::worker
