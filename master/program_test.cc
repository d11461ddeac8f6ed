// The program millrace-master, as an operator meets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

ProgramOptions Master(std::vector<std::string> flags) {
  ProgramOptions options;
  options.argv = {MR_MASTER};
  options.argv.insert(options.argv.end(), flags.begin(), flags.end());
  return options;
}

TEST(MasterProgramTest, HelpNamesEveryFlagAndCode) {
  const ProgramResult help = RunProgram(Master({"--help"}));
  EXPECT_EQ(help.exit_code, 0) << help;
  for (const char* flag :
       {"--dir", "--listen", "--advertise", "--join", "--address-file",
        "--log-file", "--config", "--finished-jobs", "--max-jobs",
        "--max-tasks", "--max-job-tasks", "--max-job-transfers",
        "Exit codes: 0 stopped by a signal, 2 usage, 5 refused"}) {
    EXPECT_THAT(help.out, HasSubstr(flag));
  }
  EXPECT_EQ(help.err, "");
}

TEST(MasterProgramTest, AKeyOfTheConfigurationThatIsUnknownIsNamed) {
  TempDir directory;
  const std::string dir = directory / "m";
  directory.Write("master.conf", "max-job = 5\n");
  const ProgramResult result =
      RunProgram(Master({"--config", directory / "master.conf", "--dir", dir}));
  EXPECT_EQ(result.exit_code, 2) << result;
  EXPECT_THAT(result.err, StartsWith("millrace-master: "));
  EXPECT_THAT(result.err, HasSubstr("max-job"));
  EXPECT_FALSE(std::filesystem::exists(dir)) << "nothing was begun";
}

TEST(MasterProgramTest, StartsWithTheConfigurationThatComesWithIt) {
  TempDir directory;
  const std::string address = directory / "address";
  RunningProgram master(Master({"--config", MR_DEPLOY "/config/master.conf",
                                "--dir", directory / "m", "--listen",
                                "127.0.0.1:0", "--address-file", address}));
  EXPECT_TRUE(master.WaitUntil([&] {
    return std::filesystem::exists(address);
  })) << master.err();
}

TEST(MasterProgramTest, ItsLogIsWhereItIsToldToWriteIt) {
  TempDir directory;
  const std::string address = directory / "address";
  RunningProgram master(
      Master({"--dir", directory / "m", "--listen", "127.0.0.1:0",
              "--address-file", address, "--log-file", directory / "m.log"}));
  EXPECT_TRUE(master.WaitUntil([&] {
    return std::filesystem::exists(address) &&
           directory.Read("m.log").find("listening on") != std::string::npos;
  })) << directory.Read("m.log");
  EXPECT_EQ(master.err(), "");
}

TEST(MasterProgramTest, ALogThatCannotBeWrittenIsNamed) {
  TempDir directory;
  const ProgramResult result =
      RunProgram(Master({"--dir", directory / "m", "--log-file",
                         directory / "no/such/directory/m.log"}));
  EXPECT_EQ(result.exit_code, 5) << result;
  EXPECT_THAT(result.err, StartsWith("millrace-master: --log-file: "));
  EXPECT_THAT(result.err, HasSubstr("no/such/directory/m.log"));
}

}  // namespace
}  // namespace millrace
