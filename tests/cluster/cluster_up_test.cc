// `millrace cluster up` with the real daemons.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cluster/mini_cluster.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

class ClusterUpTest : public testing::Test {
 protected:
  ~ClusterUpTest() override {
    Millrace({"cluster", "down", "--dir", dir_ / "c"});
  }

  ProgramResult Millrace(std::vector<std::string> arguments) {
    ProgramOptions options;
    options.argv = {MiniCluster::Program("millrace")};
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.environment = {"XDG_CONFIG_HOME=" + dir_.path(),
                           "MILLRACE_CLUSTER="};
    return RunProgram(options);
  }
  nlohmann::json Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"-o", "json"});
    const ProgramResult result = Millrace(std::move(arguments));
    EXPECT_EQ(result.exit_code, 0) << result;
    return nlohmann::json::parse(result.out, nullptr, false);
  }

  TempDir dir_;
};

TEST_F(ClusterUpTest, StatusSaysWhatTheMastersAreCalledInTheirGroup) {
  const ProgramResult up =
      Millrace({"cluster", "up", "--dir", dir_ / "c", "--masters", "1",
                "--workers", "1", "--slots", "1"});
  ASSERT_EQ(up.exit_code, 0) << up;
  const nlohmann::json masters = Json({"master", "list"});
  const nlohmann::json status =
      Json({"cluster", "status", "--dir", dir_ / "c"});
  ASSERT_EQ(masters.size(), 1u) << masters;
  ASSERT_EQ(status["processes"].size(), 2u) << status;
  const nlohmann::json& master = status["processes"][0];
  EXPECT_EQ(master["id"], "master-1") << status;
  EXPECT_EQ(master["master_id"], masters[0]["id"]) << status;
  EXPECT_EQ(status["processes"][1]["master_id"], "") << status;
  const std::string id = masters[0]["id"];
  EXPECT_NE(Millrace({"cluster", "status", "--dir", dir_ / "c"}).out.find(id),
            std::string::npos);
}

}  // namespace
}  // namespace millrace
