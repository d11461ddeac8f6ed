#include "api/src/task/sample_plan.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::task {
namespace {

constexpr uint64_t kKibibyte = 1 << 10;

proto::Plan PlanOf(const std::vector<uint64_t>& sizes) {
  proto::Plan plan;
  plan.set_input_kind(proto::TEXT_LINES);
  uint64_t bytes = 0;
  for (const uint64_t size : sizes) {
    plan.add_files()->set_size(size);
    bytes += size;
  }
  plan.set_input_bytes(bytes);
  plan.add_splits()->add_ranges()->set_length(17);
  return plan;
}

uint64_t BytesOf(const proto::Split& split) {
  uint64_t bytes = 0;
  for (const proto::Range& range : split.ranges()) bytes += range.length();
  return bytes;
}

// Ranges stay in their files, in order, and none is taken twice.
void ExpectSound(const proto::Plan& plan, const proto::Split& split) {
  uint64_t file = 0;
  uint64_t end = 0;
  for (const proto::Range& range : split.ranges()) {
    if (range.file() != file) end = 0;
    EXPECT_GE(range.file(), file);
    EXPECT_GE(range.offset(), end);
    EXPECT_GT(range.length(), 0u);
    file = range.file();
    end = range.offset() + range.length();
    EXPECT_LE(end, plan.files(static_cast<int>(file)).size());
  }
}

TEST(SamplePlanTest, RangesOfALargeFileAreSpreadOverItsMiddle) {
  const proto::Plan plan = PlanOf({1024 * kKibibyte});
  const proto::Split split =
      SampleSplit(plan, {.ranges = 4, .range_bytes = kKibibyte});
  ASSERT_EQ(split.ranges_size(), 4);
  ExpectSound(plan, split);
  EXPECT_EQ(BytesOf(split), 4 * kKibibyte);
  const uint64_t before = split.ranges(0).offset();
  EXPECT_GT(before, 0u);
  EXPECT_EQ(split.ranges(1).offset(), before + 256 * kKibibyte);
  EXPECT_EQ(split.ranges(3).offset() + split.ranges(3).length() + before,
            1024 * kKibibyte);
}

TEST(SamplePlanTest, ARangeGoesOnInTheNextFiles) {
  const proto::Plan plan = PlanOf(std::vector<uint64_t>(1000, 100));
  const proto::Split split =
      SampleSplit(plan, {.ranges = 4, .range_bytes = kKibibyte});
  ExpectSound(plan, split);
  EXPECT_GE(BytesOf(split), 4 * kKibibyte);
  EXPECT_LE(BytesOf(split), 4 * (kKibibyte + 100));
  for (const proto::Range& range : split.ranges()) {
    EXPECT_EQ(range.offset(), 0u) << "the first record of a small file counts";
  }
}

TEST(SamplePlanTest, ASmallInputIsTakenWhole) {
  for (const std::vector<uint64_t>& sizes :
       {std::vector<uint64_t>{900}, {100, 0, 300, 5}, {1500, 1500}}) {
    const proto::Plan plan = PlanOf(sizes);
    const proto::Split split =
        SampleSplit(plan, {.ranges = 4, .range_bytes = kKibibyte});
    ExpectSound(plan, split);
    EXPECT_EQ(BytesOf(split), plan.input_bytes());
  }
  EXPECT_EQ(SampleSplit(PlanOf({}), {.ranges = 4, .range_bytes = kKibibyte})
                .ranges_size(),
            0);
}

TEST(SamplePlanTest, FixedRecordsAreNotCut) {
  proto::Plan plan = PlanOf({999'000, 3'000, 30});
  plan.set_input_kind(proto::FIXED_RECORDS);
  for (const uint64_t record : {10, 3000}) {
    plan.set_record_bytes(record);
    plan.mutable_files(2)->set_size(record);
    const proto::Split split =
        SampleSplit(plan, {.ranges = 7, .range_bytes = 1000});
    ExpectSound(plan, split);
    for (const proto::Range& range : split.ranges()) {
      EXPECT_EQ(range.offset() % record, 0u);
      EXPECT_EQ(range.length() % record, 0u);
    }
  }
}

TEST(SamplePlanTest, RowsOfASequenceAreSpread) {
  proto::Plan plan;
  plan.set_input_kind(proto::SEQUENCE);
  plan.set_sequence_rows(1000);
  EXPECT_EQ(SampleSplit(plan, {.rows = 10}).ranges_size(), 10);
  plan.set_sequence_rows(3);
  EXPECT_EQ(SampleSplit(plan, {.rows = 10}).ranges_size(), 3);
}

TEST(SamplePlanTest, ThePlanIsAsItWasAfterwards) {
  proto::Plan plan = PlanOf({1024 * kKibibyte});
  const std::string before = plan.SerializeAsString();
  {
    const SampledPlan sample(plan, {.ranges = 4, .range_bytes = kKibibyte});
    EXPECT_EQ(sample.plan().splits_size(), 1);
    EXPECT_EQ(sample.plan().splits(0).ranges_size(), 4);
    EXPECT_EQ(sample.bytes(), 4 * kKibibyte);
  }
  EXPECT_EQ(plan.SerializeAsString(), before);
}

}  // namespace
}  // namespace millrace::task
