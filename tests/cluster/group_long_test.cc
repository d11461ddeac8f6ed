// A group of masters under a job: paused, cut off, wiped, replaced, restarted,
// killed again and again. What takes too long for every change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/strings.h"
#include "tests/cluster/group_case.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

TEST_F(GroupTest, LeaderThatStandsStillIsLeftAndFollowsLater) {
  StartGroup({.workers = 3});
  const std::string job = SubmitSlow(30, 1500);
  WaitForMaps(job, 2);
  const int stopped = cluster_->WaitForLeader();
  ASSERT_GE(stopped, 0);
  cluster_->master(stopped).Signal(SIGSTOP);
  Clock& clock = Clock::Real();
  const absl::Duration until = clock.Monotonic() + absl::Seconds(10);
  // The job goes on meanwhile.
  const size_t before =
      GrantsOf((stopped + 1) % 3) + GrantsOf((stopped + 2) % 3);
  EXPECT_TRUE(WaitUntil(
      [&] {
        return GrantsOf((stopped + 1) % 3) + GrantsOf((stopped + 2) % 3) >
               before;
      },
      absl::Seconds(10)))
      << "nobody else grants anything for ten seconds";
  WaitUntil([&] { return clock.Monotonic() >= until; });
  cluster_->master(stopped).Signal(SIGCONT);
  WaitUntilAllAreBack();
  EXPECT_NE(cluster_->WaitForLeader(), stopped);
  ExpectUndisturbed(job);
}

TEST_F(GroupTest, WipedFollowerIsAddedAnew) {
  StartGroup({.workers = 2});
  const std::string job = SubmitSlow(16, 1500);
  WaitForMaps(job, 2);
  const int wiped = (cluster_->WaitForLeader() + 1) % 3;
  cluster_->master(wiped).Kill();
  std::filesystem::remove_all(cluster_->DirectoryOf(wiped));
  // It comes back as nobody, at the same place.
  const std::string address = cluster_->AddressOf(wiped);
  ASSERT_EQ(cluster_->Cli({"master", "remove", address}).exit_code, 0);
  if (wiped == 0) cluster_->JoinNextTime(0);
  cluster_->StartMaster(wiped);
  cluster_->AddMaster(wiped);
  EXPECT_EQ(cluster_->CountMembers(), std::make_pair(3, 3));
  // It has what a voter must have: the other follower may go.
  int killed = -1;
  EXPECT_LE(KillLeader(&killed), absl::Seconds(5));
  ExpectUndisturbed(job);
}

TEST_F(GroupTest, AllMastersAreReplacedOneAfterTheOther) {
  StartGroup({.workers = 2});
  const std::string job = SubmitSlow(40, 1000);
  WaitForMaps(job, 2);
  for (int old = 0; old < 3; ++old) {
    SCOPED_TRACE(Cat("replacing master ", old));
    cluster_->master(old).Kill();
    cluster_->AddMaster(cluster_->StartNewMaster());
    const ProgramResult removed =
        cluster_->Cli({"master", "remove", cluster_->AddressOf(old)});
    EXPECT_EQ(removed.exit_code, 0) << removed;
    EXPECT_EQ(cluster_->CountMembers(), std::make_pair(3, 3));
  }
  ExpectUndisturbed(job);
}

TEST_F(GroupTest, LeaderThatIsCutOffStepsDownAndItsCommandsAreRefused) {
  StartGroup({.workers = 3, .proxies = true});
  const std::string job = SubmitSlow(90, 1500);
  WaitForMaps(job, 2);
  const int lonely = cluster_->WaitForLeader();
  ASSERT_GE(lonely, 0);
  const std::vector<int> others = {(lonely + 1) % 3, (lonely + 2) % 3};
  size_t before = 0;
  for (const int i : others) before += GrantsOf(i);
  // Nobody reaches it any more: no master, no worker, no client.
  cluster_->proxy(lonely).Cut();
  Clock& clock = Clock::Real();
  const absl::Duration until = clock.Monotonic() + absl::Seconds(30);
  EXPECT_TRUE(WaitUntil([&] {
    size_t now = 0;
    for (const int i : others) now += GrantsOf(i);
    return now > before;
  })) << "the majority does not go on";
  WaitUntil([&] { return clock.Monotonic() >= until; }, absl::Minutes(1));
  cluster_->proxy(lonely).Heal();
  WaitUntilAllAreBack();
  ExpectUndisturbed(job);
}

TEST_F(GroupTest, GroupOfOneGrowsWhileAJobRuns) {
  StartCluster({.workers = 2});
  const std::string job = SubmitSlow(14, 1500);
  WaitForMaps(job, 2);
  for (int i = 1; i <= 2; ++i) cluster_->AddMaster(cluster_->StartNewMaster());
  EXPECT_EQ(cluster_->CountMembers(), std::make_pair(3, 3));
  // What was there before is on the new ones: the program, the plan, the job.
  cluster_->master(0).Kill();
  ExpectUndisturbed(job);
}

// The very commands of docs/operations.md, "Rolling restart".
TEST_F(GroupTest, RollingRestartFailsNothing) {
  StartGroup({.workers = 2});
  const std::string job = SubmitSlow(16, 1500);
  WaitForMaps(job, 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(cluster_->master(i).Stop(), 0) << cluster_->master(i).ReadLog();
    cluster_->StartMaster(i);
    WaitUntilAllAreBack();
  }
  ExpectUndisturbed(job);
}

TEST_F(GroupTest, WhoIsNoMemberSaysSo) {
  StartGroup({.workers = 1});
  // One that waits.
  const int waiting = cluster_->StartNewMaster();
  const auto ask = [&](int i, std::vector<std::string> command) {
    ProgramOptions options = cluster_->Command(std::move(command));
    options.environment = {Cat("MILLRACE_CLUSTER=", cluster_->AddressOf(i))};
    return RunProgram(options);
  };
  EXPECT_THAT(ask(waiting, {"--patience", "1s", "list"}).err,
              HasSubstr("not yet a member"));
  const ProgramResult listed =
      ask(waiting, {"--patience", "1s", "master", "list"});
  EXPECT_EQ(listed.exit_code, 3) << listed;
  EXPECT_THAT(listed.out, HasSubstr("waiting"));
  // One that founded a cluster of its own cannot be added.
  MiniCluster other({.workers = 0});
  const ProgramResult foreign =
      cluster_->Cli({"master", "add", other.master().address()});
  EXPECT_EQ(foreign.exit_code, 5) << foreign;
  EXPECT_THAT(foreign.err, HasSubstr("--join"));
  // One that is removed while it runs, and the leader itself.
  cluster_->AddMaster(waiting);
  for (const int i : {waiting, cluster_->WaitForLeader()}) {
    const ProgramResult removed =
        cluster_->Cli({"master", "remove", cluster_->AddressOf(i)});
    EXPECT_EQ(removed.exit_code, 0) << removed;
    EXPECT_TRUE(WaitUntil([&] {
      return ask(i, {"--patience", "1s", "master", "list"})
                 .out.find("removed") != std::string::npos;
    })) << cluster_->master(i).ReadLog();
  }
  EXPECT_EQ(cluster_->CountMembers(), std::make_pair(2, 2));
  // Two are left, and one is dead: the other one must not be removed.
  const int leader = cluster_->WaitForLeader();
  for (int i = 0; i < 3; ++i) {
    if (i != leader) cluster_->master(i).Kill();
  }
  const ProgramResult refused = cluster_->Cli(
      {"--patience", "3s", "master", "remove", cluster_->AddressOf(leader)});
  EXPECT_NE(refused.exit_code, 0) << refused;
}

// Shown with it: from the kill of a leader to the next one's first grant, over
// five minutes in which there is always something to grant. Of twelve slots
// with maps of four seconds one becomes free every third of a second; of three,
// a grant would mostly wait for that.
TEST_F(GroupTest, TwentyLeadersKilledInFiveMinutes) {
  constexpr int kKills = 20;
  constexpr absl::Duration kTime = absl::Seconds(300);
  StartGroup({.workers = 3, .slots = 4});
  const std::string job = SubmitSlow(1080, 4000);
  WaitForMaps(job, 2);
  Clock& clock = Clock::Real();
  const absl::Duration began = clock.Monotonic();
  std::vector<absl::Duration> times;
  for (int i = 0; i < kKills && !HasFailure(); ++i) {
    int killed = -1;
    times.push_back(KillLeader(&killed));
    cluster_->StartMaster(killed);
    WaitUntilAllAreBack();
    const absl::Duration next = began + (i + 1) * kTime / kKills;
    WaitUntil([&] { return clock.Monotonic() >= next; }, kTime);
  }
  EXPECT_NE(StatusText(job, "state"), "SUCCEEDED") << "killed too late";
  const absl::Duration took = clock.Monotonic() - began;
  EXPECT_GE(took, kTime);
  ASSERT_FALSE(times.empty());
  std::printf(
      "from kill to the next leader's first grant (least, median, most of "
      "%zu): %s; in %d s\n",
      times.size(), Summary(times).c_str(),
      static_cast<int>(absl::ToInt64Seconds(took)));
  ExpectUndisturbed(job);
  EXPECT_LE(Median(times), absl::Milliseconds(2500));
  EXPECT_LE(*std::max_element(times.begin(), times.end()), absl::Seconds(5));
}

}  // namespace
}  // namespace millrace
