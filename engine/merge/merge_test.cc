#include "engine/merge/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/strings.h"
#include "engine/format/test_records.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {
namespace {

bool KeyLess(const Record& a, const Record& b) { return a.first < b.first; }

// Records in memory; fails behind the last one when told to. The views it gives
// out go bad with the next call, so that use after that shows.
class VectorStream final : public RecordStream {
 public:
  explicit VectorStream(Records records, absl::Status end = absl::OkStatus())
      : records_(std::move(records)), end_(std::move(end)) {}

  bool Next() override {
    EXPECT_FALSE(ended_) << "read on behind the end";
    key_.assign(key_.size(), '~');
    value_.assign(value_.size(), '~');
    if (next_ == records_.size()) {
      ended_ = true;
      status_ = end_;
      return false;
    }
    key_ = records_[next_].first;
    value_ = records_[next_].second;
    ++next_;
    return true;
  }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  const absl::Status& status() const override { return status_; }

 private:
  const Records records_;
  const absl::Status end_;
  size_t next_ = 0;
  bool ended_ = false;
  std::string key_;
  std::string value_;
  absl::Status status_;
};

// Up to `runs_max` sorted runs whose values tell run and position.
std::vector<Records> RandomRuns(TestRandom& random, size_t runs_max,
                                size_t records_max) {
  std::vector<Records> runs(random.Below(runs_max + 1));
  const uint64_t letters = 1 + random.Below(4);
  const uint64_t key_bytes = random.Below(11);
  for (size_t r = 0; r < runs.size(); ++r) {
    runs[r].resize(random.Below(records_max + 1));
    for (auto& [key, value] : runs[r]) key = random.Bytes(key_bytes, letters);
    std::sort(runs[r].begin(), runs[r].end(), KeyLess);
    for (size_t i = 0; i < runs[r].size(); ++i) {
      runs[r][i].second = Cat(r, ":", i);
    }
  }
  return runs;
}

Records StableSorted(const std::vector<Records>& runs) {
  Records all;
  for (const Records& run : runs) all.insert(all.end(), run.begin(), run.end());
  std::stable_sort(all.begin(), all.end(), KeyLess);
  return all;
}

TEST(MergeTest, EqualsStableSortOfRandomRuns) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    TestRandom random(seed);
    const std::vector<Records> runs = RandomRuns(random, 9, 12);
    std::vector<std::unique_ptr<RecordStream>> inputs;
    for (const Records& run : runs) {
      inputs.push_back(std::make_unique<VectorStream>(run));
    }
    const std::unique_ptr<MergedStream> merged =
        MergeStreams(std::move(inputs));
    Records got;
    ASSERT_TRUE(Drain(*merged, &got).ok());
    ASSERT_EQ(got, StableSorted(runs));
    EXPECT_EQ(merged->failed_input(), -1);
    EXPECT_FALSE(merged->Next());
  }
}

TEST(MergeTest, EqualsStableSortOfRandomFiles) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    TestRandom random(seed);
    const std::vector<Records> runs = RandomRuns(random, 20, 50);
    MemoryFileSystem fs;
    std::vector<std::unique_ptr<RecordStream>> inputs;
    for (uint32_t r = 0; r < runs.size(); ++r) {
      MapOutputWriterOptions options;
      options.identity = TestIdentity(r);
      options.block_bytes = 1 + random.Below(200);
      options.codec = static_cast<Codec>(random.Below(3));
      const std::string path = Cat("/run", r);
      ASSERT_TRUE(WriteMapOutput(fs, path, options, {runs[r]}).ok());
      auto file =
          MapOutputFile::Open(fs, path, options.identity, 1, std::nullopt);
      ASSERT_TRUE(file.ok());
      inputs.push_back(ReadPartition(*std::move(file), 0));
    }
    // With a stream of another kind among them, too.
    std::vector<Records> all = runs;
    if (random.Below(2) == 0) {
      all.push_back({{"", "other"}, {"x", "other"}});
      inputs.push_back(std::make_unique<VectorStream>(all.back()));
    }
    Records got;
    ASSERT_TRUE(Drain(*MergeStreams(std::move(inputs)), &got).ok());
    ASSERT_EQ(got, StableSorted(all));
  }
}

TEST(MergeTest, KeysThatLookLikeAnExhaustedStreamAreMerged) {
  const std::string ff(8, '\xFF');
  for (int exhausted = 0; exhausted < 3; ++exhausted) {
    std::vector<Records> runs(3, {{ff, "a"}, {ff + ff, "b"}});
    runs[exhausted].clear();
    std::vector<std::unique_ptr<RecordStream>> inputs;
    for (const Records& run : runs) {
      inputs.push_back(std::make_unique<VectorStream>(run));
    }
    Records got;
    ASSERT_TRUE(Drain(*MergeStreams(std::move(inputs)), &got).ok());
    EXPECT_EQ(got, StableSorted(runs));
  }
}

TEST(MergeTest, FailedInputEndsTheMergeAndIsNamed) {
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    TestRandom random(seed);
    std::vector<Records> runs = RandomRuns(random, 6, 6);
    if (runs.empty()) runs.emplace_back();
    const size_t bad = random.Below(runs.size());
    std::vector<std::unique_ptr<RecordStream>> inputs;
    for (size_t r = 0; r < runs.size(); ++r) {
      inputs.push_back(std::make_unique<VectorStream>(
          runs[r],
          r == bad ? absl::DataLossError("bad block") : absl::OkStatus()));
    }
    const std::unique_ptr<MergedStream> merged =
        MergeStreams(std::move(inputs));
    Records got;
    EXPECT_EQ(Drain(*merged, &got), absl::DataLossError("bad block"));
    EXPECT_EQ(merged->failed_input(), static_cast<int>(bad));
    EXPECT_FALSE(merged->Next());
    EXPECT_EQ(merged->failed_input(), static_cast<int>(bad));
    const Records all = StableSorted(runs);
    ASSERT_LE(got.size(), all.size());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), all.begin()));
  }
}

TEST(MergeTest, NothingMergesToNothing) {
  EXPECT_FALSE(MergeStreams({})->Next());
  std::vector<std::unique_ptr<RecordStream>> empty_streams;
  for (int i = 0; i < 3; ++i) {
    empty_streams.push_back(std::make_unique<VectorStream>(Records()));
  }
  const std::unique_ptr<MergedStream> merged =
      MergeStreams(std::move(empty_streams));
  EXPECT_FALSE(merged->Next());
  EXPECT_TRUE(merged->status().ok());
}

}  // namespace
}  // namespace millrace::engine
