#include "raft/log/snapshot_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "common/hash.h"
#include "common/strings.h"
#include "raft/log/encoding.h"

namespace millrace::raft {
namespace {

using testing::HasSubstr;

SnapshotFileMeta Meta() {
  SnapshotFileMeta meta;
  meta.cluster = *ClusterId::FromHex("00112233445566778899aabbccddeeff");
  meta.index = 1234;
  meta.term = 7;
  meta.configuration = "three members";
  meta.chunk_bytes = 10;
  meta.bytes = 25;
  meta.checksum = 99;
  return meta;
}

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

TEST(SnapshotMetaTest, ChunksLieOneBehindTheOther) {
  SnapshotFileMeta meta = Meta();
  EXPECT_EQ(meta.header_bytes(), 56u + 13 + 8);
  EXPECT_EQ(meta.chunks(), 3u);
  EXPECT_EQ(meta.ChunkLength(0), 10u);
  EXPECT_EQ(meta.ChunkLength(1), 10u);
  EXPECT_EQ(meta.ChunkLength(2), 5u);
  EXPECT_EQ(meta.ChunkOffset(0), 77u);
  EXPECT_EQ(meta.ChunkOffset(1), 77u + 42);
  EXPECT_EQ(meta.ChunkOffset(2), 77u + 84);
  EXPECT_EQ(meta.ChunkOffset(3), 77u + 84 + 37);
  EXPECT_EQ(meta.file_bytes(), 77u + 84 + 37 + 64);
  meta.bytes = 20;  // The last one is full.
  EXPECT_EQ(meta.chunks(), 2u);
  EXPECT_EQ(meta.ChunkLength(1), 10u);
  EXPECT_EQ(meta.file_bytes(), 77u + 84 + 64);
  meta.bytes = 0;
  EXPECT_EQ(meta.chunks(), 0u);
  EXPECT_EQ(meta.file_bytes(), 77u + 64);
}

TEST(SnapshotNameTest, SortsByTermAndIndexAndComesBack) {
  EXPECT_EQ(SnapshotName(7, 1234),
            "00000000000000000007-00000000000000001234.snap");
  for (const uint64_t n : {uint64_t{1}, uint64_t{77}, UINT64_MAX}) {
    const auto position = ParseSnapshotName(SnapshotName(n, n - n / 2));
    ASSERT_TRUE(position.has_value()) << n;
    EXPECT_EQ(position->term, n);
    EXPECT_EQ(position->index, n - n / 2);
  }
  for (const char* name : {"", ".snap", "7-1234.snap", "1.tmp",
                           "00000000000000000007-00000000000000001234.snap2",
                           "00000000000000000007_00000000000000001234.snap",
                           "00000000000000000000-00000000000000001234.snap",
                           "00000000000000000007-00000000000000000000.snap",
                           "0000000000000000000x-00000000000000001234.snap",
                           "+0000000000000000007-00000000000000001234.snap",
                           "99999999999999999999-00000000000000001234.snap"}) {
    EXPECT_FALSE(ParseSnapshotName(name).has_value()) << name;
  }
}

TEST(SnapshotHeaderTest, ComesBack) {
  for (const size_t length : {size_t{0}, size_t{1}, size_t{300},
                              size_t{kSnapshotConfigurationBytesMax}}) {
    SnapshotFileMeta meta = Meta();
    meta.configuration = std::string(length, 'c');
    meta.bytes = meta.checksum = 0;
    const std::string header = EncodeSnapshotHeader(meta);
    EXPECT_EQ(header.size(), meta.header_bytes());
    EXPECT_LE(header.size(), kSnapshotHeaderBytesMax);
    const auto decoded = DecodeSnapshotHeader(header + "what follows");
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, meta);
  }
}

TEST(SnapshotHeaderTest, EveryBitAndEveryLength) {
  const std::string header = EncodeSnapshotHeader(Meta());
  for (size_t i = 0; i < header.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = header;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshotHeader(damaged).status()))
          << i << " " << bit;
    }
    EXPECT_TRUE(
        absl::IsDataLoss(DecodeSnapshotHeader(header.substr(0, i)).status()))
        << i;
  }
}

// A header with another field, under a right checksum.
std::string Forged(uint64_t at, uint64_t value) {
  SnapshotFileMeta meta = Meta();
  std::string header = EncodeSnapshotHeader(meta);
  header.resize(header.size() - 8);
  if (at == 8) {
    PutAt(header, at, static_cast<uint32_t>(value));
  } else {
    PutAt(header, at, value);
  }
  Put(header, NonZero(Hash64(header)));
  return header;
}

TEST(SnapshotHeaderTest, OfAnotherVersionIsNotDamage) {
  const auto decoded = DecodeSnapshotHeader(Forged(8, 2));
  EXPECT_TRUE(absl::IsFailedPrecondition(decoded.status()));
  EXPECT_THAT(MessageOf(decoded.status()),
              HasSubstr("format version 2, this program knows 1"));
}

TEST(SnapshotHeaderTest, NumbersThatCannotBe) {
  EXPECT_TRUE(DecodeSnapshotHeader(Forged(32, 5)).ok());
  for (const auto& [at, value] : {std::pair<uint64_t, uint64_t>{32, 0},
                                  {40, 0},
                                  {48, 0},
                                  {48, kSnapshotChunkBytesMax + 1},
                                  {48, UINT64_MAX}}) {
    EXPECT_TRUE(
        absl::IsDataLoss(DecodeSnapshotHeader(Forged(at, value)).status()))
        << at << " " << value;
  }
}

std::string Chunk(uint64_t seed, uint64_t number, uint64_t chain,
                  std::string_view payload) {
  std::string chunk = BeginSnapshotChunk(payload.size());
  chunk += payload;
  SealSnapshotChunk(seed, number, chain, &chunk);
  return chunk;
}

TEST(SnapshotChunkTest, ComesBack) {
  std::string chunk = BeginSnapshotChunk(7);
  chunk += "payload";
  const uint64_t checksum = SealSnapshotChunk(5, 3, 11, &chunk);
  EXPECT_EQ(chunk.size(), 7 + kSnapshotChunkOverheadBytes);
  const auto decoded = DecodeSnapshotChunk(chunk, 5, 3, 7);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->payload, "payload");
  EXPECT_EQ(decoded->chain, 11u);
  EXPECT_EQ(decoded->checksum, checksum);
  EXPECT_NE(checksum, 0u);
}

TEST(SnapshotChunkTest, EveryBitAndEveryLength) {
  const std::string chunk = Chunk(5, 3, 11, "payload");
  for (size_t i = 0; i < chunk.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = chunk;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_TRUE(
          absl::IsDataLoss(DecodeSnapshotChunk(damaged, 5, 3, 7).status()))
          << i << " " << bit;
    }
    EXPECT_TRUE(absl::IsDataLoss(
        DecodeSnapshotChunk(chunk.substr(0, i), 5, 3, 7).status()))
        << i;
  }
  EXPECT_TRUE(
      absl::IsDataLoss(DecodeSnapshotChunk(chunk + "x", 5, 3, 7).status()));
}

TEST(SnapshotChunkTest, TheRightBytesAtTheWrongPlace) {
  const std::string chunk = Chunk(5, 3, 11, "payload");
  // Of another snapshot, at another number, of another length.
  EXPECT_THAT(MessageOf(DecodeSnapshotChunk(chunk, 6, 3, 7).status()),
              HasSubstr("checksum mismatch in chunk 3 of the snapshot"));
  EXPECT_THAT(MessageOf(DecodeSnapshotChunk(chunk, 5, 4, 7).status()),
              HasSubstr("what was written as chunk 3 is in chunk 4"));
  EXPECT_THAT(MessageOf(DecodeSnapshotChunk(chunk, 5, 3, 6).status()),
              HasSubstr("wrong length in chunk 3"));
}

TEST(SnapshotTrailerTest, ComesBackAndEveryBitOfIt) {
  const SnapshotFileMeta meta = Meta();
  const std::string trailer = EncodeSnapshotTrailer(meta, 5, {17, true});
  EXPECT_EQ(trailer.size(), kSnapshotTrailerBytes);
  SnapshotFileMeta decoded = meta;
  decoded.bytes = decoded.checksum = 0;
  SnapshotOrigin origin;
  ASSERT_TRUE(DecodeSnapshotTrailer(trailer, 5, &decoded, &origin).ok());
  EXPECT_EQ(decoded, meta);
  EXPECT_EQ(origin, (SnapshotOrigin{17, true}));
  EXPECT_THAT(MessageOf(DecodeSnapshotTrailer(trailer, 6, &decoded, &origin)),
              HasSubstr("belongs to another header"));
  for (size_t i = 0; i < trailer.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = trailer;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_TRUE(absl::IsDataLoss(
          DecodeSnapshotTrailer(damaged, 5, &decoded, &origin)))
          << i << " " << bit;
    }
  }
}

TEST(SnapshotTrailerTest, NumbersThatCannotBe) {
  const auto forged = [](uint64_t at, uint64_t value) {
    std::string trailer = EncodeSnapshotTrailer(Meta(), 5, {17, false});
    PutAt(trailer, at, value);
    PutAt(trailer, 56, NonZero(Hash64(trailer.substr(0, 56))));
    SnapshotFileMeta meta = Meta();
    SnapshotOrigin origin;
    return DecodeSnapshotTrailer(trailer, 5, &meta, &origin);
  };
  EXPECT_TRUE(forged(8, 26).ok());               // Three chunks as well.
  EXPECT_TRUE(absl::IsDataLoss(forged(8, 31)));  // Four.
  EXPECT_TRUE(absl::IsDataLoss(forged(16, 2)));
  EXPECT_TRUE(absl::IsDataLoss(forged(8, UINT64_MAX)));
  EXPECT_TRUE(absl::IsDataLoss(forged(8, UINT64_MAX - 8)));
  EXPECT_TRUE(absl::IsDataLoss(forged(48, 2)));
}

TEST(SnapshotDescriptionTest, ComesBackAndEveryBitOfIt) {
  const SnapshotFileMeta meta = Meta();
  const std::string description = EncodeSnapshotDescription(meta);
  EXPECT_LE(description.size(),
            kSnapshotHeaderBytesMax + kSnapshotTrailerBytes);
  const auto decoded = DecodeSnapshotDescription(description);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, meta);
  for (size_t i = 0; i < description.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = description;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      EXPECT_TRUE(absl::IsDataLoss(DecodeSnapshotDescription(damaged).status()))
          << i << " " << bit;
    }
    EXPECT_FALSE(DecodeSnapshotDescription(description.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(DecodeSnapshotDescription(description + "x").ok());
}

}  // namespace
}  // namespace millrace::raft
