// A worker on which everything fails, and one that is drained, as operators see
// them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/strings.h"
#include "tests/cluster/behaviour.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class ExclusionTest : public BehaviourTest {
 protected:
  static constexpr int kMaps = 30;

  ExclusionTest() : BehaviourTest(kMaps * 4, kMaps) {}

  nlohmann::json Worker(int number) const {
    const ProgramResult list = cluster_->Cli({"worker", "list", "-o", "json"});
    EXPECT_EQ(list.exit_code, 0) << list;
    for (const auto& worker : nlohmann::json::parse(list.out)) {
      if (worker.at("id") == Cat("w", number)) return worker;
    }
    return {{"state", "gone"}};
  }
};

TEST_F(ExclusionTest, WorkerThatCanWriteNothingIsLeftAloneUntilItCan) {
  StartCluster({.workers = 3, .slots = 1});
  const std::string spool = cluster_->SpoolOf(1);
  std::filesystem::remove_all(spool);
  std::ofstream(spool) << "no directory";
  const std::string job = SubmitDetached("slow", {"--max-attempts=1"}, 50);
  const ProgramResult waited = cluster_->Cli({"wait", job});
  ASSERT_EQ(waited.exit_code, 0) << waited;
  ExpectRightCounts();
  EXPECT_GE(StatusNumber(job, "attempts", "failed"), 3);
  EXPECT_LE(StatusNumber(job, "attempts", "failed"), 8);
  const nlohmann::json sick = Worker(1);
  EXPECT_EQ(sick.at("state"), "excluded");
  EXPECT_THAT(sick.at("why").dump(), HasSubstr("of job"));
  const ProgramResult table = cluster_->Cli({"worker", "list"});
  EXPECT_THAT(table.out, HasSubstr("more: "));
  // It is mended, and proves itself when its time has come.
  std::filesystem::remove(spool);
  std::filesystem::create_directory(spool);
  ASSERT_TRUE(WaitUntil([&] { return Worker(1).at("state") == "probation"; },
                        absl::Seconds(60)));
  const std::string next = SubmitDetached("slow", {}, 50, "next");
  EXPECT_EQ(cluster_->Cli({"wait", next}).exit_code, 0);
  ExpectRightCounts("next");
  EXPECT_EQ(StatusNumber(next, "attempts", "failed"), 0);
  EXPECT_EQ(Worker(1).at("state"), "up");
}

// While its outputs are needed it is not drained; afterwards it can be stopped
// and nothing runs again.
TEST_F(ExclusionTest, DrainedWorkerCanBeStopped) {
  StartCluster({.workers = 2, .slots = 1});
  const std::string job = SubmitDetached("slow", {}, 100);
  ASSERT_TRUE(WaitUntil(
      [&] { return StatusNumber(job, "maps", "done") >= kMaps / 3; }));
  ASSERT_EQ(cluster_->Cli({"worker", "drain", "w1"}).exit_code, 0);
  ASSERT_TRUE(WaitUntil([&] { return Worker(1).at("running") == 0; }));
  const nlohmann::json waiting = Worker(1);
  if (StatusNumber(job, "reduces", "done") == 0) {
    EXPECT_EQ(waiting.at("state"), "draining");
    EXPECT_GT(waiting.at("outputs_needed").get<int>(), 0);
  }
  ASSERT_TRUE(WaitUntil([&] { return Worker(1).at("state") == "drained"; },
                        absl::Seconds(60)));
  EXPECT_EQ(cluster_->worker(1).Stop(), 0);
  const ProgramResult waited = cluster_->Cli({"wait", job});
  ASSERT_EQ(waited.exit_code, 0) << waited;
  ExpectRightCounts();
  EXPECT_EQ(StatusNumber(job, "attempts", "lost"), 0);
  EXPECT_EQ(StatusNumber(job, "attempts", "failed"), 0);
}

}  // namespace
}  // namespace millrace
