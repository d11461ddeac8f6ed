#include "api/src/task/output_estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "millrace/millrace.h"
#include "storage/plan/planner.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::task {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Optional;

constexpr uint64_t kMebibyte = 1 << 20;
constexpr uint64_t kGibibyte = 1 << 30;

TEST(ExtrapolateTest, InProportion) {
  EXPECT_EQ(Extrapolate({kMebibyte / 2, kMebibyte}, {kMebibyte, 2 * kMebibyte},
                        false, kGibibyte, 8),
            2 * kGibibyte);
  EXPECT_EQ(Extrapolate({}, {kMebibyte, 0}, false, kGibibyte, 8), 0u);
}

// n^0.5 distinct keys: a split of 128 MiB has sqrt(128) times those of one MiB.
TEST(ExtrapolateTest, KeysThatComeAgainGrowAsTheSamplesSay) {
  const SampledOutput half = {kMebibyte / 2,
                              static_cast<uint64_t>(1e6 / std::sqrt(2.0))};
  const SampledOutput all = {kMebibyte, 1'000'000};
  for (const bool combines : {false, true}) {
    EXPECT_NEAR(
        static_cast<double>(Extrapolate(half, all, combines, kGibibyte, 8)),
        8 * std::sqrt(128.0) * 1e6, 1e3);
  }
}

TEST(ExtrapolateTest, WhatIsAllThereGrowsNoMore) {
  EXPECT_EQ(
      Extrapolate({kMebibyte / 2, 900}, {kMebibyte, 900}, true, kGibibyte, 8),
      8 * 900u);
  // By chance, or for a combiner that shortens: not less either.
  EXPECT_EQ(
      Extrapolate({kMebibyte / 2, 950}, {kMebibyte, 900}, true, kGibibyte, 8),
      8 * 900u);
}

// Two places of an input are never quite alike.
TEST(ExtrapolateTest, ALittleLessThanInProportionIsNoReasonWithoutCombiner) {
  const SampledOutput half = {kMebibyte / 2, 11 * kMebibyte / 20};
  const SampledOutput all = {kMebibyte, kMebibyte};
  EXPECT_EQ(Extrapolate(half, all, false, kGibibyte, 8), kGibibyte);
  EXPECT_LT(Extrapolate(half, all, true, kGibibyte, 8), kGibibyte);
}

TEST(ExtrapolateTest, MoreThanInProportionIsNotBelieved) {
  EXPECT_EQ(Extrapolate({kMebibyte / 2, 1}, {kMebibyte, kMebibyte}, true,
                        kGibibyte, 4),
            kGibibyte);
}

TEST(ExtrapolateTest, OddSamplesHaveAnAnswer) {
  EXPECT_EQ(Extrapolate({}, {}, false, kGibibyte, 8), 0u);
  EXPECT_EQ(Extrapolate({5, 5}, {5, 10}, true, 50, 1), 100u);
  EXPECT_EQ(Extrapolate({}, {5, 10}, true, 0, 0), 0u);
  EXPECT_GE(Extrapolate({}, {1, ~uint64_t{0}}, false, ~uint64_t{0}, 1),
            uint64_t{1} << 62);
}

// ------------------------------------------------------------- with real jobs

// Emits each line, and fails at those that say so.
class Lines : public Mapper<TextLine, std::string, int64_t> {
 public:
  void Setup(Context& context) override {
    partitions_ = context.num_partitions();
  }
  void Map(const TextLine& line, Output& out) override {
    if (line.text == "!throw") throw std::runtime_error("met it");
    out.Emit(line.text, partitions_);
  }

 private:
  int partitions_ = 0;
};

// Combines by itself: a thousand counts at its end.
class Table : public Mapper<TextLine, std::string, int64_t> {
 public:
  void Map(const TextLine&, Output&) override {}
  void Cleanup(Output& out) override {
    for (int i = 0; i < 1000; ++i) out.Emit(std::to_string(i), i);
  }
};

class Add : public Reducer<std::string, int64_t> {
 public:
  void Reduce(KeyView key, Values& values, Output& out) override {
    int64_t sum = 0;
    for (const int64_t value : values) sum += value;
    out.Emit(key, sum);
  }
};

class EstimateMapOutputTest : public ::testing::Test {
 protected:
  EstimateMapOutputTest() {
    configure_.set_memory_budget_bytes(64 * kMebibyte);
    configure_.set_job_id("0123456789abcdef");
    run_.set_kind(proto::PLAN_TASK);
    run_.set_attempt_uid("fedcba9876543210");
    run_.mutable_plan()->set_plan_path("/scratch/plan");
    EXPECT_TRUE(fs_.MakeDirectory("/scratch").ok());
  }

  // `count` lines of `width` bytes, of which `distinct` different ones.
  void Write(const std::string& path, uint64_t count, uint64_t width,
             uint64_t distinct) {
    std::string text;
    for (uint64_t i = 0; i < count; ++i) {
      std::string line = std::to_string(i * 7919 % distinct);
      line.resize(width - 1, '.');
      text += line + "\n";
    }
    fs_.SetContents(path, text);
  }

  std::optional<uint64_t> Estimate(const internal::JobDefinition& job) {
    storage::PlanRequest request;
    request.input_kind = proto::TEXT_LINES;
    request.inputs = {"/in"};
    request.num_reducers = 5;
    absl::StatusOr<proto::Plan> plan = storage::MakePlan(fs_, request);
    EXPECT_TRUE(plan.ok()) << plan.status();
    plan_ = *std::move(plan);
    const std::string before = plan_.SerializeAsString();
    TaskEnvironment env(job, configure_, *page_, fs_);
    std::optional<uint64_t> estimate;
    failed_ = EstimateMapOutput(env, run_, plan_, &estimate);
    EXPECT_EQ(plan_.SerializeAsString(), before);
    EXPECT_THAT(fs_.AllFiles("/scratch"), ElementsAre());
    return estimate;
  }

  MemoryFileSystem fs_;
  std::unique_ptr<supervisor::StatusPage> page_ =
      std::make_unique<supervisor::StatusPage>();
  proto::Configure configure_;
  proto::RunTask run_;
  proto::Plan plan_;
  std::optional<proto::TaskFailed> failed_;
};

const internal::JobDefinition& EmitsLines() {
  static const auto* const job = new internal::JobDefinition(
      Job("lines").Map<Lines>().Reduce<Add>().Definition());
  return *job;
}

TEST_F(EstimateMapOutputTest, EmittedAsReadItIsInProportion) {
  Write("/in/f", 100'000, 50, 100'000);
  const std::optional<uint64_t> estimate = Estimate(EmitsLines());
  // Key, eight bytes of value, two of lengths.
  EXPECT_THAT(estimate, Optional(AllOf(Ge(5'900'000u), Le(6'100'000u))));
  EXPECT_FALSE(failed_.has_value());
  EXPECT_EQ(page_->input_bytes.load(), 0u);

  // Whatever the budget and the codec, and in many small files.
  configure_.set_memory_budget_bytes(kMebibyte);
  configure_.set_map_output_codec("lz4");
  EXPECT_EQ(Estimate(EmitsLines()), estimate);
  fs_.RemoveTree("/in").IgnoreError();
  for (int i = 0; i < 1000; ++i) {
    Write("/in/" + std::to_string(i), 100, 50, 100);
  }
  EXPECT_THAT(Estimate(EmitsLines()),
              Optional(AllOf(Ge(5'900'000u), Le(6'100'000u))));
}

TEST_F(EstimateMapOutputTest, CombinedToFewKeysItGrowsNoMore) {
  Write("/in/f", 400'000, 50, 300);
  const std::optional<uint64_t> estimate = Estimate(Job("count")
                                                        .Map<Lines>()
                                                        .Combine<Sum<int64_t>>()
                                                        .Reduce<Add>()
                                                        .Definition());
  const auto maps = static_cast<uint64_t>(plan_.splits_size());
  ASSERT_GT(maps, 2u);
  // All 300 of each map; the sample of 64 KiB has not met all of them.
  const uint64_t all = maps * 300 * 59;
  EXPECT_THAT(estimate, Optional(AllOf(Ge(all / 3 * 2), Le(all / 2 * 3))));
}

TEST_F(EstimateMapOutputTest, ATableAtTheEndComesOnceForEachMap) {
  Write("/in/f", 400'000, 50, 300);
  const std::optional<uint64_t> estimate =
      Estimate(Job("table").Map<Table>().Reduce<Add>().Definition());
  const auto maps = static_cast<uint64_t>(plan_.splits_size());
  EXPECT_THAT(estimate,
              Optional(AllOf(Ge(maps * 1000 * 12), Le(maps * 1000 * 14))));
}

TEST_F(EstimateMapOutputTest, TooFewRecordsAreNoSample) {
  fs_.SetContents("/in/f", std::string(8 * kMebibyte, 'x') + "\n");
  EXPECT_EQ(Estimate(EmitsLines()), std::nullopt);
  EXPECT_FALSE(failed_.has_value());
}

TEST_F(EstimateMapOutputTest, WhatIsThrownIsTheAttemptsFailure) {
  std::string text;
  while (text.size() < kMebibyte) text += "plain\n!throw\n";
  fs_.SetContents("/in/f", text);
  EXPECT_EQ(Estimate(EmitsLines()), std::nullopt);
  ASSERT_TRUE(failed_.has_value());
  EXPECT_EQ(failed_->cause(), proto::USER_EXCEPTION);
  EXPECT_THAT(failed_->message(),
              AllOf(HasSubstr("in the sample"), HasSubstr("met it")));
  EXPECT_TRUE(failed_->retryable());
}

// Another machine is to plan the same, and not without a sample.
TEST_F(EstimateMapOutputTest, AFullDiskIsTheAttemptsFailure) {
  Write("/in/f", 100'000, 50, 100'000);
  fs_.SetCapacity(5'000'000 + 10'000);
  EXPECT_EQ(Estimate(EmitsLines()), std::nullopt);
  ASSERT_TRUE(failed_.has_value());
  EXPECT_EQ(failed_->cause(), proto::DISK_FULL);
}

}  // namespace
}  // namespace millrace::task
