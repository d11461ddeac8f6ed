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

#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/block.h"
#include "engine/format/index.h"
#include "engine/format/test_records.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Key of the group's first record, and all its records.
struct Group {
  std::string key;
  Records records;
  friend bool operator==(const Group&, const Group&) = default;
};

// Map outputs in a file system in memory, and the options to read them with.
struct Inputs {
  explicit Inputs(uint32_t partitions = 1, uint32_t partition = 0) {
    CHECK(memory.MakeDirectory("/scratch").ok());
    options.fs = &memory;
    options.job = TestIdentity(0).job;
    options.attempt = *AttemptUid::FromHex(std::string(32, 'e'));
    options.num_partitions = partitions;
    options.partition = partition;
    options.scratch_dir = "/scratch";
  }

  void Add(const std::vector<Records>& partitions,
           MapOutputWriterOptions writer = {}) {
    const auto map_index = static_cast<uint32_t>(sources.size());
    writer.identity = TestIdentity(map_index);
    const std::string path = Cat("/map", map_index);
    auto summary = WriteMapOutput(memory, path, writer, partitions);
    CHECK(summary.ok()) << summary.status();
    sources.push_back({path, writer.identity, summary->root});
    bytes += summary->partitions[options.partition].bytes;
  }

  // Makes the last source one that was fetched: its partition's blocks behind
  // those of others, and the map output itself away.
  void Fetch(const std::string& container) {
    MapOutputSource& source = sources.back();
    auto opened =
        OpenPartition(memory, source.path, source.identity,
                      options.num_partitions, source.root, options.partition);
    CHECK(opened.ok()) << opened.status();
    std::string box = memory.StatLink(container).ok()
                          ? memory.Contents(container)
                          : "bytes of somebody else";
    FetchedPartition fetched{opened->block_bytes, opened->codec, opened->entry};
    fetched.entry.offset = box.size();
    box += memory.Contents(source.path)
               .substr(opened->entry.offset, opened->entry.bytes);
    if (opened->entry.blocks > 0) memory.SetContents(container, box);
    CHECK(memory.RemoveFile(source.path).ok());
    source.path = container;
    source.fetched = fetched;
  }

  absl::StatusOr<std::unique_ptr<GroupedReader>> Open() {
    return GroupedReader::Create(sources, options, &lost_map);
  }

  MemoryFileSystem memory;
  GroupedReaderOptions options;
  std::vector<MapOutputSource> sources;
  uint64_t bytes = 0;  // Of the partition's blocks in all files.
  std::optional<size_t> lost_map;
};

std::vector<Group> ReadGroups(GroupedReader& reader) {
  std::vector<Group> groups;
  while (reader.NextGroup()) {
    Group& group = groups.emplace_back();
    group.key = std::string(reader.key());
    while (reader.NextValue()) {
      group.records.emplace_back(reader.key(), reader.value());
    }
  }
  return groups;
}

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

TEST(GroupedReaderTest, DamageOfAFetchedPartitionNamesItsMap) {
  Inputs inputs;
  for (int m = 0; m < 3; ++m) {
    inputs.Add({{{"key", Cat("value ", m)}}});
    inputs.Fetch("/box");
  }
  const std::string good = inputs.memory.Contents("/box");
  const uint64_t begin = inputs.sources[1].fetched->entry.offset;
  const uint64_t end = inputs.sources[2].fetched->entry.offset;
  for (uint64_t at = begin; at < end; ++at) {
    SCOPED_TRACE(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    inputs.memory.SetContents("/box", bad);
    inputs.lost_map.reset();
    auto reader = inputs.Open();
    if (reader.ok()) {
      ReadGroups(**reader);
      EXPECT_TRUE(absl::IsDataLoss((*reader)->status()));
      EXPECT_EQ((*reader)->lost_map(), 1u);
    } else {
      EXPECT_TRUE(absl::IsDataLoss(reader.status())) << reader.status();
      EXPECT_EQ(inputs.lost_map, 1u);
    }
  }
  // Blocks of another attempt in the right place are damage too.
  inputs.memory.SetContents("/box", good);
  inputs.sources[1].identity.attempt = TestIdentity(9, "b").attempt;
  auto reader = inputs.Open();
  const bool opened = reader.ok();
  if (opened) ReadGroups(**reader);
  EXPECT_TRUE(absl::IsDataLoss(opened ? (*reader)->status() : reader.status()));
}

TEST(GroupedReaderTest, ImpossibleFetchedPartitionsAreRefused) {
  Inputs inputs;
  inputs.Add({{{"key", "value"}}});
  inputs.Fetch("/box");
  const FetchedPartition good = *inputs.sources[0].fetched;
  const auto refused = [&](const FetchedPartition& bad) {
    inputs.sources[0].fetched = bad;
    inputs.lost_map.reset();
    auto reader = inputs.Open();
    return absl::IsDataLoss(reader.status()) && inputs.lost_map == 0u;
  };
  FetchedPartition bad = good;
  bad.entry.blocks = 0;  // And yet there are bytes.
  EXPECT_TRUE(refused(bad));
  bad = good;
  bad.entry.bytes = 1;
  EXPECT_TRUE(refused(bad));
  bad = good;
  bad.entry.offset = ~uint64_t{0} - 3;
  EXPECT_TRUE(refused(bad));
  bad = good;
  bad.entry.sum.records = 0;
  EXPECT_TRUE(refused(bad));
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
  for (int m = 0; m < 3; ++m) inputs.Add({Records(10'000, {"key", "value"})});
  auto reader = inputs.Open();
  ASSERT_TRUE(reader.ok());
  EXPECT_GT(calls, 20u);  // The first pass.
  calls = 0;
  ASSERT_TRUE((*reader)->NextGroup());
  EXPECT_FALSE((*reader)->NextGroup());  // Passes over 30,000 values.
  EXPECT_GT(calls, 30u);
}

// Damage, and whom to blame for it.

// Reads all there is; the status of where it stopped, blame in `*lost_map`.
absl::Status ReadToEnd(Inputs& inputs, std::optional<size_t>* lost_map) {
  auto reader = inputs.Open();
  *lost_map = inputs.lost_map;
  MR_RETURN_IF_ERROR(reader.status());
  ReadGroups(**reader);
  *lost_map = (*reader)->lost_map();
  EXPECT_FALSE((*reader)->NextGroup());
  EXPECT_FALSE((*reader)->NextValue());
  return (*reader)->status();
}

TEST(GroupedReaderTest, EveryDamagedMapOutputIsBlamed) {
  for (uint32_t fan_in_max : {2u, 8u}) {
    Inputs inputs(2, 1);
    inputs.options.fan_in_max = fan_in_max;
    for (int m = 0; m < 5; ++m) {
      MapOutputWriterOptions writer;
      writer.block_bytes = 40;
      inputs.Add({{{"other", "partition"}}, Records(5, {"key", "some value"})},
                 writer);
    }
    for (size_t m = 0; m < 5; ++m) {
      const std::string path = Cat("/map", m);
      const std::string good = inputs.memory.Contents(path);
      // Bytes of the other partition are not this reader's business.
      const size_t other_bytes = kBlockHeaderBytes + 2 + 5 + 9;
      for (size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x20);
        inputs.memory.SetContents(path, bad);
        std::optional<size_t> lost_map;
        const absl::Status status = ReadToEnd(inputs, &lost_map);
        if (i < other_bytes) {
          EXPECT_TRUE(status.ok());
        } else {
          EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << i;
          EXPECT_EQ(lost_map, m) << i;
        }
      }
      inputs.memory.SetContents(path, good);
    }
    EXPECT_THAT(inputs.memory.AllFiles("/scratch"), IsEmpty());
  }
}

TEST(GroupedReaderTest, MissingMapOutputIsBlamed) {
  Inputs inputs;
  for (int m = 0; m < 3; ++m) inputs.Add({{{"k", "v"}}});
  ASSERT_TRUE(inputs.memory.RemoveFile("/map1").ok());
  EXPECT_EQ(inputs.Open().status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(inputs.lost_map, 1u);
}

TEST(GroupedReaderTest, MapOutputOfAnotherAttemptIsBlamed) {
  Inputs inputs;
  for (int m = 0; m < 3; ++m) inputs.Add({{{"k", Cat(m)}}});
  // A second attempt of map 1 wrote other records in the place of the first.
  MapOutputWriterOptions writer;
  writer.identity = TestIdentity(1, "b");
  ASSERT_TRUE(inputs.memory.RemoveFile("/map1").ok());
  ASSERT_TRUE(
      WriteMapOutput(inputs.memory, "/map1", writer, {{{"k", "x"}}}).ok());
  EXPECT_EQ(inputs.Open().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(inputs.lost_map, 1u);
  // Even had it the same uid, the root gives it away.
  writer.identity = TestIdentity(1);
  ASSERT_TRUE(inputs.memory.RemoveFile("/map1").ok());
  ASSERT_TRUE(
      WriteMapOutput(inputs.memory, "/map1", writer, {{{"k", "x"}}}).ok());
  EXPECT_EQ(inputs.Open().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(inputs.lost_map, 1u);
}

TEST(GroupedReaderTest, FailuresOfTheReduceItselfBlameNobody) {
  Inputs inputs;
  inputs.options.fan_in_max = 2;
  for (int m = 0; m < 3; ++m) {
    inputs.Add({Records(100, {"key", std::string(100, 'v')})});
  }
  std::optional<size_t> lost_map;
  {
    // The scratch disk is full.
    const uint64_t used = inputs.bytes;
    inputs.memory.SetCapacity(used + 5'000);
    EXPECT_EQ(ReadToEnd(inputs, &lost_map).code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(lost_map, std::nullopt);
    inputs.memory.SetCapacity(used * 10);
    EXPECT_TRUE(ReadToEnd(inputs, &lost_map).ok());
  }
  {
    // A run of its own is damaged on the scratch disk.
    auto reader = inputs.Open();
    ASSERT_TRUE(reader.ok());
    const std::vector<std::string> runs = inputs.memory.AllFiles("/scratch");
    ASSERT_EQ(runs.size(), 1u);
    std::string bytes = inputs.memory.Contents(runs[0]);
    bytes[200] ^= 1;
    inputs.memory.SetContents(runs[0], bytes);
    EXPECT_THAT(ReadGroups(**reader), IsEmpty());
    EXPECT_EQ((*reader)->status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ((*reader)->lost_map(), std::nullopt);
  }
  {
    // The process has too many files open.
    FaultyFileSystem faulty(inputs.memory);
    faulty.SetFault([](FileOp op, const std::string&) {
      return op == FileOp::kOpenRead ? absl::ResourceExhaustedError("files")
                                     : absl::OkStatus();
    });
    inputs.options.fs = &faulty;
    EXPECT_EQ(ReadToEnd(inputs, &lost_map).code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(lost_map, std::nullopt);
  }
  EXPECT_THAT(inputs.memory.AllFiles("/scratch"), IsEmpty());
}

TEST(GroupedReaderTest, EveryFailedOperationIsReportedAndNothingLeftBehind) {
  Inputs inputs;
  inputs.options.fan_in_max = 2;
  for (int m = 0; m < 4; ++m) inputs.Add({Records(3, {"key", "value"})});
  FaultyFileSystem counted(inputs.memory);
  inputs.options.fs = &counted;
  std::optional<size_t> lost_map;
  ASSERT_TRUE(ReadToEnd(inputs, &lost_map).ok());
  ASSERT_GT(counted.operations(), 20u);
  for (uint64_t n = 0; n < counted.operations(); ++n) {
    FaultyFileSystem fs(inputs.memory);
    // Removing scratch files may fail; then they stay, which is no error.
    bool removing = false;
    uint64_t operation = 0;
    fs.SetFault([&](FileOp op, const std::string&) {
      if (operation++ != n) return absl::OkStatus();
      removing = op == FileOp::kRemove;
      return absl::PermissionDeniedError("injected");
    });
    inputs.options.fs = &fs;
    const absl::Status status = ReadToEnd(inputs, &lost_map);
    EXPECT_EQ(status.ok(), removing) << n << " " << status;
    EXPECT_EQ(lost_map, std::nullopt);
    EXPECT_EQ(inputs.memory.AllFiles("/scratch").size(), removing ? 1u : 0u);
    for (const std::string& left : inputs.memory.AllFiles("/scratch")) {
      ASSERT_TRUE(inputs.memory.RemoveFile(left).ok());
    }
  }
}

// Writes a file of one partition whose records are not those its index counts.
void ForgeMapOutput(MemoryFileSystem& fs, const std::string& path,
                    const MapOutputIdentity& identity, const Records& records,
                    uint64_t hash_error, Hash128Value* root) {
  std::string raw;
  PartitionEntry entry;
  for (const auto& [key, value] : records) {
    raw += static_cast<char>(key.size());
    raw += static_cast<char>(value.size());
    raw += key + value;
    entry.sum.Add(key, value);
  }
  entry.sum.hash += hash_error;
  BlockHeader header;
  header.records = static_cast<uint32_t>(records.size());
  header.raw_bytes = header.stored_bytes = static_cast<uint32_t>(raw.size());
  std::string block(kBlockHeaderBytes, '\0');
  PutBlockHeader(identity, header, block.data());
  block += raw;
  SealBlock(block.data(), raw.size());
  entry.bytes = block.size();
  entry.blocks = 1;
  entry.largest_block_bytes = header.raw_bytes;
  entry.digest = Hash64(raw);
  MapOutputSummary summary;
  summary.partitions = {entry};
  *root = summary.root = RootOf(summary.partitions);
  fs.SetContents(path, block + EncodeIndex(identity, summary, block.size()));
}

TEST(GroupedReaderTest, LedgerThatDoesNotBalanceIsFoundAndBlamed) {
  for (uint32_t fan_in_max : {2u, 8u}) {
    Inputs inputs;
    inputs.options.fan_in_max = fan_in_max;
    for (int m = 0; m < 5; ++m) inputs.Add({Records(3, {"key", "value"})});
    ForgeMapOutput(inputs.memory, "/map3", TestIdentity(3),
                   Records(3, {"key", "value"}), /*hash_error=*/1,
                   &inputs.sources[3].root);
    std::optional<size_t> lost_map;
    const absl::Status status = ReadToEnd(inputs, &lost_map);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr("indexes promise"));
    EXPECT_EQ(lost_map, 3u);
  }
}

TEST(GroupedReaderTest, UnsortedMapOutputIsFoundAndBlamed) {
  // By the last merge, and by a pass before it.
  for (uint32_t fan_in_max : {2u, 8u}) {
    for (const char* tail : {"", "and more than eight bytes"}) {
      Inputs inputs;
      inputs.options.fan_in_max = fan_in_max;
      const std::string key = "12345678";
      for (int m = 0; m < 3; ++m) inputs.Add({{{key + "a" + tail, ""}}});
      ForgeMapOutput(inputs.memory, "/map1", TestIdentity(1),
                     {{key + "a", ""}, {key + "c", ""}, {key + "b", ""}}, 0,
                     &inputs.sources[1].root);
      std::optional<size_t> lost_map;
      const absl::Status status = ReadToEnd(inputs, &lost_map);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("keys out of order"));
      EXPECT_EQ(lost_map, 1u);
    }
  }
}

}  // namespace
}  // namespace millrace::engine
