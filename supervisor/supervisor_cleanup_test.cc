// Nothing is left running, whatever tasks start and however they end.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/strings.h"
#include "supervisor/process_tree.h"
#include "supervisor/stop_detector.h"
#include "supervisor/testing/child_harness.h"

namespace millrace::supervisor {
namespace {

using testing::HasSubstr;
using Kind = ChildEvent::Kind;

class LeftoverTest : public SupervisorTest,
                     public testing::WithParamInterface<const char*> {
 protected:
  size_t CountMin() const {
    const std::string kind = GetParam();
    return kind == "many" ? 200 : kind == "deep" ? 3 : 1;
  }
};

TEST_P(LeftoverTest, IsGoneBeforeDoneIsReported) {
  const ChildId child = StartReady();
  const pid_t pid = supervisor_->Progress(child).pid;
  for (int i = 0; i < 3; ++i) {
    const std::string file = File(Cat("pids", i));
    const ChildEvent event = Perform(child, {"leave", GetParam(), file});
    ASSERT_EQ(event.kind, Kind::kDone) << event.exit.message;
    ExpectAllEnded(file, CountMin());
    EXPECT_EQ(supervisor_->Progress(child).pid, pid) << "the child is spared";
  }
  supervisor_->Stop(child);
  const ChildEvent event = NextEvent();
  EXPECT_GE(event.exit.descendants_killed, 3 * CountMin());
}

TEST_P(LeftoverTest, IsGoneBeforeFailedIsReported) {
  const ChildId child = StartReady();
  const ChildEvent event =
      Perform(child, {"leave-and-throw", GetParam(), File("pids")});
  ASSERT_EQ(event.kind, Kind::kFailed);
  ExpectAllEnded(File("pids"), CountMin());
}

TEST_P(LeftoverTest, IsGoneBeforeACrashIsReported) {
  const ChildId child = StartReady();
  const ChildEvent event =
      Perform(child, {"leave-and-segfault", GetParam(), File("pids")});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::CRASHED);
  EXPECT_GE(event.exit.descendants_killed, CountMin());
  ExpectAllEnded(File("pids"), CountMin());
}

TEST_P(LeftoverTest, IsGoneBeforeAnExitIsReported) {
  const ChildId child = StartReady();
  const ChildEvent event =
      Perform(child, {"leave-and-exit", GetParam(), File("pids")});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::EXITED);
  ExpectAllEnded(File("pids"), CountMin());
}

TEST_P(LeftoverTest, IsGoneBeforeAKillIsReported) {
  const ChildId child = StartReady();
  Run(child, {"leave-and-sleep", GetParam(), File("pids")});
  while (supervisor_->Log(child).empty()) {
    ASSERT_TRUE(supervisor_->Wait(absl::Milliseconds(10)).ok());
  }
  const pid_t pid = supervisor_->Progress(child).pid;
  supervisor_->Kill(child, proto::INTERNAL, "test", false);
  const ChildEvent event = NextEvent();
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.message, "test");
  EXPECT_GE(event.exit.descendants_killed, CountMin());
  ExpectAllEnded(File("pids"), CountMin());
  EXPECT_FALSE(ReadProcess(pid).has_value());
}

TEST_P(LeftoverTest, IsGoneWithTheSupervisorObject) {
  const ChildId child = StartReady();
  Run(child, {"leave-and-sleep", GetParam(), File("pids")});
  while (supervisor_->Log(child).empty()) {
    ASSERT_TRUE(supervisor_->Wait(absl::Milliseconds(10)).ok());
  }
  const pid_t pid = supervisor_->Progress(child).pid;
  supervisor_.reset();
  ExpectAllEnded(File("pids"), CountMin());
  EXPECT_FALSE(ReadProcess(pid).has_value());
}

// A supervisor in a process of its own, whose job process leaves others behind
// and sleeps.
class SupervisorProcess {
 public:
  // Returns when the job process is at it.
  SupervisorProcess(absl::Duration stop_limit, const std::string& kind,
                    const std::string& file,
                    const std::string& task = "leave-and-sleep") {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    std::vector<std::string> words = {
        MR_TEST_CHILD,
        Cat("--supervise=", absl::ToInt64Milliseconds(stop_limit)), task, kind,
        file};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, MR_TEST_CHILD, &actions, nullptr, argv.data(),
                          environ),
              0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    output_ = fdopen(ends[0], "r");
    EXPECT_EQ(Line(), "up\n");
    // Found before the tie is cut.
    ProcessTable table;
    EXPECT_TRUE(table.Scan());
    table.MarkDescendants(pid_);
    for (const ProcessEntry& entry : table.entries()) {
      if (entry.marked) below_.push_back(entry.pid);
    }
    EXPECT_GE(below_.size(), 2u);
  }
  ~SupervisorProcess() { std::fclose(output_); }
  SupervisorProcess(const SupervisorProcess&) = delete;
  SupervisorProcess& operator=(const SupervisorProcess&) = delete;

  pid_t pid() const { return pid_; }
  // What was below it when it was up.
  const std::vector<pid_t>& below() const { return below_; }
  // The next of its output; "": its end.
  std::string Line() {
    char line[80] = "";
    return std::fgets(line, sizeof line, output_) == nullptr ? "" : line;
  }

 private:
  pid_t pid_ = 0;
  std::FILE* output_ = nullptr;
  std::vector<pid_t> below_;
};

// The supervisor's process dies without a word.
TEST_P(LeftoverTest, IsGoneSoonAfterTheSupervisorsProcess) {
  const std::string file = File("pids");
  SupervisorProcess supervisor(absl::ZeroDuration(), GetParam(), file);
  kill(supervisor.pid(), SIGKILL);
  ASSERT_EQ(waitpid(supervisor.pid(), nullptr, 0), supervisor.pid());
  // All that is left comes to us, this process being a subreaper, as ended.
  for (pid_t pid : supervisor.below()) EXPECT_TRUE(AwaitEnd(pid)) << pid;
  for (pid_t pid : PidsIn(file)) EXPECT_TRUE(AwaitEnd(pid)) << pid;
  ExpectAllEnded(file, CountMin());
  EXPECT_EQ(supervisor.Line(), "");
  // Ended ones that we were not told of.
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

// The supervisor's process is stopped, and later goes on.
class StoppedSupervisorTest : public LeftoverTest {
 protected:
  void SetUp() override {
    LeftoverTest::SetUp();
    if (!StopDetector::CanTell()) GTEST_SKIP() << "of this kernel's making";
  }

  // The job process of a task, and all that it has left behind, end while the
  // supervisor is stopped.
  void ExpectGone(const std::string& task) {
    const std::string file = File("pids");
    SupervisorProcess supervisor(absl::Milliseconds(400), GetParam(), file,
                                 task);
    kill(supervisor.pid(), SIGSTOP);
    for (pid_t pid : supervisor.below()) EXPECT_TRUE(AwaitEnd(pid)) << pid;
    for (pid_t pid : PidsIn(file)) EXPECT_TRUE(AwaitEnd(pid)) << pid;
    kill(supervisor.pid(), SIGCONT);
    EXPECT_EQ(supervisor.Line(), "WORKER_LOST\n") << "and no record is blamed";
    EXPECT_EQ(supervisor.Line(), "");
    ExpectAllEnded(file, CountMin());
    ASSERT_EQ(waitpid(supervisor.pid(), nullptr, 0), supervisor.pid());
  }
};

TEST_P(StoppedSupervisorTest, IsLeftByATaskThatGoesOn) {
  ExpectGone("leave-and-sleep");
}

// Its process does not end before what is below it.
TEST_P(StoppedSupervisorTest, IsLeftByATaskThatIsDoneJustThen) {
  ExpectGone("leave-until-unheard");
}

// Its task is told nothing when what it leans on is killed first, and what it
// makes of that is nobody's failure.
TEST_P(StoppedSupervisorTest, IsLeftByATaskThatFailsWithoutItsHelper) {
  ExpectGone("lean-and-throw");
}

const auto kKinds =
    testing::Values("child", "stubborn", "many", "deep", "daemon", "exec");
const auto kNameOfKind = [](const auto& test) { return test.param; };
INSTANTIATE_TEST_SUITE_P(All, LeftoverTest, kKinds, kNameOfKind);
INSTANTIATE_TEST_SUITE_P(All, StoppedSupervisorTest, kKinds, kNameOfKind);

using CleanupTest = SupervisorTest;

TEST_F(CleanupTest, EndedProcessesAreNoLeftovers) {
  const ChildId child = StartReady();
  EXPECT_EQ(Perform(child, {"leave", "ended", File("pids")}).kind, Kind::kDone);
  supervisor_->Stop(child);
  EXPECT_EQ(NextEvent().exit.descendants_killed, 0u);
}

TEST_F(CleanupTest, ProcessThatKeepsMovingIsCaughtByKill) {
  const ChildId child = StartReady();
  Run(child, {"leave-and-sleep", "fleeing", File("pids")});
  while (supervisor_->Log(child).empty()) {
    ASSERT_TRUE(supervisor_->Wait(absl::Milliseconds(10)).ok());
  }
  const pid_t group = supervisor_->Progress(child).pid;
  supervisor_->Kill(child, proto::INTERNAL, "test", false);
  EXPECT_EQ(NextEvent().kind, Kind::kExited);
  EXPECT_TRUE(PidsIn(File("pids.rested")).empty()) << "it was not caught";
  EXPECT_EQ(kill(-group, 0), -1) << "somebody is left in its process group";
}

TEST_F(CleanupTest, ProcessThatKeepsMovingCostsTheChild) {
  // The child cannot be spared when what it left cannot be caught otherwise.
  const ChildId child = StartReady();
  const pid_t group = supervisor_->Progress(child).pid;
  EXPECT_EQ(Perform(child, {"leave", "fleeing", File("pids")}).kind,
            Kind::kDone);
  supervisor_->Stop(child);  // If it is still there.
  EXPECT_EQ(NextEvent().kind, Kind::kExited);
  EXPECT_TRUE(PidsIn(File("pids.rested")).empty()) << "it was not caught";
  EXPECT_EQ(kill(-group, 0), -1) << "somebody is left in its process group";
}

TEST_F(CleanupTest, IgnoredSignalsDoNotHelp) {
  UseManualClock();
  const ChildId child = StartReady(Options("no-farewell"));
  EXPECT_EQ(Perform(child, {"ignore-signals"}).kind, Kind::kDone);
  supervisor_->Stop(child);
  const ChildEvent event = AdvanceToEvent(absl::Seconds(2));
  EXPECT_EQ(WTERMSIG(event.exit.exit_status), SIGKILL);
}

TEST_F(CleanupTest, StopOfABusyChildKillsIt) {
  const ChildId child = StartReady();
  Run(child, {"sleep"});
  supervisor_->Stop(child);
  const ChildEvent event = NextEvent();
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::FAILURE_CAUSE_UNSPECIFIED);
  EXPECT_TRUE(event.exit.was_running_task);
}

// Children of the embedding program, as long as they are in its group or older
// than the supervisor, are none of ours.
TEST_F(CleanupTest, ForeignChildrenAreSpared) {
  const auto start = [](bool own_group) {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);  // Should the test itself be killed.
      while (true) pause();
    }
    if (own_group) setpgid(pid, pid);
    return pid;
  };
  supervisor_.reset();
  const pid_t older = start(/*own_group=*/true);
  auto supervisor = Supervisor::Create(Clock::Real());
  ASSERT_TRUE(supervisor.ok());
  supervisor_ = *std::move(supervisor);
  const pid_t in_group = start(/*own_group=*/false);

  EXPECT_EQ(
      Perform(StartReady(), {"leave-and-segfault", "daemon", File("a")}).kind,
      Kind::kExited);
  ExpectAllEnded(File("a"));
  for (pid_t pid : {older, in_group}) {
    EXPECT_FALSE(ReadProcess(pid)->dead());
    kill(pid, SIGKILL);
    EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
  }
}

TEST_F(CleanupTest, SupervisorsOfOneProgramSpareEachOthersChildren) {
  auto other = Supervisor::Create(Clock::Real());
  ASSERT_TRUE(other.ok());
  const auto theirs = (*other)->Start(Options(), proto::Configure());
  ASSERT_TRUE(theirs.ok());
  const pid_t pid = (*other)->Progress(*theirs).pid;
  EXPECT_EQ(
      Perform(StartReady(), {"leave-and-segfault", "child", File("a")}).kind,
      Kind::kExited);
  ExpectAllEnded(File("a"));
  const auto entry = ReadProcess(pid);
  EXPECT_TRUE(entry.has_value() && !entry->dead());
}

TEST_F(CleanupTest, CrashOfOneChildSparesTheOthersAndTheirs) {
  const ChildId other = StartReady();
  Run(other, {"leave-and-sleep", "daemon", File("spared")});
  while (supervisor_->Log(other).empty()) {
    ASSERT_TRUE(supervisor_->Wait(absl::Milliseconds(10)).ok());
  }
  const ChildId child = Start(Options());
  EXPECT_EQ(NextEvent().kind, Kind::kReady);
  EXPECT_EQ(Perform(child, {"leave-and-segfault", "daemon", File("a")}).kind,
            Kind::kExited);
  ExpectAllEnded(File("a"));
  // The daemon itself is the second; its parent has made it and sleeps or
  // ended.
  const std::vector<pid_t> spared = PidsIn(File("spared"));
  ASSERT_EQ(spared.size(), 2u);
  const auto daemon = ReadProcess(spared.back());
  EXPECT_TRUE(daemon.has_value() && !daemon->dead());
}

TEST_F(CleanupTest, AHundredStartsLeaveNothing) {
  // TearDown counts descriptors and processes.
  for (int i = 0; i < 100; ++i) {
    const ChildId child = StartReady();
    if (i % 3 == 0) {
      EXPECT_EQ(Perform(child, {"segfault"}).kind, Kind::kExited);
    } else if (i % 3 == 1) {
      supervisor_->Stop(child);
      EXPECT_EQ(NextEvent().kind, Kind::kExited);
    } else {
      Run(child, {"sleep"});
      supervisor_->Kill(child, proto::INTERNAL, "", false);
      EXPECT_EQ(NextEvent().kind, Kind::kExited);
    }
  }
}

}  // namespace
}  // namespace millrace::supervisor
