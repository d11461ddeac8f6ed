// What a cluster takes on and no more: clear refusals, and what is in its way
// said to who asks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

class GuardsTest : public Refusals {};

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
                {"2 jobs that have not ended", "--max-jobs"});

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
  ExpectClusterWorks();
}

}  // namespace
}  // namespace millrace
