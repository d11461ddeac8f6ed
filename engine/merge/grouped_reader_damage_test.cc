// What the grouped reader makes of damaged, lost and foreign map outputs, and
// whom it blames.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/block.h"
#include "engine/format/index.h"
#include "engine/merge/grouped_reader_test.h"
#include "tests/testing/faulty_file_system.h"

namespace millrace::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(GroupedReaderDamageTest, DamageOfAFetchedPartitionNamesItsMap) {
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

TEST(GroupedReaderDamageTest, ImpossibleFetchedPartitionsAreRefused) {
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

TEST(GroupedReaderDamageTest, EveryDamagedMapOutputIsBlamed) {
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

TEST(GroupedReaderDamageTest, MissingMapOutputIsBlamed) {
  Inputs inputs;
  for (int m = 0; m < 3; ++m) inputs.Add({{{"k", "v"}}});
  ASSERT_TRUE(inputs.memory.RemoveFile("/map1").ok());
  EXPECT_EQ(inputs.Open().status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(inputs.lost_map, 1u);
}

TEST(GroupedReaderDamageTest, MapOutputOfAnotherAttemptIsBlamed) {
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

TEST(GroupedReaderDamageTest, FailuresOfTheReduceItselfBlameNobody) {
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

TEST(GroupedReaderDamageTest,
     EveryFailedOperationIsReportedAndNothingLeftBehind) {
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

TEST(GroupedReaderDamageTest, LedgerThatDoesNotBalanceIsFoundAndBlamed) {
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

TEST(GroupedReaderDamageTest, FetchedPartitionThatDoesNotBalanceIsBlamed) {
  for (uint32_t fan_in_max : {2u, 8u}) {
    Inputs inputs;
    inputs.options.fan_in_max = fan_in_max;
    for (int m = 0; m < 5; ++m) {
      inputs.Add({Records(3, {"key", "value"})});
      inputs.Fetch("/box");
    }
    inputs.sources[3].fetched->entry.sum.hash += 1;
    std::optional<size_t> lost_map;
    const absl::Status status = ReadToEnd(inputs, &lost_map);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr("indexes promise"));
    EXPECT_EQ(lost_map, 3u);
  }
}

TEST(GroupedReaderDamageTest, UnsortedMapOutputIsFoundAndBlamed) {
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
