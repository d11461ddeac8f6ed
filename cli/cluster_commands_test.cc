// The commands that speak to a cluster, as a user and a shell run them, against
// a cluster in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "client/testing/fake_cluster.h"
#include "common/strings.h"
#include "tests/testing/run_program.h"
#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kProgram[] = R"(#!/bin/bash
if [[ ${*: -1} == bad ]]; then echo "job: bad argument" >&2; exit 2; fi
cat <<'END'
{"millrace": "0.1.0", "task_protocol": 3, "name": "wordcount",
 "input": {"type": "TextLine"}, "combine": true, "reduce": true,
 "output": {"format": "text", "record_bytes": 0}}
END
)";

class ClusterCommandsTest : public ::testing::Test {
 protected:
  ClusterCommandsTest() {
    chmod(temp_.Write("job", kProgram).c_str(), 0755);
    temp_.Write("in/a.txt", "a\n");
  }

  ProgramOptions Options(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), MILLRACE_BIN);
    return {.argv = std::move(arguments),
            .environment = {"MILLRACE_CLUSTER=" + master_.address(),
                            "XDG_CONFIG_HOME=" + temp_ / "config",
                            "XDG_STATE_HOME=" + temp_ / "state"},
            .directory = temp_.path()};
  }
  ProgramResult Run(std::vector<std::string> arguments) {
    return RunProgram(Options(std::move(arguments)));
  }
  // submit with what every submit needs.
  std::vector<std::string> Submit(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"submit", "./job",    "--input",
                                          "in",     "--output", "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  // An error is one line on stderr that begins with the program's name.
  static void ExpectError(const ProgramResult& result, int exit_code,
                          const std::string& part) {
    EXPECT_EQ(result.exit_code, exit_code) << result;
    EXPECT_THAT(result.err, StartsWith("millrace ")) << result;
    EXPECT_THAT(result.err, HasSubstr(part)) << result;
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result;
    EXPECT_EQ(result.out, "");
  }

  proto::GetJobReply AddJob(const std::string& id, proto::JobState state) {
    proto::GetJobReply job;
    job.mutable_status()->set_job_id(id);
    job.mutable_status()->set_name("wordcount");
    job.mutable_status()->set_state(state);
    job.mutable_status()->set_submitted_at_ms(1'700'000'000'000);
    state_.SetJob(job);
    return job;
  }
  void End(const std::string& id, proto::JobState state,
           proto::FailureCause cause = proto::FAILURE_CAUSE_UNSPECIFIED) {
    proto::GetJobReply job = state_.Job(id);
    job.mutable_status()->set_state(state);
    if (cause != proto::FAILURE_CAUSE_UNSPECIFIED) {
      job.mutable_status()->mutable_failure()->set_cause(cause);
      job.mutable_status()->mutable_failure()->set_message("the reason");
      job.mutable_status()->mutable_failure()->set_stack("Frame::One()");
    }
    state_.SetJob(job);
  }
  // Runs submit, and ends its job when it is there.
  ProgramResult SubmitAndEnd(
      std::vector<std::string> more, proto::JobState state,
      proto::FailureCause cause = proto::FAILURE_CAUSE_UNSPECIFIED) {
    RunningProgram program(Options(Submit(std::move(more))));
    EXPECT_TRUE(state_.WaitUntilSubmitted(1));
    End(state_.Submitted().at(0), state, cause);
    return program.Wait();
  }

  TempDir temp_;
  client::FakeState state_;
  client::FakeMaster master_{state_};
};

const std::string kId(16, '\x1f');

// --------------------------------------------------------------------- submit

TEST_F(ClusterCommandsTest, SubmitDetachedPrintsTheIdAlone) {
  const ProgramResult result = Run(Submit(
      {"--detach", "-r", "3", "--memory", "1G", "--", "x", "--y", "--"}));
  EXPECT_EQ(result.exit_code, 0) << result;
  ASSERT_EQ(state_.Submitted().size(), 1u);
  const std::string id = state_.Submitted()[0];
  EXPECT_EQ(result.out, HexEncode(id) + "\n");
  EXPECT_EQ(result.err, "");
  const proto::JobSpec spec = state_.Job(id).spec();
  EXPECT_EQ(spec.name(), "wordcount");
  EXPECT_EQ(spec.num_reducers(), 3u);
  EXPECT_EQ(spec.memory_budget_bytes(), uint64_t{1} << 30);
  EXPECT_EQ(spec.map_output_codec(), "lz4");
  EXPECT_EQ(spec.inputs(0), temp_ / "in");
  EXPECT_EQ(spec.output(), temp_ / "out");
  ASSERT_EQ(spec.arguments_size(), 3);
  EXPECT_EQ(spec.arguments(1), "--y");
  EXPECT_EQ(state_.Blob(spec.program_sha256()), kProgram);
}

TEST_F(ClusterCommandsTest, AProgramIsFoundAsAShellFindsIt) {
  ProgramOptions options =
      Options({"submit", "named", "--input", "in", "--output", "out", "-d"});
  temp_.Write("programs/named", kProgram);
  chmod((temp_ / "programs/named").c_str(), 0755);
  ExpectError(RunProgram(options), 4, "named");
  options.environment.push_back("PATH=/bin:/usr/bin:" + temp_ / "programs");
  const ProgramResult found = RunProgram(options);
  EXPECT_EQ(found.exit_code, 0) << found;
  // What is here comes first.
  temp_.Write("named", "no program");
  ExpectError(RunProgram(options), 5, "may not be executed");
}

TEST_F(ClusterCommandsTest, ClusterStatusIsOfTheClusterStartedLast) {
  temp_.Write("config/millrace/context.json",
              R"({"cluster": "127.0.0.1:1", "directory": "/started/last"})");
  ExpectError(Run({"cluster", "status"}), 4, "/started/last");
  ExpectError(Run({"cluster", "status", "--dir", "other"}), 4, "/other");
}

TEST_F(ClusterCommandsTest, SubmitWaitsAndSummarises) {
  const ProgramResult result = SubmitAndEnd({}, proto::SUCCEEDED);
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("wordcount: 0 records"));
  EXPECT_THAT(result.err, Not(HasSubstr("\r")));  // No terminal.
}

TEST_F(ClusterCommandsTest, SubmitAsJsonPrintsTheStatusAtTheEnd) {
  const ProgramResult result =
      SubmitAndEnd({"--output-format", "json", "-q"}, proto::SUCCEEDED);
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(nlohmann::json::parse(result.out)["state"], "SUCCEEDED");
  EXPECT_EQ(result.err, "");
}

TEST_F(ClusterCommandsTest, AFailedJobIsOneWithCauseAndStack) {
  const ProgramResult result =
      SubmitAndEnd({}, proto::FAILED, proto::USER_EXCEPTION);
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_THAT(result.err, HasSubstr("USER_EXCEPTION: the reason"));
  EXPECT_THAT(result.err, HasSubstr("  Frame::One()\n"));
}

TEST_F(ClusterCommandsTest, AKilledJobIsSix) {
  const ProgramResult result =
      SubmitAndEnd({}, proto::KILLED, proto::CANCELLED);
  EXPECT_EQ(result.exit_code, 6) << result;
  EXPECT_THAT(result.err, HasSubstr("was killed: the reason"));
}

TEST_F(ClusterCommandsTest, CtrlCDetachesAndSaysHowToComeBack) {
  RunningProgram program(Options(Submit()));
  // Not before it says that it has the job: then it waits.
  ASSERT_TRUE(program.WaitUntil([&] {
    return program.err().find("millrace submit: job ") != std::string::npos;
  }));
  program.Signal(SIGINT);
  program.Signal(SIGTERM);  // As timeout(1) may: process and group.
  const ProgramResult result = program.Wait();
  EXPECT_EQ(result.exit_code, 130) << result;
  const std::string id = HexEncode(state_.Submitted()[0]).substr(0, 8);
  EXPECT_THAT(result.err, HasSubstr("millrace status -w " + id));
  EXPECT_EQ(state_.Job(state_.Submitted()[0]).status().state(), proto::QUEUED);
}

// script(1) gives the program a terminal, and what it wrote to us.
TEST_F(ClusterCommandsTest, OnATerminalOneLineIsRewritten) {
  if (access("/usr/bin/script", X_OK) != 0) GTEST_SKIP() << "no script(1)";
  for (const bool no_color : {false, true}) {
    proto::GetJobReply job = AddJob(kId, proto::RUNNING);
    job.mutable_status()->set_waiting_for("a worker");
    state_.SetJob(job);
    ProgramOptions options = Options({});
    options.argv = {"/usr/bin/script", "-qec", MILLRACE_BIN " status -w 1f",
                    "/dev/null"};
    options.environment.push_back("TERM=xterm");
    options.environment.push_back(no_color ? "NO_COLOR=1" : "NO_COLOR=");
    RunningProgram program(options);
    EXPECT_TRUE(program.WaitUntil(
        [&] { return program.out().find("a worker") != std::string::npos; }));
    End(kId, proto::SUCCEEDED);
    const ProgramResult result = program.Wait();
    EXPECT_EQ(result.exit_code, 0) << result;
    EXPECT_EQ(result.out.find("\r\033[K") != std::string::npos, !no_color)
        << result;
    EXPECT_THAT(result.out, HasSubstr("wordcount: 0 records")) << result;
  }
}

TEST_F(ClusterCommandsTest, DescribeShowsTasksOfManyPages) {
  proto::GetJobReply job = AddJob(kId, proto::RUNNING);
  for (uint32_t i = 0; i < 60'000; ++i) {
    proto::TaskStatus& task = *job.add_tasks();
    task.mutable_task()->set_kind(proto::MAP_TASK);
    task.mutable_task()->set_index(i);
    task.set_last_failure(std::string(80, 'x'));
  }
  state_.SetJob(job);
  {
    const absl::MutexLock lock(&state_.mu_);
    state_.page_max_ = 10'000;
  }
  const ProgramResult result = Run({"describe", "1f", "-o", "json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out).at("tasks").size(), 60'000u);
}

TEST_F(ClusterCommandsTest, ARequestIdGivesTheSameJob) {
  const auto submit = Submit({"--detach", "--request-id", "nightly 7"});
  const ProgramResult first = Run(submit);
  EXPECT_EQ(first.exit_code, 0) << first;
  temp_.Write("out/part-00000", "");  // It has ended well meanwhile.
  EXPECT_EQ(Run(submit).out, first.out);
  // For another job the name is taken.
  ExpectError(Run({"submit", "./job", "-i", "in", "-o", "elsewhere",
                   "--request-id", "nightly 7"}),
              5, "/out");
  EXPECT_NE(Run(Submit({"--detach", "--request-id", "nightly 8"})).out,
            first.out);
  EXPECT_EQ(state_.Submitted().size(), 2u);
}

TEST_F(ClusterCommandsTest, SubmitRefusesAtOnceWhatCannotWork) {
  temp_.Write("there/part-00000", "");
  ExpectError(Run({"submit", "./job", "-i", "in", "-o", "there"}), 5, "exists");
  ExpectError(Run({"submit", "./none", "-i", "in", "-o", "out"}), 4,
              "no program ./none");
  ExpectError(Run({"submit", "no-such-job", "-i", "in", "-o", "out"}), 4,
              "no program no-such-job here or in $PATH");
  ExpectError(Run({"submit", "/bin/true", "-i", "in", "-o", "out"}), 2,
              "no Millrace program");
  ExpectError(Run({"submit", "./job", "-o", "out"}), 2, "--input");
  ExpectError(Run({"submit", "./job", "-i", "in"}), 2, "--output");
  ExpectError(Run(Submit({"--rows", "5"})), 2, "--rows");
  ExpectError(Run(Submit({"--memory", "x"})), 2, "--memory");
  ExpectError(Run(Submit({"--", "bad"})), 2, "bad argument");
  EXPECT_EQ(state_.Submitted().size(), 0u);
}

TEST_F(ClusterCommandsTest, ARefusalOfTheClusterIsFive) {
  master_.Misbehave("Submit",
                    {absl::AlreadyExistsError("output reserved"), false});
  ExpectError(Run(Submit()), 5, "output reserved");
}

TEST_F(ClusterCommandsTest, AClusterThatIsNotReachedIsThree) {
  const std::vector<std::string> gone = {"--cluster", "127.0.0.1:1",
                                         "--patience", "200ms"};
  const auto with = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), gone.begin(), gone.end());
    return Run(arguments);
  };
  ExpectError(with({"list"}), 3, "127.0.0.1:1");
  ExpectError(with({"status", "1f"}), 3, "127.0.0.1:1");
  ExpectError(with({"wait", "1f"}), 3, "127.0.0.1:1");
  ExpectError(with(Submit()), 3, "--request-id");
}

// ----------------------------------------------------------------- looking on

TEST_F(ClusterCommandsTest, StatusByPrefixOrTheNewest) {
  AddJob(kId, proto::RUNNING);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"status", "1f1", "-o", "json"},
        {"status", "-o", "json"}}) {
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result;
    EXPECT_EQ(nlohmann::json::parse(result.out)["id"], HexEncode(kId));
  }
  EXPECT_THAT(Run({"status", "1f"}).out, HasSubstr("RUNNING"));
  End(kId, proto::FAILED, proto::CRASHED);
  EXPECT_EQ(Run({"status", "1f"}).exit_code, 0);
  EXPECT_EQ(Run({"status", "1f", "-w"}).exit_code, 1);
  ExpectError(Run({"status", "2f"}), 4, "2f");
  ExpectError(Run({"status", "nonsense"}), 2, "nonsense");
}

TEST_F(ClusterCommandsTest, StatusAndWaitEndWithTheJob) {
  for (const char* how : {"status", "wait"}) {
    AddJob(kId, proto::RUNNING);
    std::vector<std::string> arguments = {how, "1f"};
    if (how == std::string("status")) arguments.push_back("-w");
    RunningProgram program(Options(arguments));
    const int watches = master_.Calls("WatchJob");
    ASSERT_TRUE(
        program.WaitUntil([&] { return master_.Calls("WatchJob") > watches; }));
    End(kId, proto::FAILED, proto::OUTPUT_EXISTS);
    const ProgramResult result = program.Wait();
    EXPECT_EQ(result.exit_code, 5) << result;
    EXPECT_THAT(result.err, HasSubstr("OUTPUT_EXISTS"));
  }
}

TEST_F(ClusterCommandsTest, WaitTimesOut) {
  AddJob(kId, proto::RUNNING);
  ExpectError(Run({"wait", "1f", "--timeout", "0.2s"}), 124, "has not ended");
  End(kId, proto::SUCCEEDED);
  const ProgramResult result = Run({"wait", "1f", "--timeout", "20s"});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out + result.err, "");
}

TEST_F(ClusterCommandsTest, ListDescribeCounters) {
  proto::GetJobReply job = AddJob(kId, proto::RUNNING);
  job.add_counters()->set_group("mine");
  job.mutable_counters(0)->set_name("LINES");
  job.mutable_counters(0)->set_value(-7);
  state_.SetJob(job);
  EXPECT_THAT(Run({"list"}).out, HasSubstr("1f1f1f1f  wordcount  RUNNING"));
  EXPECT_EQ(nlohmann::json::parse(Run({"list", "-o", "json"}).out).size(), 1u);
  EXPECT_EQ(Run({"counters", "1f"}).out,
            "GROUP  NAME   VALUE\nmine   LINES     -7\n");
  EXPECT_EQ(nlohmann::json::parse(Run({"counters", "1f", "-o", "json"}).out),
            nlohmann::json::parse(
                R"([{"group": "mine", "name": "LINES", "value": -7}])"));
  EXPECT_THAT(Run({"describe", "1f"}).out, HasSubstr("LINES"));
  ExpectError(Run({"describe", "2f"}), 4, "2f");
  ExpectError(Run({"counters", "2f"}), 4, "2f");
}

TEST_F(ClusterCommandsTest, WhyOfAJobAndOfATask) {
  AddJob(kId, proto::RUNNING);
  {
    const absl::MutexLock lock(&state_.mu_);
    proto::WhyCause& cause = *state_.why_.add_causes();
    cause.set_code(proto::NO_WORKER_JOINED);
    cause.set_text("no worker has ever joined");
  }
  EXPECT_EQ(Run({"why", "1f"}).out,
            "wordcount 1f1f1f1f: RUNNING\n  no worker has ever joined\n");
  EXPECT_THAT(Run({"why", "1F/m3"}).out, StartsWith("wordcount 1f1f1f1f/m3: "));
  const auto json =
      nlohmann::json::parse(Run({"why", "1f/check", "-o", "json"}).out);
  EXPECT_EQ(json.at("task"), "check");
  EXPECT_EQ(json.at("causes").at(0).at("code"), "NO_WORKER_JOINED");
  ExpectError(Run({"why", "2f"}), 4, "2f");
  ExpectError(Run({"why", "xy"}), 2, "xy");
  ExpectError(Run({"why", "1f/x3"}), 2, "write ID/m17 for map task 17");
  ExpectError(Run({"why"}), 2, "ID");
  ExpectError(Run({"why", "1f", "-o", "wide"}), 2, "wide");
}

TEST_F(ClusterCommandsTest, KillSaysWhenItIsTooLate) {
  AddJob(kId, proto::RUNNING);
  EXPECT_EQ(Run({"kill", "1f", "--reason", "no need"}).exit_code, 0);
  EXPECT_EQ(state_.Job(kId).status().failure().message(), "no need");
  EXPECT_EQ(Run({"kill", "1f"}).exit_code, 0);
  End(kId, proto::SUCCEEDED);
  ExpectError(Run({"kill", "1f"}), 5, "SUCCEEDED");
  ExpectError(Run({"kill", "2f"}), 4, "2f");
}

TEST_F(ClusterCommandsTest, WorkersAndMasters) {
  {
    const absl::MutexLock lock(&state_.mu_);
    proto::WorkerStatus& worker = state_.workers_.emplace_back();
    worker.set_name("w1");
    worker.set_state("up");
    worker.set_running(2);
    proto::MasterStatus& master = *state_.cluster_.add_masters();
    master.set_id("m1");
    master.set_role("leader");
  }
  EXPECT_EQ(
      nlohmann::json::parse(Run({"worker", "list", "-o", "json"}).out)[0]["id"],
      "w1");
  EXPECT_THAT(Run({"worker", "drain", "w1"}).err,
              HasSubstr("still running on it: 2 attempts"));
  EXPECT_THAT(Run({"worker", "list"}).out, HasSubstr("draining"));
  EXPECT_EQ(Run({"worker", "undrain", "w1"}).exit_code, 0);
  ExpectError(Run({"worker", "drain", "w9"}), 4, "w9");
  EXPECT_EQ(nlohmann::json::parse(
                Run({"master", "list", "-o", "json"}).out)[0]["role"],
            "leader");
}

// ----------------------------------------------------------------------- logs

class LogsTest : public ClusterCommandsTest {
 protected:
  LogsTest() { AddJob(kId, proto::RUNNING); }

  void AddLog(uint32_t map, const std::string& uid, const std::string& address,
              const std::string& tail, bool running) {
    const absl::MutexLock lock(&state_.mu_);
    proto::LogLocation& log = *state_.logs_.add_logs();
    log.mutable_attempt()->set_job_id(kId);
    log.mutable_attempt()->set_attempt_uid(uid);
    log.mutable_attempt()->mutable_task()->set_kind(proto::MAP_TASK);
    log.mutable_attempt()->mutable_task()->set_index(map);
    log.set_worker("w1");
    log.set_address(address);
    log.set_tail(tail);
    log.set_running(running);
  }

  client::FakeWorker worker_;
};

TEST_F(LogsTest, FromTheWorkerOrTheEndFromTheMaster) {
  worker_.SetLog("a", "whole\nlog\n", true);
  AddLog(0, "a", worker_.address(), "log\n", false);
  AddLog(1, "b", worker_.address(), "the end\n", false);
  AddLog(2, "c", "", "of a lost worker\n", false);
  const ProgramResult all = Run({"logs", "1f"});
  EXPECT_EQ(all.exit_code, 0) << all;
  EXPECT_EQ(all.out,
            "==> m0/0 on w1 <==\nwhole\nlog\n\n"
            "==> m1/0 on w1 <==\nthe end\n\n"
            "==> m2/0 on w1 <==\nof a lost worker\n");
  EXPECT_THAT(all.err, HasSubstr("m1/0"));
  EXPECT_EQ(Run({"logs", "1f", "--task", "m0"}).out, "whole\nlog\n");
  ExpectError(Run({"logs", "1f", "--task", "m9"}), 4,
              "nothing of m9 of job 1f");
  ExpectError(Run({"logs", "1f", "--task", "x9"}), 2, "x9");
  ExpectError(Run({"logs", "2f"}), 4, "2f");
}

// Which attempts have won, the masters forget when the job ends.
TEST_F(LogsTest, OfAJobThatHasEndedTheWorkersAreAsked) {
  worker_.SetLog("a", "of a\n", true);
  worker_.SetLog("b", "of b\n", true);
  worker_.SetLog("c", "all of c\n", true);
  for (const auto& [uid, number] : {std::pair{"a", 0u}, {"b", 1u}, {"c", 2u}}) {
    proto::AttemptRef attempt;
    attempt.set_attempt_uid(uid);
    attempt.mutable_task()->set_kind(proto::MAP_TASK);
    attempt.mutable_task()->set_index(number == 2 ? 7 : 3);
    attempt.set_number(number == 2 ? 0 : number);
    worker_.Keep(attempt);
  }
  AddLog(7, "c", "", "the end of c\n", false);  // It failed.
  {
    const absl::MutexLock lock(&state_.mu_);
    proto::WorkerStatus& worker = state_.workers_.emplace_back();
    worker.set_name("w2");
    worker.set_address(worker_.address());
    proto::WorkerStatus& gone = state_.workers_.emplace_back();
    gone.set_name("w3");
    gone.set_address("127.0.0.1:1");
  }
  // While it runs, they are not: the masters know all.
  EXPECT_EQ(Run({"logs", "1f"}).out, "==> m7/0 on w1 <==\nthe end of c\n");
  End(kId, proto::SUCCEEDED);
  const ProgramResult all = Run({"logs", "1f"});
  EXPECT_EQ(all.exit_code, 0) << all;
  EXPECT_EQ(all.out,
            "==> m3/1 on w2 <==\nof b\n\n"
            "==> m3/0 on w2 <==\nof a\n\n"
            "==> m7/0 on w2 <==\nall of c\n");
  EXPECT_THAT(all.err, HasSubstr("what worker w3 has is not shown"));
  {
    const absl::MutexLock lock(&state_.mu_);
    state_.workers_.pop_back();
  }
  EXPECT_EQ(Run({"logs", "1f", "--task", "m7"}).out, "all of c\n");
}

TEST_F(LogsTest, OfAJobThatHasEndedWithoutLogsItSaysSo) {
  End(kId, proto::SUCCEEDED);
  ExpectError(Run({"logs", "1f"}), 4, "no log of job 1f");
}

TEST_F(LogsTest, FollowsUntilTheJobEnds) {
  worker_.SetLog("a", "one\n", false);
  worker_.SetLog("old", "past\n", true);
  AddLog(0, "a", worker_.address(), "", true);
  AddLog(1, "old", worker_.address(), "", false);
  RunningProgram program(Options({"logs", "1f", "-f"}));
  ASSERT_TRUE(program.WaitUntil([&] {
    return program.out() == "m0/0 | one\n";
  })) << program.out();
  worker_.SetLog("a", "one\ntwo\nthr", true);
  End(kId, proto::SUCCEEDED);
  const ProgramResult result = program.Wait();
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, "m0/0 | one\nm0/0 | two\nm0/0 | thr\n");
}

TEST_F(LogsTest, AnInterruptEndsFollowing) {
  worker_.SetLog("a", "one\n", false);
  AddLog(0, "a", worker_.address(), "", true);
  RunningProgram program(Options({"logs", "1f", "-f"}));
  ASSERT_TRUE(program.WaitUntil([&] { return !program.out().empty(); }));
  program.Signal(SIGINT);
  EXPECT_EQ(program.Wait().exit_code, 130);
}

// -------------------------------------------------------------- which cluster

TEST_F(ClusterCommandsTest, FlagThenEnvironmentThenContext) {
  AddJob(kId, proto::RUNNING);
  client::FakeState other_state;
  client::FakeMaster other(other_state);
  temp_.Write(
      "config/millrace/context.json",
      "{\"cluster\": \"" + other.address() + "\", \"directory\": \"\"}");
  const auto jobs = [](const ProgramResult& result) {
    EXPECT_EQ(result.exit_code, 0) << result;
    return nlohmann::json::parse(result.out).size();
  };
  EXPECT_EQ(jobs(Run({"list", "-o", "json"})), 1u);
  EXPECT_EQ(jobs(Run({"--cluster", other.address(), "list", "-o", "json"})),
            0u);
  EXPECT_EQ(jobs(Run({"list", "-o", "json", "--cluster", other.address()})),
            0u);
  ProgramOptions options = Options({"list", "-o", "json"});
  options.environment[0] = "MILLRACE_CLUSTER=";
  EXPECT_EQ(jobs(RunProgram(options)), 0u);

  temp_.Write("config/millrace/context.json", "{");
  ExpectError(RunProgram(options), 1, "context.json");
  options.environment[1] = "XDG_CONFIG_HOME=" + temp_ / "nowhere";
  ExpectError(RunProgram(options), 2, "cluster up");
  ExpectError(Run({"--cluster", "what", "list"}), 2, "what");
  ExpectError(Run({"--cluster", "192.0.2.1:7070", "list"}), 5, "192.0.2.1");
}

TEST_F(ClusterCommandsTest, NearestCommandIsSuggested) {
  ExpectError(Run({"statsu"}), 2, "did you mean status?");
  ExpectError(Run({"worker", "drian"}), 2, "did you mean drain?");
  ExpectError(Run({"worker"}), 2, "--help");
}

TEST_F(ClusterCommandsTest, ClustersThatAreNoneAreRefused) {
  ExpectError(Run({"cluster", "up", "--masters", "9", "--dir", "c"}), 2,
              "--masters");
  ExpectError(Run({"cluster", "status", "--dir", "c"}), 4, "c");
  ExpectError(Run({"cluster", "down"}), 4, temp_ / "state/millrace/cluster");
}

}  // namespace
}  // namespace millrace
