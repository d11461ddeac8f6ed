// What every Disk promises, and what the simulated one forgets.
#include "raft/log/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/strings.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

using testing::UnorderedElementsAre;

class DiskTest : public testing::TestWithParam<bool> {
 protected:
  DiskTest() {
    if (GetParam()) {
      dir_ = temp_ / "d";
      disk_ = &Disk::Posix();
    } else {
      dir_ = "/d";
      disk_ = &sim_;
    }
    EXPECT_TRUE(disk_->MakeDirectory(dir_).ok());
  }

  std::string Path(std::string_view name) { return Cat(dir_, "/", name); }

  std::string Contents(const std::string& name) {
    auto file = disk_->Open(Path(name));
    EXPECT_TRUE(file.ok()) << file.status();
    if (!file.ok()) return "";
    const auto bytes = ReadFully(**file, 1 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.value_or("");
  }

  TempDir temp_;
  SimDisk sim_;
  Disk* disk_;
  std::string dir_;
};

INSTANTIATE_TEST_SUITE_P(Disks, DiskTest, testing::Bool(), [](const auto& p) {
  return p.param ? "Posix" : "Simulated";
});

TEST_P(DiskTest, WritesInPlace) {
  auto file = disk_->Create(Path("f"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(WriteFully(**file, 3, "abc").ok());
  EXPECT_TRUE(WriteFully(**file, 4, "X").ok());
  EXPECT_TRUE(WriteFully(**file, 0, "").ok());
  EXPECT_TRUE((*file)->Sync().ok());
  EXPECT_EQ((*file)->Size().value_or(0), 6u);
  EXPECT_EQ(Contents("f"), std::string("\0\0\0aXc", 6));
  char buffer[10];
  EXPECT_EQ((*file)->ReadAt(4, buffer, 10).value_or(99), 2u);
  EXPECT_EQ((*file)->ReadAt(6, buffer, 10).value_or(99), 0u);
  EXPECT_EQ((*file)->ReadAt(60, buffer, 10).value_or(99), 0u);
}

TEST_P(DiskTest, CreateDoesNotReplace) {
  ASSERT_TRUE(disk_->Create(Path("f")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(disk_->Create(Path("f")).status()));
  EXPECT_TRUE(
      absl::IsAlreadyExists(disk_->CreateZeroed(Path("f"), 10).status()));
  EXPECT_TRUE(absl::IsNotFound(disk_->Create(Path("no/f")).status()));
}

TEST_P(DiskTest, ZeroedFilesHaveTheirLength) {
  for (const uint64_t bytes :
       {uint64_t{1}, uint64_t{4096}, (uint64_t{1} << 20) + 5}) {
    auto file = disk_->CreateZeroed(Path(Cat(bytes)), bytes);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto read = ReadFully(**file, bytes);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(*read == std::string(bytes, '\0'));
    EXPECT_TRUE(
        absl::IsResourceExhausted(ReadFully(**file, bytes - 1).status()));
  }
}

TEST_P(DiskTest, OpenNeedsAFile) {
  EXPECT_TRUE(absl::IsNotFound(disk_->Open(Path("f")).status()));
  EXPECT_FALSE(disk_->Open(dir_).ok());
}

TEST_P(DiskTest, DirectoriesMayExist) {
  EXPECT_TRUE(disk_->MakeDirectory(Path("sub")).ok());
  EXPECT_TRUE(disk_->MakeDirectory(Path("sub")).ok());
  ASSERT_TRUE(disk_->Create(Path("f")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(disk_->MakeDirectory(Path("f"))));
  EXPECT_TRUE(absl::IsNotFound(disk_->MakeDirectory(Path("no/sub"))));
}

TEST_P(DiskTest, ListsNames) {
  EXPECT_TRUE(disk_->MakeDirectory(Path("sub")).ok());
  ASSERT_TRUE(disk_->Create(Path("f")).ok());
  ASSERT_TRUE(disk_->Create(Path("sub/g")).ok());
  EXPECT_THAT(disk_->List(dir_).value_or(std::vector<std::string>()),
              UnorderedElementsAre("sub", "f"));
  EXPECT_TRUE(absl::IsNotFound(disk_->List(Path("no")).status()));
}

TEST_P(DiskTest, RenameReplaces) {
  auto f = disk_->Create(Path("f"));
  ASSERT_TRUE(f.ok());
  EXPECT_TRUE(WriteFully(**f, 0, "f").ok());
  ASSERT_TRUE(disk_->Create(Path("g")).ok());
  EXPECT_TRUE(disk_->Rename(Path("f"), Path("g")).ok());
  EXPECT_EQ(Contents("g"), "f");
  EXPECT_THAT(*disk_->List(dir_), UnorderedElementsAre("g"));
  EXPECT_TRUE(absl::IsNotFound(disk_->Rename(Path("f"), Path("g"))));
  EXPECT_TRUE(disk_->SyncDirectory(dir_).ok());
}

TEST_P(DiskTest, Removes) {
  ASSERT_TRUE(disk_->Create(Path("f")).ok());
  EXPECT_TRUE(disk_->Remove(Path("f")).ok());
  EXPECT_TRUE(absl::IsNotFound(disk_->Remove(Path("f"))));
  EXPECT_TRUE(absl::IsNotFound(disk_->SyncDirectory(Path("f"))));
}

TEST_P(DiskTest, LocksAreForOne) {
  auto lock = disk_->Lock(Path("lock"));
  ASSERT_TRUE(lock.ok()) << lock.status();
  const auto second = disk_->Lock(Path("lock"));
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  lock->reset();
  EXPECT_TRUE(disk_->Lock(Path("lock")).ok());
}

TEST_P(DiskTest, SaysWhatIsFree) {
  EXPECT_GT(disk_->FreeBytes(dir_).value_or(0), 0u);
  EXPECT_FALSE(disk_->FreeBytes(Path("no")).ok());
}

// ----------------------------------------------------- the simulated disk

class SimDiskTest : public testing::Test {
 protected:
  SimDiskTest() {
    EXPECT_TRUE(disk_.MakeDirectory("/d").ok());
    EXPECT_TRUE(disk_.SyncDirectory("/").ok());
    auto file = disk_.CreateZeroed("/d/f", 1024);
    EXPECT_TRUE(file.ok());
    EXPECT_TRUE(disk_.SyncDirectory("/d").ok());
    file_ = *std::move(file);
  }

  SimDisk disk_;
  std::unique_ptr<DiskFile> file_;
};

TEST_F(SimDiskTest, SectorsSurviveEachByItself) {
  ASSERT_TRUE(WriteFully(*file_, 510, "abcd").ok());
  EXPECT_EQ(disk_.unsynced(), 2u);
  std::vector<std::string> seen;
  EXPECT_TRUE(ForEachChoice(100, [&](const SimDisk::Choose& choose) {
    const auto after = disk_.AfterPowerCut(choose);
    seen.push_back(after->Contents("/d/f").substr(510, 4));
    EXPECT_EQ(after->unsynced(), 0u);
  }));
  EXPECT_THAT(seen, UnorderedElementsAre("abcd", std::string("ab\0\0", 4),
                                         std::string("\0\0cd", 4),
                                         std::string(4, '\0')));
  ASSERT_TRUE(file_->Sync().ok());
  EXPECT_EQ(disk_.unsynced(), 0u);
  EXPECT_EQ(disk_.AfterPowerCut(SimDisk::LoseAll)->Contents("/d/f"),
            disk_.Contents("/d/f"));
}

TEST_F(SimDiskTest, ASectorMaySurviveAsItWasInBetween) {
  ASSERT_TRUE(WriteFully(*file_, 0, "a").ok());
  ASSERT_TRUE(WriteFully(*file_, 1, "b").ok());
  std::vector<std::string> seen;
  EXPECT_TRUE(ForEachChoice(100, [&](const SimDisk::Choose& choose) {
    seen.push_back(disk_.AfterPowerCut(choose)->Contents("/d/f").substr(0, 2));
  }));
  EXPECT_THAT(seen, UnorderedElementsAre("ab", std::string("a\0", 2),
                                         std::string("\0\0", 2)));
}

TEST_F(SimDiskTest, NamesSurviveWhenTheDirectoryIsSynced) {
  ASSERT_TRUE(disk_.Create("/d/g").ok());
  ASSERT_TRUE(disk_.Rename("/d/f", "/d/h").ok());
  ASSERT_TRUE(disk_.MakeDirectory("/e").ok());
  std::vector<std::string> seen;
  EXPECT_TRUE(ForEachChoice(100, [&](const SimDisk::Choose& choose) {
    const auto after = disk_.AfterPowerCut(choose);
    std::string names;
    for (const std::string& name : after->Names("/d")) names += name;
    seen.push_back(names + "," + Cat(after->Names("/").size()));
  }));
  EXPECT_THAT(seen, UnorderedElementsAre("f,1", "f,2", "fg,1", "fg,2", "h,1",
                                         "h,2", "gh,1", "gh,2"));
  ASSERT_TRUE(disk_.SyncDirectory("/d").ok());
  EXPECT_THAT(disk_.AfterPowerCut(SimDisk::LoseAll)->Names("/d"),
              UnorderedElementsAre("g", "h"));
}

TEST_F(SimDiskTest, SaysWhatNoPowerCutCanTake) {
  const uint64_t version = disk_.durable_version();
  ASSERT_TRUE(WriteFully(*file_, 510, "abcd").ok());
  ASSERT_TRUE(disk_.Rename("/d/f", "/d/h").ok());
  ASSERT_TRUE(disk_.MakeDirectory("/e").ok());
  ASSERT_TRUE(disk_.Create("/e/x").ok());
  ASSERT_TRUE(disk_.SyncDirectory("/e").ok());
  EXPECT_GT(disk_.durable_version(), version);
  EXPECT_THAT(disk_.DurableNames("/d"), UnorderedElementsAre("f"));
  EXPECT_EQ(disk_.DurableBytes("/d/f", 510, 4), std::string(4, '\0'));
  EXPECT_EQ(disk_.DurableBytes("/d/h", 510, 4), "");
  // Its names are, but not its own.
  EXPECT_TRUE(disk_.DurableNames("/e").empty());

  const uint64_t before = disk_.durable_version();
  ASSERT_TRUE(file_->Sync().ok());
  EXPECT_GT(disk_.durable_version(), before);
  // Under the name that is durable, whatever it is called by now.
  EXPECT_EQ(disk_.DurableBytes("/d/f", 510, 4), "abcd");
  EXPECT_EQ(disk_.DurableBytes("/d/f", 1020, 100).size(), 4u);
  EXPECT_EQ(disk_.DurableBytes("/d/f", 1024, 1), "");
  ASSERT_TRUE(disk_.SyncDirectory("/d").ok());
  ASSERT_TRUE(disk_.SyncDirectory("/").ok());
  EXPECT_THAT(disk_.DurableNames("/d"), UnorderedElementsAre("h"));
  EXPECT_THAT(disk_.DurableNames("/e"), UnorderedElementsAre("x"));
  // As a power cut has it.
  const auto after = disk_.AfterPowerCut(SimDisk::LoseAll);
  EXPECT_EQ(after->Names("/d"), disk_.DurableNames("/d"));
  EXPECT_EQ(after->Contents("/d/h"), disk_.DurableBytes("/d/h", 0, 4096));
}

TEST_F(SimDiskTest, AKillKeepsWhatIsUnsyncedUnsynced) {
  ASSERT_TRUE(WriteFully(*file_, 0, "a").ok());
  ASSERT_TRUE(disk_.Remove("/d/f").ok());
  ASSERT_TRUE(disk_.Create("/d/g").ok());
  const auto lock = disk_.Lock("/d/lock");
  const auto killed = disk_.AfterProcessDeath();
  EXPECT_THAT(killed->Names("/d"), UnorderedElementsAre("g", "lock"));
  EXPECT_TRUE(killed->Lock("/d/lock").ok());
  EXPECT_THAT(killed->AfterPowerCut(SimDisk::LoseAll)->Names("/d"),
              UnorderedElementsAre("f"));
  EXPECT_EQ(killed->AfterPowerCut(SimDisk::LoseAll)->Contents("/d/f")[0], 0);
}

TEST_F(SimDiskTest, ASyncThatFailsLeavesPagesThatLookClean) {
  ASSERT_TRUE(WriteFully(*file_, 0, "a").ok());
  disk_.FailCall(disk_.calls() + 1, SimFault::kSyncDropsPages);
  EXPECT_TRUE(absl::IsDataLoss(file_->Sync()));
  EXPECT_TRUE(disk_.fault_happened());
  EXPECT_TRUE(file_->Sync().ok());
  EXPECT_EQ(disk_.Contents("/d/f")[0], 'a');
  EXPECT_EQ(disk_.AfterPowerCut(SimDisk::KeepAll)->Contents("/d/f")[0], 0);
  // Written again it is kept again.
  ASSERT_TRUE(WriteFully(*file_, 0, "a").ok());
  EXPECT_TRUE(file_->Sync().ok());
  EXPECT_EQ(disk_.AfterPowerCut(SimDisk::LoseAll)->Contents("/d/f")[0], 'a');
}

TEST_F(SimDiskTest, FaultsHappenOnce) {
  disk_.FailCall(disk_.calls() + 1, SimFault::kNoSpace);
  EXPECT_TRUE(absl::IsResourceExhausted(disk_.Create("/d/g").status()));
  EXPECT_TRUE(disk_.Create("/d/g").ok());
  disk_.FailCall(disk_.calls() + 1, SimFault::kShortWrite);
  EXPECT_EQ(file_->WriteAt(0, "abcd").value_or(99), 2u);
  EXPECT_EQ(file_->WriteAt(2, "cd").value_or(99), 2u);
  EXPECT_EQ(disk_.Contents("/d/f").substr(0, 4), "abcd");
}

TEST_F(SimDiskTest, WritesGoAstrayUnnoticed) {
  ASSERT_TRUE(WriteFully(*file_, 0, "old").ok());
  disk_.FailCall(disk_.calls() + 1, SimFault::kLostWrite);
  EXPECT_EQ(file_->WriteAt(0, "new").value_or(99), 3u);
  EXPECT_EQ(disk_.Contents("/d/f").substr(0, 3), "old");
  EXPECT_EQ(disk_.fault_call(), "6 write /d/f");
  disk_.FailCall(disk_.calls() + 1, SimFault::kMisdirectedWrite, 1);
  EXPECT_EQ(file_->WriteAt(0, "new").value_or(99), 3u);
  EXPECT_EQ(disk_.Contents("/d/f").substr(0, 3), "old");
  EXPECT_EQ(disk_.Contents("/d/f").substr(512, 3), "new");
  // What would lie beyond the file's end, or before its beginning, is lost.
  for (const int64_t shift : {1, 2, -2}) {
    disk_.FailCall(disk_.calls() + 1, SimFault::kMisdirectedWrite, shift);
    EXPECT_EQ(file_->WriteAt(510, "other").value_or(99), 5u);
  }
  EXPECT_EQ(disk_.Contents("/d/f").size(), 1024u);
  EXPECT_EQ(disk_.Contents("/d/f").substr(1020), std::string("\0\0ot", 4));
  // They are faults of writes alone.
  disk_.FailCall(disk_.calls() + 1, SimFault::kLostWrite);
  EXPECT_TRUE(file_->Sync().ok());
  EXPECT_EQ(disk_.AfterPowerCut(SimDisk::LoseAll)->Contents("/d/f"),
            disk_.Contents("/d/f"));
}

TEST_F(SimDiskTest, LookingFailsOnce) {
  char c;
  disk_.FailLook(disk_.looks() + 1);
  EXPECT_TRUE(absl::IsDataLoss(file_->ReadAt(0, &c, 1).status()));
  EXPECT_TRUE(file_->ReadAt(0, &c, 1).ok());
  disk_.FailLook(disk_.looks() + 1);
  EXPECT_TRUE(absl::IsDataLoss(file_->Size().status()));
  disk_.FailLook(disk_.looks() + 1);
  EXPECT_TRUE(absl::IsDataLoss(disk_.Open("/d/f").status()));
  disk_.FailLook(disk_.looks() + 1);
  EXPECT_FALSE(disk_.fault_happened());
  EXPECT_TRUE(absl::IsDataLoss(disk_.List("/d").status()));
  EXPECT_TRUE(disk_.fault_happened());
  EXPECT_TRUE(disk_.List("/d").ok());
}

TEST_F(SimDiskTest, WithoutPowerNothingHappens) {
  disk_.CutPowerAfter(disk_.calls() + 1);
  EXPECT_TRUE(WriteFully(*file_, 0, "a").ok());
  EXPECT_TRUE(disk_.has_power());
  EXPECT_FALSE(file_->Sync().ok());
  EXPECT_FALSE(disk_.has_power());
  EXPECT_FALSE(disk_.Open("/d/f").ok());
  EXPECT_FALSE(disk_.Create("/d/g").ok());
  char c;
  EXPECT_FALSE(file_->ReadAt(0, &c, 1).ok());
  EXPECT_EQ(disk_.AfterPowerCut(SimDisk::KeepAll)->Contents("/d/f")[0], 'a');
}

}  // namespace
}  // namespace millrace::raft
