#include "storage/plan/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

// A directory "/d" of files that exist in name and size alone. Lists them in an
// order that `seed` decides, as different file systems do.
class SizesFileSystem final : public FileSystem {
 public:
  void Put(const std::string& name, uint64_t size) { sizes_[name] = size; }
  void SetSeed(uint64_t seed) { seed_ = seed; }

  absl::StatusOr<FileInfo> Stat(const std::string& path) override {
    FileInfo info;
    if (path == "/d") {
      info.kind = FileKind::kDirectory;
      return info;
    }
    const auto it = sizes_.find(BaseName(path));
    if (it == sizes_.end()) return absl::NotFoundError("");
    info.kind = FileKind::kRegular;
    info.identity = {it->second, 17, 18};
    return info;
  }
  absl::StatusOr<FileInfo> StatLink(const std::string& path) override {
    return Stat(path);
  }
  absl::StatusOr<std::vector<DirEntry>> List(const std::string&) override {
    std::vector<DirEntry> entries;
    for (const auto& [name, size] : sizes_) {
      entries.push_back({name, FileKind::kRegular});
    }
    const auto random = Random::Seeded(seed_);
    for (size_t i = entries.size(); i > 1; --i) {
      std::swap(entries[i - 1], entries[random->Uniform(i)]);
    }
    return entries;
  }

  // Planning does none of this.
  absl::StatusOr<std::unique_ptr<ReadFile>> OpenRead(
      const std::string&) override {
    return absl::InternalError("");
  }
  absl::StatusOr<std::unique_ptr<WriteFile>> Create(
      const std::string&) override {
    return absl::InternalError("");
  }
  absl::Status MakeDirectory(const std::string&) override { return Internal(); }
  absl::Status RemoveTree(const std::string&) override { return Internal(); }
  absl::Status RemoveFile(const std::string&) override { return Internal(); }
  absl::Status Rename(const std::string&, const std::string&) override {
    return Internal();
  }
  absl::Status RenameNoReplace(const std::string&,
                               const std::string&) override {
    return Internal();
  }
  absl::Status SyncDirectory(const std::string&) override { return Internal(); }
  absl::Status MakeReadOnly(const std::string&) override { return Internal(); }
  absl::StatusOr<uint64_t> FreeBytes(const std::string&) override {
    return Internal();
  }

 private:
  static absl::Status Internal() { return absl::InternalError(""); }

  std::map<std::string, uint64_t> sizes_;
  uint64_t seed_ = 0;
};

class PlannerTest : public ::testing::Test {
 protected:
  PlannerTest() { request_.inputs = {"/d"}; }

  // The plan; also what holds for every plan.
  proto::Plan Make() {
    absl::StatusOr<proto::Plan> plan = MakePlan(fs_, request_);
    EXPECT_TRUE(plan.ok()) << plan.status();
    if (!plan.ok()) return {};
    // ParsePlan checks that the ranges are the whole input in order.
    absl::StatusOr<proto::Plan> parsed = ParsePlan(SerializePlan(*plan));
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    if (parsed.ok()) {
      EXPECT_EQ(SerializePlan(*parsed), SerializePlan(*plan));
    }
    return *plan;
  }

  absl::Status MakeError() { return MakePlan(fs_, request_).status(); }

  SizesFileSystem fs_;
  PlanRequest request_;
};

uint64_t SplitBytes(const proto::Split& split) {
  uint64_t bytes = 0;
  for (const proto::Range& range : split.ranges()) bytes += range.length();
  return bytes;
}

TEST_F(PlannerTest, SplitsAndReducersFollowTheSize) {
  struct Case {
    uint64_t bytes;
    int splits;
    uint32_t reducers;
  };
  for (const Case& c : std::vector<Case>{{1, 1, 1},
                                         {4 * kMiB, 1, 1},
                                         {16 * kMiB, 4, 1},
                                         {16 * kMiB + 1, 4, 2},
                                         {100 * kMiB, 8, 2},
                                         {kGiB, 8, 8},
                                         {kGiB + 1, 8, 9},
                                         {10 * kGiB, 80, 80},
                                         {1024 * kGiB, 8192, 1024}}) {
    fs_ = SizesFileSystem();
    fs_.Put("f", c.bytes);
    const proto::Plan plan = Make();
    EXPECT_EQ(plan.splits_size(), c.splits) << c.bytes;
    EXPECT_EQ(plan.num_partitions(), c.reducers) << c.bytes;
    EXPECT_EQ(plan.input_bytes(), c.bytes);
    uint64_t smallest = c.bytes;
    uint64_t largest = 0;
    for (const proto::Split& split : plan.splits()) {
      smallest = std::min(smallest, SplitBytes(split));
      largest = std::max(largest, SplitBytes(split));
    }
    // One file's cost, and rounding.
    EXPECT_LE(largest - smallest, (8 << 10) + 1) << c.bytes;
  }
}

TEST_F(PlannerTest, TinyFilesShareSplits) {
  for (int i = 0; i < 20'000; ++i) fs_.Put(Cat("file", i), 100);
  const proto::Plan plan = Make();
  EXPECT_EQ(plan.splits_size(), 8);
  for (const proto::Split& split : plan.splits()) {
    EXPECT_NEAR(split.ranges_size(), 20'000 / 8, 1);
  }
  EXPECT_EQ(plan.num_partitions(), 1u);
}

TEST_F(PlannerTest, OpeningFilesIsBalancedAgainstReadingThem) {
  for (int i = 0; i < 10'000; ++i) fs_.Put(Cat("a", i), 10);
  fs_.Put("b", 80 * kMiB);
  const proto::Plan plan = Make();
  // The tiny files weigh as much as the large one: half the tasks each.
  ASSERT_EQ(plan.splits_size(), 8);
  EXPECT_GT(plan.splits(2).ranges_size(), 2000);
  EXPECT_EQ(plan.splits(6).ranges_size(), 1);
}

TEST_F(PlannerTest, SmallFilesAreNotCut) {
  fs_.Put("a", 100 * kMiB);
  for (int i = 0; i < 1000; ++i) fs_.Put(Cat("b", i), 200'000);
  std::map<uint32_t, int> ranges;
  const proto::Plan plan = Make();
  for (const proto::Split& split : plan.splits()) {
    for (const proto::Range& range : split.ranges()) ++ranges[range.file()];
  }
  EXPECT_GT(ranges[0], 1);
  for (uint32_t i = 1; i <= 1000; ++i) EXPECT_EQ(ranges[i], 1) << i;
}

// A cut close to an end of a large file moves there.
TEST_F(PlannerTest, NoCrumbsOfLargeFiles) {
  request_.split_bytes = 100;
  for (uint64_t first : {90, 105}) {
    fs_.Put("a", first);
    fs_.Put("b", 200 - first);
    const proto::Plan plan = Make();
    ASSERT_EQ(plan.splits_size(), 2);
    EXPECT_EQ(plan.splits(0).ranges_size(), 1) << first;
    EXPECT_EQ(plan.splits(1).ranges_size(), 1) << first;
  }
}

TEST_F(PlannerTest, ChosenSplitSizeIsKept) {
  fs_.Put("a", 1000);
  fs_.Put("b", 1);
  request_.split_bytes = 100;
  EXPECT_EQ(Make().splits_size(), 10);
  request_.split_bytes = 1;
  EXPECT_EQ(Make().splits_size(), 1001);
  request_.split_bytes = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(Make().splits_size(), 1);
  fs_.Put("c", kGiB);
  request_.split_bytes = 10;
  const absl::Status status = MakeError();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("larger splits"));
}

TEST_F(PlannerTest, ZeroByteFilesAndEmptyInput) {
  fs_.Put("a", 0);
  fs_.Put("b", 0);
  proto::Plan plan = Make();
  EXPECT_EQ(plan.files_size(), 2);
  EXPECT_EQ(plan.splits_size(), 0);
  EXPECT_EQ(plan.num_partitions(), 1u);
  fs_.Put("aa", 10);
  plan = Make();
  ASSERT_EQ(plan.splits_size(), 1);
  ASSERT_EQ(plan.splits(0).ranges_size(), 1);
  EXPECT_EQ(plan.splits(0).ranges(0).file(), 1u);
  fs_ = SizesFileSystem();
  plan = Make();
  EXPECT_EQ(plan.files_size(), 0);
  EXPECT_EQ(plan.splits_size(), 0);
}

TEST_F(PlannerTest, OrderOfListingDoesNotMatter) {
  for (int i = 0; i < 300; ++i) {
    fs_.Put(Cat("f", i), uint64_t{1} << (i % 27));
  }
  const std::string expected = SerializePlan(Make());
  for (uint64_t seed = 1; seed < 20; ++seed) {
    fs_.SetSeed(seed);
    EXPECT_EQ(SerializePlan(Make()), expected) << "seed " << seed;
  }
}

TEST_F(PlannerTest, FixedRecordsAreCutAtRecordBounds) {
  request_.input_kind = proto::FIXED_RECORDS;
  request_.record_bytes = 100;
  fs_.Put("a", 50 * kMiB / 100 * 100);
  fs_.Put("b", 100);
  fs_.Put("c", 0);
  const proto::Plan plan = Make();
  EXPECT_GT(plan.splits_size(), 4);
  for (const proto::Split& split : plan.splits()) {
    for (const proto::Range& range : split.ranges()) {
      EXPECT_EQ(range.offset() % 100, 0u);
      EXPECT_EQ(range.length() % 100, 0u);
    }
  }
  fs_.Put("b", 150);
  absl::Status status = MakeError();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/d/b"), HasSubstr("150"), HasSubstr("100")));
  request_.record_bytes = 0;
  EXPECT_EQ(MakeError().code(), absl::StatusCode::kInvalidArgument);
  request_.record_bytes = ~uint32_t{0};
  EXPECT_EQ(MakeError().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PlannerTest, RecordsLargerThanASplit) {
  request_.input_kind = proto::FIXED_RECORDS;
  request_.record_bytes = 30 * kMiB;
  fs_.Put("a", 90 * kMiB);
  request_.split_bytes = kMiB;
  EXPECT_EQ(Make().splits_size(), 3);
}

TEST_F(PlannerTest, Sequences) {
  request_.inputs.clear();
  request_.input_kind = proto::SEQUENCE;
  struct Case {
    uint64_t rows;
    uint32_t asked;
    int splits;
  };
  const uint64_t huge = std::numeric_limits<uint64_t>::max();
  for (const Case& c : std::vector<Case>{{0, 0, 0},
                                         {0, 5, 0},
                                         {1, 0, 1},
                                         {3, 10, 3},
                                         {10, 3, 3},
                                         {1'000'000, 0, 1},
                                         {1'000'001, 0, 2},
                                         {10'737'418, 0, 11},
                                         {huge, 0, 10'000},
                                         {huge, 7, 7}}) {
    request_.sequence_rows = c.rows;
    request_.sequence_splits = c.asked;
    const proto::Plan plan = Make();
    EXPECT_EQ(plan.splits_size(), c.splits) << c.rows << " " << c.asked;
    for (const proto::Split& split : plan.splits()) {
      EXPECT_LE(split.ranges(0).length() - c.rows / c.splits, 1u);
    }
  }
  request_.inputs = {"/d"};
  const absl::Status status = MakeError();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"/d\""));
}

TEST_F(PlannerTest, ReducersAsAskedOrNone) {
  fs_.Put("a", kGiB);
  request_.num_reducers = 3;
  EXPECT_EQ(Make().num_partitions(), 3u);
  request_.map_only = true;
  EXPECT_EQ(Make().num_partitions(), 0u);
  request_.map_only = false;
  request_.num_reducers = 70'000;
  EXPECT_EQ(MakeError().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PlannerTest, RefusesWhatCannotBePlanned) {
  request_.inputs.clear();
  EXPECT_EQ(MakeError().code(), absl::StatusCode::kInvalidArgument);
  request_.inputs = {"/d", "/e"};
  EXPECT_EQ(MakeError().code(), absl::StatusCode::kNotFound);
  request_.inputs = {"/d"};
  fs_.Put("a", uint64_t{1} << 62);
  fs_.Put("b", 1);
  absl::Status status = MakeError();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/d/b"));
  request_.input_kind = proto::INPUT_KIND_UNSPECIFIED;
  EXPECT_EQ(MakeError().code(), absl::StatusCode::kInvalidArgument);
}

// Any sizes and any split size: all bytes once, in order, nothing empty (that
// is what Make() checks), and no split much larger than it was meant to be.
TEST_F(PlannerTest, RandomListings) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const auto random = Random::Seeded(seed);
    fs_ = SizesFileSystem();
    request_ = PlanRequest();
    request_.inputs = {"/d"};
    if (random->Uniform(3) == 0) {
      request_.input_kind = proto::FIXED_RECORDS;
      request_.record_bytes = static_cast<uint32_t>(1 + random->Uniform(50));
    }
    const uint64_t align = std::max(request_.record_bytes, 1u);
    uint64_t total = 0;
    for (uint64_t i = random->Uniform(20); i > 0; --i) {
      const uint64_t size = random->Next64() >> (40 + random->Uniform(24));
      fs_.Put(Cat("f", i), size / align * align);
      total += size;
    }
    request_.split_bytes = 100 + total / (1 + random->Uniform(50));
    const proto::Plan plan = Make();
    if (HasFailure()) return;
    for (const proto::Split& split : plan.splits()) {
      ASSERT_LE(SplitBytes(split), request_.split_bytes * 7 / 4 + 2 * align);
    }
  }
}

TEST(ParsePlanTest, RefusesWhatDoesNotFitTogether) {
  SizesFileSystem fs;
  fs.Put("a", 100);
  fs.Put("b", 50);
  PlanRequest request;
  request.inputs = {"/d"};
  request.split_bytes = 60;
  request.num_reducers = 3;
  const proto::Plan good = *MakePlan(fs, request);
  ASSERT_EQ(good.splits_size(), 3);
  ASSERT_TRUE(ParsePlan(SerializePlan(good)).ok());

  const std::vector<std::pair<const char*, void (*)(proto::Plan*)>> damages = {
      {"version", [](proto::Plan* p) { p->set_format_version(2); }},
      {"kind", [](proto::Plan* p) { p->clear_input_kind(); }},
      {"kind 9",
       [](proto::Plan* p) {
         p->set_input_kind(static_cast<proto::InputKind>(9));
       }},
      {"record size", [](proto::Plan* p) { p->set_record_bytes(10); }},
      {"rows", [](proto::Plan* p) { p->set_sequence_rows(1); }},
      {"no records",
       [](proto::Plan* p) { p->set_input_kind(proto::FIXED_RECORDS); }},
      {"not whole records",
       [](proto::Plan* p) {
         p->set_input_kind(proto::FIXED_RECORDS);
         p->set_record_bytes(7);
       }},
      {"total", [](proto::Plan* p) { p->set_input_bytes(151); }},
      {"size", [](proto::Plan* p) { p->mutable_files(0)->set_size(101); }},
      {"huge size",
       [](proto::Plan* p) { p->mutable_files(0)->set_size(~uint64_t{0}); }},
      {"path", [](proto::Plan* p) { p->mutable_files(0)->set_path(""); }},
      {"NUL",
       [](proto::Plan* p) {
         p->mutable_files(0)->set_path(std::string("/a\0", 3));
       }},
      {"order", [](proto::Plan* p) { p->mutable_files(0)->set_path("/e"); }},
      {"no splits", [](proto::Plan* p) { p->clear_splits(); }},
      {"empty split", [](proto::Plan* p) { p->add_splits(); }},
      {"last split", [](proto::Plan* p) { p->mutable_splits()->RemoveLast(); }},
      {"twice", [](proto::Plan* p) { *p->add_splits() = p->splits(2); }},
      {"swapped",
       [](proto::Plan* p) { p->mutable_splits()->SwapElements(0, 1); }},
      {"file index",
       [](proto::Plan* p) {
         p->mutable_splits(0)->mutable_ranges(0)->set_file(2);
       }},
      {"offset",
       [](proto::Plan* p) {
         p->mutable_splits(0)->mutable_ranges(0)->set_offset(1);
       }},
      {"huge offset",
       [](proto::Plan* p) {
         p->mutable_splits(1)->mutable_ranges(0)->set_offset(~uint64_t{0});
       }},
      {"length",
       [](proto::Plan* p) {
         p->mutable_splits(0)->mutable_ranges(0)->set_length(1);
       }},
      {"huge length",
       [](proto::Plan* p) {
         p->mutable_splits(1)->mutable_ranges(0)->set_length(~uint64_t{0});
       }},
      {"zero length",
       [](proto::Plan* p) {
         p->mutable_splits(0)->mutable_ranges(0)->set_length(0);
       }},
      {"partitions", [](proto::Plan* p) { p->set_num_partitions(1 << 30); }},
      {"one key", [](proto::Plan* p) { p->add_split_keys("a"); }},
      {"equal keys",
       [](proto::Plan* p) {
         p->add_split_keys("a");
         p->add_split_keys("a");
       }},
  };
  for (const auto& [name, damage] : damages) {
    proto::Plan plan = good;
    damage(&plan);
    const absl::Status status = ParsePlan(SerializePlan(plan)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name;
  }
  proto::Plan keys = good;
  keys.add_split_keys("a");
  keys.add_split_keys("b");
  EXPECT_TRUE(ParsePlan(SerializePlan(keys)).ok());
  const std::string bytes = SerializePlan(good);
  EXPECT_EQ(ParsePlan(bytes.substr(0, bytes.size() - 1)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ParsePlan("").status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace millrace::storage
