// What a cluster refuses, and how it says so: the documented exit code, one
// clear line, no daemon hurt, nothing left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/strings.h"
#include "tests/cluster/refusals.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

class RefusalTest : public Refusals {
 protected:
  ProgramResult SubmitProgram(const std::string& program) {
    return cluster_->Cli({"submit", program, "--input", data_ / "in",
                          "--output", data_ / "out"});
  }
};

TEST_F(RefusalTest, ProgramsThatAreNone) {
  StartCluster({.workers = 1});
  ExpectFailure(SubmitProgram(data_ / "nothing"), kNotFound, {"nothing"});
  const std::string text = data_.Write("text", "no program\n");
  ExpectFailure(SubmitProgram(text), kRefused, {"text", "execut"});
  chmod(text.c_str(), 0700);
  ExpectFailure(SubmitProgram(text), kUsage, {"text"});
  ExpectFailure(SubmitProgram("/bin/true"), kUsage, {"/bin/true", "Millrace"});
  const std::string other =
      data_.Write("other",
                  "#!/bin/sh\n"
                  "echo '{\"millrace\": \"99.0\", \"task_protocol\": 99, "
                  "\"name\": \"x\"}'\n");
  chmod(other.c_str(), 0700);
  ExpectFailure(SubmitProgram(other), kUsage, {"other", "99"});
  ExpectNothingBeside("out");
  ExpectClusterWorks();
}

TEST_F(RefusalTest, SharedLibraryThatOnlyTheSubmitterHas) {
  StartCluster({.workers = 1});
  // It describes itself here, and cannot be loaded there.
  ProgramOptions submit =
      cluster_->Command({"submit", MILLRACE_PICKY_JOB, "--input", data_ / "in",
                         "--output", data_ / "out"});
  submit.environment.push_back(
      Cat("LD_LIBRARY_PATH=", MILLRACE_PICKY_LIBRARY_DIR));
  ExpectFailure(RunProgram(submit), kJobFailed,
                {"picky_job", "libpicky.so", "cannot open shared object file"});
  ExpectNothingBeside("out");
  // Nor here, without the directory.
  ExpectFailure(SubmitProgram(MILLRACE_PICKY_JOB), kUsage, {"libpicky.so"});
  ExpectClusterWorks();
}

TEST_F(RefusalTest, InputsAndOutputsThatCannotBe) {
  StartCluster({.workers = 1});
  const auto submit = [&](const std::string& input, const std::string& output) {
    return cluster_->Cli({"submit", MiniCluster::Program("wordcount"),
                          "--input", input, "--output", output});
  };
  ExpectFailure(submit(data_ / "missing", data_ / "out"), kNotFound,
                {"input \"", "missing\"", "no such file"});
  ExpectFailure(submit(data_ / "none-*", data_ / "out"), kNotFound,
                {"none-*\" matches no file"});
  ExpectFailure(submit(data_ / "in", data_ / "in"), kRefused,
                {"output", "in exists"});
  data_.Write("records", std::string(250, 'r'));  // Of 100 bytes.
  ExpectFailure(
      cluster_->Cli({"submit", MiniCluster::Program("sort"), "--input",
                     data_ / "records", "--output", data_ / "out"}),
      kRefused, {"INPUT_UNFIT", "records has 250 bytes"});
  ExpectFailure(submit(data_ / "in", data_ / "no/parent"), kRefused,
                {"no/parent"});
  ExpectFailure(submit(data_ / "in", data_ / "records/out"), kRefused,
                {"records/out"});
  ExpectNothingBeside("out");
  // Nobody waits for somebody to write into it.
  ASSERT_EQ(mkfifo((data_ / "pipe").c_str(), 0600), 0);
  ExpectFailure(submit(data_ / "pipe", data_ / "out"), kRefused, {"pipe"});
  ExpectNothingBeside("out");
  std::filesystem::create_symlink("nowhere", data_ / "out");
  ExpectFailure(submit(data_ / "in", data_ / "out"), kRefused, {"out exists"});
  EXPECT_EQ(std::filesystem::read_symlink(data_ / "out"), "nowhere");
  std::filesystem::remove(data_ / "out");
  ExpectClusterWorks();
}

TEST_F(RefusalTest, UserCodeThatThrowsNamesThePlace) {
  StartCluster({.workers = 1});
  // behaviour_job without its arguments.
  const ProgramResult result =
      cluster_->Cli({"submit", MILLRACE_BEHAVIOUR_JOB, "--input", data_ / "in",
                     "--output", data_ / "out", "--max-attempts", "2"});
  ExpectFailure(result, kJobFailed,
                {"m0/1 on w0", "USER_EXCEPTION", "out_of_range", ", in setup",
                 "Tokenize::Setup"});
  ExpectNothingBeside("out");
  ExpectClusterWorks();
}

TEST_F(RefusalTest, UnreachableMasters) {
  StartCluster({.workers = 0});
  std::vector<std::string> submit = SubmitWords("plain");
  submit.insert(submit.begin(),
                {"--cluster", "127.0.0.1:1", "--patience", "1s"});
  ExpectFailure(cluster_->Cli(submit), kUnreachable,
                {"127.0.0.1:1", "--request-id"});
  ExpectFailure(
      cluster_->Cli({"--cluster", "127.0.0.1:1", "--patience", "1s", "list"}),
      kUnreachable, {"127.0.0.1:1"});
  ExpectFailure(cluster_->Cli({"--cluster", "nonsense", "list"}), kUsage,
                {"nonsense"});
}

TEST_F(RefusalTest, UnknownJobsAndWorkers) {
  StartCluster({.workers = 0});
  for (const char* command :
       {"status", "describe", "why", "wait", "kill", "logs", "counters"}) {
    SCOPED_TRACE(command);
    ExpectFailure(cluster_->Cli({command, "abcdef"}), kNotFound, {"abcdef"});
    ExpectFailure(cluster_->Cli({command, "xyz"}), kUsage, {"xyz"});
  }
  ExpectFailure(cluster_->Cli({"worker", "drain", "nobody"}), kNotFound,
                {"nobody"});
}

TEST_F(RefusalTest, WithoutWorkersAJobWaitsAndSaysWhy) {
  StartCluster({.workers = 0});
  const std::string job = SubmitDetached("plain");
  EXPECT_EQ(StatusText(job, "state"), "QUEUED");
  EXPECT_THAT(StatusText(job, "waiting_for"), HasSubstr("no worker"));
  const ProgramResult waited =
      cluster_->Cli({"wait", job, "--timeout", "200ms"});
  EXPECT_EQ(waited.exit_code, 124) << waited;
}

TEST_F(RefusalTest, SecondJobWithTheSameOutputIsRefusedNamingTheFirst) {
  StartCluster({.workers = 1});
  const std::string first = SubmitDetached("slow", {}, 5);
  const ProgramResult second = cluster_->Cli(SubmitWords("plain"));
  ExpectFailure(second, kRefused, {first.substr(0, 8), "out"});
  EXPECT_EQ(cluster_->Cli({"wait", first}).exit_code, 0);
  ExpectRightCounts();
  ExpectFailure(cluster_->Cli(SubmitWords("plain")), kRefused, {"out exists"});
}

TEST_F(RefusalTest, SecondJobWithTheSameOutputByAnotherNameIsRefused) {
  StartCluster({.workers = 1});
  std::filesystem::create_directory_symlink(data_.path(), data_ / "link");
  const std::string first = SubmitDetached("slow", {}, 5);
  ExpectFailure(cluster_->Cli(SubmitWords("plain", {}, 0, "link/out")),
                kRefused, {first.substr(0, 8), "link/out, by the name of"});
  EXPECT_EQ(cluster_->Cli({"wait", first}).exit_code, 0);
  ExpectRightCounts();
  // A name that leads elsewhere does not stand in its way.
  EXPECT_EQ(cluster_->Cli(SubmitWords("plain", {}, 0, "link/other")).exit_code,
            0);
  ExpectRightCounts("other");
}

TEST_F(RefusalTest, SameRequestIdIsTheSameJob) {
  StartCluster({.workers = 1});
  const std::string id = "00112233445566778899aabbccddeeff";
  const std::string first = SubmitDetached("plain", {"--request-id", id});
  const std::string again = SubmitDetached("plain", {"--request-id", id});
  EXPECT_EQ(first, again);
  EXPECT_EQ(cluster_->Cli({"wait", first}).exit_code, 0);
  ExpectRightCounts();
}

TEST_F(RefusalTest, KilledInEachState) {
  StartCluster({.workers = 1});
  // Running.
  const std::string running = SubmitDetached("slow", {}, 200, "running");
  EXPECT_TRUE(
      WaitUntil([&] { return StatusNumber(running, "maps", "running") > 0; }));
  // Queued behind it: one slot.
  const std::string queued = SubmitDetached("slow", {}, 200, "queued");
  EXPECT_EQ(cluster_->Cli({"kill", queued}).exit_code, 0);
  EXPECT_EQ(StatusText(queued, "state"), "KILLED");
  EXPECT_EQ(cluster_->Cli({"kill", running}).exit_code, 0);
  EXPECT_EQ(StatusText(running, "state"), "KILLED");
  EXPECT_EQ(cluster_->Cli({"wait", running}).exit_code, kKilled);
  // Ended.
  const ProgramResult again = cluster_->Cli({"kill", running});
  EXPECT_EQ(StatusText(running, "state"), "KILLED") << again;
  EXPECT_EQ(again.exit_code, 0) << again;
  ExpectNothingBeside("running");
  ExpectNothingBeside("queued");
  const std::string done = SubmitDetached("plain", {}, 0, "done");
  EXPECT_EQ(cluster_->Cli({"wait", done}).exit_code, 0);
  ExpectFailure(cluster_->Cli({"kill", done}), kRefused,
                {done.substr(0, 8), "SUCCEEDED", "too late"});
  ExpectRightCounts("done");
  // Failed: without its arguments behaviour_job throws.
  const std::string failed =
      cluster_
          ->Cli({"submit", MILLRACE_BEHAVIOUR_JOB, "--input", data_ / "in",
                 "--output", data_ / "failed", "--detach"})
          .out.substr(0, 32);
  EXPECT_EQ(cluster_->Cli({"wait", failed}).exit_code, kJobFailed);
  ExpectFailure(cluster_->Cli({"kill", failed}), kRefused,
                {failed.substr(0, 8), "FAILED", "too late"});
  ExpectClusterWorks();
}

// What is decided appears: no kill takes it back, and the store is tried until
// it takes the output.
TEST_F(RefusalTest, KilledWhileItsOutputIsPublished) {
  StartCluster({.workers = 1});
  const std::string job = SubmitDetached("late-reduce", {}, 500);
  // The store says no: where the output is put together, there is a file.
  const std::string in_the_way = Cat("out.millrace-", job, "/final");
  EXPECT_TRUE(WaitUntil([&] {
    return std::filesystem::exists(data_ / Cat("out.millrace-", job, "/att"));
  }));
  data_.Write(in_the_way, "");
  EXPECT_TRUE(
      WaitUntil([&] { return StatusText(job, "state") == "COMMITTING"; }));
  EXPECT_TRUE(WaitUntil([&] {
    return StatusText(job, "waiting_for").find("the store refuses") !=
           std::string::npos;
  }));
  ExpectFailure(cluster_->Cli({"kill", job}), kRefused,
                {job.substr(0, 8), "COMMITTING", "too late"});
  EXPECT_EQ(StatusText(job, "state"), "COMMITTING");
  std::filesystem::remove(data_ / in_the_way);
  EXPECT_EQ(cluster_->Cli({"wait", job}).exit_code, 0);
  ExpectRightCounts();
}

TEST_F(RefusalTest, SpecificationThatIsTooLong) {
  StartCluster({.workers = 1});
  std::vector<std::string> submit = SubmitWords("plain");
  // As much as a command line holds, and more than a log entry should.
  for (int i = 0; i < 15; ++i) submit.push_back(std::string(100'000, 'a'));
  ExpectFailure(cluster_->Cli(submit), kRefused,
                {"specification", "bytes", "allowed"});
  ExpectNothingBeside("out");
  ExpectClusterWorks();
}

TEST_F(RefusalTest, DaemonsThatMayNotStart) {
  StartCluster({.workers = 1});
  const auto start = [&](std::vector<std::string> argv) {
    ProgramOptions options;
    options.argv = std::move(argv);
    return RunProgram(options);
  };
  const std::string master = MiniCluster::Program("millrace-master");
  const std::string worker = MiniCluster::Program("millrace-worker");
  const std::string address = cluster_->master().address();
  // A port in use, a directory in use, an address off loopback.
  ExpectFailure(start({master, "--dir", data_ / "m2", "--listen", address}),
                kRefused, {address});
  ExpectFailure(start({master, "--dir", cluster_->Path("master")}), kRefused,
                {cluster_->Path("master")});
  ExpectFailure(start({master, "--dir", data_ / "m3", "--listen", "0.0.0.0:0"}),
                kRefused, {"TLS"});
  ExpectFailure(
      start({worker, "--masters", address, "--dir", cluster_->Path("w0")}),
      kRefused, {cluster_->Path("w0")});
  ExpectFailure(start({worker, "--masters", address, "--dir", data_ / "w",
                       "--listen", address}),
                kRefused, {address});
  ExpectFailure(start({worker, "--masters", "nowhere", "--dir", data_ / "w"}),
                kUsage, {"nowhere"});
  ExpectFailure(start({worker, "--masters", address}), kUsage, {"--dir"});
  ExpectClusterWorks();
}

TEST_F(RefusalTest, DaemonsThatAreStartedWrongly) {
  const auto expect_usage = [&](std::vector<std::string> argv,
                                const std::vector<std::string>& parts) {
    ProgramOptions options;
    options.argv = std::move(argv);
    ExpectFailure(RunProgram(options), kUsage, parts);
  };
  const std::string master = MiniCluster::Program("millrace-master");
  const std::string worker = MiniCluster::Program("millrace-worker");
  expect_usage({master, "--dir", data_ / "m", "--listen", "nonsense"},
               {"--listen", "nonsense"});
  expect_usage({master, "--dir", data_ / "m", "--advertise", "host"},
               {"--advertise", "host"});
  expect_usage({worker, "--masters", "127.0.0.1:1", "--dir", data_ / "w",
                "--listen", "nonsense"},
               {"--listen", "nonsense"});
  expect_usage({master, "--dir", data_ / "m", "--finished-jobs", "0"},
               {"--finished-jobs"});
  // The flag that is missing is the one that is not known.
  expect_usage({master, "--dri", data_ / "m"}, {"--dri"});
  expect_usage({worker, "--master", "127.0.0.1:1", "--dir", data_ / "w"},
               {"--master"});
  for (const char* name : {"m", "w"}) {
    EXPECT_FALSE(std::filesystem::exists(data_ / name)) << name;
  }
}

TEST_F(RefusalTest, WorkerWithTheDataOfAnotherCluster) {
  StartCluster({.workers = 1});
  EXPECT_EQ(cluster_->worker(0).Stop(), 0);
  MiniCluster other({.workers = 0});
  ProgramOptions options;
  options.argv = {MiniCluster::Program("millrace-worker"), "--masters",
                  other.master().address(), "--dir", cluster_->Path("w0")};
  ExpectFailure(RunProgram(options), kRefused, {"cluster"});
}

TEST_F(RefusalTest, DrainedWorkerGetsNothing) {
  StartCluster({.workers = 2});
  EXPECT_EQ(cluster_->Cli({"worker", "drain", "w0"}).exit_code, 0);
  EXPECT_EQ(cluster_->Cli({"worker", "drain", "w1"}).exit_code, 0);
  const std::string job = SubmitDetached("plain");
  EXPECT_THAT(StatusText(job, "waiting_for"), HasSubstr("drain"));
  EXPECT_EQ(cluster_->Cli({"worker", "undrain", "w1"}).exit_code, 0);
  EXPECT_EQ(cluster_->Cli({"wait", job}).exit_code, 0);
  ExpectRightCounts();
}

}  // namespace
}  // namespace millrace
