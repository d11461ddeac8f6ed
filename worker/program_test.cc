// The program millrace-worker, as an operator meets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "common/strings.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

// A port where nobody listens: the worker looks for its masters in vain.
constexpr char kNobody[] = "127.0.0.1:1";

ProgramOptions Worker(std::vector<std::string> flags) {
  ProgramOptions options;
  options.argv = {MR_WORKER};
  options.argv.insert(options.argv.end(), flags.begin(), flags.end());
  return options;
}

TEST(WorkerProgramTest, HelpNamesEveryFlagAndCode) {
  const ProgramResult help = RunProgram(Worker({"--help"}));
  EXPECT_EQ(help.exit_code, 0) << help;
  for (const char* flag :
       {"--masters", "--dir", "--name", "--slots", "--host-id", "--listen",
        "--advertise", "--address-file", "--log-file", "--config",
        "--shuffle-memory", "--min-free-disk", "--spool-limit", "--log-space",
        "--memory-guard",
        "Exit codes: 0 stopped by a signal, 2 usage, 5 refused"}) {
    EXPECT_THAT(help.out, HasSubstr(flag));
  }
  EXPECT_EQ(help.err, "");
}

TEST(WorkerProgramTest, WrongFlagsAreOneLineAndCodeTwo) {
  TempDir directory;
  const std::string dir = directory / "w";
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"--masters", kNobody},
      {"--dir", dir},
      {"--masters", "nonsense", "--dir", dir},
      {"--masters", kNobody, "--dir", dir, "--slots", "0"},
      {"--masters", kNobody, "--dir", dir, "--shuffle-memory", "much"},
      {"--masters", kNobody, "--dir", dir, "--advertise", "here"},
      {"--masters", kNobody, "--dir", dir, "--no-such-flag"}};
  for (const std::vector<std::string>& flags : wrong) {
    const ProgramResult result = RunProgram(Worker(flags));
    EXPECT_EQ(result.exit_code, 2) << result;
    EXPECT_THAT(result.err, StartsWith("millrace-worker: "));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1)
        << result.err;
  }
  EXPECT_FALSE(std::filesystem::exists(dir)) << "nothing was begun";
}

TEST(WorkerProgramTest, AKeyOfTheConfigurationThatIsUnknownIsNamed) {
  TempDir directory;
  const std::string dir = directory / "w";
  directory.Write("worker.conf", "spool_limit = 1GiB\n");
  const ProgramResult result =
      RunProgram(Worker({"--config", directory / "worker.conf", "--masters",
                         kNobody, "--dir", dir}));
  EXPECT_EQ(result.exit_code, 2) << result;
  EXPECT_THAT(result.err, HasSubstr("spool_limit"));
  EXPECT_FALSE(std::filesystem::exists(dir)) << "nothing was begun";
}

TEST(WorkerProgramTest, StartsWithTheConfigurationThatComesWithIt) {
  TempDir directory;
  const std::string address = directory / "address";
  RunningProgram worker(
      Worker({"--config", MR_DEPLOY "/config/worker.conf", "--masters", kNobody,
              "--dir", directory / "w", "--listen", "127.0.0.1:0",
              "--address-file", address}));
  EXPECT_TRUE(worker.WaitUntil([&] {
    return std::filesystem::exists(address);
  })) << worker.err();
}

TEST(WorkerProgramTest, ItsLogIsWhereItIsToldToWriteIt) {
  TempDir directory;
  const std::string address = directory / "address";
  RunningProgram worker(
      Worker({"--masters", kNobody, "--dir", directory / "w", "--address-file",
              address, "--log-file", directory / "w.log"}));
  EXPECT_TRUE(worker.WaitUntil([&] {
    return std::filesystem::exists(address) &&
           directory.Read("w.log").find("serves on") != std::string::npos;
  })) << directory.Read("w.log");
  EXPECT_EQ(worker.err(), "");
}

TEST(WorkerProgramTest, ServesUntilSigtermAndKeepsItsDirectoryToItself) {
  TempDir directory;
  const std::string dir = directory / "w";
  const std::string address = directory / "address";
  RunningProgram first(Worker({"--masters", kNobody, "--dir", dir, "--name",
                               "w1", "--address-file", address}));
  ASSERT_TRUE(first.WaitUntil([&] { return std::filesystem::exists(address); }))
      << first.err();
  EXPECT_THAT(directory.Read("address"),
              MatchesRegex("127\\.0\\.0\\.1:[0-9]+\n"));

  const ProgramResult second =
      RunProgram(Worker({"--masters", kNobody, "--dir", dir}));
  EXPECT_EQ(second.exit_code, 5) << second;
  EXPECT_THAT(second.err, AllOf(HasSubstr("another worker"),
                                HasSubstr(Cat("(pid ", first.pid(), ")"))));

  first.Signal(SIGTERM);
  const ProgramResult result = first.Wait();
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_LT(result.elapsed, absl::Seconds(30));

  const ProgramResult elsewhere = RunProgram(
      Worker({"--masters", kNobody, "--dir", dir, "--listen", "0.0.0.0:0"}));
  EXPECT_EQ(elsewhere.exit_code, 5) << elsewhere;
  EXPECT_THAT(elsewhere.err, HasSubstr("0.0.0.0"));
}

TEST(WorkerProgramTest, OneThatWasKilledMakesRoomForTheNext) {
  TempDir directory;
  const std::vector<std::string> flags = {
      "--masters",     kNobody,          "--dir",
      directory / "w", "--address-file", directory / "address"};
  for (int i = 0; i < 5; ++i) {
    RunningProgram worker(Worker(flags));
    ASSERT_TRUE(worker.WaitUntil([&] {
      return std::filesystem::exists(directory / "address");
    })) << worker.err();
    std::filesystem::remove(directory / "address");
    worker.Signal(SIGKILL);  // Not waited for.
    RunningProgram next(Worker(flags));
    ASSERT_TRUE(next.WaitUntil([&] {
      return std::filesystem::exists(directory / "address");
    })) << next.err();
    std::filesystem::remove(directory / "address");
    next.Signal(SIGTERM);
    EXPECT_EQ(next.Wait().exit_code, 0);
  }
}

TEST(WorkerProgramTest, FlagsMayComeFromAFile) {
  TempDir directory;
  const std::string config = directory.Write(
      "worker.conf",
      Cat("masters = ", kNobody, "\ndir = ", directory / "w",
          "\nslots = 3\naddress-file = ", directory / "address", "\n"));
  RunningProgram worker(Worker({"--config", config}));
  ASSERT_TRUE(worker.WaitUntil([&] {
    return std::filesystem::exists(directory / "address") &&
           worker.err().find("with 3 slots") != std::string::npos;
  })) << worker.err();
  worker.Signal(SIGINT);
  EXPECT_EQ(worker.Wait().exit_code, 0);
}

}  // namespace
}  // namespace millrace
