#include "raft/log/log_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "common/random.h"

namespace millrace::raft {
namespace {

EntryExtent Extent(uint64_t first, uint32_t offset) {
  EntryExtent extent;
  extent.first_index = first;
  extent.offset = offset;
  return extent;
}

TEST(LogStateTest, BeginsEmpty) {
  LogState state(0, 0, {});
  EXPECT_EQ(state.first_index(), 1u);
  EXPECT_EQ(state.last_index(), 0u);
  EXPECT_EQ(state.last_term(), 0u);
  EXPECT_EQ(state.TermOf(1), std::nullopt);
  EXPECT_EQ(state.Find(0), nullptr);
  EXPECT_EQ(state.Find(1), nullptr);
}

TEST(LogStateTest, StepsThatBreakARuleChangeNothing) {
  LogState state(0, 0, {2, 1, 0});
  ASSERT_TRUE(state.AddEntries(Extent(1, 0), {1, 1, 2}).ok());
  ASSERT_TRUE(state.SetHardState({2, 1, 2}).ok());
  EXPECT_FALSE(state.SetHardState({1, 1, 2}).ok());
  EXPECT_FALSE(state.SetHardState({2, 2, 2}).ok());
  EXPECT_FALSE(state.SetHardState({2, 0, 2}).ok());
  EXPECT_FALSE(state.SetHardState({2, 1, 1}).ok());
  EXPECT_FALSE(state.SetHardState({2, 1, 4}).ok());
  EXPECT_FALSE(state.Truncate(0).ok());
  EXPECT_FALSE(state.Truncate(2).ok());
  EXPECT_FALSE(state.Truncate(4).ok());
  EXPECT_FALSE(state.AddEntries(Extent(3, 0), {2}).ok());
  EXPECT_FALSE(state.AddEntries(Extent(5, 0), {2}).ok());
  EXPECT_FALSE(state.AddEntries(Extent(4, 0), {1}).ok());
  EXPECT_FALSE(state.AddEntries(Extent(4, 0), {2, 3}).ok());
  EXPECT_EQ(state.last_index(), 3u);
  EXPECT_EQ(state.hard_state(), (HardState{2, 1, 2}));
  EXPECT_TRUE(state.SetHardState({3, 0, 3}).ok());
  EXPECT_TRUE(state.SetHardState({3, 9, 3}).ok());
}

// Against a list that knows everything.
TEST(LogStateTest, IsAListOfTermsAndPlaces) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    const auto random = Random::Seeded(seed);
    struct Entry {
      uint64_t term;
      uint32_t offset;
    };
    std::vector<Entry> list = {{0, 0}};  // By index.
    uint64_t base = 0;
    HardState hard{1, 0, 0};
    LogState state(0, 0, hard);
    for (uint32_t step = 1; step < 60; ++step) {
      switch (random->Uniform(6)) {
        case 0:
          ++hard.term;
          ASSERT_TRUE(state.SetHardState(hard).ok());
          break;
        case 1:
          hard.commit += random->Uniform(list.size() - hard.commit);
          ASSERT_TRUE(state.SetHardState(hard).ok());
          break;
        case 2: {
          if (list.size() - 1 == hard.commit) break;
          const uint64_t from =
              hard.commit + 1 + random->Uniform(list.size() - 1 - hard.commit);
          list.resize(from);
          ASSERT_TRUE(state.Truncate(from).ok());
          break;
        }
        case 3: {
          // Behind the end of a record only.
          uint64_t index = hard.commit;
          while (index > base && index + 1 < list.size() &&
                 list[index].offset == list[index + 1].offset) {
            --index;
          }
          if (index <= base) break;
          state.DropThrough(index);
          base = index;
          break;
        }
        default: {
          std::vector<uint64_t> terms(1 + random->Uniform(4));
          uint64_t term = list.back().term;
          const EntryExtent extent = Extent(list.size(), step);
          for (uint64_t& t : terms) {
            t = term = term + random->Uniform(hard.term - term + 1);
            list.push_back({t, step});
          }
          ASSERT_TRUE(state.AddEntries(extent, terms).ok());
        }
      }
      ASSERT_EQ(state.first_index(), base + 1);
      ASSERT_EQ(state.last_index(), list.size() - 1);
      ASSERT_EQ(state.last_term(), list.back().term);
      for (uint64_t i = 0; i < list.size() + 2; ++i) {
        if (i < base || i >= list.size()) {
          ASSERT_EQ(state.TermOf(i), std::nullopt);
        } else {
          ASSERT_EQ(state.TermOf(i), list[i].term);
        }
        const EntryExtent* extent = state.Find(i);
        if (i <= base || i >= list.size()) {
          ASSERT_EQ(extent, nullptr);
        } else {
          ASSERT_NE(extent, nullptr);
          ASSERT_EQ(extent->offset, list[i].offset);
          ASSERT_LE(extent->first_index, i);
          ASSERT_GT(extent->first_index + extent->count, i);
        }
      }
    }
  }
}

TEST(LogStateTest, ResetForgetsEverything) {
  LogState state(0, 0, {5, 1, 0});
  ASSERT_TRUE(state.AddEntries(Extent(1, 0), {1, 2, 3}).ok());
  ASSERT_TRUE(state.SetHardState({5, 1, 1}).ok());
  state.Reset(10, 4);
  EXPECT_EQ(state.first_index(), 11u);
  EXPECT_EQ(state.last_index(), 10u);
  EXPECT_EQ(state.TermOf(10), 4u);
  EXPECT_EQ(state.TermOf(3), std::nullopt);
  EXPECT_EQ(state.hard_state(), (HardState{5, 1, 10}));
  EXPECT_FALSE(state.AddEntries(Extent(11, 0), {3}).ok());
  EXPECT_TRUE(state.AddEntries(Extent(11, 0), {4}).ok());
}

}  // namespace
}  // namespace millrace::raft
