#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/hash.h"
#include "common/strings.h"
#include "engine/format/block.h"
#include "engine/format/encoding.h"
#include "engine/format/index.h"
#include "engine/format/map_output_reader.h"
#include "engine/format/map_output_writer.h"
#include "engine/format/test_records.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {
namespace {

using ::testing::HasSubstr;

constexpr Codec kCodecs[] = {Codec::kNone, Codec::kLz4, Codec::kZstd};

std::vector<Records> RandomPartitions(TestRandom& random, size_t partitions_max,
                                      size_t records_max, size_t bytes_max) {
  std::vector<Records> partitions(1 + random.Below(partitions_max));
  for (Records& records : partitions) {
    if (random.Below(3) == 0) continue;
    const uint64_t letters = 1 + random.Below(4);
    records.resize(random.Below(records_max + 1));
    for (auto& [key, value] : records) {
      key = random.Bytes(12, letters);
      value = random.Bytes(bytes_max, letters);
    }
    std::stable_sort(
        records.begin(), records.end(),
        [](const Record& a, const Record& b) { return a.first < b.first; });
  }
  return partitions;
}

TEST(EncodingTest, VarintsRoundTripInTheirShortestFormOnly) {
  for (uint64_t base : {0ull, 1ull << 7, 1ull << 14, 1ull << 21, 1ull << 28,
                        (1ull << 32) - 1}) {
    for (uint64_t v : {base - 1, base, base + 1}) {
      if (v > 0xFFFFFFFFu) continue;
      const auto v32 = static_cast<uint32_t>(v);
      char bytes[kVarint32BytesMax];
      const char* const end = PutVarint32(bytes, v32);
      EXPECT_EQ(static_cast<size_t>(end - bytes), Varint32Size(v32));
      uint32_t got = 0;
      EXPECT_EQ(GetVarint32(bytes, end, &got), end);
      EXPECT_EQ(got, v32);
      EXPECT_EQ(GetVarint32(bytes, end - 1, &got), nullptr) << v;
    }
  }
  for (std::string_view bad :
       {std::string_view("\x80\x00", 2), std::string_view("\xFF\x80\x00", 3),
        std::string_view("\xFF\xFF\xFF\xFF\x10", 5),
        std::string_view("\xFF\xFF\xFF\xFF\xFF\x01", 6)}) {
    uint32_t got = 0;
    EXPECT_EQ(GetVarint32(bad.data(), bad.data() + bad.size(), &got), nullptr)
        << HexEncode(bad);
  }
}

TEST(EncodingTest, KeyPrefixNeverContradictsTheOrderOfKeys) {
  TestRandom random(1);
  for (int i = 0; i < 100'000; ++i) {
    const std::string a = random.Bytes(11, 3);
    const std::string b = random.Bytes(11, 3);
    if (KeyPrefix(a) < KeyPrefix(b)) {
      EXPECT_LT(a, b);
    }
    if (a.substr(0, 8) == b.substr(0, 8)) {
      EXPECT_EQ(KeyPrefix(a), KeyPrefix(b));
    }
  }
  EXPECT_EQ(KeyPrefix("abcdefghi"), 0x6162636465666768u);
}

TEST(MapOutputTest, RandomFilesRoundTripWhateverTheLayout) {
  for (uint64_t seed = 0; seed < 2'000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    TestRandom random(seed);
    const std::vector<Records> partitions =
        RandomPartitions(random, 5, 40, random.Below(20) == 0 ? 3'000 : 30);
    const auto num_partitions = static_cast<uint32_t>(partitions.size());
    RecordSum total;
    for (const Records& records : partitions) {
      for (const auto& [key, value] : records) total.Add(key, value);
    }
    MemoryFileSystem fs;
    std::optional<MapOutputSummary> first;
    for (Codec codec : kCodecs) {
      MapOutputWriterOptions options;
      options.identity = TestIdentity(3);
      options.codec = codec;
      options.block_bytes = 1 + random.Below(300);
      const std::string path = Cat("/f", static_cast<int>(codec));
      auto summary = WriteMapOutput(fs, path, options, partitions);
      ASSERT_TRUE(summary.ok()) << summary.status();
      EXPECT_EQ(summary->file_bytes, fs.Contents(path).size());
      EXPECT_EQ(summary->total, total);
      auto file = MapOutputFile::Open(fs, path, options.identity,
                                      num_partitions, summary->root);
      ASSERT_TRUE(file.ok()) << file.status();
      EXPECT_EQ((*file)->summary().total, total);
      EXPECT_EQ((*file)->summary().file_bytes, summary->file_bytes);
      std::vector<Records> got;
      const absl::Status status =
          ReadMapOutput(fs, path, options.identity, num_partitions, &got,
                        random.Below(1'000));
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_EQ(got, partitions);
      // Root, digests and sums do not depend on blocks and compression.
      if (!first.has_value()) first = *summary;
      EXPECT_EQ(summary->root, first->root);
      for (uint32_t p = 0; p < num_partitions; ++p) {
        EXPECT_EQ(summary->partitions[p].digest, first->partitions[p].digest);
        EXPECT_EQ(summary->partitions[p].sum, first->partitions[p].sum);
      }
    }
  }
}

TEST(MapOutputTest, DigestSeesTheOrderThatTheSumDoesNot) {
  MemoryFileSystem fs;
  auto ab = WriteMapOutput(fs, "/ab", {}, {{{"k", "a"}, {"k", "b"}}});
  auto ba = WriteMapOutput(fs, "/ba", {}, {{{"k", "b"}, {"k", "a"}}});
  EXPECT_EQ(ab->total, ba->total);
  EXPECT_NE(ab->partitions[0].digest, ba->partitions[0].digest);
  EXPECT_NE(ab->root, ba->root);
}

TEST(MapOutputTest, EmptyFileIsAnIndexAlone) {
  MemoryFileSystem fs;
  MapOutputWriterOptions options;
  auto summary = WriteMapOutput(fs, "/f", options, {{}, {}, {}});
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->total, RecordSum());
  std::vector<Records> got;
  EXPECT_TRUE(ReadMapOutput(fs, "/f", options.identity, 3, &got).ok());
  EXPECT_EQ(got, std::vector<Records>(3));
}

TEST(MapOutputTest, CompressesWhatShrinksAndStoresTheRest) {
  TestRandom random(1);
  Records shrinks;
  Records does_not;
  for (int i = 0; i < 2'000; ++i) {
    shrinks.emplace_back("key", std::string(100, 'x'));
    does_not.emplace_back("key", random.Bytes(200, 256));
  }
  for (Codec codec : {Codec::kLz4, Codec::kZstd}) {
    MemoryFileSystem fs;
    MapOutputWriterOptions options;
    options.codec = codec;
    options.block_bytes = 8 << 10;
    auto summary = WriteMapOutput(fs, "/f", options, {shrinks, does_not});
    ASSERT_TRUE(summary.ok());
    EXPECT_LT(summary->partitions[0].bytes, 2'000u * 105 / 5);
    uint64_t raw = 0;
    for (const auto& [key, value] : does_not) {
      raw += 1 + Varint32Size(value.size()) + key.size() + value.size();
    }
    const PartitionEntry& stored = summary->partitions[1];
    EXPECT_EQ(stored.bytes, raw + kBlockHeaderBytes * stored.blocks);
  }
}

TEST(MapOutputTest, RecordsLargerThanABlockHaveOneToThemselves) {
  for (Codec codec : kCodecs) {
    for (size_t size : {size_t{5'000}, kCompressedRawBytesMax - 10,
                        kCompressedRawBytesMax + 10}) {
      SCOPED_TRACE(Cat("codec ", static_cast<int>(codec), " size ", size));
      MemoryFileSystem fs;
      MapOutputWriterOptions options;
      options.codec = codec;
      options.block_bytes = 1'000;
      const std::vector<Records> partitions = {
          {{"a", "small"},
           {"b", std::string(size, 'v')},
           {"c", "small"},
           {std::string(size, 'k'), "v"},
           {std::string(size, 'l'), ""}},
          {},
          {{std::string(size, 'm'), std::string(size, 'w')}}};
      auto summary = WriteMapOutput(fs, "/f", options, partitions);
      ASSERT_TRUE(summary.ok());
      EXPECT_EQ(summary->partitions[0].blocks, 5u);
      EXPECT_GT(summary->partitions[0].largest_block_bytes, size);
      std::vector<Records> got;
      const absl::Status status =
          ReadMapOutput(fs, "/f", options.identity, 3, &got);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_TRUE(got == partitions);
      // The digest is that of the ordinary way.
      options.block_bytes = kCompressedRawBytesMax;
      auto other = WriteMapOutput(fs, "/g", options, partitions);
      EXPECT_EQ(other->root, summary->root);
    }
  }
}

TEST(MapOutputTest, RefusesRecordsOfMoreThanFourGiB) {
  MemoryFileSystem fs;
  auto writer = MapOutputWriter::Create(fs, "/f", {});
  ASSERT_TRUE(writer.ok());
  // Only lengths are looked at.
  const char byte = 'x';
  const std::string_view huge(&byte, kRecordBytesMax + 1);
  const std::string_view half(&byte, kRecordBytesMax / 2 + 1);
  EXPECT_EQ((*writer)->Append(0, huge, "").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*writer)->Append(0, "", huge).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*writer)->Append(0, half, half).code(),
            absl::StatusCode::kInvalidArgument);
  // The writer is as it was.
  EXPECT_TRUE((*writer)->Append(0, "k", "v").ok());
  EXPECT_EQ((*writer)->Finish()->total.records, 1u);
}

TEST(MapOutputTest, BlockBytesFollowTheMemory) {
  EXPECT_EQ(ChooseBlockBytes(0), 4u << 10);
  EXPECT_EQ(ChooseBlockBytes(8 << 20), 32u << 10);
  EXPECT_EQ(ChooseBlockBytes(64 << 20), 256u << 10);
  EXPECT_EQ(ChooseBlockBytes(uint64_t{1} << 40), 256u << 10);
}

TEST(MapOutputTest, SmallPartitionsAreWrittenAndBlocksReadTogether) {
  for (Codec codec : kCodecs) {
    MemoryFileSystem memory;
    FaultyFileSystem fs(memory);
    MapOutputWriterOptions options;
    options.codec = codec;
    std::vector<Records> partitions(1'000, {{"key", std::string(100, 'v')}});
    ASSERT_TRUE(WriteMapOutput(fs, "/f", options, partitions).ok());
    EXPECT_LT(fs.operations(), 6u);

    options.block_bytes = 1'000;
    partitions = {Records(10'000, {"key", std::string(90, 'v')})};
    ASSERT_TRUE(WriteMapOutput(fs, "/g", options, partitions).ok());
    const uint64_t before = fs.operations();
    std::vector<Records> got;
    ASSERT_TRUE(
        ReadMapOutput(fs, "/g", options.identity, 1, &got, 1 << 20).ok());
    // Open, stat, index, and the blocks.
    EXPECT_LE(fs.operations() - before, 5u);
  }
}

// Full disks and other failures of the file system.

TEST(MapOutputTest, FullDiskIsReportedAtEverySize) {
  for (Codec codec : kCodecs) {
    MapOutputWriterOptions options;
    options.codec = codec;
    options.block_bytes = 50;
    const std::vector<Records> partitions = {
        Records(10, {"key", "some value"}),
        {{"large", std::string(500, 'x')}, {"small", ""}}};
    MemoryFileSystem roomy;
    const uint64_t file_bytes =
        WriteMapOutput(roomy, "/f", options, partitions)->file_bytes;
    for (uint64_t capacity = 0; capacity < file_bytes; ++capacity) {
      MemoryFileSystem fs;
      fs.SetCapacity(capacity);
      EXPECT_EQ(WriteMapOutput(fs, "/f", options, partitions).status().code(),
                absl::StatusCode::kResourceExhausted)
          << capacity;
    }
    MemoryFileSystem exact;
    exact.SetCapacity(file_bytes);
    EXPECT_TRUE(WriteMapOutput(exact, "/f", options, partitions).ok());
  }
}

TEST(MapOutputTest, AFailedWriterKeepsFailing) {
  for (Codec codec : kCodecs) {
    MemoryFileSystem fs;
    fs.SetCapacity(100);
    MapOutputWriterOptions options;
    options.codec = codec;
    options.block_bytes = 200;
    options.num_partitions = 3;
    auto writer = MapOutputWriter::Create(fs, "/f", options);
    ASSERT_TRUE(writer.ok());
    absl::Status status;
    while (status.ok()) status = (*writer)->Append(0, "key", "value");
    for (uint32_t i = 0; i < 100; ++i) {
      EXPECT_EQ((*writer)->Append(i / 50, "key", "value"), status);
      EXPECT_EQ((*writer)->Append(i / 50, "key", std::string(1'000, 'x')),
                status);
    }
    EXPECT_EQ((*writer)->Finish().status(), status);
    EXPECT_EQ(fs.Contents("/f").size(), 100u);
  }
}

TEST(MapOutputTest, EveryFailedOperationIsReported) {
  MapOutputWriterOptions options;
  options.block_bytes = 50;
  const std::vector<Records> partitions = {
      Records(20, {"key", "some value"}),
      {{"large", std::string(500, 'x')}, {"small", ""}}};
  const auto write_and_read = [&](FileSystem& fs) -> absl::Status {
    MR_RETURN_IF_ERROR(WriteMapOutput(fs, "/f", options, partitions).status());
    std::vector<Records> got;
    return ReadMapOutput(fs, "/f", options.identity, 2, &got);
  };
  MemoryFileSystem counted_memory;
  FaultyFileSystem counted(counted_memory);
  ASSERT_TRUE(write_and_read(counted).ok());
  ASSERT_GT(counted.operations(), 10u);
  for (uint64_t n = 0; n < counted.operations(); ++n) {
    MemoryFileSystem memory;
    FaultyFileSystem fs(memory);
    fs.FailOnce(n, absl::PermissionDeniedError("injected"));
    EXPECT_EQ(write_and_read(fs).code(), absl::StatusCode::kPermissionDenied)
        << n;
  }
}

TEST(MapOutputTest, MissingFileIsNotFound) {
  MemoryFileSystem fs;
  EXPECT_EQ(MapOutputFile::Open(fs, "/f", TestIdentity(1), 1, std::nullopt)
                .status()
                .code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace millrace::engine
