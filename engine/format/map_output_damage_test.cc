// What damaged, exchanged and forged files do to the reader: it says kDataLoss,
// and hands out nothing that was not written.
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
#include "common/logging.h"
#include "common/strings.h"
#include "engine/format/block.h"
#include "engine/format/encoding.h"
#include "engine/format/index.h"
#include "engine/format/map_output_reader.h"
#include "engine/format/map_output_writer.h"
#include "engine/format/test_records.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {
namespace {

using ::testing::HasSubstr;

constexpr Codec kCodecs[] = {Codec::kNone, Codec::kLz4, Codec::kZstd};

// Several blocks and partitions, one of them empty; one large record; blocks
// that are compressed (if there is a codec) and blocks that are not.
std::vector<Records> SmallPartitions() {
  TestRandom random(7);
  Records noise;
  for (int i = 0; i < 4; ++i) {
    noise.emplace_back(Cat("n", i), random.Bytes(80, 256));
  }
  return {Records(8, {"key", "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"}),
          {},
          noise,
          {{"", ""}, {"large", std::string(400, 'l')}, {"z", ""}}};
}

MapOutputWriterOptions SmallBlocks(Codec codec) {
  MapOutputWriterOptions options;
  options.identity = TestIdentity(5);
  options.codec = codec;
  options.block_bytes = 150;
  return options;
}

// Reads a file of SmallPartitions() that must be damaged.
void ExpectDamage(FileSystem& fs, const std::string& path,
                  const std::vector<Records>& written) {
  std::vector<Records> got;
  const absl::Status status = ReadMapOutput(
      fs, path, TestIdentity(5), static_cast<uint32_t>(written.size()), &got);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  for (size_t p = 0; p < got.size(); ++p) {
    ASSERT_LE(got[p].size(), written[p].size());
    EXPECT_TRUE(std::equal(got[p].begin(), got[p].end(), written[p].begin()))
        << "records that were not written were handed out";
  }
}

TEST(MapOutputDamageTest, EveryChangedByteIsFound) {
  const std::vector<Records> partitions = SmallPartitions();
  for (Codec codec : kCodecs) {
    MemoryFileSystem fs;
    ASSERT_TRUE(
        WriteMapOutput(fs, "/good", SmallBlocks(codec), partitions).ok());
    const std::string good = fs.Contents("/good");
    ASSERT_GT(good.size(), 1'000u);
    for (size_t i = 0; i < good.size(); ++i) {
      for (int change : {0x01, 0x80, 0xFF}) {
        SCOPED_TRACE(Cat("codec ", static_cast<int>(codec), " byte ", i,
                         " xor ", change));
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ change);
        fs.SetContents("/bad", bad);
        ExpectDamage(fs, "/bad", partitions);
      }
    }
  }
}

TEST(MapOutputDamageTest, EveryLostOrAddedByteIsFound) {
  const std::vector<Records> partitions = SmallPartitions();
  for (Codec codec : kCodecs) {
    MemoryFileSystem fs;
    ASSERT_TRUE(
        WriteMapOutput(fs, "/good", SmallBlocks(codec), partitions).ok());
    const std::string good = fs.Contents("/good");
    for (size_t size = 0; size < good.size(); ++size) {
      SCOPED_TRACE(Cat("codec ", static_cast<int>(codec), " size ", size));
      fs.SetContents("/bad", good.substr(0, size));
      ExpectDamage(fs, "/bad", partitions);
      // Bytes lost in front and inside.
      fs.SetContents("/bad", good.substr(good.size() - size));
      ExpectDamage(fs, "/bad", partitions);
      fs.SetContents("/bad", good.substr(0, size) + good.substr(size + 1));
      ExpectDamage(fs, "/bad", partitions);
    }
    fs.SetContents("/bad", good + '\0');
    ExpectDamage(fs, "/bad", partitions);
    fs.SetContents("/bad", '\0' + good);
    ExpectDamage(fs, "/bad", partitions);
  }
}

TEST(MapOutputDamageTest, FileCutShortWhileItIsReadIsFound) {
  const std::vector<Records> partitions = SmallPartitions();
  MemoryFileSystem fs;
  ASSERT_TRUE(
      WriteMapOutput(fs, "/f", SmallBlocks(Codec::kNone), partitions).ok());
  auto file = MapOutputFile::Open(fs, "/f", TestIdentity(5), 4, std::nullopt);
  ASSERT_TRUE(file.ok());
  fs.SetContents("/f", fs.Contents("/f").substr(0, 200));
  Records got;
  const absl::Status status = Drain(*ReadPartition(*file, 0), &got);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/f: partition 0, block"));
}

TEST(MapOutputDamageTest, ExchangedBlocksAreFound) {
  // All blocks have one length, so that every exchange leaves a file that is
  // intact as far as lengths go.
  const std::vector<Records> partitions(3, Records(6, {"key", "value"}));
  MapOutputWriterOptions options = SmallBlocks(Codec::kNone);
  options.block_bytes = 20;  // Two records.
  MemoryFileSystem fs;
  auto summary = WriteMapOutput(fs, "/good", options, partitions);
  ASSERT_TRUE(summary.ok());
  const std::string good = fs.Contents("/good");
  const size_t block = kBlockHeaderBytes + 20;
  ASSERT_EQ(summary->partitions[2].offset + summary->partitions[2].bytes,
            9 * block);
  for (size_t a = 0; a < 9; ++a) {
    for (size_t b = 0; b < a; ++b) {
      SCOPED_TRACE(Cat("blocks ", a, " and ", b));
      std::string bad = good;
      bad.replace(a * block, block, good, b * block, block);
      fs.SetContents("/bad", bad);  // The same block twice.
      ExpectDamage(fs, "/bad", partitions);
      bad.replace(b * block, block, good, a * block, block);
      fs.SetContents("/bad", bad);  // Exchanged.
      ExpectDamage(fs, "/bad", partitions);
    }
  }
  // A block of the same place in another attempt, map, run or job.
  std::vector<MapOutputIdentity> others = {
      TestIdentity(5, "b"), TestIdentity(6), TestIdentity(5, "a", 1),
      TestIdentity(5)};
  others.back().job = *JobId::FromHex(std::string(32, '8'));
  for (const MapOutputIdentity& other : others) {
    options.identity = other;
    fs.RemoveTree("/other").IgnoreError();
    ASSERT_TRUE(WriteMapOutput(fs, "/other", options, partitions).ok());
    for (size_t i = 0; i < 9; ++i) {
      std::string bad = good;
      bad.replace(i * block, block, fs.Contents("/other"), i * block, block);
      fs.SetContents("/bad", bad);
      ExpectDamage(fs, "/bad", partitions);
    }
  }
}

TEST(MapOutputDamageTest, AFileTellsWhatItIsUnlessItIsDamaged) {
  MemoryFileSystem fs;
  const auto summary =
      WriteMapOutput(fs, "/f", SmallBlocks(Codec::kNone), SmallPartitions());
  ASSERT_TRUE(summary.ok());
  const auto inspect = [&fs](const std::string& path) {
    auto file = fs.OpenRead(path);
    CHECK(file.ok());
    return InspectMapOutput(**file, path);
  };
  const auto found = inspect("/f");
  ASSERT_TRUE(found.ok()) << found.status();
  const MapOutputIdentity expected = TestIdentity(5);
  EXPECT_EQ(found->identity.job, expected.job);
  EXPECT_EQ(found->identity.attempt, expected.attempt);
  EXPECT_EQ(found->identity.map_index, expected.map_index);
  EXPECT_EQ(found->identity.run, 0u);
  EXPECT_EQ(found->summary.root, summary->root);
  EXPECT_EQ(found->summary.partitions.size(), 4u);

  const std::string good = fs.Contents("/f");
  const size_t index = good.size() - IndexBytes(4);
  for (size_t at = index; at < good.size(); ++at) {
    SCOPED_TRACE(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x11);
    fs.SetContents("/bad", bad);
    EXPECT_TRUE(absl::IsDataLoss(inspect("/bad").status()));
  }
  for (size_t size = 0; size < good.size(); ++size) {
    SCOPED_TRACE(size);
    fs.SetContents("/bad", good.substr(0, size));
    EXPECT_TRUE(absl::IsDataLoss(inspect("/bad").status()));
  }
}

TEST(MapOutputDamageTest, AnIndexAloneIsVerifiedLikeTheFiles) {
  MemoryFileSystem fs;
  const auto summary =
      WriteMapOutput(fs, "/f", SmallBlocks(Codec::kNone), SmallPartitions());
  ASSERT_TRUE(summary.ok());
  const std::string file = fs.Contents("/f");
  const uint64_t offset = file.size() - IndexBytes(4);
  const std::string good = file.substr(offset);
  const auto parse = [&](const std::string& bytes, uint64_t at,
                         uint32_t partitions, const Hash128Value& root) {
    return ParseIndex(bytes, at, "peer", TestIdentity(5), partitions, root);
  };
  const auto parsed = parse(good, offset, 4, summary->root);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->file_bytes, file.size());
  EXPECT_EQ(parsed->root, summary->root);
  Hash128Value other = summary->root;
  other.low ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(parse(good, offset, 4, other).status()));
  EXPECT_TRUE(
      absl::IsDataLoss(parse(good, offset + 1, 4, summary->root).status()));
  EXPECT_TRUE(absl::IsDataLoss(parse(good, offset, 5, summary->root).status()));
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    EXPECT_TRUE(absl::IsDataLoss(parse(bad, offset, 4, summary->root).status()))
        << at;
  }
}

TEST(MapOutputDamageTest, FileOfAnotherIdentityIsRefused) {
  MemoryFileSystem fs;
  auto summary =
      WriteMapOutput(fs, "/f", SmallBlocks(Codec::kNone), SmallPartitions());
  ASSERT_TRUE(summary.ok());
  const auto open = [&fs](const MapOutputIdentity& identity,
                          uint32_t num_partitions,
                          std::optional<Hash128Value> root) {
    return std::string(
        MapOutputFile::Open(fs, "/f", identity, num_partitions, root)
            .status()
            .message());
  };
  EXPECT_EQ(open(TestIdentity(5), 4, summary->root), "");
  EXPECT_THAT(open(TestIdentity(5, "b"), 4, summary->root),
              HasSubstr("/f: it belongs to another attempt"));
  EXPECT_THAT(open(TestIdentity(6), 4, summary->root),
              HasSubstr("another map"));
  EXPECT_THAT(open(TestIdentity(5, "a", 1), 4, summary->root),
              HasSubstr("another run"));
  MapOutputIdentity other_job = TestIdentity(5);
  other_job.job = JobId();
  EXPECT_THAT(open(other_job, 4, summary->root), HasSubstr("another job"));
  EXPECT_THAT(open(TestIdentity(5), 3, summary->root),
              HasSubstr("index is not where"));
  // Not even taken memory for.
  EXPECT_THAT(open(TestIdentity(5), 0xFFFFFFFF, summary->root),
              HasSubstr("too short"));
  Hash128Value root = summary->root;
  root.high ^= 1;
  EXPECT_THAT(open(TestIdentity(5), 4, root), HasSubstr("root digest"));
}

// From here on the checksums are right and the contents are not: what a program
// of another make, or an enemy, could write.

// A file of one partition with the blocks given and an index made to fit them.
class ForgedFile {
 public:
  // `records` is what the header says.
  void AddBlock(std::string_view stored, uint32_t raw_bytes, Codec codec,
                uint32_t records) {
    std::string block(kBlockHeaderBytes, '\0');
    BlockHeader header;
    header.number = entry_.blocks;
    header.records = records;
    header.raw_bytes = raw_bytes;
    header.stored_bytes = static_cast<uint32_t>(stored.size());
    header.codec = codec;
    PutBlockHeader(TestIdentity(5), header, block.data());
    block.append(stored);
    SealBlock(block.data(), stored.size());
    bytes_ += block;
    ++entry_.blocks;
    entry_.largest_block_bytes =
        std::max(entry_.largest_block_bytes, raw_bytes);
    entry_.sum.records += records;
  }
  void AddRawBlock(std::string_view raw, uint32_t records) {
    AddBlock(raw, static_cast<uint32_t>(raw.size()), Codec::kNone, records);
    digest_.Update(raw);
  }

  PartitionEntry& entry() { return entry_; }

  // Status of reading it.
  absl::Status Read(Codec codec = Codec::kNone) {
    entry_.bytes = bytes_.size();
    entry_.digest = digest_.Digest();
    MapOutputSummary summary;
    summary.codec = codec;
    summary.block_bytes = 1'000;
    summary.partitions = {entry_};
    summary.root = RootOf(summary.partitions);
    MemoryFileSystem fs;
    fs.SetContents(
        "/f", bytes_ + EncodeIndex(TestIdentity(5), summary, bytes_.size()));
    std::vector<Records> got;
    return ReadMapOutput(fs, "/f", TestIdentity(5), 1, &got);
  }

 private:
  std::string bytes_;
  PartitionEntry entry_;
  StreamHash64 digest_;
};

void ExpectDataLoss(const absl::Status& status, std::string_view what) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(what)));
}

std::string OneRecord() { return std::string("\x01\x01kv", 4); }

TEST(MapOutputForgeryTest, TheForgeryItselfIsReadable) {
  ForgedFile file;
  file.AddRawBlock(OneRecord() + OneRecord(), 2);
  file.AddRawBlock(OneRecord(), 1);
  file.entry().sum = RecordSum();
  for (int i = 0; i < 3; ++i) file.entry().sum.Add("k", "v");
  const absl::Status status = file.Read();
  EXPECT_TRUE(status.ok()) << status;
}

TEST(MapOutputForgeryTest, RecordsThatDoNotFitTheirBlockAreFound) {
  {
    ForgedFile file;  // The key is cut off.
    file.AddRawBlock(std::string("\x05\x00kv", 4), 1);
    ExpectDataLoss(file.Read(), "longer than its block");
  }
  {
    ForgedFile file;  // Lengths whose sum overflows 32 bits.
    file.AddRawBlock(
        std::string("\xFF\xFF\xFF\xFF\x0F\xFF\xFF\xFF\xFF\x0Fkv", 12), 1);
    ExpectDataLoss(file.Read(), "longer than its block");
  }
  {
    ForgedFile file;  // A length without end, and one with superfluous bytes.
    file.AddRawBlock(std::string("\xFF\xFF", 2), 1);
    ExpectDataLoss(file.Read(), "lengths cannot be read");
  }
  {
    ForgedFile file;
    file.AddRawBlock(std::string("\x81\x00\x01kv", 5), 1);
    ExpectDataLoss(file.Read(), "lengths cannot be read");
  }
}

TEST(MapOutputForgeryTest, CountsThatDoNotAgreeAreFound) {
  {
    ForgedFile file;
    file.AddRawBlock(OneRecord() + OneRecord(), 1);
    file.AddRawBlock(OneRecord(), 1);
    ExpectDataLoss(file.Read(), "another number of records");
  }
  {
    ForgedFile file;
    file.AddRawBlock(OneRecord() + OneRecord(), 1);  // In the last block.
    ExpectDataLoss(file.Read(), "another number of records");
  }
  {
    ForgedFile file;
    file.AddRawBlock(OneRecord(), 1);
    file.entry().sum.records = 2;
    ExpectDataLoss(file.Read(), "number of records is not the index's");
  }
  {
    ForgedFile file;  // The sum was left at zero.
    file.AddRawBlock(OneRecord(), 1);
    ExpectDataLoss(file.Read(), "sum of the records' hashes");
  }
  {
    ForgedFile file;
    file.AddRawBlock(OneRecord(), 0);
    file.entry().sum.records = 1;
    ExpectDataLoss(file.Read(), "record count does not fit");
  }
  {
    ForgedFile file;
    file.AddRawBlock(OneRecord(), 3);
    ExpectDataLoss(file.Read(), "record count does not fit");
  }
  {
    ForgedFile file;
    file.AddRawBlock(OneRecord(), 1);
    file.entry().largest_block_bytes = 3;
    ExpectDataLoss(file.Read(), "larger than the index says");
  }
  {
    ForgedFile file;  // One block more than the index knows.
    file.AddRawBlock(OneRecord(), 1);
    file.AddRawBlock(OneRecord(), 1);
    file.entry().blocks = 1;
    ExpectDataLoss(file.Read(), "bytes behind the last block");
  }
  {
    ForgedFile file;  // One less.
    file.AddRawBlock(std::string(100, '\0'), 50);
    file.entry().blocks = 2;
    ExpectDataLoss(file.Read(), "reaches past its partition");
  }
}

TEST(MapOutputForgeryTest, ForgedCompressionIsFoundWithoutTakingItsMemory) {
  for (Codec codec : {Codec::kLz4, Codec::kZstd}) {
    {
      ForgedFile file;
      file.AddBlock("not compressed", 100, codec, 1);
      ExpectDataLoss(file.Read(codec), "cannot be decompressed");
    }
    {
      ForgedFile file;  // A promise above what is ever compressed.
      file.AddBlock("xxx", kCompressedRawBytesMax + 1, codec, 1);
      ExpectDataLoss(file.Read(codec), "lengths do not agree");
    }
    {
      ForgedFile file;
      file.AddBlock("xxx", 2, codec, 1);
      ExpectDataLoss(file.Read(codec), "lengths do not agree");
    }
    {
      ForgedFile file;  // Another codec than the file's.
      file.AddBlock("xxx", 100, codec, 1);
      ExpectDataLoss(file.Read(), "has not the codec of its file");
    }
    // Compressed well, but for another length.
    const std::string raw(1'000, 'x');
    std::string stored(raw.size(), '\0');
    stored.resize(BlockCompressor(codec).Compress(raw, stored.data()));
    ASSERT_GT(stored.size(), 0u);
    for (uint32_t raw_bytes : {999, 1'001, 1'000'000}) {
      ForgedFile file;
      file.AddBlock(stored, raw_bytes, codec, 1);
      ExpectDataLoss(file.Read(codec), "cannot be decompressed");
    }
  }
  ForgedFile file;
  file.AddBlock("xxx", 100, static_cast<Codec>(3), 1);
  ExpectDataLoss(file.Read(), "unknown codec");
}

TEST(MapOutputForgeryTest, ImpossibleIndexesAreRefused) {
  const auto open = [](std::vector<PartitionEntry> partitions,
                       size_t data_bytes) {
    MapOutputSummary summary;
    summary.partitions = std::move(partitions);
    summary.root = RootOf(summary.partitions);
    MemoryFileSystem fs;
    fs.SetContents("/f", std::string(data_bytes, 'x') +
                             EncodeIndex(TestIdentity(5), summary, data_bytes));
    return MapOutputFile::Open(fs, "/f", TestIdentity(5),
                               static_cast<uint32_t>(summary.partitions.size()),
                               summary.root)
        .status();
  };
  PartitionEntry none;
  none.digest = Hash64({});
  PartitionEntry some;
  some.bytes = 200;
  some.blocks = 2;
  some.sum.records = 2;
  some.largest_block_bytes = 20;
  EXPECT_TRUE(open({none}, 0).ok());
  EXPECT_TRUE(open({some}, 200).ok());
  const auto refused = [&](PartitionEntry entry, size_t data_bytes) {
    EXPECT_EQ(open({entry}, data_bytes).code(), absl::StatusCode::kDataLoss);
  };
  refused(none, 1);    // Bytes that belong to nobody.
  refused(some, 199);  // Past the end.
  refused(some, 201);
  PartitionEntry bad = some;
  bad.offset = 1;
  refused(bad, 201);
  bad = some;
  bad.bytes = ~uint64_t{0};  // With the offset, it wraps.
  refused(bad, 200);
  bad = some;
  bad.blocks = 3;  // Headers alone would need more.
  refused(bad, 200);
  bad = some;
  bad.sum.records = 1;
  refused(bad, 200);
  bad = some;
  bad.largest_block_bytes = 0;
  refused(bad, 200);
  bad = some;
  bad.blocks = 0;
  refused(bad, 200);
  bad = none;
  bad.sum.records = 1;
  refused(bad, 0);
  bad = none;
  bad.digest = 0;
  refused(bad, 0);
  // Two that overlap, and two with a gap.
  PartitionEntry second = some;
  second.offset = 100;
  EXPECT_EQ(open({some, second}, 300).code(), absl::StatusCode::kDataLoss);
  second.offset = 300;
  EXPECT_EQ(open({some, second}, 500).code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace millrace::engine
