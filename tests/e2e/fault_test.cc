// Jobs whose user code misbehaves: the run ends with the cause, the place and
// the stack, and leaves neither files nor processes behind.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/e2e/local_run.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kJobFailed = 1;

class FaultTest : public LocalRunTest {
 protected:
  // Two files; the trigger stands at offset 8 of the second.
  FaultTest() {
    WriteInput("a", "plain words\nmore words\n");
    WriteInput("b", "one two\ntrigger\nthree\n");
    CountWords("plain words\nmore words\none two\ntrigger\nthree\n",
               &expected_);
  }

  ProgramResult RunFault(const std::vector<std::string>& arguments,
                         std::vector<std::string> flags = {}) {
    flags.push_back("--");
    flags.insert(flags.end(), arguments.begin(), arguments.end());
    return Run("fault_job", flags);
  }

  // A failed map says where it was.
  void ExpectMapFailure(const ProgramResult& result,
                        const std::vector<std::string>& parts) {
    ExpectFailure(result, kJobFailed, {"map 0", Input("b"), "offset 8"});
    for (const std::string& part : parts)
      EXPECT_THAT(result.err, HasSubstr(part)) << result;
  }

  pid_t ReadPid(const std::string& name) {
    return static_cast<pid_t>(std::stoi(temp_.Read(name)));
  }

  WordCounts expected_;
};

// -------------------------------------------------------------- in a sample

// Maps that give little, of so much input that by itself it would have three
// reduces. The trigger is wherever a sample may be taken.
class SampleTest : public FaultTest {
 protected:
  SampleTest() {
    std::filesystem::remove(Input("a"));
    std::string block;
    while (block.size() < (1 << 20)) {
      block += "trigger\n" + std::string(2000, ' ') + "word\n";
    }
    std::ofstream file(Input("b"), std::ios::binary);
    for (int i = 0; i < 258; ++i) file << block;
    EXPECT_TRUE(file.flush().good()) << "disk full?";
  }
};

TEST_F(SampleTest, TheSampleIsTheReasonThatIsGiven) {
  const ProgramResult result = RunFault({"none"});
  ExpectSuccess(result);
  EXPECT_THAT(result.err, HasSubstr("3 reduces: enough to share the work, "));
  EXPECT_THAT(result.err, HasSubstr(" of map output by a sample (--reducers)"));
}

TEST_F(SampleTest, ACrashInTheSampleCostsTheSampleAlone) {
  const ProgramResult result = RunFault({"first-segfault"});
  ExpectSuccess(result);
  EXPECT_THAT(result.err,
              HasSubstr("3 reduces: one per 128 MiB of input (--reducers)"));
}

TEST_F(SampleTest, AnExceptionInTheSampleIsTheMapsToTell) {
  ExpectFailure(RunFault({"throw"}), kJobFailed, {"map 0", Input("b")});
}

TEST_F(SampleTest, WithOneAttemptItSaysHowToDoWithoutASample) {
  ExpectFailure(RunFault({"throw"}, {"--max-attempts=1"}), kJobFailed,
                {"in the sample", "--reducers"});
}

// --------------------------------------------------------------- exceptions

TEST_F(FaultTest, WithoutFaultTheJobCounts) {
  ExpectSuccess(RunFault({"none"}));
  EXPECT_EQ(ReadCounts(), expected_);
}

TEST_F(FaultTest, ExceptionIsReportedWithPlaceAndStack) {
  const ProgramResult result = RunFault({"throw"});
  ExpectMapFailure(result, {"the record is bad", "std::runtime_error",
                            ", in map, ", "ThrowFromUserCode", "4 attempts"});
}

TEST_F(FaultTest, ExceptionOfAnOddTypeIsReported) {
  ExpectMapFailure(RunFault({"throw-odd"}), {"threw"});
}

TEST_F(FaultTest, ExceptionInProcess) {
  ExpectMapFailure(RunFault({"throw"}, {"--in-process"}),
                   {"the record is bad"});
}

TEST_F(FaultTest, ExceptionInSetupAndCleanup) {
  ExpectFailure(RunFault({"setup"}), kJobFailed,
                {"map 0", "thrown in Setup", ", in setup"});
  ExpectFailure(RunFault({"cleanup"}), kJobFailed,
                {"map 0", "thrown in Cleanup", ", in cleanup"});
}

TEST_F(FaultTest, ExceptionInTheReducerNamesTheKey) {
  const ProgramResult result = RunFault({"reduce"}, {"--reducers=1"});
  ExpectFailure(
      result, kJobFailed,
      {"reduce 0", "the record is bad", ", in reduce, key", "trigger"});
  EXPECT_THAT(result.err, HasSubstr("ThrowFromUserCode")) << result;
}

TEST_F(FaultTest, CounterNamesThatAreNotUtf8AreShownEscaped) {
  ExpectSuccess(RunFault({"counter-bytes"}));
  EXPECT_EQ(ReadCounts(), expected_);
  const std::string manifest = temp_.Read("work/out/_MANIFEST");
  EXPECT_THAT(manifest, HasSubstr(R"("odd\\xff")"));
  EXPECT_THAT(manifest, HasSubstr(R"("n\\xc3me")"));
}

TEST_F(FaultTest, AttemptsAreLimitedByTheFlag) {
  const ProgramResult result = RunFault({"throw"}, {"--max-attempts=1"});
  ExpectMapFailure(result, {"the record is bad"});
  EXPECT_THAT(result.err, Not(HasSubstr("attempts)"))) << result;
}

// ------------------------------------------------------------------- deaths

TEST_F(FaultTest, SegfaultIsReportedWithPlaceAndStack) {
  ExpectMapFailure(RunFault({"segfault"}),
                   {"Segmentation fault", "Segfault", "Tokenize"});
}

TEST_F(FaultTest, SegfaultInTheReducer) {
  const ProgramResult result = RunFault({"reduce-segfault"}, {"--reducers=1"});
  ExpectFailure(result, kJobFailed, {"reduce 0", "Segmentation fault"});
  EXPECT_THAT(result.err, HasSubstr("Segfault")) << result;
}

TEST_F(FaultTest, AbortIsReported) {
  ExpectMapFailure(RunFault({"abort"}), {"Aborted"});
}

TEST_F(FaultTest, EndlessRecursionIsReportedFromAStackOfItsOwn) {
  ExpectMapFailure(RunFault({"stack"}, {"--max-attempts=1"}),
                   {"Segmentation fault", "Recurse"});
}

TEST_F(FaultTest, ExitIsReportedWithItsCode) {
  ExpectMapFailure(RunFault({"exit"}), {"7"});
}

TEST_F(FaultTest, ExitWithSuccessIsAFailureToo) {
  ExpectMapFailure(RunFault({"exit-zero"}), {"0"});
}

// ------------------------------------------------------------------- limits

TEST_F(FaultTest, HangIsKilledAndSaysWhereItHung) {
  const ProgramResult result =
      RunFault({"hang"}, {"--task-timeout=1s", "--max-attempts=1"});
  ExpectMapFailure(result, {"--task-timeout", "Hang"});
  EXPECT_LT(result.elapsed, absl::Seconds(20));
}

TEST_F(FaultTest, EndlessLoopIsKilledAndSaysWhereItWas) {
  ExpectMapFailure(
      RunFault({"spin"}, {"--task-timeout=1s", "--max-attempts=1"}),
      {"--task-timeout", "Spin"});
}

TEST_F(FaultTest, TaskIsKilledWhenItsTimeIsUp) {
  const ProgramResult result =
      RunFault({"spin"}, {"--task-time-limit=1s", "--max-attempts=1"});
  ExpectMapFailure(result, {"--task-time-limit", "Spin"});
  EXPECT_LT(result.elapsed, absl::Seconds(20));
}

TEST_F(FaultTest, FloodOfOutputIsStoppedAtItsLimit) {
  const ProgramResult result =
      RunFault({"flood"}, {"--log-limit=1M", "--max-attempts=1"});
  ExpectMapFailure(result, {"--log-limit", "xxxx"});
  EXPECT_LT(result.err.size(), 100'000u);
  EXPECT_LT(result.elapsed, absl::Seconds(20));
}

TEST_F(FaultTest, FloodIsStoppedAtTheDefaultLimit) {
  ExpectMapFailure(RunFault({"flood"}, {"--max-attempts=1"}), {"--log-limit"});
}

TEST_F(FaultTest, OutputIsStoppedAtItsLimit) {
  // Of one part file, and of all together.
  const uint64_t bytes = 53;
  ExpectFailure(
      RunFault({"none"}, {"--reducers=2", "--output-limit=1"}), kJobFailed,
      {"the part file has more than the 1 byte that ", "--output-limit"});
  ExpectFailure(
      RunFault({"none"}, {"--reducers=2", Cat("--output-limit=", bytes - 1)}),
      kJobFailed,
      {Cat("the part files have ", bytes, " bytes together"),
       Cat("--output-limit allows ", bytes - 1)});
  ExpectSuccess(
      RunFault({"none"}, {"--reducers=2", Cat("--output-limit=", bytes)}));
  EXPECT_EQ(ReadCounts(), expected_);
}

TEST_F(FaultTest, MemoryWithoutEndIsStoppedAtItsLimit) {
  const ProgramResult result =
      RunFault({"memory"}, {"--memory-limit=200M", "--max-attempts=1"});
  ExpectMapFailure(result, {"--memory-limit"});
  // Watched by polling, so not exact.
  EXPECT_LT(result.peak_rss_bytes, uint64_t{1} << 30) << result;
}

// ----------------------------------------------------- what is left behind

TEST_F(FaultTest, ChildrenLeftBehindAreKilled) {
  for (const char* fault : {"child", "child-setsid"}) {
    SCOPED_TRACE(fault);
    const std::string pid_file = Cat("pid-", fault);
    ExpectSuccess(RunFault({fault, temp_ / pid_file}));
    EXPECT_EQ(ReadCounts(), expected_);
    EXPECT_TRUE(ProcessEnds(ReadPid(pid_file), absl::ZeroDuration()));
    RemoveOutput();
  }
}

TEST_F(FaultTest, ChildrenOfACrashedTaskAreKilled) {
  const ProgramResult result = RunFault({"child-crash", temp_ / "pid"});
  ExpectMapFailure(result, {"Segmentation fault"});
  EXPECT_TRUE(ProcessEnds(ReadPid("pid"), absl::ZeroDuration()));
}

// -------------------------------------------------------------- partitioner

TEST_F(FaultTest, PartitionOutOfRangeIsReported) {
  for (const char* fault : {"high", "low"}) {
    SCOPED_TRACE(fault);
    ProgramOptions options =
        Command("fault_job", {"--reducers=3", "--", "none"});
    options.environment = {Cat("MILLRACE_TEST_PARTITION=", fault)};
    ExpectFailure(RunProgram(options), kJobFailed,
                  {"map 0", "partition", fault[0] == 'l' ? "-1" : "3"});
  }
}

// ------------------------------------------------------------------ retries

class RetryTest : public FaultTest,
                  public ::testing::WithParamInterface<std::string> {};

TEST_P(RetryTest, OneFailureDoesNotChangeTheResult) {
  const ProgramResult result =
      RunFault({Cat("first-", GetParam()), temp_ / "pid"},
               {"--task-timeout=1s", "--log-limit=1M", "--memory-limit=200M"});
  ExpectSuccess(result);
  EXPECT_EQ(ReadCounts(), expected_);
  EXPECT_THAT(result.err, HasSubstr(" failed attempt")) << result;
}

INSTANTIATE_TEST_SUITE_P(Faults, RetryTest,
                         ::testing::Values("throw", "segfault", "abort", "exit",
                                           "hang", "flood", "memory", "setup",
                                           "cleanup", "reduce"),
                         [](const auto& instance) { return instance.param; });

// --------------------------------------------------------------------- logs

TEST_F(FaultTest, LogsOfTheFailureAreKeptWhereAsked) {
  const ProgramResult result =
      RunFault({"flood"}, {"--log-limit=1M", "--max-attempts=1",
                           Cat("--keep-logs=", temp_ / "logs")});
  ExpectMapFailure(result, {});
  ASSERT_THAT(temp_.Names("logs"), ::testing::ElementsAre("map-0.log"));
  const std::string log = temp_.Read("logs/map-0.log");
  EXPECT_THAT(log, ::testing::StartsWith("xxxx"));
  EXPECT_LE(log.size(), 2u << 20);
}

// --------------------------------------------------- damaged map output files

class DamageTest : public LocalRunTest,
                   public ::testing::WithParamInterface<std::string> {
 protected:
  DamageTest() {
    std::string text;
    for (int i = 0; i < 60'000; ++i) text += Cat("word-", i, " common\n");
    WriteInput("f", text);
    CountWords(text, &expected_);
  }
  WordCounts expected_;
};

TEST_P(DamageTest, LostMapOutputIsMadeAgain) {
  const ProgramResult result =
      Run("fault_job", {"--slots=1", "--reducers=2", "--split-bytes=500K", "--",
                        Cat("damage-", GetParam()), temp_ / "work"});
  ExpectSuccess(result);
  EXPECT_EQ(ReadCounts(), expected_) << result;
}

INSTANTIATE_TEST_SUITE_P(Places, DamageTest,
                         // Thousandths of the file: header of the first block,
                         // payloads, the index at the end.
                         ::testing::Values("0", "1", "10", "250", "500", "501",
                                           "600", "750", "900", "990", "999",
                                           "1000", "cut", "remove"),
                         [](const auto& instance) {
                           return "at_" + instance.param;
                         });

TEST_F(DamageTest, DamageWithoutEndFailsTheJob) {
  const ProgramResult result =
      Run("fault_job",
          {"--slots=1", "--reducers=2", "--", "tamper-900", temp_ / "work"});
  ExpectFailure(result, kJobFailed, {".map", "--scratch"});
}

// ------------------------------------------------------------- interruption

class InterruptTest : public FaultTest,
                      public ::testing::WithParamInterface<int> {};

TEST_P(InterruptTest, LeavesNothing) {
  RunningProgram running(
      Command("fault_job", {"--slots=2", "--", "hang", temp_ / "pid"}));
  ASSERT_TRUE(running.WaitUntil(
      [&] { return std::filesystem::exists(temp_ / "pid"); }));
  running.Signal(GetParam());
  const ProgramResult result = running.Wait();
  ExpectFailure(result, 130, {"interrupted"});
  EXPECT_TRUE(ProcessEnds(ReadPid("pid"), absl::ZeroDuration()));
  EXPECT_LT(result.elapsed, absl::Seconds(30));
}

INSTANTIATE_TEST_SUITE_P(Signals, InterruptTest,
                         ::testing::Values(SIGINT, SIGTERM, SIGHUP));

// As under nohup: the terminal may close, the run goes on.
TEST_F(FaultTest, HangUpThatIsIgnoredStaysIgnored) {
  ASSERT_EQ(mkfifo((temp_ / "pid.go").c_str(), 0666), 0);
  std::fstream go(temp_ / "pid.go");  // Both ends, so that nobody waits here.
  ProgramOptions options = Command("fault_job", {"--", "wait", temp_ / "pid"});
  options.argv.insert(options.argv.begin(),
                      {"/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"});
  RunningProgram running(options);
  ASSERT_TRUE(running.WaitUntil(
      [&] { return std::filesystem::exists(temp_ / "pid"); }));
  running.Signal(SIGHUP);
  go << "go" << std::flush;
  ExpectSuccess(running.Wait());
  EXPECT_EQ(ReadCounts(), expected_);
}

TEST_F(FaultTest, FewDescriptorsToBeginWithAreEnough) {
  ProgramOptions options =
      Command("fault_job", {"--slots=12", "--split-bytes=1", "--", "none"});
  options.argv.insert(options.argv.begin(),
                      {"/bin/sh", "-c", "ulimit -S -n 40; exec \"$@\"", "sh"});
  ExpectSuccess(RunProgram(options));
  EXPECT_EQ(ReadCounts(), expected_);
}

// One reduce reads the outputs of more maps than it may open at once.
TEST_F(FaultTest, FewDescriptorsMakeMorePassesOfAMerge) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "word other\n";
  WriteInput("many", text);
  CountWords(text, &expected_);
  ProgramOptions options =
      Command("fault_job", {"--slots=1", "--reducers=1", "--split-bytes=20",
                            "--max-attempts=2", "--", "none"});
  options.argv.insert(options.argv.begin(),
                      {"/bin/sh", "-c", "ulimit -n 40; exec \"$@\"", "sh"});
  ExpectSuccess(RunProgram(options));
  EXPECT_EQ(ReadCounts(), expected_);
}

TEST_F(FaultTest, TooFewDescriptorsAreCalledSo) {
  ProgramOptions options = Command(
      "fault_job",
      {"--slots=12", "--split-bytes=1", "--max-attempts=2", "--", "none"});
  options.argv.insert(options.argv.begin(),
                      {"/bin/sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"});
  ExpectFailure(RunProgram(options), kJobFailed,
                {"Too many open files", "ulimit -n"});
}

// Nobody comes back to see that the run was interrupted.
TEST_F(FaultTest, SecondInterruptEndsOneThatHangsInProcess) {
  RunningProgram running(
      Command("fault_job", {"--in-process", "--", "hang", temp_ / "pid"}));
  ASSERT_TRUE(running.WaitUntil(
      [&] { return std::filesystem::exists(temp_ / "pid"); }));
  EXPECT_FALSE(running.WaitUntil([&] {
    running.Signal(SIGINT);
    return false;
  }));
  EXPECT_EQ(running.Wait().signal, SIGINT);
}

// Else a file of the job would be descriptor 1 or 2, and get what is printed.
TEST_F(FaultTest, ClosedStandardDescriptorsAreNotTakenForFiles) {
  ProgramOptions options = Command("fault_job", {"--", "hang", temp_ / "pid"});
  options.argv.insert(options.argv.begin(),
                      {"/bin/sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"});
  RunningProgram running(options);
  ASSERT_TRUE(running.WaitUntil(
      [&] { return std::filesystem::exists(temp_ / "pid"); }));
  for (int fd = 0; fd <= 2; ++fd) {
    EXPECT_EQ(
        std::filesystem::read_symlink(Cat("/proc/", running.pid(), "/fd/", fd)),
        "/dev/null");
  }
  running.Signal(SIGTERM);
  EXPECT_EQ(running.Wait().exit_code, 130);
}

TEST_F(FaultTest, TasksEndWithARunThatWasKilled) {
  RunningProgram running(
      Command("fault_job", {"--slots=2", "--", "hang", temp_ / "pid"}));
  ASSERT_TRUE(running.WaitUntil(
      [&] { return std::filesystem::exists(temp_ / "pid"); }));
  running.Signal(SIGKILL);
  EXPECT_EQ(running.Wait().signal, SIGKILL);
  EXPECT_TRUE(ProcessEnds(ReadPid("pid"), absl::Seconds(20)));
  EXPECT_FALSE(std::filesystem::exists(output()));
}

// ------------------------------------------------------------- output commit

// The rename is done, and the disk says that its directory cannot be synced.
class UnsyncedOutputTest : public FaultTest {
 protected:
  ProgramResult RunUnsynced(int times) {
    ProgramOptions options = Command("wordcount", {});
    options.environment = {
        Cat("LD_PRELOAD=", MILLRACE_FAILING_FSYNC),
        // Where the program is one of the sanitizer's.
        "ASAN_OPTIONS=verify_asan_link_order=0",
        Cat("MILLRACE_FAIL_FSYNC_OF=",
            std::filesystem::canonical(temp_.path()).string(), "/work"),
        "MILLRACE_FAIL_FSYNC_WITH=out",
        Cat("MILLRACE_FAIL_FSYNC_TIMES=", times)};
    return RunProgram(options);
  }
};

TEST_F(UnsyncedOutputTest, IsTriedAgain) {
  ExpectSuccess(RunUnsynced(1));
  EXPECT_EQ(ReadCounts(), expected_);
}

TEST_F(UnsyncedOutputTest, IsNoSuccessAndTheMessageSaysWhereTheOutputIs) {
  ExpectFailure(RunUnsynced(1000), kJobFailed,
                {output(), "complete and in its place", "power cut",
                 "Input/output error"},
                /*left=*/{"out"});
  EXPECT_EQ(ReadCounts(), expected_);
  const ProgramResult verified = RunProgram(
      {.argv = {Cat(MILLRACE_BIN_DIR, "/millrace"), "verify", output()}});
  EXPECT_EQ(verified.exit_code, 0) << verified;
}

}  // namespace
}  // namespace millrace
