// Jobs that harm themselves, and inputs, outputs and stores that fail them: on
// a cluster the job ends with the cause, the place and the stack, its worker
// goes on, and nothing is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "common/strings.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

class BadJobTest : public Refusals {
 protected:
  static constexpr uint64_t kOutputBytes = 53;  // Of that input's counts.

  // Two files; the trigger stands at offset 8 of the second.
  BadJobTest() {
    data_.Write("input/a", "plain words\nmore words\n");
    data_.Write("input/b", "one two\ntrigger\nthree\n");
    std::filesystem::permissions(data_.path(), std::filesystem::perms::all);
  }

  ProgramResult SubmitFault(const std::vector<std::string>& arguments,
                            const std::vector<std::string>& flags = {}) {
    std::vector<std::string> words = {
        "submit",   MILLRACE_FAULT_JOB, "--input",    data_ / "input",
        "--output", data_ / "out",      "--reducers", "2"};
    words.insert(words.end(), flags.begin(), flags.end());
    words.push_back("--");
    words.insert(words.end(), arguments.begin(), arguments.end());
    return cluster_->Cli(words);
  }
  // The map fails at the trigger; nothing of the job is left.
  void ExpectMapFailure(const ProgramResult& result,
                        const std::vector<std::string>& parts) {
    ExpectFailure(result, kJobFailed, {"m0/", "input/b", "offset 8"});
    ExpectFailure(result, kJobFailed, parts);
    ExpectNothingBeside("out");
    EXPECT_TRUE(WaitUntil(
        [&] { return std::filesystem::is_empty(cluster_->SpoolOf(0)); }));
  }
  pid_t ReadPid(const std::string& name) {
    return static_cast<pid_t>(std::stoi(data_.Read(name)));
  }
  // Prefix of a worker without privileges.
  static std::vector<std::string> AsNobody() {
    return {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
            "--clear-groups"};
  }
};

TEST_F(BadJobTest, UserCodeThatFails) {
  StartCluster({.workers = 1});
  ExpectMapFailure(SubmitFault({"throw"}, {"--max-attempts", "2"}),
                   {"USER_EXCEPTION", "the record is bad", "std::runtime_error",
                    "ThrowFromUserCode", "m0/1"});
  ExpectMapFailure(SubmitFault({"segfault"}, {"--max-attempts", "1"}),
                   {"CRASHED", "Segmentation fault", "Segfault"});
  ExpectMapFailure(SubmitFault({"exit"}, {"--max-attempts", "1"}),
                   {"EXITED", "7"});
  ExpectMapFailure(SubmitFault({"exit-zero"}, {"--max-attempts", "1"}),
                   {"EXITED", "0"});
  ExpectMapFailure(SubmitFault({"throw-odd"}, {"--max-attempts", "1"}),
                   {"USER_EXCEPTION", "threw"});
  ExpectMapFailure(SubmitFault({"abort"}, {"--max-attempts", "1"}),
                   {"CRASHED", "Aborted"});
  // From a stack of its own.
  ExpectMapFailure(SubmitFault({"stack"}, {"--max-attempts", "1"}),
                   {"CRASHED", "Segmentation fault", "Recurse"});
  ExpectFailure(SubmitFault({"setup"}, {"--max-attempts", "1"}), kJobFailed,
                {"USER_EXCEPTION", "m0/", "thrown in Setup", "in setup"});
  ExpectFailure(SubmitFault({"cleanup"}, {"--max-attempts", "1"}), kJobFailed,
                {"USER_EXCEPTION", "m0/", "thrown in Cleanup", "in cleanup"});
  ExpectFailure(SubmitFault({"reduce-segfault"}, {"--max-attempts", "1"}),
                kJobFailed, {"CRASHED", "Segmentation fault", "in reduce"});
  ExpectFailure(
      SubmitFault({"reduce"}, {"--max-attempts", "1"}), kJobFailed,
      {"USER_EXCEPTION", "the record is bad", "in reduce, key", "trigger"});
  ExpectNothingBeside("out");
  ExpectClusterWorks();
}

TEST_F(BadJobTest, UserCodeThatExceedsItsLimits) {
  StartCluster({.workers = 1});
  ExpectMapFailure(SubmitFault({"hang", data_ / "pid"},
                               {"--task-timeout", "1s", "--max-attempts", "1"}),
                   {"TASK_TIMEOUT", "--task-timeout", "Hang"});
  EXPECT_TRUE(ProcessEnds(ReadPid("pid"), absl::ZeroDuration()));
  ExpectMapFailure(
      SubmitFault({"flood"}, {"--log-limit", "1M", "--max-attempts", "1"}),
      {"LOG_LIMIT", "--log-limit", "xxxx"});
  ExpectMapFailure(SubmitFault({"memory"}, {"--memory-limit", "200M",
                                            "--max-attempts", "1"}),
                   {"MEMORY_LIMIT", "--memory-limit"});
  ExpectFailure(SubmitFault({"none"}, {"--output-limit", "1"}), kJobFailed,
                {"OUTPUT_LIMIT", "--output-limit", "the part file"});
  // Each part file is shorter, both together are not.
  ExpectFailure(
      SubmitFault({"none"}, {"--output-limit", Cat(kOutputBytes - 1)}),
      kJobFailed,
      {"OUTPUT_LIMIT", "--output-limit",
       Cat("the part files have ", kOutputBytes, " bytes")});
  ExpectNothingBeside("out");
  ExpectClusterWorks();
}

TEST_F(BadJobTest, WhatFailedAttemptsPrintedCanBeRead) {
  StartCluster({.workers = 1});
  const ProgramResult submitted =
      cluster_->Cli({"submit", MILLRACE_FAULT_JOB, "--input", data_ / "input",
                     "--output", data_ / "out", "--log-limit", "100K",
                     "--max-attempts", "2", "--detach", "--", "flood"});
  const std::string job = submitted.out.substr(0, 32);
  EXPECT_EQ(cluster_->Cli({"wait", job}).exit_code, kJobFailed) << submitted;
  for (const bool restarted : {false, true}) {
    SCOPED_TRACE(restarted ? "by a master that was started again" : "at once");
    if (restarted) cluster_->RestartMaster();
    const ProgramResult logs = cluster_->Cli({"logs", job, "--task", "m0"});
    EXPECT_EQ(logs.exit_code, 0) << logs.err;
    EXPECT_THAT(logs.out, testing::HasSubstr("==> m0/0 on w0 <==\nxxxx"));
    EXPECT_THAT(logs.out, testing::HasSubstr("==> m0/1 on w0 <==\nxxxx"));
  }
  // A task that hangs prints nothing; its log says where it was.
  const std::string hung =
      cluster_
          ->Cli({"submit", MILLRACE_FAULT_JOB, "--input", data_ / "input",
                 "--output", data_ / "out", "--task-timeout", "1s",
                 "--max-attempts", "1", "--detach", "--", "hang",
                 data_ / "pid"})
          .out.substr(0, 32);
  EXPECT_EQ(cluster_->Cli({"wait", hung}).exit_code, kJobFailed);
  const ProgramResult where = cluster_->Cli({"logs", hung, "--task", "m0"});
  EXPECT_THAT(where.out, testing::HasSubstr("no progress for 1s"));
  EXPECT_THAT(where.out, testing::HasSubstr("Hang"));
}

TEST_F(BadJobTest, WhatAttemptsOfAnEndedJobPrintedCanBeRead) {
  StartCluster({.workers = 1});
  const ProgramResult well =
      cluster_->Cli({"submit", MILLRACE_FAULT_JOB, "--input", data_ / "input",
                     "--output", data_ / "well", "--detach", "--", "speak"});
  const std::string job = well.out.substr(0, 32);
  EXPECT_EQ(cluster_->Cli({"wait", job}).exit_code, 0) << well;
  const ProgramResult logs = cluster_->Cli({"logs", job});
  EXPECT_EQ(logs.exit_code, 0) << logs;
  EXPECT_THAT(logs.out,
              testing::HasSubstr("==> m0/0 on w0 <==\nmet the trigger\n"));
  EXPECT_THAT(logs.out, testing::Not(testing::HasSubstr("r0")))
      << "it was silent";
  EXPECT_EQ(cluster_->Cli({"logs", job, "--task", "m0"}).out,
            "met the trigger\n");
  // They outlive the worker's process.
  EXPECT_EQ(cluster_->worker(0).Stop(), 0);
  cluster_->worker(0).Start();
  EXPECT_TRUE(WaitUntil([&] {
    return cluster_->Cli({"logs", job, "--task", "m0"}).out ==
           "met the trigger\n";
  }));
  // What is kept no more.
  std::filesystem::remove_all(cluster_->Path(Cat("w0/logs/", job)));
  ExpectFailure(cluster_->Cli({"logs", job}), kNotFound,
                {job.substr(0, 8), "no log", "is kept"});
}

TEST_F(BadJobTest, ChildrenThatATaskLeavesAreKilled) {
  StartCluster({.workers = 1});
  for (const char* fault : {"child", "child-setsid"}) {
    SCOPED_TRACE(fault);
    const ProgramResult result = SubmitFault({fault, data_ / "pid"});
    EXPECT_EQ(result.exit_code, 0) << result;
    EXPECT_TRUE(ProcessEnds(ReadPid("pid"), absl::ZeroDuration()));
    std::filesystem::remove(data_ / "pid");
    std::filesystem::remove_all(data_ / "out");
  }
  ExpectMapFailure(
      SubmitFault({"child-crash", data_ / "pid"}, {"--max-attempts", "1"}),
      {"Segmentation fault"});
  EXPECT_TRUE(ProcessEnds(ReadPid("pid"), absl::Seconds(10)));
  ExpectClusterWorks();
}

TEST_F(BadJobTest, PartitionerThatReturnsNonsense) {
  for (const auto& [fault, shown] :
       {std::pair("high", "2"), std::pair("low", "-1")}) {
    SCOPED_TRACE(fault);
    StartCluster({.workers = 1,
                  .worker_prefix = {"/usr/bin/env",
                                    Cat("MILLRACE_TEST_PARTITION=", fault)}});
    ExpectFailure(SubmitFault({"none"}, {"--max-attempts", "1"}), kJobFailed,
                  {"m0/", "BAD_PARTITION", Cat("in partition ", shown, " of 2"),
                   "\"trigger\"", "in spill"});
    ExpectNothingBeside("out");
    ExpectClusterWorks();
    cluster_.reset();
    std::filesystem::remove_all(data_ / "afterwards");
  }
}

// Reduce 0 damages what reduce 1 reads: every kind of byte.
TEST_F(BadJobTest, MapOutputsDamagedOnDiskAreMadeAgain) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += Cat("word-", i, " common\n");
  data_.Write("input/a", text);
  StartCluster({.workers = 1});
  ASSERT_EQ(SubmitFault({"none"}).exit_code, 0);
  std::string expected;
  for (int i = 0; i < 2; ++i) expected += data_.Read(Cat("out/part-0000", i));
  for (const char* place :
       {"0", "1", "500", "900", "999", "1000", "cut", "remove"}) {
    SCOPED_TRACE(place);
    std::filesystem::remove_all(data_ / "out");
    const ProgramResult result =
        SubmitFault({Cat("damage-", place), cluster_->SpoolOf(0)},
                    {"--split-bytes", "200K"});
    ASSERT_EQ(result.exit_code, 0) << result;
    std::string got;
    for (int i = 0; i < 2; ++i) got += data_.Read(Cat("out/part-0000", i));
    EXPECT_TRUE(got == expected);
  }
}

// ------------------------------------------------------- inputs and outputs

class ChangedInputTest
    : public BadJobTest,
      public testing::WithParamInterface<std::tuple<std::string, std::string>> {
};

TEST_P(ChangedInputTest, FailsAndNamesTheFile) {
  const auto& [fault, file] = GetParam();
  std::string text = "trigger\n";
  for (int i = 0; i < 300'000; ++i) text += Cat("word-", i % 1000, "\n");
  data_.Write("input/a", text);
  data_.Write("input/b", text.substr(8));
  StartCluster({.workers = 1});
  const std::string path = data_ / Cat("input/", file);
  ExpectFailure(SubmitFault({fault, path}, {"--split-bytes", "100M"}),
                kJobFailed, {path});
  ExpectNothingBeside("out");
  ExpectClusterWorks();
}

INSTANTIATE_TEST_SUITE_P(
    Faults, ChangedInputTest,
    // "a" is the file being read when it happens, "b" the one after it.
    testing::Values(std::tuple("truncate", "a"), std::tuple("grow", "a"),
                    std::tuple("remove", "b"), std::tuple("replace", "b")),
    [](const auto& instance) {
      return std::get<0>(instance.param) + "_" + std::get<1>(instance.param);
    });

TEST_F(BadJobTest, FilesThatTheWorkerMayNotRead) {
  if (geteuid() != 0) GTEST_SKIP() << "needs a worker of another user";
  chmod(data_.Write("input/secret", "b\n").c_str(), 0);
  StartCluster({.workers = 1, .worker_prefix = AsNobody()});
  ExpectFailure(SubmitFault({"none"}), kJobFailed,
                {"INPUT_UNREADABLE", "input/secret", "Permission denied"});
  std::filesystem::create_directory(data_ / "input/closed");
  ASSERT_EQ(chmod((data_ / "input/closed").c_str(), 0), 0);
  ExpectFailure(SubmitFault({"none"}), kRefused,
                {"INPUT_UNREADABLE", "input/closed", "Permission denied"});
  ExpectNothingBeside("out");
  EXPECT_TRUE(cluster_->worker(0).running());
}

TEST_F(BadJobTest, DirectoryThatTheWorkerMayNotWrite) {
  if (geteuid() != 0) GTEST_SKIP() << "needs a worker of another user";
  std::filesystem::create_directory(data_ / "closed");
  ASSERT_EQ(chmod((data_ / "closed").c_str(), 0555), 0);
  StartCluster({.workers = 1, .worker_prefix = AsNobody()});
  ExpectFailure(
      cluster_->Cli({"submit", MILLRACE_FAULT_JOB, "--input", data_ / "input",
                     "--output", data_ / "closed/out", "--", "none"}),
      kRefused, {"OUTPUT_FAILED", "closed/out", "Permission denied"});
  EXPECT_TRUE(std::filesystem::is_empty(data_ / "closed"));
  EXPECT_TRUE(cluster_->worker(0).running());
}

TEST_F(BadJobTest, OutputThatAppearsWhileTheJobRuns) {
  StartCluster({.workers = 1});
  ExpectFailure(SubmitFault({"make-directory", data_ / "out"}), kRefused,
                {"OUTPUT_EXISTS", data_ / "out"});
  EXPECT_TRUE(std::filesystem::is_empty(data_ / "out"));
  EXPECT_TRUE(WaitUntil([&] { return Beside("out").size() == 1; }));
  ExpectClusterWorks();
}

TEST_F(BadJobTest, OutputOnAFullDisk) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += Cat("word-number-", i, "\n");
  data_.Write("input/a", text);
  std::filesystem::create_directory(data_ / "small");
  // The worker alone sees the small file system.
  const std::string script = Cat("mount -t tmpfs -o size=1m millrace-test '",
                                 data_ / "small", "' || exit 99; exec \"$@\"");
  std::vector<std::string> prefix = {"/usr/bin/unshare", "--mount"};
  if (geteuid() != 0) prefix.push_back("--map-root-user");
  prefix.insert(prefix.end(), {"/bin/sh", "-c"});
  std::vector<std::string> probe = prefix;
  probe.insert(probe.end(), {script, "sh", "/bin/true"});
  ProgramOptions options;
  options.argv = probe;
  if (RunProgram(options).exit_code != 0) {
    GTEST_SKIP() << "cannot mount a file system here";
  }
  prefix.insert(prefix.end(), {script, "sh"});
  StartCluster({.workers = 1, .worker_prefix = prefix});
  std::vector<std::string> words = {"submit",     MILLRACE_FAULT_JOB,
                                    "--input",    data_ / "input",
                                    "--output",   data_ / "small/out",
                                    "--reducers", "1",
                                    "--detach",   "--",
                                    "none"};
  ProgramResult submitted = cluster_->Cli(words);
  ASSERT_EQ(submitted.exit_code, 0) << submitted;
  const std::string job = submitted.out.substr(0, 32);
  // A full disk may be emptied, so the task is tried again and again; what it
  // waits for is said.
  EXPECT_TRUE(WaitUntil([&] {
    return StatusText(job, "waiting_for").find("No space left on device") !=
           std::string::npos;
  })) << StatusText(job, "waiting_for");
  EXPECT_EQ(cluster_->Cli({"kill", job}).exit_code, 0);
  ExpectClusterWorks();
}

TEST_F(BadJobTest, WrongFlagsAreUsageErrors) {
  StartCluster({.workers = 1});
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--frobnicate"}, "--frobnicate"},
      {{"--memory=lots"}, "--memory"},
      {{"--memory=1K"}, "--memory"},
      {{"--reducers=1000000"}, "--reducers"},
      {{"--split-bytes=x"}, "--split-bytes"},
      {{"--task-timeout=soon"}, "--task-timeout"},
      {{"--max-attempts=0"}, "--max-attempts"},
      {{"--codec=rar"}, "--codec"},
      {{"--side-file=noname"}, "--side-file"},
      {{"--input="}, "--input"}};
  for (const auto& [flags, named] : cases) {
    SCOPED_TRACE(flags[0]);
    const ProgramResult result = SubmitFault({"none"}, flags);
    EXPECT_EQ(result.exit_code, kUsage) << result;
    EXPECT_THAT(result.err, testing::HasSubstr(named)) << result;
  }
  ExpectFailure(
      cluster_->Cli({"submit", MILLRACE_FAULT_JOB, "--input", data_ / "input"}),
      kUsage, {"--output"});
  ExpectNothingBeside("out");
  ExpectClusterWorks();
}

}  // namespace
}  // namespace millrace
