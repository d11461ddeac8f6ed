#include "client/job_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "common/hash.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "tests/testing/memory_file_system.h"
#include "tests/testing/temp_dir.h"

namespace millrace::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class JobRequestTest : public ::testing::Test {
 protected:
  JobRequestTest() {
    fs_.SetContents("/desk/job", "program");
    fs_.SetContents("/desk/words", "stop");
    fs_.SetContents("/desk/in/a[1].txt", "x");
    description_.job.set_name("wordcount");
    description_.job.set_reduces(true);
    request_.program = "./job";
    request_.settings.inputs = {"in"};
    request_.settings.output = "out/";
    request_.settings.memory_bytes = 512;
    request_.settings.task_timeout = absl::Seconds(7);
    request_.settings.task_time_limit = absl::Seconds(70);
  }

  absl::StatusOr<PreparedJob> Prepare() {
    return PrepareJob(fs_, "/desk", description_, request_);
  }

  void ExpectWrong(const std::string& part) {
    const auto job = Prepare();
    EXPECT_TRUE(absl::IsInvalidArgument(job.status())) << job.status();
    EXPECT_THAT(std::string(ToStd(job.status().message())), HasSubstr(part));
  }

  MemoryFileSystem fs_;
  ProgramDescription description_;
  JobRequest request_;
};

TEST_F(JobRequestTest, PathsBecomeAbsoluteAndFilesBlobs) {
  request_.settings.side_files = {{"stop", "words"}};
  request_.settings.seed = 9;
  request_.arguments = {"a", "b c"};
  const auto job = Prepare();
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->spec.inputs(), ElementsAre("/desk/in"));
  EXPECT_EQ(job->spec.output(), "/desk/out");
  EXPECT_EQ(job->spec.name(), "wordcount");
  EXPECT_EQ(job->spec.program_name(), "job");
  EXPECT_EQ(job->spec.program_sha256(), Sha256Of("program"));
  EXPECT_EQ(job->spec.side_files(0).sha256(), Sha256Of("stop"));
  EXPECT_THAT(job->spec.arguments(), ElementsAre("a", "b c"));
  EXPECT_EQ(job->spec.task_timeout_ms(), 7000);
  EXPECT_EQ(job->spec.task_time_limit_ms(), 70'000);
  EXPECT_EQ(job->spec.memory_budget_bytes(), 512u);
  // The seed of a local run of this job.
  EXPECT_EQ(job->spec.job_seed(), Hash64Seeded("wordcount", 9));
  EXPECT_THAT(job->blobs,
              UnorderedElementsAre(Pair(Sha256Of("program"), "/desk/job"),
                                   Pair(Sha256Of("stop"), "/desk/words")));
}

TEST_F(JobRequestTest, AProgramThatIsHashedAlreadyIsNotReadAgain) {
  request_.program = "./not-there";
  request_.program_sha256 = Sha256Of("program");
  const auto job = Prepare();
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->spec.program_sha256(), Sha256Of("program"));
  EXPECT_THAT(job->blobs,
              ElementsAre(Pair(Sha256Of("program"), "/desk/not-there")));
}

TEST_F(JobRequestTest, NoTimeoutAndNoLogLimitAreSaidSo) {
  request_.settings.task_timeout = absl::InfiniteDuration();
  request_.settings.task_time_limit = absl::InfiniteDuration();
  request_.settings.log_limit_bytes = 0;
  EXPECT_EQ(Prepare()->spec.task_timeout_ms(), 0);
  EXPECT_EQ(Prepare()->spec.task_time_limit_ms(), 0);
  // 0 would be the cluster's default.
  EXPECT_EQ(Prepare()->spec.log_bytes_max(), UINT64_MAX);
}

TEST_F(JobRequestTest, OutputsAreSpelledWithoutDotDot) {
  // Of a directory that exists on no machine: resolved by its letters.
  request_.settings.output = "../no-such-directory/x/../out";
  EXPECT_EQ(Prepare()->spec.output(), "/no-such-directory/out");
}

TEST_F(JobRequestTest, AnOutputBehindALinkSaysWhereThatLeads) {
  request_.settings.output = "/no-such-directory/out";
  EXPECT_EQ(Prepare()->spec.output_place(), "");
  TempDir dir;
  dir.Write("real/file", "");
  ASSERT_EQ(symlink((dir / "real").c_str(), (dir / "link").c_str()), 0);
  request_.settings.output = dir / "link/new/out";
  const auto job = Prepare();
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->spec.output(), dir / "link/new/out");
  EXPECT_EQ(job->spec.output_place(),
            std::filesystem::canonical(dir / "real").string() + "/new/out");
}

TEST_F(JobRequestTest, PatternsAreSeenFromHereAndDirectoriesAboveAreNone) {
  fs_.SetContents("/w[1]*/job", "program");
  request_.settings.inputs = {"*.txt", "/abs/**", "."};
  const auto job = PrepareJob(fs_, "/w[1]*", description_, request_);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_THAT(job->spec.inputs(),
              ElementsAre("/w\\[1\\]\\*/*.txt", "/abs/**", "/w[1]*"));
}

TEST_F(JobRequestTest, AFileThatLooksLikeAPatternKeepsItsName) {
  request_.settings.inputs = {"in/a[1].txt"};
  EXPECT_THAT(Prepare()->spec.inputs(), ElementsAre("/desk/in/a[1].txt"));
}

TEST_F(JobRequestTest, AnExistingOutputIsRefusedUnlessTheRequestIsRepeated) {
  request_.settings.output = "/desk/in";
  EXPECT_TRUE(absl::IsAlreadyExists(Prepare().status()));
  request_.refuse_existing_output = false;
  EXPECT_TRUE(Prepare().ok());
}

TEST_F(JobRequestTest, WhatNoClusterWouldTakeIsRefused) {
  request_.settings.output = "";
  ExpectWrong("--output");
  request_.settings.output = "/";
  ExpectWrong("--output");
  request_.settings.output = "..";  // Of /desk: the root.
  ExpectWrong("--output");
  request_.settings.output = "out";
  request_.settings.inputs = {""};
  ExpectWrong("--input");
  request_.settings.inputs = {std::string("a\0b", 3)};
  ExpectWrong("--input");
  request_.settings.inputs = {"in"};
  request_.settings.side_files = {{"a/b", "words"}};
  ExpectWrong("--side-file");
  request_.settings.side_files = {{"a", "words"}, {"a", "words"}};
  ExpectWrong("two files");
  request_.settings.side_files = {{"a", "in"}};
  ExpectWrong("--side-file");
  request_.settings.side_files = {{"a", "absent"}};
  EXPECT_TRUE(absl::IsNotFound(Prepare().status()));
}

TEST(AbsolutePathTest, CleansWithoutTouchingDotDot) {
  EXPECT_EQ(AbsolutePath("/a", "b"), "/a/b");
  EXPECT_EQ(AbsolutePath("/a", "./b//c/./"), "/a/b/c");
  EXPECT_EQ(AbsolutePath("/a", "../b"), "/a/../b");
  EXPECT_EQ(AbsolutePath("/a", "/x/"), "/x");
  EXPECT_EQ(AbsolutePath("/a", "/"), "/");
  EXPECT_EQ(AbsolutePath("/", "b"), "/b");
}

}  // namespace
}  // namespace millrace::client
