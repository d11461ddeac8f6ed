// The bytes, pinned: a change of any of them is a new format.
#include "raft/log/log_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/hash.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

using testing::HasSubstr;

LogIdentity TestIdentity() {
  LogIdentity identity;
  identity.cluster = *ClusterId::FromHex("000102030405060708090a0b0c0d0e0f");
  identity.member = 0x1122334455667788;
  return identity;
}

SegmentHeader TestHeader() {
  SegmentHeader header;
  header.identity = TestIdentity();
  header.seq = 3;
  header.first_index = 4;
  header.prev_term = 5;
  header.hard_state = {6, 7, 2};
  header.segment_bytes = 8192;
  header.chain = 0xA1A2A3A4A5A6A7A8;
  return header;
}

std::string Hash(std::string_view bytes) {
  const uint64_t hash = Hash64(bytes);
  return std::string(reinterpret_cast<const char*>(&hash), 8);
}

std::string Raw(std::string_view hex) {
  return absl::HexStringToBytes(Av(hex));
}

TEST(LogFormatTest, SegmentHeaderBytes) {
  std::string expected = "MRSEGLOG" + Raw("0100000000000000"
                                          "000102030405060708090a0b0c0d0e0f"
                                          "8877665544332211"
                                          "0300000000000000"
                                          "0400000000000000"
                                          "0500000000000000"
                                          "0600000000000000"
                                          "0700000000000000"
                                          "0200000000000000"
                                          "0020000000000000"
                                          "a8a7a6a5a4a3a2a1");
  expected += Hash(expected);
  expected.resize(4096);
  const std::string bytes = EncodeSegmentHeader(TestHeader());
  EXPECT_EQ(bytes, expected);
  EXPECT_EQ(SegmentChecksum(bytes),
            Hash64(std::string_view(bytes).substr(0, 104)));
  const auto decoded = DecodeSegmentHeader(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(EncodeSegmentHeader(*decoded), bytes);
}

TEST(LogFormatTest, OtherVersionsAreRefused) {
  std::string bytes = EncodeSegmentHeader(TestHeader());
  bytes[8] = 2;
  bytes.replace(104, 8, Hash(bytes.substr(0, 104)));
  EXPECT_THAT(std::string(DecodeSegmentHeader(bytes).status().message()),
              HasSubstr("format version 2, this program knows 1"));
  std::string id = EncodeIdFile(TestIdentity());
  id[8] = 2;
  id.replace(40, 8, Hash(id.substr(0, 40)));
  EXPECT_THAT(std::string(DecodeIdFile(id).status().message()),
              HasSubstr("format version 2, this program knows 1"));
}

TEST(LogFormatTest, IdFileBytes) {
  std::string expected = "MRMEMBER" + Raw("0100000000000000"
                                          "000102030405060708090a0b0c0d0e0f"
                                          "8877665544332211");
  expected += Hash(expected);
  EXPECT_EQ(EncodeIdFile(TestIdentity()), expected);
  EXPECT_EQ(expected.size(), kIdFileBytes);
  EXPECT_EQ(DecodeIdFile(expected).value_or(LogIdentity()), TestIdentity());
}

TEST(LogFormatTest, NamesSortLikeNumbers) {
  EXPECT_EQ(SegmentName(1, 1), "0000000001-00000000000000000001.seg");
  EXPECT_EQ(SegmentName(12, UINT64_MAX), "0000000012-18446744073709551615.seg");
  EXPECT_LT(SegmentName(9, 100), SegmentName(10, 5));
}

// A record of the given type and payload, put together by hand.
std::string Record(std::string_view type_and_length, std::string_view place,
                   std::string_view payload, uint64_t seed) {
  std::string fields = Raw(type_and_length) + Raw(place);
  const auto check = static_cast<uint32_t>(Hash64Seeded(fields, seed));
  std::string record = "MRLR";
  record.append(reinterpret_cast<const char*>(&check), 4);
  record += fields;
  record += Raw(payload);
  record.resize((record.size() + 7) / 8 * 8);
  return record + Hash(record);
}

TEST(LogFormatTest, RecordBytes) {
  constexpr uint64_t kSeed = 99;
  RecordBuilder builder(kSeed, 4096, 4096, 0x0807060504030201);
  builder.HardStateRecord({2, 3, 1});
  std::string expected =
      Record("1800000002000000", "00100000001000000102030405060708",
             "020000000000000003000000000000000100000000000000", kSeed);
  ASSERT_EQ(builder.bytes(), expected);
  EXPECT_EQ(expected.size(), kHardStateRecordBytes);
  EXPECT_EQ(builder.chain(), Hash64(expected.substr(0, expected.size() - 8)));

  const auto chain = [&builder] {
    const uint64_t value = builder.chain();
    return HexEncode(
        std::string_view(reinterpret_cast<const char*>(&value), 8));
  };
  std::string place = "4010000000100000" + chain();
  builder.TruncateRecord(5);
  expected += Record("0800000003000000", place, "0500000000000000", kSeed);
  ASSERT_EQ(builder.bytes(), expected);

  place = "7010000000100000" + chain();
  const std::vector<LogEntry> entries = {{5, 2, 9, "abc"}, {6, 3, 0, ""}};
  EXPECT_EQ(builder.EntriesRecord(entries), 4096u + 64 + 48);
  expected += Record("3300000001000000", place,
                     "0500000000000000"
                     "0200000000000000"
                     "0200000000000000"
                     "03000000"
                     "09000000"
                     "616263"
                     "0300000000000000"
                     "00000000"
                     "00000000",
                     kSeed);
  ASSERT_EQ(builder.bytes(), expected);

  place = "d010000000100000" + chain();
  builder.SegmentEndRecord(7, 4);
  expected += Record("1000000004000000", place,
                     "07000000000000000400000000000000", kSeed);
  EXPECT_EQ(builder.bytes(), expected);
  EXPECT_EQ(builder.next_offset(), 4096 + expected.size());
}

class RecordTest : public testing::Test {
 protected:
  RecordTest() {
    RecordBuilder builder(kSeed, kOffset, 4096, 1);
    builder.EntriesRecord(std::vector<LogEntry>{{1, 1, 0, "0123456789"}});
    bytes_ = builder.bytes();
  }
  static constexpr uint64_t kSeed = 5;
  static constexpr uint32_t kOffset = 4104;
  std::string bytes_;
};

TEST_F(RecordTest, IsReadWhereItStands) {
  const auto header = ParseRecordHeader(bytes_ + "more", kOffset, kSeed);
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(RecordIntact(bytes_, *header));
  std::vector<std::string> payloads;
  EXPECT_TRUE(DecodeEntries(RecordPayload(bytes_, *header),
                            [&](const EntryView& entry) {
                              payloads.emplace_back(entry.payload);
                              return true;
                            }));
  EXPECT_THAT(payloads, testing::ElementsAre("0123456789"));
}

TEST_F(RecordTest, IsNoneElsewhere) {
  EXPECT_FALSE(ParseRecordHeader(bytes_, kOffset + 8, kSeed));
  EXPECT_FALSE(ParseRecordHeader(bytes_, kOffset, kSeed + 1));
  EXPECT_FALSE(ParseRecordHeader(bytes_.substr(1), kOffset, kSeed));
  for (size_t size = 0; size < bytes_.size(); ++size) {
    EXPECT_FALSE(ParseRecordHeader(bytes_.substr(0, size), kOffset, kSeed));
  }
}

TEST_F(RecordTest, EveryBitIsCovered) {
  for (size_t i = 0; i < bytes_.size() * 8; ++i) {
    std::string damaged = bytes_;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    const auto header = ParseRecordHeader(damaged, kOffset, kSeed);
    if (i / 8 < kRecordHeaderBytes) {
      EXPECT_FALSE(header) << i;
    } else {
      ASSERT_TRUE(header) << i;
      EXPECT_FALSE(RecordIntact(damaged, *header)) << i;
    }
  }
}

TEST(EntriesTest, ImpossiblePayloadsAreRefused) {
  RecordBuilder builder(1, 4096, 4096, 1);
  builder.EntriesRecord(
      std::vector<LogEntry>{{1, 1, 0, "abc"}, {2, 1, 0, "d"}});
  const auto header = ParseRecordHeader(builder.bytes(), 4096, 1);
  ASSERT_TRUE(header);
  const std::string good(RecordPayload(builder.bytes(), *header));
  const auto all = [](const EntryView&) { return true; };
  EXPECT_TRUE(DecodeEntries(good, all));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(DecodeEntries(good.substr(0, size), all)) << size;
  }
  EXPECT_FALSE(DecodeEntries(good + '\0', all));
  // Count, lengths, zeros.
  for (const size_t at : {8, 9, 15, 16 + 8, 16 + 11, 16 + 13, 16 + 15}) {
    std::string bad = good;
    ++bad[at];
    EXPECT_FALSE(DecodeEntries(bad, all)) << at;
  }
  std::string none = good.substr(0, 16);
  none[8] = 0;
  EXPECT_FALSE(DecodeEntries(none, all));
}

TEST(TornEvidenceTest, IsASectorThatIsZeroToItsEnd) {
  std::string segment(4 * 512, 'x');
  EXPECT_FALSE(TornEvidence(segment, 100, 1500));
  // Zeros in the middle, or up to the end of the record alone, are none.
  segment.replace(600, 300, 300, '\0');
  EXPECT_FALSE(TornEvidence(segment, 100, 800));
  // The first, from the record on.
  segment.replace(100, 412, 412, '\0');
  EXPECT_TRUE(TornEvidence(segment, 100, 32));
  EXPECT_FALSE(TornEvidence(segment, 99, 32));
  // One in the middle.
  std::string middle(4 * 512, 'x');
  middle.replace(512, 512, 512, '\0');
  EXPECT_TRUE(TornEvidence(middle, 100, 1000));
  EXPECT_TRUE(TornEvidence(middle, 100, 413));
  EXPECT_FALSE(TornEvidence(middle, 100, 412));
  EXPECT_FALSE(TornEvidence(middle, 1024, 1024));
  middle[1023] = 'x';
  EXPECT_FALSE(TornEvidence(middle, 100, 1000));
}

}  // namespace
}  // namespace millrace::raft
