// What a cluster takes on and no more: clear refusals, and what is in its way
// said to who asks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class GuardsTest : public Refusals {
 protected:
  nlohmann::json Worker(int number) const {
    const ProgramResult list = cluster_->Cli({"worker", "list", "-o", "json"});
    EXPECT_EQ(list.exit_code, 0) << list;
    for (const auto& worker : nlohmann::json::parse(list.out)) {
      if (worker.at("id") == Cat("w", number)) return worker;
    }
    ADD_FAILURE() << list;
    return {};
  }
  // The reason for which a worker takes no tasks; "": it takes them.
  std::string DiskWhy(int number) const {
    const nlohmann::json worker = Worker(number);
    if (!worker.at("disk_low").get<bool>()) return "";
    return worker.at("disk_why").get<std::string>();
  }
  void ExpectWaitsFor(const std::string& job, const std::string& what) {
    EXPECT_TRUE(WaitUntil([&] {
      return StatusText(job, "waiting_for").find(what) != std::string::npos;
    })) << StatusText(job, "waiting_for");
  }
};

// Its jobs have 6 maps and 3 reduces; beside the maps of one, another can be
// planned.
TEST_F(GuardsTest, JobsAndTasksBeyondTheMastersLimits) {
  StartCluster(
      {.workers = 1,
       .slots = 7,
       .masters = 1,
       .master_flags = {"--max-jobs=2", "--max-tasks=12", "--max-job-tasks=11",
                        "--max-job-transfers=20"}});
  const auto submit = [&](const std::string& reducers) {
    return cluster_->Cli({"submit", MiniCluster::Program("wordcount"),
                          "--input", data_ / "in", "--output", data_ / "many",
                          "--split-bytes", Cat(30 * lines_ / splits_),
                          "--reducers", reducers});
  };
  ExpectFailure(submit("11"), kRefused,
                {"at least 1 map and 11 reduces, 12 tasks", "at most 11",
                 "--max-job-tasks"});
  ExpectFailure(submit("4"), kRefused,
                {"INPUT_UNFIT", "6 maps and 4 reduces, 24 transfers",
                 "--max-job-transfers"});
  ExpectNothingBeside("many");

  // The second has no room beside the first, and says so until it has.
  const std::string first = SubmitDetached("slow", {}, 60'000, "first");
  ASSERT_TRUE(
      WaitUntil([&] { return StatusText(first, "state") == "RUNNING"; }));
  const std::string second = SubmitDetached("plain");
  ASSERT_TRUE(WaitUntil([&] {
    return StatusText(second, "waiting_for").find("room for its 9 tasks") !=
           std::string::npos;
  })) << StatusText(second, "waiting_for");
  EXPECT_THAT(StatusText(second, "waiting_for"), HasSubstr("--max-tasks"));
  EXPECT_EQ(StatusText(second, "state"), "QUEUED");
  ExpectFailure(cluster_->Cli(SubmitWords("plain", {}, 0, "third")), kRefused,
                {"2 jobs that have not ended", "--max-jobs", "try again in"});
  RunningProgram patient(
      cluster_->Command(SubmitWords("plain", {"--wait-for-room"}, 0, "third")));
  EXPECT_TRUE(patient.WaitUntil([&] {
    return patient.err().find("waiting for room: ") != std::string::npos;
  })) << patient.err();

  // A master that is started again decides alike.
  cluster_->RestartMaster();
  ASSERT_TRUE(WaitUntil([&] {
    return StatusText(second, "waiting_for").find("--max-tasks") !=
           std::string::npos;
  })) << StatusText(second, "waiting_for");
  EXPECT_EQ(cluster_->Cli({"kill", first}).exit_code, 0);
  const ProgramResult waited = cluster_->Cli({"wait", second});
  EXPECT_EQ(waited.exit_code, 0) << waited;
  ExpectRightCounts();
  EXPECT_EQ(StatusNumber(second, "attempts", "failed"), 0);
  const ProgramResult third = patient.Wait();
  EXPECT_EQ(third.exit_code, 0) << third;
  ExpectRightCounts("third");
  ExpectClusterWorks();
}

TEST_F(GuardsTest, WorkerBelowItsFloorOfFreeSpaceTakesNothing) {
  StartCluster(
      {.workers = 1, .every_workers_flags = {"--min-free-disk=900000TiB"}});
  const std::string job = SubmitDetached("plain");
  ExpectWaitsFor(job, "all workers are short of disk space");
  EXPECT_THAT(DiskWhy(0), HasSubstr("--min-free-disk"));
  const ProgramResult table = cluster_->Cli({"worker", "list"});
  EXPECT_THAT(table.out, HasSubstr("takes no tasks: only "));
  EXPECT_EQ(cluster_->Cli({"kill", job}).exit_code, 0);
}

// Intermediate data of 6 MB, in maps of 1 MB each, do not fit.
TEST_F(GuardsTest, SpoolThatReachesItsLimitTakesNothingUntilAJobHasEnded) {
  StartCluster(
      {.workers = 1,
       .slots = 1,
       .every_workers_flags = {"--min-free-disk=1", "--spool-limit=3MiB"}});
  const std::string rows = data_ / "rows";
  const ProgramResult made =
      cluster_->Cli({"submit", MiniCluster::Program("teragen"), "--rows",
                     "60000", "--output", rows});
  ASSERT_EQ(made.exit_code, 0) << made;
  ProgramResult sort = cluster_->Cli(
      {"submit", "--detach", MiniCluster::Program("sort"), "--input", rows,
       "--output", data_ / "sorted", "--split-bytes", "1000000", "--reducers",
       "2", "--codec", "none"});
  ASSERT_EQ(sort.exit_code, 0) << sort;
  const std::string job = sort.out.substr(0, 32);
  ExpectWaitsFor(job, "all workers are short of disk space");
  EXPECT_THAT(DiskWhy(0), HasSubstr("--spool-limit"));
  EXPECT_GE(Worker(0).at("spool_bytes").get<uint64_t>(), 3u << 20);
  EXPECT_LE(Worker(0).at("spool_bytes").get<uint64_t>(), 5u << 20);
  EXPECT_EQ(Worker(0).at("spool_limit_bytes").get<uint64_t>(), 3u << 20);
  EXPECT_EQ(cluster_->Cli({"kill", job}).exit_code, 0);
  EXPECT_TRUE(WaitUntil([&] { return DiskWhy(0).empty(); })) << DiskWhy(0);
  EXPECT_EQ(Worker(0).at("spool_bytes").get<uint64_t>(), 0u);
  ExpectClusterWorks();
}

// By whatever this machine has; which it is, everybody is told.
TEST_F(GuardsTest, MemoryOfAnAttemptIsLimited) {
  StartCluster({.workers = 1, .memory_guard = "auto"});
  const std::string guard = Worker(0).at("memory_guard");
  EXPECT_THAT(guard, AnyOf("cgroup-v2", "cgroup-v1", "rss"));
  const std::string log = cluster_->worker(0).ReadLog();
  EXPECT_THAT(log, HasSubstr("memory limits of job processes: "));
  EXPECT_EQ(log.find("a cgroup for each") == std::string::npos, guard == "rss")
      << log;
  data_.Write("input/b", "one two\ntrigger\nthree\n");
  const ProgramResult result =
      cluster_->Cli({"submit", MILLRACE_FAULT_JOB, "--input", data_ / "input",
                     "--output", data_ / "out", "--memory-limit", "200M",
                     "--max-attempts", "1", "--", "memory"});
  ExpectFailure(result, kJobFailed,
                {"MEMORY_LIMIT", "limit 200 MiB", "--memory-limit", "input/b",
                 "offset 8", guard == "rss" ? "of resident memory" : guard});
  EXPECT_TRUE(cluster_->worker(0).running());
  ExpectClusterWorks();
}

TEST_F(GuardsTest, MemoryCanBeWatchedWhereThereAreCgroups) {
  StartCluster({.workers = 1});
  EXPECT_EQ(Worker(0).at("memory_guard"), "rss");
  EXPECT_THAT(cluster_->worker(0).ReadLog(),
              HasSubstr("resident memory is watched"));
}

}  // namespace
}  // namespace millrace
