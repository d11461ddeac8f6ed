// Log and snapshots on a file system that is really full: ext4 on a loop
// device, and tmpfs. The outer test mounts one in a namespace of its own and
// runs the inner test there, as a process of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/random.h"
#include "common/strings.h"
#include "raft/log/member_store.h"
#include "raft/log/testing/log_model.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

constexpr char kDirectoryVariable[] = "MILLRACE_FULL_DISK";
constexpr uint64_t kStep = 128 << 10;

class FullDiskInnerTest : public testing::Test {
 protected:
  // False: this is not the process that the outer test runs.
  bool Begin() {
    const char* mounted = std::getenv(kDirectoryVariable);
    if (mounted == nullptr) return false;
    options_.log.directory = Cat(mounted, "/data");
    options_.log.segment_bytes = 1 << 20;
    options_.log.on_fatal = [](const absl::Status& error) {
      ADD_FAILURE() << error;
    };
    filler_ = Cat(mounted, "/filler");
    Reopen();
    return true;
  }

  void Reopen() {
    store_ = MemberStore();
    const auto random = Random::Seeded(1);
    auto store = OpenMemberStore(options_, disk_, *random);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

  // An entry of 100 KiB, committed and synced.
  absl::Status Append() {
    const uint64_t index = store_.log->last_index() + 1;
    const auto entries = MakeEntries(index, 1, 1, 100 << 10);
    LogAppend append;
    append.entries = entries;
    append.hard_state = HardState{1, 0, index};
    absl::Status status = store_.log->Append(append);
    return status.ok() ? store_.log->Sync() : status;
  }

  // Of 2.5 MB.
  absl::Status TakeSnapshot() {
    auto writer =
        store_.snapshots->Create(store_.log->last_index(), 1, "members");
    if (!writer.ok()) return writer.status();
    const std::string piece(100'000, 's');
    for (int i = 0; i < 25; ++i) {
      if (absl::Status s = (*writer)->Append(piece); !s.ok()) return s;
    }
    return (*writer)->Finish();
  }

  // Takes what space there is, down to the last block.
  void Fill() {
    auto file = disk_.Open(filler_);
    if (!file.ok()) file = disk_.Create(filler_);
    ASSERT_TRUE(file.ok()) << file.status();
    uint64_t size = *(*file)->Size();
    for (size_t bytes = kStep; bytes > 0; bytes /= 2) {
      const std::string zeros(bytes, 'f');
      while (WriteFully(**file, size, zeros).ok()) size += bytes;
    }
    // Delayed allocation must not give anything back.
    EXPECT_TRUE((*file)->Sync().ok());
  }

  void Free(uint64_t bytes) {
    const uint64_t size = std::filesystem::file_size(filler_);
    std::filesystem::resize_file(filler_, size > bytes ? size - bytes : 0);
  }

  void ExpectNoLitter() {
    size_t snapshots = 0;
    const auto names = disk_.List(options_.log.directory + "/snap");
    ASSERT_TRUE(names.ok()) << names.status();
    for (const std::string& name : *names) {
      EXPECT_TRUE(absl::EndsWith(name, ".snap")) << name;
      ++snapshots;
    }
    EXPECT_LE(snapshots, 2u);
  }

  // All entries are there, and the newest snapshot is whole.
  void ExpectWhole(uint64_t last, uint64_t snapshot) {
    EXPECT_EQ(store_.log->last_index(), last);
    EXPECT_EQ(store_.snapshots->newest().index, snapshot);
    const auto reader = store_.snapshots->OpenNewest();
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_TRUE((*reader)->VerifyRest().ok());
    EXPECT_EQ((*reader)->meta().bytes, 2'500'000u);
    const auto log = ReadModel(*store_.log);
    ASSERT_TRUE(log.ok()) << log.status();
    EXPECT_EQ(log->entries.back(), MakeEntries(last, 1, 1, 100 << 10)[0]);
  }

  Disk& disk_ = Disk::Posix();
  MemberStoreOptions options_;
  std::string filler_;
  MemberStore store_;
};

TEST_F(FullDiskInnerTest, CostsSnapshotsAndNothingElse) {
  if (!Begin()) GTEST_SKIP() << "run by FullDiskTest";
  if (HasFatalFailure()) return;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Append().ok());
  ASSERT_TRUE(TakeSnapshot().ok());
  uint64_t last = 3, snapshot = 3;
  // A little more space each time, until a snapshot fits.
  Fill();
  int failed = 0;
  for (uint64_t freed = 0;; freed += kStep) {
    ASSERT_LT(freed, uint64_t{16} << 20);
    SCOPED_TRACE(Cat(freed, " bytes freed"));
    // What was freed and not used so far is still free.
    if (freed > 0) Free(kStep);
    if (store_.log->last_index() < 8) {
      const absl::Status appended = Append();
      EXPECT_TRUE(appended.ok()) << appended;
      ++last;
    }
    const absl::Status taken = TakeSnapshot();
    ExpectNoLitter();
    if (taken.ok()) {
      snapshot = last;
      break;
    }
    ++failed;
    EXPECT_TRUE(absl::IsResourceExhausted(taken)) << taken;
    ExpectWhole(last, snapshot);
    if (HasFailure()) return;
  }
  EXPECT_GT(failed, 10);
  ExpectWhole(last, snapshot);

  // The log says so when it needs another segment, and waits.
  Fill();
  absl::Status status;
  while ((status = Append()).ok()) {
    ++last;
    ASSERT_LT(last, 100u);
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::IsResourceExhausted(Append()));
  EXPECT_TRUE(store_.log->NearlyFull());
  ExpectWhole(last, snapshot);
  // So it starts, full as it is.
  Reopen();
  if (HasFatalFailure()) return;
  ExpectWhole(last, snapshot);
  EXPECT_TRUE(absl::IsResourceExhausted(Append()));
  ASSERT_TRUE(disk_.Remove(filler_).ok());
  ASSERT_TRUE(Append().ok());
  ++last;
  ASSERT_TRUE(TakeSnapshot().ok());
  CompactionOptions compaction;
  compaction.tail_entries = 0;
  compaction.reach_older_snapshot = false;
  ASSERT_TRUE(CompactLog(compaction, *store_.snapshots, *store_.log).ok());
  Reopen();
  if (HasFatalFailure()) return;
  ExpectWhole(last, last);
}

class FullDiskTest : public testing::Test {
 protected:
  // `mount` mounts what it wants at $1; $2 is a file that it may use.
  void RunOn(std::string_view mount) {
    const std::string script =
        Cat("mkdir \"$1\" && ", mount, " && touch \"$2.mounted\" || exit 99; ",
            kDirectoryVariable,
            "=\"$1\" \"$0\" "
            "--gtest_filter=FullDiskInnerTest.*; code=$?; umount \"$1\"; "
            "exit $code");
    ProgramOptions options;
    options.argv = {"/usr/bin/unshare", "--mount"};
    if (geteuid() != 0) options.argv.push_back("--map-root-user");
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    options.argv.insert(
        options.argv.end(),
        {"/bin/sh", "-c", script, self, temp_ / "mounted", temp_ / "image"});
    const ProgramResult result = RunProgram(options);
    if (!std::filesystem::exists(temp_ / "image.mounted")) {
      GTEST_SKIP() << "cannot mount a file system here: " << result.err;
    }
    EXPECT_EQ(result.exit_code, 0) << result;
    EXPECT_THAT(result.out, testing::HasSubstr("[  PASSED  ] 1 test."));
  }

  TempDir temp_;
};

TEST_F(FullDiskTest, Ext4) {
  RunOn(
      "truncate -s 24M \"$2\" && PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F "
      "-m 0 -O ^has_journal \"$2\" && mount -o loop \"$2\" \"$1\"");
}

TEST_F(FullDiskTest, Ext4WithAJournal) {
  RunOn(
      "truncate -s 40M \"$2\" && PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q -F "
      "-m 0 \"$2\" && mount -o loop \"$2\" \"$1\"");
}

TEST_F(FullDiskTest, Tmpfs) {
  RunOn("mount -t tmpfs -o size=16m millrace-test \"$1\"");
}

}  // namespace
}  // namespace millrace::raft
