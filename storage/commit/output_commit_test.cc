#include "storage/commit/output_commit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "common/errno_status.h"
#include "common/hash.h"
#include "common/strings.h"
#include "storage/output/part_writer.h"
#include "storage/testing/commit_stage.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::storage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The operations of one undisturbed Publish.
uint64_t CountOperations(int readers) {
  Stage stage;
  FaultyFileSystem counting(stage.fs);
  EXPECT_TRUE(Publish(counting, stage.decision, readers).ok());
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
  return counting.operations();
}

TEST(PublishTest, MakesTheWholeOutputVisible) {
  Stage stage;
  ASSERT_TRUE(Publish(stage.fs, stage.decision, /*readers=*/0).ok());
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
  EXPECT_TRUE(stage.fs.IsReadOnly("/w/out/_MANIFEST"));
  EXPECT_TRUE(stage.fs.IsReadOnly("/w/out/part-00000"));
  const auto report = VerifyOutput(stage.fs, kOutput);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->problems, IsEmpty());
  ASSERT_TRUE(RemoveStaging(stage.fs, kOutput, TestJob()).ok());
  ASSERT_TRUE(RemoveStaging(stage.fs, kOutput, TestJob()).ok());
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
  EXPECT_EQ(stage.fs.List("/w")->size(), 1u);
}

TEST(PublishTest, IsIdempotent) {
  for (const int readers : {0, 1, 3}) {
    Stage stage;
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(Publish(stage.fs, stage.decision, readers).ok());
      EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
    }
    ASSERT_TRUE(RemoveStaging(stage.fs, kOutput, TestJob()).ok());
    EXPECT_TRUE(Publish(stage.fs, stage.decision, readers).ok());
  }
}

TEST(PublishTest, JobWithoutParts) {
  Stage stage(0);
  ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
}

TEST(PublishTest, RelativeOutputAndTrailingSeparators) {
  Stage stage;
  stage.decision.output = "w/out//";
  ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
}

// The process ends after each operation in turn; whoever comes next begins
// from the start.
TEST(PublishTest, CrashAfterEveryOperation) {
  for (const int readers : {0, 1, 3}) {
    const uint64_t operations = CountOperations(readers);
    ASSERT_GT(operations, 20u);
    for (uint64_t k = 0; k <= operations; ++k) {
      SCOPED_TRACE(Cat("crash before operation ", k, " of ", operations));
      Stage stage;
      FaultyFileSystem faulty(stage.fs);
      bool ever_broken = false;
      faulty.SetFault([&, n = uint64_t{0}](FileOp, const std::string&) mutable {
        ever_broken |= stage.OutputState() == Stage::State::kBroken;
        return n++ >= k ? absl::UnavailableError("crash") : absl::OkStatus();
      });
      const absl::Status status = Publish(faulty, stage.decision, readers);
      EXPECT_EQ(status.ok(), k == operations);
      EXPECT_FALSE(ever_broken);
      EXPECT_NE(stage.OutputState(), Stage::State::kBroken);
      ASSERT_TRUE(Publish(stage.fs, stage.decision, readers).ok());
      EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
      EXPECT_TRUE(Publish(stage.fs, stage.decision, readers).ok());
    }
  }
}

// Power fails after each operation: only what was synced is left.
TEST(PublishTest, PowerCutAfterEveryOperation) {
  const uint64_t operations = CountOperations(false);
  int absent = 0;
  int complete = 0;
  for (uint64_t k = 0; k <= operations; ++k) {
    SCOPED_TRACE(Cat("power cut before operation ", k, " of ", operations));
    Stage stage;
    FaultyFileSystem faulty(stage.fs);
    faulty.FailFrom(k, absl::UnavailableError("power cut"));
    const bool reported = Publish(faulty, stage.decision, 0).ok();
    stage.fs.PowerCut();
    const Stage::State state = stage.OutputState();
    EXPECT_NE(state, Stage::State::kBroken);
    // What was reported stays.
    if (reported) {
      EXPECT_EQ(state, Stage::State::kComplete);
    }
    absent += state == Stage::State::kAbsent;
    complete += state == Stage::State::kComplete;
    ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
    stage.fs.PowerCut();
    EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
  }
  EXPECT_GT(absent, 0);
  EXPECT_GT(complete, 0);
}

// One call fails, the process lives on: the error is reported as one that may
// be retried, whatever the disk called it, and a retry succeeds.
TEST(PublishTest, AnyCallMayFailOnce) {
  for (const int readers : {0, 1, 3}) {
    const uint64_t operations = CountOperations(readers);
    for (const absl::Status& error :
         {absl::DataLossError("Input/output error"),
          absl::ResourceExhaustedError("No space left on device"),
          absl::PermissionDeniedError("Permission denied"),
          absl::UnknownError("Stale file handle")}) {
      for (uint64_t k = 0; k < operations; ++k) {
        SCOPED_TRACE(Cat("operation ", k, " fails: ", ToStd(error.message())));
        Stage stage;
        FaultyFileSystem faulty(stage.fs);
        faulty.FailOnce(k, error);
        const absl::Status status = Publish(faulty, stage.decision, readers);
        EXPECT_FALSE(absl::IsDataLoss(status)) << status;
        EXPECT_FALSE(absl::IsAlreadyExists(status)) << status;
        EXPECT_NE(stage.OutputState(), Stage::State::kBroken);
        ASSERT_TRUE(Publish(faulty, stage.decision, readers).ok());
        EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
      }
    }
  }
}

// The rename is done, and its directory cannot be synced: it may be tried
// again, and whoever is told of it hears where the output is.
TEST(PublishTest, AnOutputThatIsNotSyncedIsInItsPlaceAndTheMessageSaysSo) {
  Stage stage;
  FaultyFileSystem faulty(stage.fs);
  const auto unsynced = [&](FileOp op, const std::string& path) {
    return op == FileOp::kSyncDirectory && path == "/w" &&
                   stage.OutputState() == Stage::State::kComplete
               ? ErrnoStatus(EIO, "sync directory", path)
               : absl::OkStatus();
  };
  faulty.SetFault(unsynced);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = Publish(faulty, stage.decision, 0);
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    for (const char* part : {kOutput, "is complete and in its place",
                             "power cut", "Input/output error"}) {
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(part));
    }
    EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
  }
  EXPECT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
  stage.fs.PowerCut();
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
}

// The change is made and its reply lost, as happens on network file systems.
TEST(PublishTest, RepliesMayBeLost) {
  Stage first;
  const std::string staging = StagingPath(kOutput, TestJob());
  const std::string final_path = JoinPath(staging, "final");
  for (const std::string& lost :
       {final_path, first.decision.winners[1].staged_path,
        JoinPath(staging, "manifest.0")}) {
    SCOPED_TRACE(lost);
    Stage stage;
    FaultyFileSystem faulty(stage.fs);
    faulty.SetFault([&](FileOp op, const std::string& path) {
      if (op != FileOp::kRename || path != lost) return absl::OkStatus();
      std::string to = kOutput;
      if (path != final_path) {
        to = JoinPath(final_path, path.find("manifest.") != std::string::npos
                                      ? kManifestName
                                      : BaseName(path));
      }
      EXPECT_TRUE(stage.fs.Rename(path, to).ok());
      return absl::UnavailableError("no reply");
    });
    absl::Status status = Publish(faulty, stage.decision, 0);
    // The last rename resolves itself; the others at the next run.
    EXPECT_EQ(status.ok(), lost == final_path) << status;
    EXPECT_NE(stage.OutputState(), Stage::State::kBroken);
    ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
    EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
  }
}

// Another committer with the same decision does its first `m` operations, or
// all, in the middle of this one.
TEST(PublishTest, CommittersMayOverlap) {
  const uint64_t operations = CountOperations(false);
  for (uint64_t k = 0; k < operations; ++k) {
    for (uint64_t m = 1; m <= operations; ++m) {
      SCOPED_TRACE(Cat("at operation ", k, " the other does ", m));
      Stage stage;
      FaultyFileSystem faulty(stage.fs);
      bool ever_broken = false;
      faulty.SetFault([&, n = uint64_t{0}](FileOp, const std::string&) mutable {
        ever_broken |= stage.OutputState() == Stage::State::kBroken;
        if (n++ != k) return absl::OkStatus();
        FaultyFileSystem other(stage.fs);
        other.FailFrom(m, absl::UnavailableError("crash"));
        const absl::Status status = Publish(other, stage.decision, 0);
        EXPECT_TRUE(status.ok() || absl::IsUnavailable(status)) << status;
        return absl::OkStatus();
      });
      const absl::Status status = Publish(faulty, stage.decision, 0);
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_FALSE(ever_broken);
      ASSERT_EQ(stage.OutputState(), Stage::State::kComplete);
    }
  }
}

// After the clean-up nothing is made anew, also if the user has moved the
// output away meanwhile.
TEST(PublishTest, ZombieCreatesNothing) {
  for (int parts : {0, 3}) {
    Stage stage(parts);
    ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
    ASSERT_TRUE(RemoveStaging(stage.fs, kOutput, TestJob()).ok());
    ASSERT_TRUE(stage.fs.RemoveTree(kOutput).ok());
    const absl::Status status = Publish(stage.fs, stage.decision, 0);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(*stage.fs.List("/w"), IsEmpty());
  }
}

// Somebody else makes the path before each operation in turn.
TEST(PublishTest, ForeignOutputIsNeverTouched) {
  const uint64_t operations = CountOperations(false);
  int conflicts = 0;
  // A file, a directory, and an empty directory, which rename(2) would replace.
  for (const std::string& theirs :
       std::vector<std::string>{"/w/out", "/w/out/_MANIFEST", ""}) {
    for (uint64_t k = 0; k < operations; ++k) {
      SCOPED_TRACE(Cat("before operation ", k, " ", theirs));
      Stage stage;
      FaultyFileSystem faulty(stage.fs);
      bool made = false;
      faulty.SetFault([&, n = uint64_t{0}](FileOp, const std::string&) mutable {
        if (n++ == k && !stage.fs.Exists(kOutput)) {
          made = true;
          if (theirs.empty()) {
            EXPECT_TRUE(stage.fs.MakeDirectory(kOutput).ok());
          } else {
            stage.fs.SetContents(theirs, "theirs");
          }
        }
        return absl::OkStatus();
      });
      const absl::Status status = Publish(faulty, stage.decision, 0);
      EXPECT_EQ(status.ok(), !made);
      if (!made) {
        EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
        continue;
      }
      ++conflicts;
      EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr("OUTPUT_CONFLICT"), HasSubstr(kOutput)));
      if (theirs.empty()) {
        EXPECT_THAT(*stage.fs.List(kOutput), IsEmpty());
      } else {
        EXPECT_THAT(stage.fs.AllFiles(kOutput), ElementsAre(theirs));
        EXPECT_EQ(stage.fs.Contents(theirs), "theirs");
      }
      // The parts are kept; once the way is free they can be published.
      ASSERT_TRUE(stage.fs.RemoveTree(kOutput).ok());
      ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
      EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
    }
  }
  EXPECT_GT(conflicts, 30);
}

TEST(PublishTest, OutputOfAnotherJobIsAConflict) {
  Stage stage;
  ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
  Decision other = stage.decision;
  other.manifest_json += " ";
  EXPECT_EQ(Publish(stage.fs, other, 0).code(),
            absl::StatusCode::kAlreadyExists);
}

TEST(PublishTest, LostOrChangedWinnersEndTheJob) {
  const std::vector<std::pair<
      const char*, std::function<void(MemoryFileSystem&, const std::string&)>>>
      damages = {
          {"is gone",
           [](MemoryFileSystem& fs, const std::string& path) {
             EXPECT_TRUE(fs.RemoveFile(path).ok());
           }},
          {"bytes",
           [](MemoryFileSystem& fs, const std::string& path) {
             fs.SetContents(path, "short");
           }},
          {"inode",
           [](MemoryFileSystem& fs, const std::string& path) {
             const std::string contents = fs.Contents(path);
             EXPECT_TRUE(fs.RemoveFile(path).ok());
             fs.SetContents(path, contents);
           }},
          {"no regular file",
           [](MemoryFileSystem& fs, const std::string& path) {
             EXPECT_TRUE(fs.RemoveFile(path).ok());
             EXPECT_TRUE(fs.MakeDirectory(path).ok());
           }},
      };
  for (const auto& [message, damage] : damages) {
    SCOPED_TRACE(message);
    Stage stage;
    damage(stage.fs, stage.decision.winners[1].staged_path);
    const absl::Status status = Publish(stage.fs, stage.decision, 0);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("COMMIT_DATA_LOST"), HasSubstr("part-00001"),
                      HasSubstr(message)));
    EXPECT_EQ(stage.OutputState(), Stage::State::kAbsent);
    // Nothing was moved before all were looked at.
    EXPECT_TRUE(stage.fs.Exists(stage.decision.winners[0].staged_path));
  }
}

TEST(PublishTest, ParanoidReadsTheBytesAgain) {
  Stage stage;
  const std::string path = stage.decision.winners[2].staged_path;
  std::string contents = stage.fs.Contents(path);
  contents[3] ^= 1;
  stage.fs.SetContents(path, contents);
  const absl::Status status = Publish(stage.fs, stage.decision, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("other bytes"));
  EXPECT_EQ(stage.OutputState(), Stage::State::kAbsent);
}

TEST(PublishTest, StoreThatIsAwayIsNoLoss) {
  Stage stage;
  ASSERT_TRUE(stage.fs.Rename("/w", "/unmounted").ok());
  EXPECT_EQ(Publish(stage.fs, stage.decision, 0).code(),
            absl::StatusCode::kUnavailable);
  ASSERT_TRUE(stage.fs.Rename("/unmounted", "/w").ok());
  EXPECT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
}

TEST(PublishTest, FileInPlaceOfFinalIsNoLoss) {
  Stage stage;
  const std::string final = JoinPath(StagingPath(kOutput, TestJob()), "final");
  stage.fs.SetContents(final, "in the way");
  const absl::Status status = Publish(stage.fs, stage.decision, 0);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(ToStd(status.message())),
              AllOf(HasSubstr(final), HasSubstr("no directory")));
  ASSERT_TRUE(stage.fs.RemoveFile(final).ok());
  ASSERT_TRUE(Publish(stage.fs, stage.decision, 0).ok());
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
}

TEST(PublishTest, StrayFileInFinalIsNotPublished) {
  Stage stage;
  stage.fs.SetContents(
      JoinPath(StagingPath(kOutput, TestJob()), "final/part-00009"), "stray");
  const absl::Status status = Publish(stage.fs, stage.decision, 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(stage.OutputState(), Stage::State::kAbsent);
}

TEST(PublishTest, NamesThatLeaveTheDirectoryAreRefused) {
  for (const char* name :
       {"", ".", "..", "a/b", "../x", "_MANIFEST", "part-00000"}) {
    Stage stage;
    stage.decision.winners[1].final_name = name;
    EXPECT_EQ(Publish(stage.fs, stage.decision, 0).code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

// ------------------------------------------------------------- a real disk

class PosixCommitTest : public ::testing::Test {
 protected:
  PosixCommitTest() {
    std::string name = JoinPath(::testing::TempDir(), "commit_XXXXXX");
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  ~PosixCommitTest() override { std::filesystem::remove_all(dir_); }

  FileSystem& fs_ = FileSystem::Posix();
  std::string dir_;
};

TEST_F(PosixCommitTest, FromStagingToOutput) {
  const std::string output = dir_ + "/my out\n";
  ASSERT_TRUE(PrepareStaging(fs_, output, TestJob(), Planner()).ok());
  Decision decision;
  decision.output = output;
  decision.job = TestJob();
  Manifest manifest;
  for (uint32_t i = 0; i < 3; ++i) {
    const std::string attempt =
        StagingPath(output, TestJob()) + "/att/" + Cat(i);
    ASSERT_TRUE(fs_.MakeDirectory(attempt).ok());
    auto writer = PartWriter::Create(fs_, attempt + "/" + PartName(i));
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Append(Cat("part ", i)).ok());
    const PartSummary part = *(*writer)->Finish();
    decision.winners.push_back({attempt + "/" + PartName(i), PartName(i),
                                part.bytes, part.inode, part.xxh3});
    manifest.files.push_back({PartName(i), part.bytes, 1, part.xxh3, ""});
  }
  decision.manifest_json = SerializeManifest(manifest);
  const absl::Status status = Publish(fs_, decision, 1);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(Publish(fs_, decision, 1).ok());
  ASSERT_TRUE(RemoveStaging(fs_, output, TestJob()).ok());
  ASSERT_TRUE(Publish(fs_, decision, 1).ok());
  const auto report = VerifyOutput(fs_, output);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_EQ(report->files, 3u);
  EXPECT_EQ(fs_.List(dir_)->size(), 1u);
}

TEST_F(PosixCommitTest, DanglingLinkAtTheOutputExists) {
  ASSERT_EQ(symlink("nowhere", (dir_ + "/out").c_str()), 0);
  for (const char* slash : {"", "/"}) {
    EXPECT_EQ(
        PrepareStaging(fs_, dir_ + "/out" + slash, TestJob(), Planner()).code(),
        absl::StatusCode::kAlreadyExists);
  }
  Decision decision;
  decision.output = dir_ + "/out";
  decision.job = TestJob();
  EXPECT_EQ(Publish(fs_, decision, 0).code(), absl::StatusCode::kAlreadyExists);
}

TEST(PublishTest, ReadersReadEveryWinner) {
  Stage stage(20);
  stage.decision.winners[19].xxh3 ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(Publish(stage.fs, stage.decision, 4)));
  EXPECT_EQ(stage.OutputState(), Stage::State::kAbsent);
  stage.decision.winners[19].xxh3 ^= 1;
  EXPECT_TRUE(Publish(stage.fs, stage.decision, 4).ok());
  EXPECT_EQ(stage.OutputState(), Stage::State::kComplete);
}

}  // namespace
}  // namespace millrace::storage
