#include "worker/commit/commit_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/errno_status.h"
#include "common/hash.h"
#include "storage/commit/manifest.h"
#include "storage/commit/output_commit.h"
#include "storage/output/part_writer.h"
#include "tests/testing/faulty_file_system.h"
#include "tests/testing/temp_dir.h"
#include "worker/agent/job_setup.h"
#include "worker/testing/fake_blob_client.h"

namespace millrace::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const JobId kJob = *JobId::FromHex(std::string(32, 'a'));

AttemptUid Uid(int n) {
  return *AttemptUid::FromHex(std::string(32, static_cast<char>('0' + n)));
}

class CommitTaskTest : public testing::Test {
 protected:
  CommitTaskTest() {
    EXPECT_TRUE(fs_.MakeDirectory(layout_.root).ok());
    EXPECT_TRUE(fs_.MakeDirectory(layout_.Spool()).ok());
    EXPECT_TRUE(fs_.MakeDirectory(layout_.Blobs()).ok());
    spec_.set_name("my job");
    spec_.set_output(output_);
    spec_.mutable_description()->set_output_format("text");
  }

  std::optional<proto::AttemptFailure> Prepare(bool staging, bool output,
                                               int uid) {
    const PrepareAttempt prepare{.attempt = Uid(uid),
                                 .job = kJob,
                                 .output = output_,
                                 .makes_staging = staging,
                                 .writes_output = output,
                                 .needs_scratch = true};
    const AttemptPrepared answer = PrepareDirectories(fs_, layout_, prepare);
    EXPECT_EQ(answer.attempt, Uid(uid));
    EXPECT_EQ(answer.job, kJob);
    return answer.failure;
  }

  // A reduce of partition `index`, done; adds it to the winners.
  void Win(uint32_t index, const std::string& contents) {
    const int uid = static_cast<int>(index) + 1;
    ASSERT_FALSE(Prepare(false, true, uid).has_value());
    const std::string path = OutputPath(output_, kJob, Uid(uid), index);
    auto writer = storage::PartWriter::Create(fs_, path);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Append(contents).ok());
    const storage::PartSummary part = *(*writer)->Finish();
    winners_.push_back({Uid(uid), part.bytes, 1, part.xxh3, part.inode});
  }
  // A job of three partitions, ready to be checked.
  void Stage() {
    ASSERT_FALSE(Prepare(true, false, 9).has_value());
    for (uint32_t i = 0; i < 3; ++i) Win(i, Cat("part ", i, "\n"));
    grant_.mutable_plan()->set_num_maps(4);
    grant_.mutable_plan()->set_num_partitions(3);
    grant_.set_created_at_ms(1'000);
    (*grant_.mutable_ledger())["emitted_records"] = 12;
    proto::Counter* counter = grant_.add_counters();
    counter->set_group("g");
    counter->set_name("n");
    counter->set_value(5);
  }
  WinnerFiles Winners() const {
    return std::make_shared<const std::vector<WinnerFile>>(winners_);
  }
  OutputChecked Check() {
    return CheckOutput(fs_, blobs_,
                       RunCheck{Uid(8), kJob, spec_, grant_, Winners()},
                       /*readers=*/2);
  }
  OutputPublished Publish(FileSystem& fs, const std::string& manifest) {
    RunPublish publish{Uid(7), kJob, spec_, {}, Winners()};
    publish.grant.set_manifest_sha256(manifest);
    *publish.grant.mutable_dead_letters() = grant_.dead_letters();
    return PublishOutput(fs, blobs_, publish);
  }

  FileSystem& fs_ = FileSystem::Posix();
  TempDir directory_;
  const WorkerLayout layout_{directory_ / "w"};
  const std::string output_ = directory_ / "out";
  FakeBlobClient masters_;
  BlobCache blobs_{fs_, masters_, layout_, 1 << 20};
  proto::JobSpec spec_;
  proto::CheckGrant grant_;
  std::vector<WinnerFile> winners_;
};

TEST_F(CommitTaskTest, PreparesTheSpoolAndTheStaging) {
  ASSERT_FALSE(Prepare(true, false, 1).has_value());
  EXPECT_TRUE(fs_.Stat(AttemptScratch(layout_.Spool(), kJob, Uid(1))).ok());
  EXPECT_TRUE(fs_.Stat(storage::StagingPath(output_, kJob) + "/att").ok());
  EXPECT_FALSE(Prepare(true, false, 1).has_value()) << "again";
  ASSERT_FALSE(Prepare(false, true, 2).has_value());
  EXPECT_TRUE(fs_.Stat(OutputDirectory(output_, kJob, Uid(2))).ok());
  ASSERT_FALSE(Prepare(false, true, 2).has_value()) << "again";
}

TEST_F(CommitTaskTest, AMapThatDoesNotSpillCostsNoDirectory) {
  const PrepareAttempt prepare{
      .attempt = Uid(1), .job = kJob, .output = output_};
  ASSERT_FALSE(PrepareDirectories(fs_, layout_, prepare).failure.has_value());
  EXPECT_THAT(directory_.Names(Cat("w/spool/", kJob.ToHex())), IsEmpty());
}

TEST_F(CommitTaskTest, AnAttemptThatBeginsAnewFindsNothingOfBefore) {
  ASSERT_FALSE(Prepare(true, false, 1).has_value());
  ASSERT_FALSE(Prepare(false, true, 2).has_value());
  const std::string scratch = AttemptScratch(layout_.Spool(), kJob, Uid(2));
  const std::string output = OutputDirectory(output_, kJob, Uid(2));
  const std::string map_output = MapOutputPath(layout_.Spool(), kJob, Uid(2));
  for (const std::string& path :
       {scratch + "/old", output + "/old", map_output}) {
    ASSERT_TRUE(WriteWholeFile(fs_, path, "x").ok());
  }
  PrepareAttempt prepare{.attempt = Uid(2),
                         .job = kJob,
                         .output = output_,
                         .writes_output = true,
                         .begins_anew = true};
  ASSERT_FALSE(PrepareDirectories(fs_, layout_, prepare).failure.has_value());
  EXPECT_THAT(*fs_.List(output), IsEmpty());
  EXPECT_FALSE(fs_.Stat(map_output).ok());
  EXPECT_FALSE(fs_.Stat(scratch).ok());
  prepare.needs_scratch = true;
  ASSERT_FALSE(PrepareDirectories(fs_, layout_, prepare).failure.has_value());
  EXPECT_THAT(*fs_.List(scratch), IsEmpty());
}

TEST_F(CommitTaskTest, DeadLettersBelongToTheOutput) {
  Stage();
  ASSERT_FALSE(Prepare(false, true, 4).has_value());
  const std::string path = DeadLetterPath(output_, kJob, Uid(4), 17);
  auto writer = storage::PartWriter::Create(fs_, path);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Append("{}\n").ok());
  const storage::PartSummary part = *(*writer)->Finish();
  proto::DeadLetter* letter = grant_.add_dead_letters();
  letter->set_map_index(17);
  letter->set_attempt_uid(std::string(Uid(4).bytes()));
  letter->set_bytes(part.bytes);
  letter->set_records(1);
  letter->set_xxh3(part.xxh3);
  letter->set_inode(part.inode + 1);
  OutputChecked checked = Check();
  ASSERT_TRUE(checked.failure.has_value());
  EXPECT_EQ(checked.failure->cause(), proto::COMMIT_DATA_LOST);
  EXPECT_TRUE(checked.failure->dead_letter());
  EXPECT_EQ(checked.failure->map_index(), 17u);
  EXPECT_EQ(checked.failure->map_uid(), Uid(4).bytes());

  letter->set_inode(part.inode);
  checked = Check();
  ASSERT_FALSE(checked.failure.has_value());
  ASSERT_FALSE(Publish(fs_, checked.manifest_sha256).failure.has_value());
  EXPECT_EQ(*ReadWholeFile(fs_, output_ + "/_dead_letter-00017", 100), "{}\n");
  const storage::Manifest manifest = *storage::ReadManifest(fs_, output_);
  ASSERT_EQ(manifest.dead_letters.size(), 1u);
  EXPECT_EQ(manifest.dead_letters[0].name, "_dead_letter-00017");
  EXPECT_EQ(manifest.dead_letters[0].attempt_uid, Uid(4).ToHex());
  EXPECT_EQ(manifest.files.size(), 3u);
  EXPECT_THAT(storage::VerifyOutput(fs_, output_)->problems, IsEmpty());
  EXPECT_EQ(storage::VerifyOutput(fs_, output_)->files, 4u);
}

TEST_F(CommitTaskTest, AnOutputThatCannotBeIsRefusedForGood) {
  directory_.Write("out/file", "somebody's");
  auto failure = Prepare(true, false, 1);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause(), proto::OUTPUT_EXISTS);
  EXPECT_FALSE(failure->retryable());
  EXPECT_THAT(failure->message(), HasSubstr(output_));
  PrepareAttempt prepare{Uid(1), kJob, directory_ / "no/where", true, false};
  failure = PrepareDirectories(fs_, layout_, prepare).failure;
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause(), proto::OUTPUT_FAILED);
  EXPECT_FALSE(failure->retryable());
}

TEST_F(CommitTaskTest, FaultsWhilePreparingAreTriedAgain) {
  FaultyFileSystem faulty(fs_);
  faulty.SetFault([](FileOp op, const std::string&) {
    return op == FileOp::kMakeDirectory
               ? absl::ResourceExhaustedError("no space")
               : absl::OkStatus();
  });
  PrepareAttempt prepare{Uid(1), kJob, output_, true, false};
  auto failure = PrepareDirectories(faulty, layout_, prepare).failure;
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause(), proto::DISK_FULL);
  EXPECT_TRUE(failure->retryable());
  faulty.SetFault([](FileOp op, const std::string& path) {
    return op == FileOp::kMakeDirectory ? ErrnoStatus(ENFILE, "make", path)
                                        : absl::OkStatus();
  });
  failure = PrepareDirectories(faulty, layout_, prepare).failure;
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause(), proto::NO_DESCRIPTORS);
  EXPECT_TRUE(failure->retryable());
  // A reduce finds its staging gone: not its fault.
  failure = Prepare(false, true, 2);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->cause(), proto::OUTPUT_FAILED);
  EXPECT_TRUE(failure->retryable());
}

TEST_F(CommitTaskTest, CheckMakesTheManifestAndPublishTheOutput) {
  Stage();
  const OutputChecked checked = Check();
  ASSERT_FALSE(checked.failure.has_value()) << checked.failure->message();
  const auto manifest =
      storage::ParseManifest(masters_.Bytes(checked.manifest_sha256));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->job_id, kJob.ToHex());
  EXPECT_EQ(manifest->job_name, "my job");
  EXPECT_EQ(manifest->maps, 4u);
  EXPECT_EQ(manifest->partitions, 3u);
  EXPECT_EQ(manifest->created_at, "1970-01-01T00:00:01+00:00");
  EXPECT_EQ(manifest->ledger.at("emitted_records"), 12u);
  EXPECT_EQ(manifest->counters.at("g").at("n"), 5);
  ASSERT_EQ(manifest->files.size(), 3u);
  EXPECT_EQ(manifest->files[2].name, "part-00002");
  EXPECT_EQ(manifest->files[2].attempt_uid, Uid(3).ToHex());
  EXPECT_EQ(Check().manifest_sha256, checked.manifest_sha256)
      << "the same check, the same bytes";
  EXPECT_FALSE(fs_.Stat(output_).ok());

  for (int i = 0; i < 2; ++i) {  // The second finds all done.
    const OutputPublished published = Publish(fs_, checked.manifest_sha256);
    ASSERT_FALSE(published.failure.has_value()) << published.failure->message();
    const auto report = storage::VerifyOutput(fs_, output_);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_THAT(report->problems, IsEmpty());
    EXPECT_EQ(report->files, 3u);
  }
  EXPECT_THAT(directory_.Names("out"), ElementsAre("_MANIFEST", "part-00000",
                                                   "part-00001", "part-00002"));
}

TEST_F(CommitTaskTest, CheckNamesTheWinnerThatIsLost) {
  Stage();
  spec_.set_paranoid(true);
  EXPECT_FALSE(Check().failure.has_value());
  winners_[1].xxh3 = 1;
  OutputChecked checked = Check();
  ASSERT_TRUE(checked.failure.has_value());
  EXPECT_EQ(checked.failure->cause(), proto::COMMIT_DATA_LOST);
  EXPECT_EQ(checked.failure->map_index(), 1u);
  EXPECT_EQ(checked.failure->map_uid(), Uid(2).bytes());
  ASSERT_TRUE(fs_.RemoveFile(OutputPath(output_, kJob, Uid(1), 0)).ok());
  checked = Check();
  EXPECT_EQ(checked.failure->map_uid(), Uid(1).bytes());
  directory_.Write("out", "");
  checked = Check();
  EXPECT_EQ(checked.failure->cause(), proto::OUTPUT_EXISTS);
  EXPECT_FALSE(checked.failure->retryable());
}

TEST_F(CommitTaskTest, AManifestThatCannotBeStoredIsTriedAgain) {
  Stage();
  masters_.FailWith(absl::UnavailableError("no masters"));
  const OutputChecked checked = Check();
  ASSERT_TRUE(checked.failure.has_value());
  EXPECT_EQ(checked.failure->cause(), proto::BLOB_UNAVAILABLE);
  EXPECT_TRUE(checked.failure->retryable());
}

TEST_F(CommitTaskTest, PublishStoppedAnywhereIsFinishedByTheNext) {
  Stage();
  const std::string manifest = Check().manifest_sha256;
  uint64_t stops = 0;
  for (uint64_t n = 0;; ++n) {
    FaultyFileSystem faulty(fs_);
    faulty.FailFrom(n, absl::UnknownError("store is away"));
    const OutputPublished published = Publish(faulty, manifest);
    if (!published.failure.has_value()) break;
    EXPECT_EQ(published.failure->cause(), proto::OUTPUT_FAILED);
    EXPECT_TRUE(published.failure->retryable());
    ++stops;
    // Each stop may leave one of these, and the next run passes them by; here
    // they would move the point of the next stop for ever.
    const std::string staging = storage::StagingPath(output_, kJob);
    const std::vector<DirEntry> entries = *fs_.List(staging);
    for (const DirEntry& entry : entries) {
      if (entry.name.starts_with("manifest.")) {
        ASSERT_TRUE(fs_.RemoveFile(JoinPath(staging, entry.name)).ok());
      }
    }
  }
  EXPECT_GT(stops, 10u);
  EXPECT_FALSE(Publish(fs_, manifest).failure.has_value());
  EXPECT_THAT(storage::VerifyOutput(fs_, output_)->problems, IsEmpty());
}

TEST_F(CommitTaskTest, PublishTellsConflictFromLoss) {
  Stage();
  const std::string manifest = Check().manifest_sha256;
  directory_.Write("out/theirs", "x");
  OutputPublished published = Publish(fs_, manifest);
  ASSERT_TRUE(published.failure.has_value());
  EXPECT_EQ(published.failure->cause(), proto::OUTPUT_CONFLICT);
  EXPECT_FALSE(published.failure->retryable());
  ASSERT_TRUE(fs_.RemoveTree(output_).ok());
  // Put together in vain, there it lies.
  ASSERT_TRUE(
      fs_.RemoveFile(storage::StagingPath(output_, kJob) + "/final/part-00001")
          .ok());
  published = Publish(fs_, manifest);
  ASSERT_TRUE(published.failure.has_value());
  EXPECT_EQ(published.failure->cause(), proto::COMMIT_DATA_LOST);
  EXPECT_FALSE(published.failure->retryable());
  published = Publish(fs_, Sha256Of("no such manifest"));
  EXPECT_EQ(published.failure->cause(), proto::BLOB_UNAVAILABLE);
}

TEST_F(CommitTaskTest, ThePlanBecomesABlob) {
  ASSERT_FALSE(Prepare(true, false, 1).has_value());
  directory_.Write(Cat("w/spool/", kJob.ToHex(), "/", Uid(1).ToHex(), "/plan"),
                   "the plan");
  const PlanStored stored = StorePlan(layout_, blobs_, PutPlan{Uid(1), kJob});
  ASSERT_FALSE(stored.failure.has_value()) << stored.failure->message();
  EXPECT_EQ(masters_.Bytes(stored.sha256), "the plan");
  EXPECT_TRUE(
      StorePlan(layout_, blobs_, PutPlan{Uid(2), kJob}).failure.has_value());
}

TEST_F(CommitTaskTest, AJobsDirectoryGoesWhenItsStagingHasGone) {
  ASSERT_NO_FATAL_FAILURE(Stage());
  const std::string spool = JobSpool(layout_.Spool(), kJob);
  const std::string staging = storage::StagingPath(output_, kJob);
  FaultyFileSystem away(fs_);
  away.SetFault([&](FileOp, const std::string& path) {
    return path.rfind(staging, 0) == 0 ? absl::UnavailableError("stale handle")
                                       : absl::OkStatus();
  });
  const JobDeleted not_all =
      DeleteJobFiles(away, layout_, DeleteJob{kJob, output_});
  EXPECT_FALSE(not_all.status.ok());
  EXPECT_EQ(not_all.job, kJob);
  EXPECT_THAT(directory_.Names(Cat("w/spool/", kJob.ToHex())), IsEmpty());
  EXPECT_TRUE(fs_.Stat(spool).ok());
  EXPECT_TRUE(DeleteJobFiles(fs_, layout_, {kJob, output_}).status.ok());
  EXPECT_TRUE(absl::IsNotFound(fs_.Stat(spool).status()));
  EXPECT_TRUE(absl::IsNotFound(fs_.Stat(staging).status()));
  EXPECT_TRUE(DeleteJobFiles(fs_, layout_, {kJob, ""}).status.ok());
}

}  // namespace
}  // namespace millrace::worker
