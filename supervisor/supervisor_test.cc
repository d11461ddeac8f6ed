// Conversation and ends of children. Limits and clean-up have files of their
// own.
#include "supervisor/supervisor.h"
#include "supervisor/task_frames.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <csignal>
#include <map>

#include "common/strings.h"
#include "supervisor/testing/child_harness.h"

namespace millrace::supervisor {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;
using Kind = ChildEvent::Kind;

constexpr char kAtRecord[] = ", in map, /data/x.txt offset 1234 (record 17)";

TEST_F(SupervisorTest, ChildGetsReadyAndNamesItsJob) {
  const ChildId child = Start(Options());
  const ChildEvent event = NextEvent();
  EXPECT_EQ(event.child, child);
  ASSERT_EQ(event.kind, Kind::kReady);
  EXPECT_EQ(event.ready.job_name(), "test");
  EXPECT_GT(supervisor_->Progress(child).pid, 0);
}

TEST_F(SupervisorTest, OneProcessRunsManyTasks) {
  const ChildId child = StartReady();
  const pid_t pid = supervisor_->Progress(child).pid;
  for (int i = 0; i < 50; ++i) {
    const ChildEvent event = Perform(child, {"ok"});
    ASSERT_EQ(event.kind, Kind::kDone) << event.exit.message;
    EXPECT_EQ(event.done.attempt_uid(), "0123456789abcdef");
    EXPECT_EQ(supervisor_->Progress(child).pid, pid);
  }
}

TEST_F(SupervisorTest, StopLetsAChildEndByItself) {
  UseManualClock();  // Nobody loses patience.
  const ChildId child = StartReady();
  EXPECT_EQ(Perform(child, {"ok"}).kind, Kind::kDone);
  supervisor_->Stop(child);
  supervisor_->Stop(child);  // Once is enough.
  const ChildEvent event = NextEvent();
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::FAILURE_CAUSE_UNSPECIFIED);
  EXPECT_EQ(event.exit.exit_status, 0) << "it saw the end and returned";
  EXPECT_FALSE(event.exit.was_running_task);
  // Unknown from now on, and that is no error.
  supervisor_->Stop(child);
  supervisor_->Kill(child, proto::INTERNAL, "", false);
  EXPECT_EQ(supervisor_->Progress(child).pid, 0);
}

TEST_F(SupervisorTest, StopKillsAChildThatStays) {
  UseManualClock();
  const ChildId child = StartReady(Options("no-farewell"));
  supervisor_->Stop(child);
  const ChildEvent event = AdvanceToEvent(absl::Seconds(2));
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::FAILURE_CAUSE_UNSPECIFIED);
  EXPECT_EQ(WTERMSIG(event.exit.exit_status), SIGKILL);
}

TEST_F(SupervisorTest, CrashAfterStopIsNobodysFailure) {
  const ChildId child = StartReady(Options("segfault-at-end"));
  supervisor_->Stop(child);
  const ChildEvent event = NextEvent();
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::FAILURE_CAUSE_UNSPECIFIED);
  EXPECT_THAT(event.exit.message, HasSubstr("signal 11"));
}

TEST_F(SupervisorTest, ThrownExceptionBringsItsStackAndPosition) {
  const ChildId child = StartReady();
  const ChildEvent event = Perform(child, {"throw"});
  ASSERT_EQ(event.kind, Kind::kFailed);
  EXPECT_EQ(event.failed.cause(), proto::USER_EXCEPTION);
  EXPECT_EQ(event.failed.message(), Cat("no such word", kAtRecord));
  EXPECT_THAT(event.failed.stack(), HasSubstr("ThrowRangeError"));
  // Spent: the next attempt gets a fresh process.
  EXPECT_EQ(supervisor_->Run(child, proto::RunTask()).code(),
            absl::StatusCode::kFailedPrecondition);
  supervisor_->Stop(child);
  EXPECT_EQ(NextEvent().kind, Kind::kExited);
}

TEST_F(SupervisorTest, PositionInReduceIsTheKey) {
  const ChildId child = StartReady();
  const ChildEvent event = Perform(child, {"throw"}, proto::REDUCE_TASK);
  EXPECT_EQ(event.failed.message(),
            "no such word, in reduce, key \"word\" (group 17), value 1");
  EXPECT_FALSE(event.bad_record.has_value());
}

struct Death {
  std::string words;
  int signal_number;
  std::string message;   // A regular expression.
  std::string in_stack;  // Empty: no stack is promised.
};

class DeathTest : public SupervisorTest,
                  public testing::WithParamInterface<Death> {};

TEST_P(DeathTest, IsReportedWithSignalStackAndPosition) {
  const Death& death = GetParam();
  const ChildId child = StartReady();
  const ChildEvent event = Perform(child, {death.words});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::CRASHED);
  EXPECT_TRUE(event.exit.was_running_task);
  EXPECT_EQ(WTERMSIG(event.exit.exit_status), death.signal_number);
  // It is the record's doing unless somebody else killed the process.
  EXPECT_EQ(event.bad_record.has_value(), death.signal_number != SIGKILL);
  EXPECT_THAT(event.exit.message,
              MatchesRegex(Cat(death.message,
                               ", in map, /data/x.txt offset 1234 "
                               "\\(record 17\\)")));
  EXPECT_THAT(event.exit.stack, HasSubstr(death.in_stack));
  if (!death.in_stack.empty()) {
    EXPECT_THAT(event.exit.stack, Not(HasSubstr("OnCrash"))) << "our own frame";
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, DeathTest,
    testing::Values(
        Death{"segfault", SIGSEGV,
              "task process crashed: signal 11 \\(Segmentation fault\\) at "
              "address 0x0",
              "DereferenceNull()\n"},
        Death{"call-null", SIGSEGV,
              "task process crashed: signal 11 \\(Segmentation fault\\) at "
              "address 0x0",
              "CallNull()\n"},
        Death{"overflow", SIGSEGV,
              "task process crashed: signal 11 \\(Segmentation fault\\) at "
              "address 0x[0-9a-f]+ \\(stack overflow\\)",
              "Recurse()\n"},
        Death{"divide", SIGFPE,
              "task process crashed: signal 8 \\(Floating point exception\\)",
              "DivideByZero()\n"},
        Death{"abort", SIGABRT, "task process crashed: signal 6 \\(Aborted\\)",
              "abort\n"},
        Death{"terminate", SIGABRT,
              "task process crashed: signal 6 \\(Aborted\\)",
              "ThrowInNoexcept()\n"},
        Death{"thread-segfault", SIGSEGV,
              "task process crashed: signal 11 \\(Segmentation fault\\) at "
              "address 0x0",
              "DereferenceNull()\n"},
        Death{"kill-self", SIGKILL,
              "task process was killed: signal 9 \\(Killed\\) from outside.*",
              ""}),
    [](const auto& test) {
      std::string name = test.param.words;
      std::erase(name, '-');
      return name;
    });

TEST_F(SupervisorTest, StackOfACrashStartsWhereItCrashed) {
  const ChildId child = StartReady();
  const ChildEvent event = Perform(child, {"segfault"});
  EXPECT_THAT(event.exit.stack, MatchesRegex("  at [^\n]*DereferenceNull.*"));
  EXPECT_THAT(event.exit.stack, HasSubstr("  at main\n"));
}

TEST_F(SupervisorTest, CrashOfAForkedProcessIsNotTheTasks) {
  const ChildId child = StartReady();
  const ChildEvent event = Perform(child, {"segfault-in-fork"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(supervisor_->Log(child), Cat(SIGSEGV, "\n"));
  EXPECT_THAT(event.exit.message, HasSubstr("was killed: signal 9"));
  EXPECT_EQ(event.exit.stack, "");
}

TEST_F(SupervisorTest, ExitBeforeTheTaskIsDoneIsNoSuccess) {
  for (const char* status : {"0", "3"}) {
    const ChildId child = StartReady();
    const ChildEvent event = Perform(child, {"exit", status});
    ASSERT_EQ(event.kind, Kind::kExited);
    EXPECT_EQ(event.exit.cause, proto::EXITED);
    EXPECT_EQ(event.exit.message,
              Cat("task process exited with status ", status,
                  " before its task was done", kAtRecord));
  }
}

TEST_F(SupervisorTest, AnswerCountsWhenTheProcessEndsRightAfterIt) {
  for (const char* mode : {"exit-after-answer", "segfault-after-answer"}) {
    const ChildId child = StartReady(Options(mode));
    EXPECT_EQ(Perform(child, {"ok"}).kind, Kind::kDone);
    const ChildEvent event = NextEvent();
    ASSERT_EQ(event.kind, Kind::kExited);
    EXPECT_FALSE(event.exit.was_running_task);
    EXPECT_THAT(event.exit.message, testing::EndsWith(" between two tasks"));
    EXPECT_THAT(event.exit.message, Not(HasSubstr("x.txt")));
  }
}

TEST_F(SupervisorTest, AChildThatEndedIsGivenNoTask) {
  const ChildId child = StartReady(Options("exit-after-answer"));
  const pid_t pid = supervisor_->Progress(child).pid;
  EXPECT_EQ(Perform(child, {"ok"}).kind, Kind::kDone);
  // Until it has ended; the supervisor may have taken note of that before us.
  siginfo_t info;
  ASSERT_TRUE(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) ==
                  0 ||
              errno == ECHILD);
  EXPECT_EQ(supervisor_->Run(child, proto::RunTask()).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(NextEvent().exit.was_running_task);
}

TEST_F(SupervisorTest, RunIsRefusedWhenTheChildIsNotIdle) {
  const ChildId child = Start(Options());
  EXPECT_EQ(supervisor_->Run(child, proto::RunTask()).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(NextEvent().kind, Kind::kReady);
  Run(child, {"sleep"});
  EXPECT_EQ(supervisor_->Run(child, proto::RunTask()).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(supervisor_->Run(child + 1, proto::RunTask()).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(SupervisorTest, StartFailsWithoutAProgram) {
  ChildOptions options;
  options.executable = File("nothing");
  const auto child = supervisor_->Start(options, proto::Configure());
  EXPECT_EQ(child.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(child.status().ToString(), HasSubstr(options.executable));
}

struct BadStart {
  std::string mode;
  proto::FailureCause cause;
  std::string message;
};

class BadStartTest : public SupervisorTest,
                     public testing::WithParamInterface<BadStart> {};

TEST_P(BadStartTest, EndsBeforeItIsReady) {
  ChildOptions options = Options(GetParam().mode);
  if (GetParam().mode == "never-ready") {
    options.start_timeout = absl::Milliseconds(200);
  }
  Start(options);
  const ChildEvent event = NextEvent();
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, GetParam().cause) << event.exit.message;
  EXPECT_THAT(event.exit.message, HasSubstr(GetParam().message));
  EXPECT_FALSE(event.exit.was_running_task);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadStartTest,
    testing::Values(
        BadStart{"never-ready", proto::SPAWN_FAILED,
                 "was not ready for a task 200ms after its start"},
        BadStart{"wrong-version", proto::PROGRAM_INVALID,
                 "speaks version 99 of the task protocol"},
        BadStart{"exit", proto::SPAWN_FAILED,
                 "exited with status 3 before it was ready"},
        BadStart{"segfault", proto::CRASHED,
                 "signal 11 (Segmentation fault) at address 0x0 before it"},
        BadStart{"garbage", proto::INTERNAL, "broke the task protocol"}),
    [](const auto& test) {
      std::string name = test.param.mode;
      std::erase(name, '-');
      return name;
    });

TEST_F(SupervisorTest, ProgramsThatAreNoMillraceProgramsAreToldApart) {
  ChildOptions options;
  options.executable = "/bin/true";
  Start(options);
  const ChildEvent event = NextEvent();
  EXPECT_EQ(event.exit.cause, proto::SPAWN_FAILED);
}

TEST_F(SupervisorTest, BreachesOfTheProtocolEndTheChild) {
  const std::map<std::string, std::string> breaches = {
      {"long-frame", "a frame announces 4294967295 bytes"},
      {"no-message", "4 bytes that are no message"},
      {"empty-message", "an empty message"}};
  for (const auto& [words, message] : breaches) {
    SCOPED_TRACE(words);
    const ChildEvent event = Perform(StartReady(), {words});
    ASSERT_EQ(event.kind, Kind::kExited);
    EXPECT_EQ(event.exit.cause, proto::INTERNAL);
    EXPECT_THAT(event.exit.message, HasSubstr(message));
  }
}

TEST_F(SupervisorTest, AnswersToNoTaskEndTheChild) {
  const ChildEvent wrong = Perform(StartReady(Options("wrong-uid")), {"ok"});
  ASSERT_EQ(wrong.kind, Kind::kExited);
  EXPECT_THAT(wrong.exit.message, HasSubstr("an answer to no task"));

  EXPECT_EQ(Perform(StartReady(Options("answer-twice")), {"ok"}).kind,
            Kind::kDone);
  const ChildEvent twice = NextEvent();
  ASSERT_EQ(twice.kind, Kind::kExited);
  EXPECT_THAT(twice.exit.message, HasSubstr("an answer to no task"));
}

TEST_F(SupervisorTest, HalfAMessageIsNoMessage) {
  const ChildEvent event = Perform(StartReady(), {"half-message"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::EXITED);
}

TEST_F(SupervisorTest, AChildThatHangsUpIsKilled) {
  UseManualClock();
  Run(StartReady(), {"hang-up"});
  const ChildEvent event = AdvanceToEvent(absl::Minutes(1));
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::EXITED);
  EXPECT_EQ(event.exit.message,
            Cat("task process closed its task socket", kAtRecord));
}

TEST_F(SupervisorTest, AChildThatClosesItsDescriptorsCannotAnswer) {
  const ChildEvent event = Perform(StartReady(), {"close-descriptors"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::EXITED);
  EXPECT_TRUE(event.exit.was_running_task);
}

TEST_F(SupervisorTest, LogHasBothStreamsInOrderAndStartsEmpty) {
  const ChildId child = StartReady();
  EXPECT_EQ(Perform(child, {"print-both"}).kind, Kind::kDone);
  EXPECT_EQ(supervisor_->Log(child), "one two three\n");
  EXPECT_EQ(Perform(child, {"print", "again"}).kind, Kind::kDone);
  EXPECT_EQ(supervisor_->Log(child), "again\n");
  EXPECT_EQ(supervisor_->Log(child + 1), "");
}

TEST_F(SupervisorTest, LastWordsBeforeACrashAreKept) {
  const ChildId child = StartReady();
  EXPECT_EQ(Perform(child, {"print-and-crash"}).kind, Kind::kExited);
  EXPECT_EQ(supervisor_->Log(child), "last words\n");
  ASSERT_TRUE(supervisor_->Wait(absl::ZeroDuration()).ok());
  EXPECT_EQ(supervisor_->Log(child), "") << "forgotten with the next Wait";
}

TEST_F(SupervisorTest, TheLogSinkGetsEveryByteInOrder) {
  ChildOptions options = Options();
  std::string sunk;
  options.log_sink = [&sunk](std::string_view text) { sunk += text; };
  // More than the log in memory keeps.
  options.log_head_bytes = options.log_tail_bytes = 2;
  const ChildId child = StartReady(options);
  EXPECT_EQ(Perform(child, {"print", "first"}).kind, Kind::kDone);
  EXPECT_EQ(sunk, "first\n") << "all of it before the task's end is told";
  EXPECT_EQ(Perform(child, {"print", "second"}).kind, Kind::kDone);
  EXPECT_EQ(sunk, "first\nsecond\n");
  EXPECT_EQ(Perform(child, {"print-and-crash"}).kind, Kind::kExited);
  EXPECT_EQ(sunk, "first\nsecond\nlast words\n");
}

TEST_F(SupervisorTest, LogOfAFloodIsBounded) {
  ChildOptions options = Options();
  options.log_head_bytes = 2048;
  options.log_tail_bytes = 1024;
  const ChildId child = StartReady(options);
  EXPECT_EQ(Perform(child, {"flood", "20971520"}).kind, Kind::kDone);
  const std::string log = supervisor_->Log(child);
  EXPECT_THAT(log, HasSubstr("\n[... 20968448 bytes left out ...]\nxxx"));
  EXPECT_LT(log.size(), 3200u);
}

TEST_F(SupervisorTest, ChildInheritsFiveDescriptorsAndNoInput) {
  // Ours that are not close-on-exec must not get through either.
  const int stray = dup(0);
  const ChildId child = StartReady();
  EXPECT_EQ(Perform(child, {"descriptors"}).kind, Kind::kDone);
  // 200: the copy of 3 that the hang-up watch holds.
  EXPECT_EQ(supervisor_->Log(child), "0\n1\n2\n3\n4\n200\n");
  EXPECT_EQ(Perform(child, {"stdin"}).kind, Kind::kDone);
  EXPECT_EQ(supervisor_->Log(child), "0\n");
  close(stray);
}

TEST_F(SupervisorTest, ProgramsThatTasksStartInheritNeitherSocketNorPage) {
  const ChildId child = StartReady();
  EXPECT_EQ(Perform(child, {"descriptors-of-program"}).kind, Kind::kDone);
  EXPECT_EQ(supervisor_->Log(child), "0\n1\n2\n3\n") << "3: what ls reads";
}

TEST_F(SupervisorTest, EnvironmentIsOursWithAdditions) {
  setenv("MR_TEST_KEPT", "kept", 1);
  setenv("MR_TEST_REPLACED", "old", 1);
  ChildOptions options = Options();
  options.environment.push_back("MR_TEST_REPLACED=new");
  options.environment.push_back("MR_TEST_ADDED=a=b");
  const ChildId child = StartReady(options);
  const std::map<std::string, std::string> expected = {
      {"MR_TEST_KEPT", "kept\n"},
      {"MR_TEST_REPLACED", "new\n"},
      {"MR_TEST_ADDED", "a=b\n"},
      {"MR_TEST_NONE", "(unset)\n"}};
  for (const auto& [name, value] : expected) {
    EXPECT_EQ(Perform(child, {"environment", name}).kind, Kind::kDone);
    EXPECT_EQ(supervisor_->Log(child), value) << name;
  }
}

TEST_F(SupervisorTest, ProgressShowsWhatTheChildDoes) {
  const ChildId child = StartReady();
  Run(child, {"leave-and-sleep", "ended", File("pids")});
  while (supervisor_->Log(child).empty()) {
    ASSERT_TRUE(supervisor_->Wait(absl::Milliseconds(10)).ok());
  }
  const ChildProgress progress = supervisor_->Progress(child);
  EXPECT_EQ(progress.phase, TaskPhase::kMap);
  EXPECT_EQ(progress.records, 16u);
  EXPECT_EQ(progress.input_bytes, 4321u);
  EXPECT_GT(progress.resident_bytes, 100u << 10);
}

TEST_F(SupervisorTest, ManyChildrenAtOnceKeepTheirEventsApart) {
  std::map<ChildId, int> tasks_left;
  for (int i = 0; i < 8; ++i) tasks_left[Start(Options())] = 20;
  std::map<ChildId, bool> stopped;
  while (stopped.size() < tasks_left.size()) {
    const ChildEvent event = NextEvent();
    ASSERT_TRUE(tasks_left.contains(event.child));
    if (event.kind == Kind::kExited) {
      EXPECT_EQ(tasks_left[event.child], -1);
      EXPECT_EQ(event.exit.cause, proto::FAILURE_CAUSE_UNSPECIFIED);
      stopped[event.child] = true;
      continue;
    }
    EXPECT_EQ(event.kind,
              tasks_left[event.child] == 20 ? Kind::kReady : Kind::kDone);
    if (tasks_left[event.child]-- > 0) {
      Run(event.child, {"ok"});
    } else {
      supervisor_->Stop(event.child);
    }
  }
}

TEST_F(SupervisorTest, LargeTasksPassWithoutBlocking) {
  const ChildId child = StartReady();
  proto::RunTask task;
  task.mutable_plan()->add_inputs("ok");
  task.mutable_plan()->add_inputs(std::string(20 << 20, 'x'));
  ASSERT_TRUE(supervisor_->Run(child, task).ok());
  EXPECT_EQ(NextEvent().kind, Kind::kDone);

  task.mutable_plan()->add_inputs(std::string(64 << 20, 'x'));
  EXPECT_EQ(supervisor_->Run(child, task).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Perform(child, {"ok"}).kind, Kind::kDone) << "still idle";
}

TEST_F(SupervisorTest, ReduceTaskHasMoreInputsThanAMessageHolds) {
  const ChildId child = StartReady();
  constexpr uint32_t kInputs = 400'000;
  proto::RunTask task;
  task.set_kind(proto::REDUCE_TASK);
  task.set_attempt_uid("u");
  for (uint32_t i = 0; i < kInputs; ++i) {
    proto::MapOutputRef& ref = *task.mutable_reduce()->add_map_outputs();
    ref.set_map_index(i);
    ref.set_path(std::string(150, 'p'));
    ref.set_root(std::string(16, 'r'));
  }
  ASSERT_GT(task.ByteSizeLong(), kMessageBytesMax);
  ASSERT_TRUE(supervisor_->Run(child, task).ok());
  const ChildEvent all = NextEvent();
  ASSERT_EQ(all.kind, Kind::kDone);
  EXPECT_EQ(all.done.num_maps(), kInputs);

  // The next task has none of them.
  for (const int inputs : {kInputsPerMessage + 1, kInputsPerMessage, 1}) {
    task.mutable_reduce()->mutable_map_outputs()->DeleteSubrange(
        inputs, task.reduce().map_outputs_size() - inputs);
    ASSERT_TRUE(supervisor_->Run(child, task).ok());
    EXPECT_EQ(static_cast<int>(NextEvent().done.num_maps()), inputs);
  }
}

TEST_F(SupervisorTest, WakeDescriptorIsReadableWhenThereIsWork) {
  const ChildId child = StartReady();
  ASSERT_TRUE(supervisor_->Wait(absl::ZeroDuration()).ok());
  pollfd wake = {supervisor_->wake_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&wake, 1, 0), 0);
  Run(child, {"ok"});
  EXPECT_EQ(poll(&wake, 1, 30'000), 1);
  // It may take more than one round.
  absl::StatusOr<std::vector<ChildEvent>> events;
  do {
    ASSERT_EQ(poll(&wake, 1, 30'000), 1);
    events = supervisor_->Wait(absl::ZeroDuration());
    ASSERT_TRUE(events.ok());
  } while (events->empty());
  EXPECT_EQ(events->front().kind, Kind::kDone);
}

TEST_F(SupervisorTest, WaitReturnsEmptyHandedAfterItsTimeout) {
  const ChildId child = StartReady();
  Run(child, {"sleep"});
  const absl::Duration before = Clock::Real().Monotonic();
  const auto events = supervisor_->Wait(absl::Milliseconds(30));
  ASSERT_TRUE(events.ok());
  EXPECT_TRUE(events->empty());
  EXPECT_GE(Clock::Real().Monotonic() - before, absl::Milliseconds(30));
}

TEST_F(SupervisorTest, ClockThatStandsStillHoldsUpNoWait) {
  UseManualClock();
  const auto events = supervisor_->Wait(absl::Milliseconds(5));
  ASSERT_TRUE(events.ok());
  EXPECT_TRUE(events->empty());
}

}  // namespace
}  // namespace millrace::supervisor
