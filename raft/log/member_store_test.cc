// With what a member starts, row by row of the table in member_store.h, and
// what of its log may go.
#include "raft/log/member_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/strings.h"
#include "raft/log/testing/snapshot_member.h"
#include "raft/log/testing/store_model.h"

namespace millrace::raft {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class MemberStoreTest : public testing::Test {
 protected:
  MemberStoreTest() { Reopen(); }

  absl::Status TryReopen() {
    store_ = MemberStore();
    const auto random = Random::Seeded(1);
    auto store = OpenMemberStore(options_, disk_, *random);
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }
  void Reopen() {
    const absl::Status status = TryReopen();
    ASSERT_TRUE(status.ok()) << status;
  }

  // `count` entries of 1000 bytes, two to a segment or so; all are committed,
  // unless `commit` says otherwise.
  void Append(size_t count, uint64_t term = 1,
              std::optional<uint64_t> commit = std::nullopt) {
    const auto entries =
        MakeEntries(store_.log->last_index() + 1, count, term, 1500);
    for (const LogEntry& entry : entries) {
      LogAppend append;
      append.entries = {&entry, 1};
      append.hard_state = HardState{
          term, 0, std::min(commit.value_or(entry.index), entry.index)};
      ASSERT_TRUE(store_.log->Append(append).ok());
      states_[entry.index] = NextState(states_[entry.index - 1], entry);
    }
    ASSERT_TRUE(store_.log->Sync().ok());
  }

  void TakeSnapshot(uint64_t index, uint64_t term = 1) {
    auto writer = store_.snapshots->Create(index, term,
                                           StateConfiguration(states_[index]));
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append(StateBytes(states_[index])).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }

  // A leader's snapshot, durable; the log does not know yet.
  void Install(uint64_t index, uint64_t term, uint64_t state) {
    const SentSnapshot sent =
        MakeSent(store_.log->identity().cluster, index, term, state, 64);
    auto installer = store_.snapshots->Install(sent.description);
    ASSERT_TRUE(installer.ok()) << installer.status();
    for (uint64_t n = 0; n < sent.chunks.size(); ++n) {
      ASSERT_TRUE((*installer)->Append(n, sent.chunks[n]).ok());
    }
    ASSERT_TRUE((*installer)->Finish().ok());
  }

  static std::string Path(uint64_t index, uint64_t term = 1) {
    return "/data/snap/" + SnapshotName(term, index);
  }

  void Damage(const std::string& path) {
    std::string bytes = disk_.Contents(path);
    bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
    disk_.SetContents(path, bytes);
  }

  void Compact(uint64_t tail, bool reach_older) {
    CompactionOptions options;
    options.tail_entries = tail;
    options.reach_older_snapshot = reach_older;
    ASSERT_TRUE(CompactLog(options, *store_.snapshots, *store_.log).ok());
  }

  // Starting again leads to the state after the last entry, by way of the
  // snapshot at `snapshot`.
  void ExpectStart(uint64_t snapshot, uint64_t last) {
    Reopen();
    EXPECT_EQ(store_.snapshots->newest().index, snapshot);
    const auto member = ReadMember(store_);
    ASSERT_TRUE(member.ok()) << member.status();
    EXPECT_EQ(member->last_index, last);
    EXPECT_EQ(member->state, states_[last]);
  }

  std::string ExpectRefused() {
    const absl::Status status = TryReopen();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(MessageOf(status),
                HasSubstr("must not vote. Keep a copy of /data for"));
    return MessageOf(status);
  }

  SimDisk disk_;
  MemberStoreOptions options_ = SmallStoreOptions();
  std::map<uint64_t, uint64_t> states_ = {{0, 0}};
  MemberStore store_;
};

// ------------------------------------------------------------------- starting

TEST_F(MemberStoreTest, FromNothing) {
  ExpectStart(0, 0);
  Append(5);
  ExpectStart(0, 5);
  EXPECT_EQ(store_.warning, "");
}

TEST_F(MemberStoreTest, WithASnapshotAndTheLogBehindIt) {
  Append(9);
  TakeSnapshot(4);
  ExpectStart(4, 9);
  EXPECT_EQ(store_.log->first_index(), 1u);
  Compact(0, false);
  EXPECT_GT(store_.log->first_index(), 3u);
  ExpectStart(4, 9);
  EXPECT_EQ(store_.warning, "");
}

TEST_F(MemberStoreTest, WithASnapshotOfTheWholeLog) {
  Append(9);
  TakeSnapshot(9);
  Compact(0, false);
  ExpectStart(9, 9);
}

TEST_F(MemberStoreTest, WhatASnapshotHoldsIsCommitted) {
  Append(9, 1, 2);
  EXPECT_EQ(store_.log->hard_state().commit, 2u);
  TakeSnapshot(6);
  ExpectStart(6, 9);
  EXPECT_EQ(store_.log->hard_state(), (HardState{1, 0, 6}));
  // Durably.
  EXPECT_EQ(disk_.unsynced(), 0u);
}

TEST_F(MemberStoreTest, NotWithALogThatEndsBeforeTheSnapshot) {
  Append(5);
  const auto before = disk_.AfterProcessDeath();
  Append(1);
  TakeSnapshot(6);
  for (const std::string& name : before->Names("/data/log")) {
    const std::string path = "/data/log/" + name;
    disk_.SetContents(path, before->Contents(path));
  }
  EXPECT_THAT(ExpectRefused(),
              HasSubstr("the log ends with entry 5, the snapshot with 6"));
}

TEST_F(MemberStoreTest, NotWithoutTheSnapshotThatTheLogNeeds) {
  Append(9);
  TakeSnapshot(8);
  Compact(0, false);
  ASSERT_TRUE(disk_.Remove(Path(8)).ok());
  EXPECT_THAT(ExpectRefused(), HasSubstr("is missing (entries up to 0 are in a "
                                         "snapshot)"));
}

TEST_F(MemberStoreTest, NotWithASnapshotOfAnotherHistory) {
  Append(9);
  TakeSnapshot(4, 1);
  const std::string old_path = Path(4);
  ASSERT_TRUE(disk_.Remove(old_path).ok());
  Reopen();
  TakeSnapshot(4, 2);
  EXPECT_THAT(ExpectRefused(),
              HasSubstr("entry 4 is of term 1 in the log and of term 2 in the "
                        "snapshot"));
}

TEST_F(MemberStoreTest, TheIdMayNotBeLost) {
  Append(2);
  TakeSnapshot(2);
  store_ = MemberStore();
  ASSERT_TRUE(disk_.Remove("/data/id").ok());
  for (const std::string& name : disk_.Names("/data/log")) {
    ASSERT_TRUE(disk_.Remove("/data/log/" + name).ok());
  }
  EXPECT_THAT(ExpectRefused(),
              HasSubstr("/data/id, offset 0: the file is missing, but there "
                        "is " +
                        Path(2)));
  EXPECT_THAT(disk_.Names("/data/log"), IsEmpty());
}

TEST_F(MemberStoreTest, AnotherProcessIsLeftAlone) {
  Append(2);
  auto writer = *store_.snapshots->Create(2, 1, "");
  const auto random = Random::Seeded(1);
  const auto second = OpenMemberStore(options_, disk_, *random);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(disk_.Names("/data/snap"), Contains("1.tmp"));
  EXPECT_TRUE(writer->Append("x").ok());
  EXPECT_TRUE(writer->Finish().ok());
}

TEST_F(MemberStoreTest, OptionsAreLookedAtBeforeTheDisk) {
  options_.log.segment_bytes = 5000;
  options_.log.directory = "/other";
  EXPECT_TRUE(absl::IsInvalidArgument(TryReopen()));
  EXPECT_THAT(disk_.Names("/"), testing::Not(Contains("other")));
  options_ = SmallStoreOptions();
  options_.snapshot_chunk_bytes = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(TryReopen()));
}

// ---------------------------------------------------------- a damaged newest

TEST_F(MemberStoreTest, TheOlderOneServesWhereTheLogReachesBackToIt) {
  Append(4);
  TakeSnapshot(4);
  Append(4);
  TakeSnapshot(8);
  Append(2);
  Compact(0, true);
  EXPECT_GT(store_.log->first_index(), 1u);
  Damage(Path(8));
  ExpectStart(4, 10);
  EXPECT_THAT(
      store_.warning,
      AllOf(HasSubstr(Path(8) + ", offset "),
            HasSubstr(". This master starts with the snapshot at entry 4 "
                      "instead, because its log reaches back that far")));
  // Until there is a new one.
  ExpectStart(4, 10);
  EXPECT_NE(store_.warning, "");
  TakeSnapshot(8);
  ExpectStart(8, 10);
  EXPECT_EQ(store_.warning, "");
}

TEST_F(MemberStoreTest, TheWholeLogServesWhereThereIsNoOlderOne) {
  Append(4);
  TakeSnapshot(4);
  Append(1);
  Compact(0, true);
  EXPECT_EQ(store_.log->first_index(), 1u);
  Damage(Path(4));
  ExpectStart(0, 5);
  EXPECT_THAT(store_.warning, HasSubstr("starts without a snapshot instead"));
}

TEST_F(MemberStoreTest, TheOlderOneAloneDoesNotServe) {
  Append(4);
  TakeSnapshot(4);
  Append(4);
  TakeSnapshot(8);
  Compact(0, false);
  EXPECT_GT(store_.log->first_index(), 5u);
  Damage(Path(8));
  EXPECT_THAT(ExpectRefused(),
              AllOf(HasSubstr(Path(8) + ", offset "),
                    HasSubstr("; and without that snapshot this log is of no "
                              "use: /data/log/"),
                    HasSubstr("(entries up to 4 are in a snapshot)")));
}

TEST_F(MemberStoreTest, BothDamaged) {
  Append(4);
  TakeSnapshot(4);
  Append(4);
  TakeSnapshot(8);
  Damage(Path(8));
  Damage(Path(4));
  ExpectStart(0, 8);
  Compact(0, true);
  EXPECT_EQ(store_.log->first_index(), 1u);
  // Had the log been shortened, there would be nothing to start with.
  disk_.SetContents(Path(8), "");
  Append(4);
  TakeSnapshot(11);
  Append(3);
  TakeSnapshot(15);
  Compact(0, true);
  Damage(Path(15));
  ExpectStart(11, 15);
  Damage(Path(11));
  EXPECT_THAT(ExpectRefused(), HasSubstr("(entries up to 0 are in a snapshot"));
}

TEST_F(MemberStoreTest, ALogThatEndsBeforeADamagedOneHasLostEntries) {
  Append(4);
  TakeSnapshot(4);
  const auto before = disk_.AfterProcessDeath();
  Append(4);
  TakeSnapshot(8);
  for (const std::string& name : disk_.Names("/data/log")) {
    ASSERT_TRUE(disk_.Remove("/data/log/" + name).ok());
  }
  for (const std::string& name : before->Names("/data/log")) {
    const std::string path = "/data/log/" + name;
    disk_.SetContents(path, before->Contents(path));
  }
  Damage(Path(8));
  EXPECT_THAT(ExpectRefused(),
              HasSubstr("the log ends with entry 4, the snapshot with 8"));
}

// ------------------------------------------------------------- from a leader

TEST_F(MemberStoreTest, ALogThatEndsBeforeAnInstalledOneBeginsAnew) {
  Append(4);
  states_[20] = LeaderState(20, 3);
  Install(20, 3, states_[20]);
  ExpectStart(20, 20);
  EXPECT_EQ(store_.log->first_index(), 21u);
  EXPECT_EQ(store_.log->hard_state(), (HardState{3, 0, 20}));
  Append(2, 3);
  ExpectStart(20, 22);
  Compact(0, true);
  EXPECT_EQ(disk_.Names("/data/log").size(), 1u);
  ExpectStart(20, 22);
}

TEST_F(MemberStoreTest, ALogThatWentAnotherWayBeginsAnew) {
  Append(4);
  Append(4, 2, 4);
  states_[6] = LeaderState(6, 3);
  Install(6, 3, states_[6]);
  ExpectStart(6, 6);
  EXPECT_EQ(store_.log->first_index(), 7u);
}

TEST_F(MemberStoreTest, ALogThatHoldsTheLastEntryStaysAsItIs) {
  Append(8, 1, 3);
  Install(6, 1, states_[6]);
  ExpectStart(6, 8);
  EXPECT_EQ(store_.log->first_index(), 1u);
  EXPECT_EQ(store_.log->hard_state().commit, 6u);
}

TEST_F(MemberStoreTest, AnInstalledOneDoesNotContradictWhatIsCommitted) {
  Append(8);
  Install(6, 2, LeaderState(6, 2));
  EXPECT_THAT(ExpectRefused(),
              HasSubstr("entry 6 is of term 1 in the log and of term 2 in the "
                        "snapshot"));
  ASSERT_TRUE(disk_.Remove(Path(6, 2)).ok());
  Reopen();
  Install(8, 2, LeaderState(8, 2));
  EXPECT_THAT(ExpectRefused(), HasSubstr("entry 8 is of term 1"));
}

TEST_F(MemberStoreTest, ADamagedOneThatTheLogHasNotCaughtUpWith) {
  Append(4);
  TakeSnapshot(3);
  Install(20, 3, LeaderState(20, 3));
  Damage(Path(20, 3));
  EXPECT_THAT(ExpectRefused(),
              HasSubstr("the log ends with entry 4, the snapshot with 20"));
}

TEST_F(MemberStoreTest, ADamagedOneThatTheLogBeginsBehind) {
  Append(4);
  TakeSnapshot(3);
  states_[20] = LeaderState(20, 3);
  Install(20, 3, states_[20]);
  ExpectStart(20, 20);
  Append(4, 3);
  Damage(Path(20, 3));
  EXPECT_THAT(ExpectRefused(),
              HasSubstr("the segment begins behind a snapshot at entry 20, "
                        "which is not there"));
  store_ = MemberStore();
}

TEST_F(MemberStoreTest, AFullDiskAtTheStartIsNotDamage) {
  Append(4);
  states_[20] = LeaderState(20, 3);
  Install(20, 3, states_[20]);
  disk_.SetFreeBytes(100);
  const absl::Status status = TryReopen();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  disk_.SetFreeBytes(1 << 20);
  ExpectStart(20, 20);
}

// ----------------------------------------------------------------- compaction

class CompactionTest : public MemberStoreTest {
 protected:
  uint64_t Index(uint64_t tail, bool reach_older) {
    CompactionOptions options;
    options.tail_entries = tail;
    options.reach_older_snapshot = reach_older;
    return CompactionIndex(options, *store_.snapshots, *store_.log);
  }
};

TEST_F(CompactionTest, WithoutASnapshotNothingGoes) {
  Append(9);
  EXPECT_EQ(Index(0, true), 0u);
  EXPECT_EQ(Index(0, false), 0u);
  Compact(0, false);
  EXPECT_EQ(store_.log->first_index(), 1u);
}

TEST_F(CompactionTest, ATailStaysBehindTheNewest) {
  Append(20);
  TakeSnapshot(15);
  EXPECT_EQ(Index(0, false), 15u);
  EXPECT_EQ(Index(4, false), 11u);
  EXPECT_EQ(Index(15, false), 0u);
  EXPECT_EQ(Index(1000, false), 0u);
  Compact(4, false);
  // Whole segments go.
  EXPECT_LE(store_.log->first_index(), 12u);
  EXPECT_GT(store_.log->first_index(), 8u);
  EXPECT_TRUE(store_.log->Read(12, 16, 1 << 20).ok());
  ExpectStart(15, 20);
}

TEST_F(CompactionTest, TheLogReachesTheOlderSnapshot) {
  Append(20);
  TakeSnapshot(5);
  EXPECT_EQ(Index(0, true), 0u);
  TakeSnapshot(15);
  EXPECT_EQ(Index(0, true), 5u);
  EXPECT_EQ(Index(12, true), 3u);
  EXPECT_EQ(Index(0, false), 15u);
  TakeSnapshot(18);
  EXPECT_EQ(Index(0, true), 15u);
  EXPECT_EQ(Index(4, true), 14u);
  Compact(0, true);
  ExpectStart(18, 20);
  Damage(Path(18));
  ExpectStart(15, 20);
}

TEST_F(CompactionTest, WhatIsNotKnownToBeCommittedStays) {
  Append(20, 1, 7);
  TakeSnapshot(15);
  EXPECT_EQ(Index(0, false), 7u);
  Compact(0, false);
  ExpectStart(15, 20);
}

TEST_F(CompactionTest, WhatIsBeforeAnInstalledSnapshotGoesAtOnce) {
  Append(9);
  TakeSnapshot(5);
  states_[40] = LeaderState(40, 1);
  Install(40, 1, states_[40]);
  // Not before the log begins behind it.
  EXPECT_EQ(Index(0, true), 5u);
  ASSERT_TRUE(store_.log->Reset(40, 1).ok());
  EXPECT_EQ(Index(0, true), 40u);
  EXPECT_EQ(Index(1000, true), 40u);
  Compact(1000, true);
  EXPECT_EQ(store_.log->first_index(), 41u);
  Append(20);
  TakeSnapshot(55);
  EXPECT_EQ(Index(0, true), 40u);
  EXPECT_EQ(Index(0, false), 55u);
  EXPECT_EQ(Index(10, false), 45u);
  EXPECT_EQ(Index(1000, false), 40u);
  ExpectStart(55, 60);
}

TEST_F(CompactionTest, ASnapshotIsDueByEntriesOrBytes) {
  CompactionOptions options;
  options.snapshot_entries = 5;
  options.snapshot_log_bytes = 1 << 30;
  const auto due = [&](uint64_t applied) {
    return SnapshotDue(options, applied, *store_.snapshots, *store_.log);
  };
  EXPECT_FALSE(due(0));
  Append(9);
  EXPECT_FALSE(due(4));
  EXPECT_TRUE(due(5));
  TakeSnapshot(5);
  EXPECT_FALSE(due(5));
  EXPECT_FALSE(due(9));
  Append(1);
  EXPECT_TRUE(due(10));
  options.snapshot_log_bytes = store_.log->BytesAfter(5);
  options.snapshot_entries = 1000;
  EXPECT_TRUE(due(6));
  EXPECT_FALSE(due(5));
  ++options.snapshot_log_bytes;
  EXPECT_FALSE(due(10));
}

}  // namespace
}  // namespace millrace::raft
