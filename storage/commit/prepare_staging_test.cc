#include "storage/commit/output_commit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/random.h"
#include "common/strings.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

JobId TestJob() { return JobId::Generate(*Random::Seeded(7)); }
AttemptUid Planner() { return AttemptUid::Generate(*Random::Seeded(8)); }
AttemptUid Successor() { return AttemptUid::Generate(*Random::Seeded(9)); }

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() { EXPECT_TRUE(fs_.MakeDirectory("/w").ok()); }

  absl::Status Prepare(const std::string& output) {
    return PrepareStaging(fs_, output, TestJob(), Planner());
  }
  void ExpectNothingLeft() { EXPECT_THAT(*fs_.List("/w"), IsEmpty()); }
  // The directory for others' sake, with no probe in it; it goes when told.
  void ExpectOnlyStagingLeft() {
    const std::string staging = StagingPath("/w/out", TestJob());
    const auto left = fs_.List("/w");
    for (const DirEntry& entry : *left) {
      EXPECT_EQ(JoinPath("/w", entry.name), staging);
      const auto below = fs_.List(staging);
      for (const DirEntry& one : *below) EXPECT_EQ(one.name, "att");
    }
    EXPECT_TRUE(RemoveStaging(fs_, "/w/out", TestJob()).ok());
    ExpectNothingLeft();
  }

  MemoryFileSystem fs_;
};

TEST_F(PrepareTest, MakesTheStagingDirectoryAndNothingElse) {
  const std::string staging = "/w/out.millrace-" + TestJob().ToHex();
  EXPECT_EQ(StagingPath("/w/out", TestJob()), staging);
  EXPECT_EQ(StagingPath("/w/out///", TestJob()), staging);
  EXPECT_TRUE(IsStagingName(BaseName(staging)));
  for (const char* output : {"/w/out", "/w/out//", "w/out", "./w//out"}) {
    ASSERT_TRUE(Prepare(output).ok()) << output;
    ASSERT_EQ(fs_.List("/w")->size(), 1u);
    const auto entries = fs_.List(staging);
    ASSERT_TRUE(entries.ok());
    ASSERT_EQ(entries->size(), 1u);
    EXPECT_EQ((*entries)[0].name, "att");
    // Again for the same job: its reply was lost.
    fs_.SetContents(staging + "/att/uid/part-00000", "x");
    EXPECT_TRUE(Prepare(output).ok());
    EXPECT_TRUE(fs_.Exists(staging + "/att/uid/part-00000"));
    ASSERT_TRUE(RemoveStaging(fs_, output, TestJob()).ok());
    ExpectNothingLeft();
  }
}

TEST_F(PrepareTest, SurvivesAPowerCut) {
  ASSERT_TRUE(fs_.SyncDirectory("/").ok());
  ASSERT_TRUE(Prepare("/w/out").ok());
  fs_.PowerCut();
  EXPECT_TRUE(fs_.Exists(StagingPath("/w/out", TestJob()) + "/att"));
}

TEST_F(PrepareTest, RefusesAnOutputThatExists) {
  fs_.SetContents("/w/file", "");
  ASSERT_TRUE(fs_.MakeDirectory("/w/dir").ok());
  for (const char* output :
       {"/w/file", "/w/file/", "/w/dir", "/w/dir//", "/", "/w", "."}) {
    const absl::Status status = Prepare(output);
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << output;
    EXPECT_THAT(std::string(status.message()), HasSubstr("never overwritten"));
  }
  EXPECT_EQ(fs_.List("/w")->size(), 2u);
}

TEST_F(PrepareTest, RefusesAnOutputWithoutParent) {
  fs_.SetContents("/w/file", "");
  for (const char* output : {"/none/out", "/none/none/out", "/w/file/out"}) {
    const absl::Status status = Prepare(output);
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << output;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(output), HasSubstr("parent")));
  }
  EXPECT_EQ(Prepare("").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Prepare(std::string("/w/a\0b", 6)).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(PrepareTest, RefusesAParentThatCannotBeWritten) {
  ASSERT_TRUE(fs_.MakeReadOnly("/w").ok());
  const absl::Status status = Prepare("/w/out");
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("/w/out cannot be written"));
  ExpectNothingLeft();
}

TEST_F(PrepareTest, RefusesAFullDisk) {
  fs_.SetCapacity(100);
  EXPECT_EQ(Prepare("/w/out").code(), absl::StatusCode::kResourceExhausted);
  ExpectOnlyStagingLeft();
}

TEST_F(PrepareTest, RefusesAFileSystemWhoseRenameReplaces) {
  FaultyFileSystem faulty(fs_);
  faulty.SetFault([](FileOp op, const std::string&) {
    return op == FileOp::kRename ? absl::UnimplementedError("no flag")
                                 : absl::OkStatus();
  });
  absl::Status status = PrepareStaging(faulty, "/w/out", TestJob(), Planner());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another file system"));
  ExpectOnlyStagingLeft();
  // One that takes the flag and ignores it: at the second rename nothing is in
  // the way any more.
  int renames = 0;
  faulty.SetFault([&](FileOp op, const std::string& path) {
    if (op == FileOp::kRename && ++renames == 2) {
      EXPECT_TRUE(fs_.RemoveTree(JoinPath(ParentPath(path), "to")).ok());
    }
    return absl::OkStatus();
  });
  status = PrepareStaging(faulty, "/w/out", TestJob(), Planner());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(renames, 2);
  ExpectOnlyStagingLeft();
}

TEST_F(PrepareTest, AnyFailureLeavesNoProbe) {
  FaultyFileSystem counting(fs_);
  ASSERT_TRUE(PrepareStaging(counting, "/w/out", TestJob(), Planner()).ok());
  ASSERT_TRUE(RemoveStaging(fs_, "/w/out", TestJob()).ok());
  for (uint64_t k = 0; k < counting.operations(); ++k) {
    FaultyFileSystem faulty(fs_);
    faulty.FailOnce(k, absl::UnknownError("Stale file handle"));
    EXPECT_FALSE(PrepareStaging(faulty, "/w/out", TestJob(), Planner()).ok())
        << k;
    ExpectOnlyStagingLeft();
  }
}

// A planner that was given up stands still before any of its operations; its
// successor prepares and work begins; then it wakes up, and fails or not.
TEST_F(PrepareTest, AZombieHarmsNothingOfItsSuccessor) {
  FaultyFileSystem counting(fs_);
  ASSERT_TRUE(PrepareStaging(counting, "/w/out", TestJob(), Planner()).ok());
  ASSERT_TRUE(RemoveStaging(fs_, "/w/out", TestJob()).ok());
  const std::string part =
      StagingPath("/w/out", TestJob()) + "/att/uid/part-00000";
  for (const bool fails : {false, true}) {
    for (uint64_t k = 0; k < counting.operations(); ++k) {
      FaultyFileSystem zombie(fs_);
      uint64_t operations = 0;
      zombie.SetFault([&](FileOp, const std::string&) {
        if (operations++ != k) return absl::OkStatus();
        EXPECT_TRUE(PrepareStaging(fs_, "/w/out", TestJob(), Successor()).ok());
        fs_.SetContents(part, "work");
        return fails ? absl::DataLossError("input/output error")
                     : absl::OkStatus();
      });
      EXPECT_EQ(PrepareStaging(zombie, "/w/out", TestJob(), Planner()).ok(),
                !fails)
          << k;
      EXPECT_EQ(fs_.Contents(part), "work") << k << (fails ? " fails" : "");
      ExpectOnlyStagingLeft();
    }
  }
}

// What goes wrong below S is never the verdict that the output cannot be.
TEST_F(PrepareTest, AStagingDirectoryThatIsTakenAwayMayBeTriedAgain) {
  FaultyFileSystem faulty(fs_);
  faulty.SetFault([&](FileOp op, const std::string& path) {
    if (op == FileOp::kRename) {
      EXPECT_TRUE(fs_.RemoveTree(ParentPath(ParentPath(path))).ok());
    }
    return absl::OkStatus();
  });
  EXPECT_EQ(PrepareStaging(faulty, "/w/out", TestJob(), Planner()).code(),
            absl::StatusCode::kUnavailable);
  ExpectNothingLeft();
}

TEST(StagingNameTest, OnlyTheFullForm) {
  const std::string hex(32, 'f');
  EXPECT_TRUE(IsStagingName("out.millrace-" + hex));
  EXPECT_FALSE(IsStagingName(".millrace-" + hex));  // Of no output.
  EXPECT_FALSE(IsStagingName("out.millrace-" + hex + "0"));
  EXPECT_FALSE(IsStagingName("out.millrace-" + hex.substr(1)));
  EXPECT_FALSE(IsStagingName("out.millrace-" + hex.substr(1) + "g"));
  EXPECT_FALSE(IsStagingName("out.millrace_" + hex));
  EXPECT_FALSE(IsStagingName(""));
}

TEST(PosixPrepareTest, ParentsThatDoNotDo) {
  FileSystem& fs = FileSystem::Posix();
  std::string dir = JoinPath(::testing::TempDir(), "prepare_XXXXXX");
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  EXPECT_EQ(PrepareStaging(fs, dir + "/no/out", TestJob(), Planner()).code(),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteWholeFile(fs, dir + "/file", "").ok());
  EXPECT_EQ(PrepareStaging(fs, dir + "/file/out", TestJob(), Planner()).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(PrepareStaging(fs, dir + "/" + std::string(250, 'x'), TestJob(),
                           Planner())
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(fs.List(dir)->size(), 1u);
  // Nobody makes directories there, not even root.
  if (fs.Stat("/sys/kernel").ok()) {
    EXPECT_EQ(
        PrepareStaging(fs, "/sys/kernel/out", TestJob(), Planner()).code(),
        absl::StatusCode::kPermissionDenied);
  }
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace millrace::storage
