// Input and output that must be refused or fail: one clear line, the documented
// exit code, nothing left behind.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/file_system.h"
#include "common/strings.h"
#include "tests/e2e/local_run.h"

namespace millrace {
namespace {

constexpr int kJobFailed = 1;
constexpr int kUsage = 2;
constexpr int kNotFound = 4;
constexpr int kRefused = 5;

class BadInputTest : public LocalRunTest {};

// ------------------------------------------------------------------- inputs

TEST_F(BadInputTest, NothingMatches) {
  WriteInput("f.txt", "a\n");
  for (const std::string& pattern :
       {Input("*.log"), Input("**/x/*"), Input("absent"), Input("f.txt/x")}) {
    const ProgramResult result = RunProgram(BareCommand(
        "wordcount", {Cat("--input=", pattern), Cat("--output=", output())}));
    ExpectFailure(result, kNotFound, {BaseName(pattern)});
  }
}

TEST_F(BadInputTest, OneOfSeveralPatternsMatchesNothing) {
  WriteInput("f.txt", "a\n");
  ExpectFailure(Run("wordcount", {Cat("--input=", Input("*.log"))}), kNotFound,
                {"*.log"});
}

TEST_F(BadInputTest, UnreadableFile) {
  WriteInput("a", "a\n");
  chmod(WriteInput("secret", "b\n").c_str(), 0);
  ASSERT_EQ(chmod((temp_ / "work").c_str(), 0777), 0);
  // Met below a directory, where nobody tries to open it before the job does.
  ProgramOptions options = AsOrdinaryUser(Command("wordcount", {}));
  ExpectFailure(RunProgram(options), kJobFailed,
                {"secret", "Permission denied"});
  // Named.
  options.argv.push_back(Cat("--input=", Input("secret")));
  ExpectFailure(RunProgram(options), kRefused, {"secret", "Permission denied"});
}

TEST_F(BadInputTest, UnreadableDirectory) {
  WriteInput("a", "a\n");
  WriteInput("sub/b", "b\n");
  ASSERT_EQ(chmod(Input("sub").c_str(), 0), 0);
  ASSERT_EQ(chmod((temp_ / "work").c_str(), 0777), 0);
  ExpectFailure(RunProgram(AsOrdinaryUser(Command("wordcount", {}))), kRefused,
                {"sub", "Permission denied"});
  chmod(Input("sub").c_str(), 0755);
}

TEST_F(BadInputTest, NotARegularFile) {
  WriteInput("a", "a\n");
  ASSERT_EQ(mkfifo(Input("pipe").c_str(), 0600), 0);
  const ProgramResult result =
      RunProgram(BareCommand("wordcount", {Cat("--input=", Input("pipe")),
                                           Cat("--output=", output())}));
  EXPECT_FALSE(result.timed_out) << "it waits for the pipe";
  ExpectFailure(result, kRefused, {"pipe"});
}

TEST_F(BadInputTest, NoWholeNumberOfRecords) {
  WriteInput("records", std::string(250, 'r'));  // Of 100 bytes.
  ExpectFailure(Run("sort", {}), kRefused,
                {"records has 250 bytes", "whole number of records"});
}

// The mapper changes an input file of its task while the job runs.
class ChangedInputTest : public LocalRunTest,
                         public ::testing::WithParamInterface<
                             std::tuple<std::string, std::string>> {};

TEST_P(ChangedInputTest, FailsAndNamesTheFile) {
  const auto& [fault, file] = GetParam();
  std::string text = "trigger\n";
  for (int i = 0; i < 500'000; ++i) text += Cat("word-", i % 1000, "\n");
  WriteInput("a", text);
  WriteInput("b", text.substr(8));
  const ProgramResult result =
      Run("fault_job", {"--split-bytes=100M", "--", fault, Input(file)});
  ExpectFailure(result, kJobFailed, {Input(file)});
}

INSTANTIATE_TEST_SUITE_P(
    Faults, ChangedInputTest,
    // "a" is the file being read when it happens, "b" the one after it.
    ::testing::Values(std::tuple("truncate", "a"), std::tuple("grow", "a"),
                      std::tuple("truncate", "b"), std::tuple("grow", "b"),
                      std::tuple("remove", "b"), std::tuple("replace", "b")),
    [](const auto& instance) {
      return std::get<0>(instance.param) + "_" + std::get<1>(instance.param);
    });

// ------------------------------------------------------------------- output

class BadOutputTest : public LocalRunTest {
 protected:
  BadOutputTest() { WriteInput("f", "a b a\n"); }
};

TEST_F(BadOutputTest, ExistsAsADirectory) {
  temp_.Write("work/out/precious", "data");
  ExpectFailure(Run("wordcount"), kRefused, {output(), "exist"}, {"out"});
  EXPECT_THAT(temp_.Names("work/out"), ::testing::ElementsAre("precious"));
}

TEST_F(BadOutputTest, ExistsAsAFile) {
  temp_.Write("work/out", "data");
  ExpectFailure(Run("wordcount"), kRefused, {output(), "exist"}, {"out"});
  EXPECT_EQ(temp_.Read("work/out"), "data");
}

TEST_F(BadOutputTest, ExistsAsADanglingLink) {
  std::filesystem::create_symlink("nowhere", output());
  ExpectFailure(Run("wordcount"), kRefused, {output(), "exist"}, {"out"});
}

TEST_F(BadOutputTest, IsNotReplacedByASecondRun) {
  ExpectSuccess(Run("wordcount"));
  const std::string bytes = ReadOutput();
  ExpectFailure(Run("wordcount"), kRefused, {output(), "exist"}, {"out"});
  EXPECT_EQ(ReadOutput(), bytes);
}

// A mapper of this job makes the output directory.
TEST_F(BadOutputTest, AppearsDuringTheRun) {
  WriteInput("f", "trigger\n");
  const ProgramResult result =
      Run("fault_job", {"--", "make-directory", output()});
  // As on a cluster, and as if it had been there from the beginning.
  EXPECT_EQ(result.exit_code, kRefused) << result;
  EXPECT_THAT(ErrorLine(result), ::testing::HasSubstr(output()));
  EXPECT_THAT(temp_.Names("work/out"), ::testing::IsEmpty());
  // The work is not lost: the message says where it is.
  const std::vector<std::string> left = temp_.Names("work");
  ASSERT_EQ(left.size(), 2u) << result;
  EXPECT_THAT(left[1], ::testing::StartsWith("out.millrace-"));
  EXPECT_THAT(ErrorLine(result), ::testing::HasSubstr(left[1] + "/final"));
  EXPECT_THAT(ErrorLine(result), ::testing::StartsWith("fault_job: the job "));
  EXPECT_THAT(temp_.Names(Cat("work/", left[1])),
              ::testing::Not(::testing::Contains("spool")));
  // A move makes it the output.
  std::filesystem::remove(output());
  std::filesystem::rename(temp_ / Cat("work/", left[1], "/final"), output());
  std::filesystem::remove_all(temp_ / Cat("work/", left[1]));
  EXPECT_EQ(ReadCounts(), (WordCounts{{"trigger", 1}}));
  const ProgramResult verified =
      RunProgram(BareCommand("millrace", {"verify", output()}));
  EXPECT_EQ(verified.exit_code, 0) << verified;
}

TEST_F(BadOutputTest, ParentIsMissing) {
  ExpectFailure(RunProgram(BareCommand(
                    "wordcount", {Cat("--input=", Input()),
                                  Cat("--output=", temp_ / "work/no/out")})),
                kRefused, {temp_ / "work/no"});
}

TEST_F(BadOutputTest, ParentIsAFile) {
  temp_.Write("work/file", "");
  ExpectFailure(RunProgram(BareCommand(
                    "wordcount", {Cat("--input=", Input()),
                                  Cat("--output=", temp_ / "work/file/out")})),
                kRefused, {temp_ / "work/file"}, {"file"});
}

TEST_F(BadOutputTest, ParentIsNotWritable) {
  ASSERT_EQ(chmod((temp_ / "work").c_str(), 0555), 0);
  ExpectFailure(RunProgram(AsOrdinaryUser(Command("wordcount", {}))), kRefused,
                {temp_ / "work", "Permission denied"});
  chmod((temp_ / "work").c_str(), 0755);
}

// Runs `command` with a file system of `megabytes` mounted on <temp>/work, and
// reports what was left there.
class FullDiskTest : public LocalRunTest {
 protected:
  FullDiskTest() {
    std::string text;
    for (int i = 0; i < 1'000'000; ++i) text += Cat("word-number-", i, "\n");
    WriteInput("f", text);
    std::filesystem::create_directory(temp_ / "scratch");
  }

  // False: the test may not mount here.
  bool RunOnSmallDisk(int megabytes, const std::vector<std::string>& flags,
                      ProgramResult* result, std::string* left) {
    const std::string script =
        Cat("mount -t tmpfs -o size=", megabytes, "m millrace-test '",
            temp_ / "work", "' || exit 99; \"$@\"; code=$?; ls -A '",
            temp_ / "work", "' > '", temp_ / "left", "'; exit $code");
    ProgramOptions options = Command("wordcount", flags);
    std::vector<std::string> prefix = {"/usr/bin/unshare", "--mount"};
    if (geteuid() != 0) prefix.push_back("--map-root-user");
    prefix.insert(prefix.end(), {"/bin/sh", "-c", script, "sh"});
    options.argv.insert(options.argv.begin(), prefix.begin(), prefix.end());
    *result = RunProgram(options);
    if (!std::filesystem::exists(temp_ / "left")) return false;
    *left = temp_.Read("left");
    return true;
  }
};

TEST_F(FullDiskTest, MapOutputsDoNotFit) {
  ProgramResult result;
  std::string left;
  if (!RunOnSmallDisk(4, {}, &result, &left)) {
    GTEST_SKIP() << "cannot mount a file system here: " << result.err;
  }
  ExpectFailure(result, kJobFailed, {"No space left on device"});
  EXPECT_EQ(left, "");
}

TEST_F(FullDiskTest, PartFilesDoNotFit) {
  ProgramResult result;
  std::string left;
  if (!RunOnSmallDisk(4, {Cat("--scratch=", temp_ / "scratch")}, &result,
                      &left)) {
    GTEST_SKIP() << "cannot mount a file system here: " << result.err;
  }
  ExpectFailure(result, kJobFailed, {"No space left on device"});
  EXPECT_EQ(left, "");
  EXPECT_THAT(temp_.Names("scratch"), ::testing::IsEmpty());
}

TEST_F(FullDiskTest, EnoughRoomIsEnough) {
  ProgramResult result;
  std::string left;
  if (!RunOnSmallDisk(200, {}, &result, &left)) {
    GTEST_SKIP() << "cannot mount a file system here: " << result.err;
  }
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(left, "out\n");
}

// -------------------------------------------------------------------- flags

class WrongFlagsTest : public LocalRunTest,
                       public ::testing::WithParamInterface<
                           std::pair<std::vector<std::string>, std::string>> {};

TEST_P(WrongFlagsTest, AreUsageErrors) {
  const auto& [flags, part] = GetParam();
  WriteInput("f", "a\n");
  std::vector<std::string> with_paths;
  for (std::string flag : flags) {
    if (flag == "IN") flag = Cat("--input=", Input());
    if (flag == "OUT") flag = Cat("--output=", output());
    with_paths.push_back(flag);
  }
  ExpectFailure(RunProgram(BareCommand("wordcount", with_paths)), kUsage,
                {part, "--help"});
}

using Case = std::pair<std::vector<std::string>, std::string>;
INSTANTIATE_TEST_SUITE_P(
    Flags, WrongFlagsTest,
    ::testing::Values(
        Case{{}, "--output"}, Case{{"IN"}, "--output"},
        Case{{"OUT"}, "--input"}, Case{{"OUT", "--input"}, "--input"},
        // What a script writes whose variable is empty.
        Case{{"--input=", "OUT"}, "--input="},
        Case{{"IN", "OUT", "--frobnicate"}, "--frobnicate"},
        Case{{"IN", "OUT", "stray"}, "stray"},
        Case{{"IN", "OUT", "--", "--memory=1G"}, "--memory=1G"},
        Case{{"IN", "OUT", "--memory=lots"}, "--memory"},
        Case{{"IN", "OUT", "--memory=-1"}, "--memory"},
        Case{{"IN", "OUT", "--memory=1K"}, "--memory"},
        Case{{"IN", "OUT", "--memory=99999999999G"}, "--memory"},
        Case{{"IN", "OUT", "--reducers=-1"}, "--reducers"},
        Case{{"IN", "OUT", "--reducers=many"}, "--reducers"},
        Case{{"IN", "OUT", "--reducers=1000000"}, "--reducers"},
        Case{{"IN", "OUT", "--slots=0"}, "--slots"},
        Case{{"IN", "OUT", "--split-bytes=x"}, "--split-bytes"},
        Case{{"IN", "OUT", "--task-timeout=soon"}, "--task-timeout"},
        Case{{"IN", "OUT", "--task-timeout=-5s"}, "--task-timeout"},
        Case{{"IN", "OUT", "--max-attempts=0"}, "--max-attempts"},
        Case{{"IN", "OUT", "--log-limit=?"}, "--log-limit"},
        Case{{"IN", "OUT", "--codec=rar"}, "--codec"},
        Case{{"IN", "OUT", "--side-file=noname"}, "--side-file"}));

// Found before any work is done, not when a task or a failure comes to it.
TEST_F(BadInputTest, PathsOfOtherFlags) {
  WriteInput("f", "a\n");
  const std::string absent = temp_ / "absent";
  ExpectFailure(Run("wordcount", {Cat("--side-file=x=", absent)}), kNotFound,
                {"--side-file", absent});
  ExpectFailure(Run("wordcount", {Cat("--side-file=x=", temp_.path())}), kUsage,
                {"--side-file", temp_.path()});
  ExpectFailure(Run("wordcount", {Cat("--keep-logs=", absent, "/logs")}),
                kNotFound, {"--keep-logs", absent});
  ExpectFailure(Run("wordcount", {Cat("--keep-logs=", Input("f"))}), kNotFound,
                {"--keep-logs", Input("f")});
  ExpectFailure(Run("wordcount", {Cat("--scratch=", absent)}), kRefused,
                {absent});
  // Made when there is something to keep, and not before.
  ExpectSuccess(Run("wordcount", {Cat("--keep-logs=", absent)}));
  EXPECT_FALSE(std::filesystem::exists(absent));
}

TEST_F(BadInputTest, HelpIsNoError) {
  const ProgramResult result = RunProgram(BareCommand("wordcount", {"--help"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, ::testing::HasSubstr("--input"));
  EXPECT_EQ(result.err, "");
}

}  // namespace
}  // namespace millrace
