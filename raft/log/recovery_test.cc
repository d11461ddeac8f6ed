// Damage: every byte changed, every length, every sector lost or moved, every
// file missing. Either the log comes back whole, or the start is refused with
// the file and the place. Never a shorter log.
#include "raft/log/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "common/file_system.h"
#include "common/strings.h"
#include "raft/log/log_format.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {
namespace {

using testing::HasSubstr;

constexpr char kLog[] = "/data/log";

class RecoveryTest : public testing::Test {
 protected:
  explicit RecoveryTest(bool closed = true) {
    LogRunner runner(SmallLogOptions(), disk_);
    runner.Run(SmallLife(false));
    EXPECT_TRUE(runner.status().ok()) << runner.status();
    if (closed) {
      EXPECT_TRUE(runner.log()->Close().ok());
    }
    whole_ = runner.possible().back();
    for (const std::string& name : disk_.Names(kLog)) {
      const std::string path = JoinPath(kLog, name);
      if (absl::EndsWith(name, ".seg")) {
        files_[path] = disk_.Contents(path);
      } else {
        EXPECT_TRUE(disk_.Remove(path).ok());
      }
    }
    EXPECT_GE(files_.size(), 4u);
    last_ = files_.rbegin()->first;
  }

  // Bytes of a segment that records and header take.
  static size_t Used(const std::string& bytes) {
    return bytes.find_last_not_of('\0') + 1;
  }

  // The log with the file replaced; afterwards everything is as it was.
  absl::StatusOr<ModelLog> With(const std::string& path,
                                const std::string& bytes) {
    disk_.SetContents(path, bytes);
    auto log = Recover(SmallLogOptions(), LogSnapshot(), disk_);
    for (const auto& [p, contents] : files_) {
      if (p == path || p == last_) disk_.SetContents(p, contents);
    }
    return log;
  }

  // A refusal that names `path` and an offset not behind `at`.
  void ExpectRefused(const absl::Status& status, const std::string& path,
                     uint64_t at) {
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    const std::string message(status.message());
    const std::string prefix = path + ", offset ";
    ASSERT_TRUE(absl::StartsWith(message, prefix)) << message;
    uint64_t offset = 0;
    const std::string digits = message.substr(
        prefix.size(), message.find(':', prefix.size()) - prefix.size());
    ASSERT_TRUE(absl::SimpleAtoi(digits, &offset)) << message;
    ASSERT_LE(offset, at) << message;
    ASSERT_THAT(message, HasSubstr("must not vote. Keep a copy of /data for"));
    ASSERT_THAT(message, HasSubstr("add this master again as a new member"));
  }

  // `damaged` differs from the file somewhere in [begin, end).
  void ExpectWholeOrRefused(const std::string& path, const std::string& damaged,
                            uint64_t at) {
    const auto log = With(path, damaged);
    if (log.ok()) {
      ASSERT_EQ(*log, whole_);
    } else {
      ExpectRefused(log.status(), path, at);
    }
  }

  SimDisk disk_;
  ModelLog whole_;
  std::map<std::string, std::string> files_;  // Segments, by path.
  std::string last_;
};

class UnclosedRecoveryTest : public RecoveryTest {
 protected:
  UnclosedRecoveryTest() : RecoveryTest(false) {}
};

TEST_F(RecoveryTest, ComesBackWhole) {
  EXPECT_EQ(*With(last_, files_[last_]), whole_);
}

TEST_F(RecoveryTest, EveryBitOfEveryByte) {
  for (const auto& [path, bytes] : files_) {
    const size_t used = Used(bytes);
    for (size_t i = 0; i < bytes.size(); ++i) {
      // All bits where something stands, one of them elsewhere.
      for (int bit = 0; bit < 8; ++bit) {
        if (i >= used && bit != static_cast<int>(i % 8)) continue;
        SCOPED_TRACE(Cat(path, " byte ", i, " bit ", bit));
        std::string damaged = bytes;
        damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
        const auto log = With(path, damaged);
        if (i < used) {
          ExpectRefused(log.status(), path, i);
        } else if (log.ok()) {
          ASSERT_EQ(*log, whole_);
        } else {
          ExpectRefused(log.status(), path, i);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

// The last group before a crash has no mark behind it. A byte that changed in
// it is not taken for a crash all the same.
TEST_F(UnclosedRecoveryTest, EveryByteOfTheLastSegment) {
  const std::string bytes = files_[last_];
  for (size_t i = 0; i < Used(bytes); ++i) {
    for (const int mask : {1, 16, 128, 255}) {
      SCOPED_TRACE(Cat("byte ", i, " mask ", mask));
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      if (damaged[i] == 0) continue;  // Could be a sector that tore there.
      ExpectRefused(With(last_, damaged).status(), last_, i);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(RecoveryTest, EveryLength) {
  for (const auto& [path, bytes] : files_) {
    for (size_t size = 0; size < bytes.size(); ++size) {
      SCOPED_TRACE(Cat(path, " cut to ", size));
      ExpectRefused(With(path, bytes.substr(0, size)).status(), path, size);
      if (HasFatalFailure()) return;
    }
    ExpectRefused(With(path, bytes + '\0').status(), path, bytes.size());
    ExpectRefused(With(path, bytes + std::string(8192, '\0')).status(), path,
                  bytes.size());
  }
}

// A sector reads as it did before it was written. With a mark behind it that is
// always found; the sectors of the last mark itself are as a crash leaves them.
TEST_F(RecoveryTest, EverySectorLost) {
  for (const auto& [path, bytes] : files_) {
    for (size_t at = 0; at < Used(bytes); at += kSectorBytes) {
      if (bytes.substr(at, kSectorBytes).find_first_not_of('\0') ==
          std::string::npos) {
        continue;
      }
      SCOPED_TRACE(Cat(path, " sector at ", at));
      std::string damaged = bytes;
      damaged.replace(at, kSectorBytes, kSectorBytes, '\0');
      const auto log = With(path, damaged);
      if (path == last_ && at + kSectorBytes >= Used(bytes)) {
        // The rest of the last group, and the mark, in one sector: what no
        // reader can tell from a write that never happened.
        if (log.ok()) continue;
      }
      ExpectRefused(log.status(), path, at + kSectorBytes);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(RecoveryTest, EverySectorInPlaceOfEveryOther) {
  for (const auto& [path, bytes] : files_) {
    for (const auto& [from_path, from_bytes] : files_) {
      for (size_t to = 0; to < bytes.size(); to += kSectorBytes) {
        for (size_t from = 0; from < Used(from_bytes); from += kSectorBytes) {
          const std::string sector = from_bytes.substr(from, kSectorBytes);
          if (bytes.compare(to, kSectorBytes, sector) == 0) continue;
          // Zeros are EverySectorLost.
          if (sector.find_first_not_of('\0') == std::string::npos) continue;
          SCOPED_TRACE(Cat(from_path, " ", from, " to ", path, " ", to));
          std::string damaged = bytes;
          damaged.replace(to, kSectorBytes, sector);
          ExpectWholeOrRefused(path, damaged, to + kSectorBytes);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_F(RecoveryTest, EveryFileInPlaceOfEveryOther) {
  for (const auto& [path, bytes] : files_) {
    for (const auto& [other, contents] : files_) {
      if (path == other) continue;
      ExpectRefused(With(path, contents).status(), path, 0);
    }
  }
}

TEST_F(RecoveryTest, EveryFileMissing) {
  for (const auto& [path, bytes] : files_) {
    const auto after = disk_.AfterProcessDeath();
    ASSERT_TRUE(after->Remove(path).ok());
    const auto log = Recover(SmallLogOptions(), LogSnapshot(), *after);
    ASSERT_EQ(log.status().code(), absl::StatusCode::kDataLoss) << path;
    EXPECT_THAT(std::string(log.status().message()), HasSubstr("missing"));
    EXPECT_THAT(std::string(log.status().message()), HasSubstr("offset"));
  }
}

TEST_F(RecoveryTest, AllFilesMissing) {
  for (const auto& [path, bytes] : files_) {
    ASSERT_TRUE(disk_.Remove(path).ok());
  }
  const auto log = Recover(SmallLogOptions(), LogSnapshot(), disk_);
  ASSERT_EQ(log.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(log.status().message()),
              HasSubstr("/data/log, offset 0: there are no segments"));
}

TEST_F(RecoveryTest, EveryByteOfTheId) {
  const std::string id = disk_.Contents("/data/id");
  ASSERT_EQ(id.size(), kIdFileBytes);
  for (size_t i = 0; i < id.size(); ++i) {
    std::string damaged = id;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    disk_.SetContents("/data/id", damaged);
    ExpectRefused(Recover(SmallLogOptions(), LogSnapshot(), disk_).status(),
                  "/data/id", i);
    disk_.SetContents("/data/id", id.substr(0, i));
    ExpectRefused(Recover(SmallLogOptions(), LogSnapshot(), disk_).status(),
                  "/data/id", i);
  }
}

TEST_F(RecoveryTest, TheIdMissing) {
  ASSERT_TRUE(disk_.Remove("/data/id").ok());
  ExpectRefused(Recover(SmallLogOptions(), LogSnapshot(), disk_).status(),
                "/data/id", 0);
}

TEST_F(RecoveryTest, SegmentsOfAnotherMember) {
  LogIdentity other;
  other.cluster = *ClusterId::FromHex("00112233445566778899aabbccddeeff");
  other.member = 12;
  disk_.SetContents("/data/id", EncodeIdFile(other));
  const auto log = Recover(SmallLogOptions(), LogSnapshot(), disk_);
  ExpectRefused(log.status(), files_.begin()->first, 0);
  EXPECT_THAT(std::string(log.status().message()),
              HasSubstr("00112233445566778899aabbccddeeff, member 12"));
}

TEST_F(RecoveryTest, FilesThatTheLogDidNotName) {
  for (const char* name : {"1-1.seg", "0000000009.seg", "x.seg",
                           "0000000001-00000000000000000002.seg"}) {
    const auto after = disk_.AfterProcessDeath();
    after->SetContents(JoinPath(kLog, name), "x");
    const auto log = Recover(SmallLogOptions(), LogSnapshot(), *after);
    EXPECT_EQ(log.status().code(), absl::StatusCode::kDataLoss) << name;
  }
  disk_.SetContents("/data/log/notes.txt", "x");
  EXPECT_EQ(*Recover(SmallLogOptions(), LogSnapshot(), disk_), whole_);
}

// What a crash tears away was never acknowledged, and leaves nothing behind
// that could be taken for part of a later log.
TEST(TornTailTest, IsRemoved) {
  SimDisk disk;
  std::string path;
  size_t before = 0, used = 0;  // Bytes in the segment.
  const auto used_bytes = [&] {
    const std::string bytes = disk.Contents(path);
    return PaddedBytes(bytes.find_last_not_of('\0') + 1);
  };
  {
    LogRunner runner(SmallLogOptions(), disk);
    path = JoinPath(kLog, SegmentName(1, 1));
    LogAppend append;
    append.hard_state = HardState{1, 7, 0};
    ASSERT_TRUE(runner.log()->Append(append).ok());
    ASSERT_TRUE(runner.log()->Sync().ok());
    before = used_bytes();
    const auto entries = MakeEntries(1, 2, 1, 1100);
    append.entries = entries;
    ASSERT_TRUE(runner.log()->Append(append).ok());
    used = used_bytes();
  }
  const std::string written = disk.Contents(path);
  // Each sector of the last group in turn is the one that did not make it.
  for (size_t at = before; at < used;) {
    const size_t end = (at / kSectorBytes + 1) * kSectorBytes;
    SCOPED_TRACE(at);
    std::string torn = written;
    torn.replace(at, end - at, end - at, '\0');
    disk.SetContents(path, torn);
    const auto random = Random::Seeded(1);
    auto log = SegmentLog::Open(SmallLogOptions(), disk, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    EXPECT_GT((*log)->torn_bytes(), 0u);
    EXPECT_LE((*log)->last_index(), 1u);
    // Nothing of it stays.
    const size_t left = used_bytes();
    EXPECT_LE(left, at);
    EXPECT_EQ(disk.Contents(path).substr(0, left), written.substr(0, left));
    log->reset();
    log = SegmentLog::Open(SmallLogOptions(), disk, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    EXPECT_EQ((*log)->torn_bytes(), 0u);
    at = end;
  }
}

TEST_F(RecoveryTest, ALogThatEndsBeforeItsSnapshotIsRefused) {
  LogSnapshot snapshot{whole_.last_index(), 4, false};
  EXPECT_TRUE(Recover(SmallLogOptions(), snapshot, disk_).ok());
  ++snapshot.index;
  const auto log = Recover(SmallLogOptions(), snapshot, disk_);
  ExpectRefused(log.status(), last_, 8192);
  EXPECT_THAT(std::string(log.status().message()),
              HasSubstr("the log ends with entry 15, the snapshot with 16"));
}

TEST_F(RecoveryTest, ALogThatEndsBeforeAnInstalledSnapshotBeginsAnew) {
  const LogSnapshot snapshot{40, 9, true};
  const auto log = Recover(SmallLogOptions(), snapshot, disk_);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->base_index, 40u);
  EXPECT_TRUE(log->entries.empty());
  EXPECT_EQ(log->hard, (HardState{9, 0, 40}));
  // Once is enough.
  EXPECT_EQ(*Recover(SmallLogOptions(), snapshot, disk_), *log);
  // But not without the snapshot.
  EXPECT_EQ(Recover(SmallLogOptions(), LogSnapshot(), disk_).status().code(),
            absl::StatusCode::kDataLoss);
}

// A back-up of the same member, put back in part: every file is right by
// itself, and the entries have the same indexes and terms.
TEST(MixedPastTest, IsRefused) {
  const auto live = [](SimDisk& disk, uint8_t kind) {
    LogRunner runner(SmallLogOptions(), disk);
    for (uint64_t i = 1; i <= 9; ++i) {
      auto entries = MakeEntries(i, 1, 1, 1700);
      entries[0].kind = kind;
      LogAppend append;
      append.entries = entries;
      append.hard_state = HardState{1, 0, i};
      ASSERT_TRUE(runner.log()->Append(append).ok());
      ASSERT_TRUE(runner.log()->Sync().ok());
    }
  };
  SimDisk one;
  ASSERT_TRUE(Recover(SmallLogOptions(), LogSnapshot(), one).ok());
  const auto other = one.AfterProcessDeath();  // The same ids.
  live(one, 1);
  live(*other, 2);
  const std::vector<std::string> names = one.Names(kLog);
  ASSERT_EQ(names.size(), 5u);
  ASSERT_EQ(other->Names(kLog), names);
  for (const std::string& name : names) {
    const std::string path = JoinPath(kLog, name);
    const auto mixed = one.AfterProcessDeath();
    mixed->SetContents(path, other->Contents(path));
    const auto log = Recover(SmallLogOptions(), LogSnapshot(), *mixed);
    ASSERT_TRUE(absl::IsDataLoss(log.status())) << name << log.status();
    EXPECT_THAT(std::string(log.status().message()),
                HasSubstr("offset 0: the segment does not follow the one "
                          "before it"));
  }
}

// Records that nobody here writes, under right checksums.
class ForgedRecordTest : public testing::Test {
 protected:
  ForgedRecordTest() {
    LogRunner runner(SmallLogOptions(), disk_);
    LogAppend append;
    append.hard_state = HardState{3, 7, 0};
    const auto entries = MakeEntries(1, 3, 2, 50);
    append.entries = entries;
    EXPECT_TRUE(runner.log()->Append(append).ok());
    append = LogAppend();
    append.hard_state = HardState{3, 7, 2};
    EXPECT_TRUE(runner.log()->Append(append).ok());
    EXPECT_TRUE(runner.log()->Sync().ok());
    bytes_ = disk_.Contents(kPath);
    end_ = bytes_.find_last_not_of('\0') + 1;
    end_ = PaddedBytes(end_);
    seed_ = SegmentChecksum(bytes_);
    std::memcpy(&chain_, bytes_.data() + end_ - 8, 8);
  }

  std::string RefusalOf(const RecordBuilder& builder) {
    std::string forged = bytes_;
    forged.replace(end_, builder.bytes().size(), builder.bytes());
    disk_.SetContents(kPath, forged);
    const auto log = Recover(SmallLogOptions(), LogSnapshot(), disk_);
    EXPECT_EQ(log.status().code(), absl::StatusCode::kDataLoss) << log.status();
    EXPECT_THAT(std::string(log.status().message()),
                HasSubstr(Cat(kPath, ", offset ", end_)));
    return std::string(log.status().message());
  }

  RecordBuilder Builder() {
    return RecordBuilder(seed_, static_cast<uint32_t>(end_),
                         static_cast<uint32_t>(end_), chain_);
  }

  static constexpr char kPath[] =
      "/data/log/0000000001-00000000000000000001.seg";
  SimDisk disk_;
  std::string bytes_;
  uint64_t end_ = 0;
  uint64_t seed_ = 0;
  uint64_t chain_ = 0;
};

TEST_F(ForgedRecordTest, AGoodOneIsTaken) {
  RecordBuilder builder = Builder();
  builder.HardStateRecord({3, 7, 3});
  std::string longer = bytes_;
  longer.replace(end_, builder.bytes().size(), builder.bytes());
  disk_.SetContents(kPath, longer);
  EXPECT_EQ(Recover(SmallLogOptions(), LogSnapshot(), disk_)->hard,
            (HardState{3, 7, 3}));
}

TEST_F(ForgedRecordTest, HardStatesThatContradict) {
  const std::pair<HardState, const char*> bad[] = {
      {{2, 7, 2}, "the term goes back from 3 to 2"},
      {{3, 8, 2}, "a second vote in term 3, for 8 after 7"},
      {{3, 0, 2}, "a second vote"},
      {{3, 7, 1}, "the commit index goes back from 2 to 1"},
      {{3, 7, 4}, "entry 4 is committed, but the log ends at 3"},
      {{9, 7, UINT64_MAX}, "but the log ends at 3"},
  };
  for (const auto& [hard, why] : bad) {
    RecordBuilder builder = Builder();
    builder.HardStateRecord(hard);
    EXPECT_THAT(RefusalOf(builder), HasSubstr(why));
  }
}

TEST_F(ForgedRecordTest, TruncationsThatContradict) {
  for (const uint64_t from :
       {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{4}, UINT64_MAX}) {
    RecordBuilder builder = Builder();
    builder.TruncateRecord(from);
    EXPECT_THAT(RefusalOf(builder), HasSubstr("cannot be removed"));
  }
}

TEST_F(ForgedRecordTest, EntriesThatContradict) {
  const std::pair<LogEntry, const char*> bad[] = {
      {{5, 3, 0, "x"}, "entry 5 follows entry 3"},
      {{3, 3, 0, "x"}, "entry 3 follows entry 3"},
      {{4, 1, 0, "x"}, "an entry of term 1 follows one of term 2"},
      {{4, 4, 0, "x"}, "an entry of term 4 in term 3"},
  };
  for (const auto& [entry, why] : bad) {
    RecordBuilder builder = Builder();
    builder.EntriesRecord(std::vector<LogEntry>{entry});
    EXPECT_THAT(RefusalOf(builder), HasSubstr(why));
  }
}

TEST_F(ForgedRecordTest, EndsThatContradict) {
  for (const uint64_t seq : {uint64_t{1}, uint64_t{3}}) {
    RecordBuilder builder = Builder();
    builder.SegmentEndRecord(4, seq);
    EXPECT_THAT(RefusalOf(builder), HasSubstr("nothing sensible"));
  }
  RecordBuilder builder = Builder();
  builder.SegmentEndRecord(4, 2);
  EXPECT_THAT(RefusalOf(builder),
              HasSubstr("0000000002-00000000000000000004.seg, is missing"));
}

TEST_F(ForgedRecordTest, ARecordOutOfTheChain) {
  RecordBuilder builder(seed_, static_cast<uint32_t>(end_),
                        static_cast<uint32_t>(end_), chain_ + 1);
  builder.HardStateRecord({3, 7, 3});
  EXPECT_THAT(RefusalOf(builder), HasSubstr("does not follow"));
}

TEST_F(ForgedRecordTest, AMarkThatGoesBack) {
  RecordBuilder marked = Builder();
  marked.HardStateRecord({3, 7, 3});
  bytes_.replace(end_, marked.bytes().size(), marked.bytes());
  end_ += marked.bytes().size();
  chain_ = marked.chain();
  RecordBuilder builder(seed_, static_cast<uint32_t>(end_), 4096, chain_);
  builder.HardStateRecord({3, 7, 3});
  EXPECT_THAT(RefusalOf(builder), HasSubstr("mark goes back"));
}

// Evidence of a crash counts for nothing where a later record says that the
// place had been synced.
TEST_F(ForgedRecordTest, ATornRecordBeforeAMark) {
  RecordBuilder first = Builder();
  first.EntriesRecord(MakeEntries(4, 1, 3, 900));
  RecordBuilder second(seed_, first.next_offset(), first.next_offset(),
                       first.chain());
  second.HardStateRecord({3, 7, 3});
  std::string torn = bytes_;
  torn.replace(end_, first.bytes().size(), first.bytes());
  torn.replace(first.next_offset(), second.bytes().size(), second.bytes());
  const uint64_t sector = (end_ / kSectorBytes + 1) * kSectorBytes;
  torn.replace(sector, kSectorBytes, kSectorBytes, '\0');
  disk_.SetContents(kPath, torn);
  const auto log = Recover(SmallLogOptions(), LogSnapshot(), disk_);
  EXPECT_EQ(log.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(log.status().message()),
              HasSubstr("says that it had been synced"));
  // The same without the mark is a crash.
  RecordBuilder unmarked(seed_, first.next_offset(),
                         static_cast<uint32_t>(end_), first.chain());
  unmarked.HardStateRecord({3, 7, 3});
  torn.replace(first.next_offset(), unmarked.bytes().size(), unmarked.bytes());
  disk_.SetContents(kPath, torn);
  const auto crashed = Recover(SmallLogOptions(), LogSnapshot(), disk_);
  ASSERT_TRUE(crashed.ok()) << crashed.status();
  EXPECT_EQ(crashed->last_index(), 3u);
}

}  // namespace
}  // namespace millrace::raft
