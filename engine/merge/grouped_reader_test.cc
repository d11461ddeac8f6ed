#include "engine/merge/grouped_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/strings.h"
#include "engine/merge/grouped_reader_test.h"
#include "tests/testing/faulty_file_system.h"

namespace millrace::engine {
namespace {

using ::testing::IsEmpty;

// The twin: everything in memory.
std::vector<Group> ExpectedGroups(const std::vector<Records>& maps,
                                  size_t prefix_bytes) {
  Records all;
  for (const Records& map : maps) all.insert(all.end(), map.begin(), map.end());
  std::stable_sort(
      all.begin(), all.end(),
      [](const Record& a, const Record& b) { return a.first < b.first; });
  std::vector<Group> groups;
  for (const Record& record : all) {
    if (groups.empty() || groups.back().key.substr(0, prefix_bytes) !=
                              record.first.substr(0, prefix_bytes)) {
      groups.push_back({record.first, {}});
    }
    groups.back().records.push_back(record);
  }
  return groups;
}

// Sorted records whose values tell map and position.
Records RandomMap(TestRandom& random, size_t map, size_t records_max) {
  Records records(random.Below(records_max + 1));
  for (auto& [key, value] : records) key = random.Bytes(10, 2);
  std::sort(records.begin(), records.end());
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].second = Cat(map, ":", i);
  }
  return records;
}

TEST(GroupedReaderTest, EqualsTheTwinForEveryFanIn) {
  uint64_t multi_pass_cases = 0;
  for (uint64_t seed = 0; seed < 4'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    TestRandom random(seed);
    const auto partitions = static_cast<uint32_t>(1 + random.Below(3));
    const auto partition = static_cast<uint32_t>(random.Below(partitions));
    Inputs inputs(partitions, partition);
    inputs.options.fan_in_max = static_cast<uint32_t>(2 + random.Below(4));
    inputs.options.codec = static_cast<Codec>(random.Below(3));
    if (random.Below(2) == 0) inputs.options.memory_bytes = random.Below(9'000);
    size_t prefix_bytes = std::string::npos;
    if (random.Below(2) == 0) {
      prefix_bytes = random.Below(4);
      inputs.options.group_prefix = [prefix_bytes](std::string_view key) {
        return std::min(prefix_bytes, key.size());
      };
    }
    std::vector<Records> maps(random.Below(12));
    uint64_t records = 0;
    for (size_t m = 0; m < maps.size(); ++m) {
      std::vector<Records> output(partitions);
      for (uint32_t p = 0; p < partitions; ++p) {
        output[p] = RandomMap(random, m, random.Below(4) == 0 ? 0 : 8);
      }
      maps[m] = output[partition];
      records += maps[m].size();
      MapOutputWriterOptions writer;
      writer.codec = static_cast<Codec>(random.Below(3));
      writer.block_bytes = 1 + random.Below(60);
      inputs.Add(output, writer);
      if (random.Below(2) == 0) inputs.Fetch(Cat("/box", random.Below(2)));
    }
    auto reader = inputs.Open();
    ASSERT_TRUE(reader.ok()) << reader.status();
    ASSERT_EQ(ReadGroups(**reader), ExpectedGroups(maps, prefix_bytes));
    ASSERT_TRUE((*reader)->status().ok()) << (*reader)->status();
    EXPECT_EQ((*reader)->fetched().records, records);
    EXPECT_EQ((*reader)->merged(), (*reader)->fetched());
    EXPECT_EQ((*reader)->shuffle_bytes(), inputs.bytes);
    EXPECT_FALSE((*reader)->NextGroup());
    EXPECT_FALSE((*reader)->NextValue());
    multi_pass_cases += (*reader)->spilled_records() > 0;
    reader->reset();
    EXPECT_THAT(inputs.memory.AllFiles("/scratch"), IsEmpty());
  }
  EXPECT_GT(multi_pass_cases, 1'000u);
}

TEST(GroupedReaderTest, ValuesMayBeLeftUnread) {
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    TestRandom random(seed);
    Inputs inputs;
    std::vector<Records> maps(1 + random.Below(4));
    for (size_t m = 0; m < maps.size(); ++m) {
      maps[m] = RandomMap(random, m, 10);
      inputs.Add({maps[m]});
    }
    auto reader = inputs.Open();
    ASSERT_TRUE(reader.ok());
    for (const Group& group : ExpectedGroups(maps, std::string::npos)) {
      ASSERT_TRUE((*reader)->NextGroup());
      // Before the first NextValue, key and value are the first record's.
      EXPECT_EQ((*reader)->key(), group.key);
      EXPECT_EQ((*reader)->value(), group.records[0].second);
      const size_t to_read = random.Below(group.records.size() + 2);
      for (size_t i = 0; i < to_read; ++i) {
        ASSERT_EQ((*reader)->NextValue(), i < group.records.size());
        if (i >= group.records.size()) break;
        EXPECT_EQ((*reader)->value(), group.records[i].second);
      }
      if (to_read > group.records.size()) {
        EXPECT_FALSE((*reader)->NextValue());
      }
    }
    EXPECT_FALSE((*reader)->NextGroup());
    EXPECT_TRUE((*reader)->status().ok());
    EXPECT_EQ((*reader)->merged(), (*reader)->fetched());
  }
}

TEST(GroupedReaderTest, NoMapsAndEmptyMapsAreNoGroups) {
  Inputs none;
  auto reader = none.Open();
  ASSERT_TRUE(reader.ok());
  EXPECT_FALSE((*reader)->NextGroup());
  EXPECT_FALSE((*reader)->NextValue());
  EXPECT_TRUE((*reader)->status().ok());

  Inputs empty(3, 1);
  for (int i = 0; i < 5; ++i) empty.Add({{{"a", "b"}}, {}, {{"c", "d"}}});
  reader = empty.Open();
  ASSERT_TRUE(reader.ok());
  EXPECT_FALSE((*reader)->NextGroup());
  EXPECT_TRUE((*reader)->status().ok());
  EXPECT_EQ((*reader)->fetched(), RecordSum());
}

TEST(GroupedReaderTest, LargeKeysAndValuesAreGrouped) {
  const std::string key(1 << 20, 'k');
  const std::string value(3 << 20, 'v');
  for (uint32_t fan_in_max : {2u, 16u}) {
    Inputs inputs;
    inputs.options.memory_bytes = 1 << 20;
    inputs.options.fan_in_max = fan_in_max;
    std::vector<Records> maps(4, {{"a", value}, {key, "1"}, {key, value}});
    maps[2].push_back({key + "l", value});
    for (const Records& map : maps) inputs.Add({map});
    auto reader = inputs.Open();
    ASSERT_TRUE(reader.ok());
    EXPECT_TRUE(ReadGroups(**reader) ==
                ExpectedGroups(maps, std::string::npos));
    EXPECT_TRUE((*reader)->status().ok()) << (*reader)->status();
  }
}

TEST(GroupedReaderTest, SmallMemoryMeansMorePassesNotMoreMemory) {
  const auto spilled = [](uint64_t memory_bytes) {
    Inputs inputs;
    inputs.options.memory_bytes = memory_bytes;
    MapOutputWriterOptions writer;
    writer.block_bytes = 16 << 10;
    for (int m = 0; m < 32; ++m) {
      inputs.Add({Records(400, {"key", std::string(100, 'v')})}, writer);
    }
    auto reader = inputs.Open();
    CHECK(reader.ok());
    CHECK_EQ(ReadGroups(**reader).size(), 1u);
    return (*reader)->spilled_records();
  };
  EXPECT_EQ(spilled(1 << 20), 0u);
  EXPECT_GT(spilled(200 << 10), 0u);
  EXPECT_GT(spilled(50 << 10), spilled(200 << 10));
}

// Memory, by asking the allocator whenever the reader asks the file system.

uint64_t AllocatedBytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// Most bytes allocated while all of `maps` is written to real files and read as
// groups, above what there was before.
uint64_t PeakBytes(const std::vector<Records>& maps, Codec codec,
                   uint64_t memory_bytes) {
  std::string dir = JoinPath(::testing::TempDir(), "grouped_XXXXXX");
  CHECK(mkdtemp(dir.data()) != nullptr);
  FileSystem& posix = FileSystem::Posix();
  std::vector<MapOutputSource> sources;
  for (uint32_t m = 0; m < maps.size(); ++m) {
    MapOutputWriterOptions writer;
    writer.identity = TestIdentity(m);
    writer.codec = codec;
    const std::string path = JoinPath(dir, Cat("map", m));
    auto summary = WriteMapOutput(posix, path, writer, {maps[m]});
    CHECK(summary.ok()) << summary.status();
    sources.push_back({path, writer.identity, summary->root});
  }
  FaultyFileSystem fs(posix);
  uint64_t peak = 0;
  fs.SetFault([&peak](FileOp, const std::string&) {
    peak = std::max(peak, AllocatedBytes());
    return absl::OkStatus();
  });
  GroupedReaderOptions options;
  options.fs = &fs;
  options.job = TestIdentity(0).job;
  options.memory_bytes = memory_bytes;
  options.scratch_dir = dir;
  options.codec = codec;
  std::optional<size_t> lost_map;
  const uint64_t before = AllocatedBytes();
  auto reader = GroupedReader::Create(sources, options, &lost_map);
  CHECK(reader.ok()) << reader.status();
  for (uint64_t groups = 0; (*reader)->NextGroup(); ++groups) {
    if (groups % 64 == 0) peak = std::max(peak, AllocatedBytes());
  }
  CHECK((*reader)->status().ok()) << (*reader)->status();
  CHECK(posix.RemoveTree(dir).ok());
  return peak - before;
}

// Not so under a sanitizer, whose allocator keeps no such books.
bool AllocatorTells() {
  const uint64_t before = AllocatedBytes();
  const std::vector<char> bytes(8 << 20);
  return AllocatedBytes() >= before + bytes.size();
}

TEST(GroupedReaderTest, MemoryStaysWithinTheBudget) {
  if (!AllocatorTells()) GTEST_SKIP() << "needs the allocator's books";
  TestRandom random(1);
  std::vector<Records> maps(40);
  for (Records& records : maps) {
    for (int i = 0; i < 5'000; ++i) {
      records.emplace_back(random.Bytes(10, 256), random.Bytes(200, 16));
    }
    std::sort(records.begin(), records.end());
  }
  for (Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    for (uint64_t memory_bytes : {2 << 20, 8 << 20, 64 << 20}) {
      SCOPED_TRACE(Cat("codec ", static_cast<int>(codec), ", ", memory_bytes));
      const uint64_t peak = PeakBytes(maps, codec, memory_bytes);
      EXPECT_LT(peak, memory_bytes + (256 << 10));
      // And it is made use of.
      EXPECT_GT(peak, std::min<uint64_t>(memory_bytes, 8 << 20) / 2);
    }
  }
}

TEST(GroupedReaderTest, LargeRecordsTakeTwiceTheirSizeAtMost) {
  if (!AllocatorTells()) GTEST_SKIP() << "needs the allocator's books";
  constexpr uint64_t kMemory = 4 << 20;
  constexpr uint64_t kLarge = 6 << 20;
  // In every map; in one map among many small ones.
  std::vector<Records> all(6, {{"a", "small"},
                               {"b", std::string(kLarge, 'v')},
                               {"c", std::string(kLarge, 'w')},
                               {"d", "small"}});
  std::vector<Records> one(50, Records(100, {"k", std::string(1'000, 'v')}));
  one[17].push_back({"k", std::string(kLarge, 'v')});
  for (Codec codec : {Codec::kNone, Codec::kLz4}) {
    EXPECT_LT(PeakBytes(all, codec, kMemory), kMemory + 2 * kLarge);
    EXPECT_LT(PeakBytes(one, codec, kMemory), kMemory + 2 * kLarge);
  }
}

TEST(GroupedReaderTest, ProgressIsReportedBySilentWork) {
  Inputs inputs;
  uint64_t calls = 0;
  inputs.options.on_progress = [&calls] { ++calls; };
  inputs.options.fan_in_max = 2;
  for (int m = 0; m < 3; ++m) inputs.Add({Records(100'000, {"key", "value"})});
  auto reader = inputs.Open();
  ASSERT_TRUE(reader.ok());
  EXPECT_GT(calls, 20u);  // The first pass.
  calls = 0;
  ASSERT_TRUE((*reader)->NextGroup());
  EXPECT_FALSE((*reader)->NextGroup());  // Passes over 300,000 values.
  EXPECT_GT(calls, 30u);
}

// A few records may be as much work as many: a pass of them is no hang.
TEST(GroupedReaderTest, ProgressIsReportedByTheBytesOfLargeRecords) {
  constexpr size_t kLarge = 1 << 20;
  constexpr size_t kRecords = 4;  // Of each map.
  Inputs inputs;
  uint64_t calls = 0;
  inputs.options.on_progress = [&calls] { ++calls; };
  inputs.options.fan_in_max = 2;
  for (int m = 0; m < 3; ++m) {
    inputs.Add({Records(kRecords, {"key", std::string(kLarge, 'v')})});
  }
  auto reader = inputs.Open();
  ASSERT_TRUE(reader.ok());
  EXPECT_GE(calls, 2 * kRecords);
  calls = 0;
  ASSERT_TRUE((*reader)->NextGroup());
  EXPECT_FALSE((*reader)->NextGroup());
  EXPECT_GE(calls, 3 * kRecords - 1);
}

}  // namespace
}  // namespace millrace::engine
