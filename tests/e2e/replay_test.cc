// An attempt that failed runs again from its bundle, wherever that is taken: it
// stops at the same record with the same stack.
#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/file_system.h"
#include "common/strings.h"
#include "tests/e2e/local_run.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kJobFailed = 1;
constexpr int kUsage = 2;
constexpr int kNotFound = 4;
constexpr int kRefused = 5;

class ReplayTest : public LocalRunTest {
 protected:
  // Many splits, so that the bad record is in the middle of one in the middle.
  ReplayTest() {
    std::string text;
    for (int i = 0; i < 2000; ++i) {
      if (i == 1234) {
        offset_ = text.size();
        text += "!segfault here\n";
      }
      text += Cat("word", i, " and more\n");
    }
    WriteInput("b", text);
    WriteInput("a", "some words\n");
  }

  std::string bundle() const { return temp_ / "bundle"; }

  ProgramResult Fail(const std::string& program, std::vector<std::string> flags,
                     const std::string& shape = "combine") {
    flags.push_back(Cat("--keep-bundle=", bundle()));
    flags.push_back("--max-attempts=1");
    ProgramOptions options = Command(program, flags);
    options.environment.push_back(Cat("MILLRACE_TEST_SHAPE=", shape));
    return RunProgram(options);
  }
  // On what is as good as another machine: the bundle alone, elsewhere.
  std::string TakeAway() {
    const std::string elsewhere = temp_ / "elsewhere/taken";
    std::filesystem::create_directories(temp_ / "elsewhere");
    std::filesystem::copy(bundle(), elsewhere,
                          std::filesystem::copy_options::recursive);
    std::filesystem::remove_all(bundle());
    std::filesystem::remove_all(Input());
    return elsewhere;
  }
  ProgramResult Replay(const std::vector<std::string>& words,
                       const std::string& shape = "combine") {
    ProgramOptions options;
    options.argv = {JoinPath(MILLRACE_BIN_DIR, "millrace"), "replay"};
    options.argv.insert(options.argv.end(), words.begin(), words.end());
    options.environment.push_back(Cat("MILLRACE_TEST_SHAPE=", shape));
    options.deadline = absl::Seconds(120);
    return RunProgram(options);
  }
  // The lines of the stack.
  static std::vector<std::string> StackOf(const ProgramResult& result) {
    std::vector<std::string> stack;
    for (const absl::string_view line : absl::StrSplit(result.err, '\n')) {
      if (line.substr(0, 7) == "    at ") stack.emplace_back(line);
    }
    return stack;
  }

  uint64_t offset_ = 0;
};

TEST_F(ReplayTest, AMapStopsAtTheSameRecordWithTheSameStack) {
  for (const std::string shape : {"combine", "reduce", "map-only"}) {
    SCOPED_TRACE(shape);
    const ProgramResult failed =
        Fail("poison_job", {"--split-bytes=3000"}, shape);
    ExpectFailure(failed, kJobFailed, {"Segmentation fault"});
    const std::string place =
        Cat(", in map, ", Input("b"), " offset ", offset_, " (record ");
    EXPECT_THAT(failed.err, HasSubstr(place)) << failed;
    EXPECT_THAT(failed.err, HasSubstr("millrace replay ")) << failed;
    const std::string input = temp_.Read("in/b");
    const std::string taken = TakeAway();
    for (int i = 0; i < 2; ++i) {
      const ProgramResult replayed = Replay({taken}, shape);
      EXPECT_EQ(replayed.exit_code, kJobFailed) << replayed;
      EXPECT_EQ(ErrorLine(failed).substr(ErrorLine(failed).find("map ")),
                ErrorLine(replayed).substr(ErrorLine(replayed).find("map ")));
      EXPECT_EQ(StackOf(failed), StackOf(replayed));
      EXPECT_THAT(StackOf(replayed), Not(testing::IsEmpty()));
    }
    std::filesystem::remove_all(temp_ / "elsewhere");
    std::filesystem::create_directories(Input());
    WriteInput("b", input);
  }
}

TEST_F(ReplayTest, ASplitIsALittlePartOfALargeFile) {
  Fail("poison_job", {"--split-bytes=3000"});
  uint64_t copied = 0;
  for (const auto& entry : std::filesystem::directory_iterator(bundle())) {
    if (entry.path().filename().string().rfind("input-", 0) == 0) {
      copied += entry.file_size();
    }
  }
  EXPECT_GE(copied, 2000u);
  EXPECT_LE(copied, 6000u);
}

TEST_F(ReplayTest, AReduceStopsAtTheSameValueWithTheSameStack) {
  WriteInput("b", "alpha zulu\n!reduce x\n");
  const ProgramResult failed =
      Fail("poison_job", {"--reducers=2", "--split-bytes=8"}, "reduce");
  ExpectFailure(failed, kJobFailed,
                {"Segmentation fault", ", in reduce, key \"boom\""});
  const ProgramResult replayed = Replay({TakeAway()}, "reduce");
  EXPECT_EQ(replayed.exit_code, kJobFailed) << replayed;
  EXPECT_EQ(ErrorLine(failed).substr(ErrorLine(failed).find("reduce ")),
            ErrorLine(replayed).substr(ErrorLine(replayed).find("reduce ")));
  EXPECT_EQ(StackOf(failed), StackOf(replayed));
}

TEST_F(ReplayTest, SideFilesAndArgumentsComeAlong) {
  WriteInput("b", "one two\ntrigger\nthree\n");
  const std::string side = temp_.Write("side", "aside");
  const ProgramResult kept = RunProgram(
      Command("fault_job", {Cat("--side-file=s=", side), "--max-attempts=1",
                            Cat("--keep-bundle=", bundle()), "--", "throw"}));
  ExpectFailure(kept, kJobFailed, {"the record is bad"});
  std::filesystem::remove(side);
  const ProgramResult replayed = Replay({TakeAway()});
  EXPECT_EQ(replayed.exit_code, kJobFailed) << replayed;
  EXPECT_THAT(replayed.err, HasSubstr("the record is bad")) << replayed;
  EXPECT_THAT(replayed.err, HasSubstr("offset 8")) << replayed;
}

TEST_F(ReplayTest, UnderADebuggerItRunsInOneProcess) {
  Fail("poison_job", {"--split-bytes=3000"});
  const std::string taken = TakeAway();
  // What --gdb runs under gdb: the crash is the program's own.
  ProgramOptions options;
  options.argv = {taken + "/program", "--millrace-replay", taken,
                  "--in-process"};
  options.deadline = absl::Seconds(60);
  const ProgramResult result = RunProgram(options);
  EXPECT_NE(result.exit_code, 0) << result;
  EXPECT_NE(result.exit_code, kJobFailed) << result;
  const std::string gdb = temp_.Write("bin/gdb", "#!/bin/sh\necho \"$@\"\n");
  std::filesystem::permissions(gdb, std::filesystem::perms::owner_all);
  ProgramOptions with_gdb;
  with_gdb.argv = {JoinPath(MILLRACE_BIN_DIR, "millrace"), "replay", taken,
                   "--gdb"};
  with_gdb.environment = {Cat("PATH=", temp_ / "bin", ":/usr/bin:/bin")};
  with_gdb.deadline = absl::Seconds(60);
  const ProgramResult debugged = RunProgram(with_gdb);
  EXPECT_EQ(debugged.exit_code, 0) << debugged;
  EXPECT_EQ(debugged.out, Cat("--args ", taken, "/program --millrace-replay ",
                              taken, " --in-process\n"));
}

TEST_F(ReplayTest, WhatCannotBeReplayedIsRefused) {
  EXPECT_EQ(Replay({temp_ / "nowhere"}).exit_code, kNotFound);
  std::filesystem::create_directories(temp_ / "empty");
  const ProgramResult empty = Replay({temp_ / "empty"});
  EXPECT_EQ(empty.exit_code, kNotFound) << empty;
  EXPECT_THAT(empty.err, HasSubstr("is no bundle")) << empty;
  EXPECT_EQ(Replay({"6e3b", "x9"}).exit_code, kUsage);
  EXPECT_EQ(Replay({"6e3b", "plan"}).exit_code, kUsage);
  // A bundle is never written over, and needs a place.
  std::filesystem::create_directories(bundle());
  EXPECT_EQ(Fail("poison_job", {}).exit_code, kRefused);
  ProgramOptions options =
      Command("poison_job", {Cat("--keep-bundle=", temp_ / "no/where")});
  EXPECT_EQ(RunProgram(options).exit_code, kNotFound);
}

TEST_F(ReplayTest, AJobThatSucceedsLeavesNone) {
  WriteInput("b", "good words\n");
  const ProgramResult result =
      RunProgram(Command("poison_job", {Cat("--keep-bundle=", bundle())}));
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_FALSE(std::filesystem::exists(bundle()));
}

}  // namespace
}  // namespace millrace
