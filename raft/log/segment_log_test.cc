// What SegmentLog does beyond LogStore: segments, the spare, snapshots, ids.
#include "raft/log/segment_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/random.h"
#include "common/strings.h"
#include "raft/log/log_format.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class SegmentLogTest : public testing::Test {
 protected:
  SegmentLogTest() { Reopen(); }

  void Reopen() {
    log_.reset();
    const auto random = Random::Seeded(seed_++);
    auto log = SegmentLog::Open(options_, disk_, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
  }

  // One entry of `bytes` bytes, which are committed, and synced.
  absl::Status AppendOne(size_t bytes, uint64_t term = 1) {
    const auto entries = MakeEntries(log_->last_index() + 1, 1, term, bytes);
    LogAppend append;
    append.entries = entries;
    append.hard_state = HardState{term, 0, log_->last_index() + 1};
    absl::Status status = log_->Append(append);
    return status.ok() ? log_->Sync() : status;
  }

  std::vector<std::string> Segments() {
    std::vector<std::string> names;
    for (const std::string& name : disk_.Names("/data/log")) {
      if (name != "spare") names.push_back(name);
    }
    return names;
  }

  SimDisk disk_;
  SegmentLogOptions options_ = SmallLogOptions();
  uint64_t seed_ = 1;
  std::unique_ptr<SegmentLog> log_;
};

TEST_F(SegmentLogTest, OptionsOutOfRange) {
  log_.reset();
  const auto random = Random::Seeded(1);
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{4096}, uint64_t{8191},
                               uint64_t{8200}, kSegmentBytesMax + 4096}) {
    options_.segment_bytes = bytes;
    EXPECT_TRUE(absl::IsInvalidArgument(
        SegmentLog::Open(options_, disk_, *random).status()))
        << bytes;
  }
}

TEST_F(SegmentLogTest, IdsAreMintedOnceAndRandom) {
  const LogIdentity identity = log_->identity();
  EXPECT_FALSE(identity.cluster.is_zero());
  EXPECT_NE(identity.member, 0u);
  Reopen();
  EXPECT_EQ(log_->identity(), identity);
  options_.directory = "/other";
  Reopen();
  EXPECT_NE(log_->identity().cluster, identity.cluster);
  EXPECT_NE(log_->identity().member, identity.member);
}

TEST_F(SegmentLogTest, SegmentsAreNamedByTheirFirstEntry) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  EXPECT_THAT(Segments(), ElementsAre("0000000001-00000000000000000001.seg",
                                      "0000000002-00000000000000000003.seg",
                                      "0000000003-00000000000000000005.seg"));
  for (const std::string& name : Segments()) {
    EXPECT_EQ(disk_.Contents("/data/log/" + name).size(), 8192u);
  }
}

TEST_F(SegmentLogTest, OneSyncPerGroup) {
  ASSERT_TRUE(AppendOne(10).ok());
  const uint64_t calls = disk_.calls();
  ASSERT_TRUE(AppendOne(10).ok());
  EXPECT_EQ(disk_.calls(), calls + 2);  // A write, a sync.
  ASSERT_TRUE(log_->Sync().ok());
  EXPECT_EQ(disk_.calls(), calls + 2);
}

TEST_F(SegmentLogTest, TheSpareIsMadeAheadAndUsed) {
  EXPECT_FALSE(log_->has_spare());
  EXPECT_FALSE(log_->WantsSpare());
  ASSERT_TRUE(AppendOne(1700).ok());
  EXPECT_TRUE(log_->WantsSpare());
  ASSERT_TRUE(log_->PrepareSpare().ok());
  EXPECT_TRUE(log_->has_spare());
  EXPECT_FALSE(log_->WantsSpare());
  EXPECT_THAT(disk_.Names("/data/log"), Contains("spare"));
  const uint64_t calls = disk_.calls();
  ASSERT_TRUE(log_->PrepareSpare().ok());
  EXPECT_EQ(disk_.calls(), calls);
  disk_.SetFreeBytes(0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  EXPECT_FALSE(log_->has_spare());
  EXPECT_THAT(disk_.Names("/data/log"), Not(Contains("spare")));
}

TEST_F(SegmentLogTest, AFullDiskRefusesAndLosesNothing) {
  ASSERT_TRUE(AppendOne(1700).ok());
  ASSERT_TRUE(AppendOne(1700).ok());
  disk_.SetFreeBytes(8191);
  for (int i = 0; i < 3; ++i) {
    const absl::Status status = AppendOne(1700);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  }
  EXPECT_EQ(log_->last_index(), 2u);
  // What still fits is taken.
  ASSERT_TRUE(AppendOne(10).ok());
  disk_.SetFreeBytes(8192);
  ASSERT_TRUE(AppendOne(1700).ok());
  Reopen();
  EXPECT_EQ(log_->last_index(), 4u);
}

TEST_F(SegmentLogTest, NearlyFullCountsTheNextSegment) {
  log_.reset();
  options_.free_bytes_min = 1000;
  Reopen();
  disk_.SetFreeBytes(9191);
  EXPECT_TRUE(log_->NearlyFull());
  disk_.SetFreeBytes(9192);
  EXPECT_FALSE(log_->NearlyFull());
  ASSERT_TRUE(log_->PrepareSpare().ok());
  disk_.SetFreeBytes(1000);
  EXPECT_FALSE(log_->NearlyFull());
  disk_.SetFreeBytes(999);
  EXPECT_TRUE(log_->NearlyFull());
}

TEST_F(SegmentLogTest, TheSizeOfSegmentsMayChange) {
  ASSERT_TRUE(AppendOne(1700).ok());
  options_.segment_bytes = 16384;
  Reopen();
  ASSERT_TRUE(AppendOne(9000).ok());
  options_.segment_bytes = 8192;
  Reopen();
  ASSERT_TRUE(AppendOne(2500).ok());
  ASSERT_TRUE(AppendOne(3000).ok());
  Reopen();
  EXPECT_EQ(log_->last_index(), 4u);
  EXPECT_EQ(ReadModel(*log_)->entries.size(), 4u);
}

TEST_F(SegmentLogTest, AClosedLogNeedsNoRepair) {
  ASSERT_TRUE(AppendOne(100).ok());
  const HardState hard = log_->hard_state();
  ASSERT_TRUE(log_->Close().ok());
  EXPECT_EQ(disk_.unsynced(), 0u);
  Reopen();
  EXPECT_EQ(log_->torn_bytes(), 0u);
  EXPECT_EQ(log_->hard_state(), hard);
  // Also where there is no room for the mark.
  while (Segments().size() == 1) ASSERT_TRUE(AppendOne(20).ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(AppendOne(8).ok());
    ASSERT_TRUE(log_->Close().ok());
    Reopen();
    ASSERT_EQ(log_->last_index(), ReadModel(*log_)->entries.size());
  }
}

TEST_F(SegmentLogTest, DropsSegmentsThatASnapshotCovers) {
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  ASSERT_EQ(Segments().size(), 5u);
  EXPECT_EQ(log_->DropThrough(10).code(), absl::StatusCode::kInternal);
  ASSERT_TRUE(log_->DropThrough(0).ok());
  ASSERT_TRUE(log_->DropThrough(1).ok());
  EXPECT_EQ(Segments().size(), 5u);
  ASSERT_TRUE(log_->DropThrough(5).ok());
  // Also of the segment that has to stay.
  EXPECT_EQ(log_->first_index(), 6u);
  EXPECT_EQ(Segments().size(), 3u);
  EXPECT_EQ(log_->Term(5).value_or(0), 1u);
  EXPECT_TRUE(absl::IsOutOfRange(log_->Term(4).status()));
  EXPECT_TRUE(absl::IsOutOfRange(log_->Read(5, 7, 10).status()));
  EXPECT_EQ(log_->Read(6, 7, 10)->front(), MakeEntries(6, 1, 1, 1700)[0]);
  options_.snapshot = {5, 1, false};
  Reopen();
  EXPECT_EQ(log_->first_index(), 5u);
  EXPECT_EQ(log_->Term(4).value_or(0), 1u);
  EXPECT_EQ(log_->Read(5, 6, 10)->front(), MakeEntries(5, 1, 1, 1700)[0]);
  // The last segment stays.
  ASSERT_TRUE(log_->DropThrough(9).ok());
  EXPECT_EQ(Segments().size(), 1u);
  EXPECT_EQ(log_->first_index(), 10u);
  ASSERT_TRUE(AppendOne(1700).ok());
  EXPECT_EQ(log_->Read(10, 11, 10)->front(), MakeEntries(10, 1, 1, 1700)[0]);
  options_.snapshot = {9, 1, false};
  Reopen();
  EXPECT_EQ(log_->first_index(), 9u);
}

TEST_F(SegmentLogTest, WhatCouldNotBeDroppedIsDroppedNextTime) {
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  disk_.FailCall(disk_.calls() + 3, SimFault::kIoError);
  EXPECT_FALSE(log_->DropThrough(5).ok());
  EXPECT_EQ(disk_.fault_call().substr(3), "remove /data/log/" + Segments()[0]);
  EXPECT_EQ(Segments().size(), 4u);
  // A removal that failed may have happened all the same.
  ASSERT_TRUE(disk_.Remove("/data/log/" + Segments()[0]).ok());
  EXPECT_TRUE(log_->DropThrough(5).ok());
  EXPECT_EQ(Segments().size(), 3u);
  EXPECT_EQ(log_->first_index(), 6u);
}

// Else the segment that goes next might be gone sooner after a power cut.
TEST_F(SegmentLogTest, ADropWhoseSyncFailsStopsTheLog) {
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  disk_.FailCall(disk_.calls() + 2, SimFault::kIoError);
  EXPECT_FALSE(log_->DropThrough(5).ok());
  EXPECT_EQ(Segments().size(), 4u);
  const uint64_t calls = disk_.calls();
  EXPECT_FALSE(log_->DropThrough(5).ok());
  EXPECT_FALSE(AppendOne(1).ok());
  EXPECT_EQ(disk_.calls(), calls);
}

TEST_F(SegmentLogTest, SaysHowMuchComesAfterAnEntry) {
  EXPECT_EQ(log_->BytesAfter(0), 0u);
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  // Two entries to a segment, a hard state behind each.
  EXPECT_EQ(log_->BytesAfter(9), 0u);
  EXPECT_EQ(log_->BytesAfter(8), RecordBytes(1700 + 32));
  EXPECT_EQ(log_->BytesAfter(7), 8192 - kHardStateRecordBytes);
  EXPECT_EQ(log_->BytesAfter(6), 8192 + log_->BytesAfter(8));
  // The first one has another before it.
  EXPECT_EQ(log_->BytesAfter(0),
            4 * 8192 + log_->BytesAfter(8) - kHardStateRecordBytes);
  ASSERT_TRUE(log_->DropThrough(4).ok());
  EXPECT_EQ(log_->BytesAfter(0), log_->BytesAfter(4));
  ASSERT_TRUE(log_->Reset(20, 1).ok());
  EXPECT_EQ(log_->BytesAfter(0), 0u);
}

TEST_F(SegmentLogTest, WithoutItsSnapshotAShortenedLogIsRefused) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  ASSERT_TRUE(log_->DropThrough(4).ok());
  log_.reset();
  const auto random = Random::Seeded(1);
  for (const uint64_t index : {0, 3}) {
    options_.snapshot = {index, 1, false};
    const auto log = SegmentLog::Open(options_, disk_, *random);
    EXPECT_TRUE(absl::IsDataLoss(log.status())) << log.status();
    EXPECT_THAT(std::string(log.status().message()),
                HasSubstr("the log begins with entry 5 in segment 3; at least "
                          "segment 2 is missing"));
  }
  options_.snapshot = {4, 1, false};
  EXPECT_TRUE(SegmentLog::Open(options_, disk_, *random).ok());
}

// The segment in which the log could begin removes entries from before it.
TEST_F(SegmentLogTest, DoesNotBeginWhereATruncationReachesBack) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  LogAppend append;
  const auto uncommitted = MakeEntries(3, 2, 1, 1600);
  append.entries = uncommitted;
  ASSERT_TRUE(log_->Append(append).ok());
  const auto more = MakeEntries(5, 1, 1, 700);
  append.entries = more;
  ASSERT_TRUE(log_->Append(append).ok());
  ASSERT_EQ(Segments().size(), 3u);  // They begin with 1, 3 and 5.
  append.truncate_from = 4;
  const auto instead = MakeEntries(4, 3, 2, 100);
  append.entries = instead;
  append.hard_state = HardState{2, 0, 6};
  ASSERT_TRUE(log_->Append(append).ok());
  ASSERT_TRUE(log_->Sync().ok());
  const auto before = log_->Read(3, 7, 10'000);
  ASSERT_TRUE(log_->DropThrough(6).ok());
  EXPECT_EQ(log_->first_index(), 7u);
  EXPECT_EQ(Segments().size(), 2u);
  options_.snapshot = {6, 2, false};
  Reopen();
  EXPECT_EQ(log_->first_index(), 3u);
  EXPECT_EQ(*log_->Read(3, 7, 10'000), *before);
  // Recovery knows it as well.
  ASSERT_TRUE(log_->DropThrough(6).ok());
  EXPECT_EQ(Segments().size(), 2u);
}

TEST_F(SegmentLogTest, BeginsAnewBehindAnInstalledSnapshot) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendOne(1000).ok());
  EXPECT_EQ(log_->Reset(2, 1).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(log_->Reset(10, 2).code(), absl::StatusCode::kInternal);
  options_.snapshot = {10, 1, true};
  ASSERT_TRUE(log_->Reset(10, 1).ok());
  EXPECT_EQ(log_->first_index(), 11u);
  EXPECT_EQ(log_->last_index(), 10u);
  EXPECT_EQ(log_->hard_state(), (HardState{1, 0, 10}));
  EXPECT_EQ(log_->Term(10).value_or(0), 1u);
  Reopen();
  EXPECT_EQ(log_->last_index(), 10u);
  ASSERT_TRUE(AppendOne(100).ok());
  ASSERT_TRUE(log_->DropThrough(10).ok());
  EXPECT_THAT(Segments(), ElementsAre("0000000002-00000000000000000011.seg"));
  Reopen();
  EXPECT_EQ(ReadModel(*log_)->entries, MakeEntries(11, 1, 1, 100));
}

TEST_F(SegmentLogTest, DropAfterResetIsBoundedByTheReset) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(AppendOne(1700).ok());
  ASSERT_TRUE(log_->Reset(100, 1).ok());
  ASSERT_TRUE(log_->DropThrough(3).ok());
  EXPECT_EQ(log_->first_index(), 101u);
  options_.snapshot = {100, 1, true};
  Reopen();
  EXPECT_EQ(log_->first_index(), 101u);
  ASSERT_TRUE(log_->DropThrough(100).ok());
  EXPECT_EQ(Segments().size(), 1u);
}

// What stands on the disk and in no checksum's way is noticed when it is read.
TEST_F(SegmentLogTest, ReadingVerifies) {
  ASSERT_TRUE(AppendOne(1000).ok());
  const std::string path = "/data/log/" + Segments().back();
  std::string bytes = disk_.Contents(path);
  bytes[5000] = static_cast<char>(bytes[5000] ^ 1);
  disk_.SetContents(path, bytes);
  const auto entries = log_->Read(1, 2, 10);
  EXPECT_TRUE(absl::IsDataLoss(entries.status())) << entries.status();
  EXPECT_THAT(std::string(entries.status().message()),
              HasSubstr(path + ", offset "));
}

// Leftovers of a start that did not get as far as the id.
TEST_F(SegmentLogTest, AFalseStartIsBegunAgain) {
  log_.reset();
  const LogIdentity before = *DecodeIdFile(disk_.Contents("/data/id"));
  ASSERT_TRUE(disk_.Remove("/data/id").ok());
  disk_.SetContents("/data/id.new", "half");
  disk_.SetContents("/data/log/spare", "half");
  Reopen();
  EXPECT_NE(log_->identity(), before);
  ASSERT_TRUE(AppendOne(10).ok());
}

}  // namespace
}  // namespace millrace::raft
