// A group of masters under a job: leaders that are killed, all at once, and who
// answers what. The job must notice no more than a pause: no user code starts
// twice, and the bytes are those of a local run. More of it, with more time, in
// group_long_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "common/strings.h"
#include "tests/cluster/group_case.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

TEST_F(GroupTest, JobSurvivesLeadersThatAreKilled) {
  StartGroup({.workers = 3});
  const std::string job = SubmitSlow(18, 1500);
  WaitForMaps(job, 2);
  for (int i = 0; i < 2 && !HasFailure(); ++i) {
    int killed = -1;
    EXPECT_LE(KillLeader(&killed), absl::Seconds(5));
    cluster_->StartMaster(killed);
    WaitUntilAllAreBack();
  }
  EXPECT_NE(StatusText(job, "state"), "SUCCEEDED") << "killed too late";
  ExpectUndisturbed(job);
}

TEST_F(GroupTest, AllMastersKilledAtOnceGoOnWhereTheyWere) {
  StartGroup({.workers = 2});
  const std::string job = SubmitSlow(12, 1500);
  WaitForMaps(job, 2);
  for (int i = 0; i < 3; ++i) cluster_->master(i).Kill();
  for (int i = 0; i < 3; ++i) cluster_->StartMaster(i);
  ExpectUndisturbed(job);
}

TEST_F(GroupTest, LeadershipIsHandedOverOnRequest) {
  StartGroup({.workers = 1});
  const int first = cluster_->WaitForLeader();
  const ProgramResult any = cluster_->Cli({"master", "transfer"});
  EXPECT_EQ(any.exit_code, 0) << any;
  const int second = cluster_->WaitForLeader();
  EXPECT_NE(first, second);
  const ProgramResult back =
      cluster_->Cli({"master", "transfer", cluster_->AddressOf(first)});
  EXPECT_EQ(back.exit_code, 0) << back;
  EXPECT_EQ(cluster_->WaitForLeader(), first);
}

TEST_F(GroupTest, SubmitsAndReadsGoThroughAnyMaster) {
  StartGroup({.workers = 1});
  const std::string job = SubmitDetached("plain");
  for (int i = 0; i < 3; ++i) {
    ProgramOptions options = cluster_->Command({"status", job, "-o", "json"});
    options.environment = {Cat("MILLRACE_CLUSTER=", cluster_->AddressOf(i))};
    const ProgramResult status = RunProgram(options);
    EXPECT_EQ(status.exit_code, 0) << status;
  }
  // Without a quorum nothing is acknowledged, and nobody lies.
  ASSERT_EQ(cluster_->Cli({"wait", job}).exit_code, 0);
  const int leader = cluster_->WaitForLeader();
  cluster_->master((leader + 1) % 3).Kill();
  cluster_->master((leader + 2) % 3).Kill();
  const ProgramResult lonely =
      cluster_->Cli({"--patience", "4s", "status", job});
  EXPECT_EQ(lonely.exit_code, 3) << lonely;
  const ProgramResult masters =
      cluster_->Cli({"--patience", "2s", "master", "list"});
  EXPECT_EQ(masters.exit_code, 3) << masters;
  EXPECT_THAT(masters.out, HasSubstr("unreachable"));
  cluster_->StartMaster((leader + 1) % 3);
  EXPECT_EQ(cluster_->Cli({"status", job}).exit_code, 0);
}

}  // namespace
}  // namespace millrace
