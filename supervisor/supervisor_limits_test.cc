// Limits on time, memory and output.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "common/strings.h"
#include "supervisor/testing/child_harness.h"

namespace millrace::supervisor {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using Kind = ChildEvent::Kind;

constexpr char kAtRecord[] = ", in map, /data/x.txt offset 1234 (record 17)";

class LimitsTest : public SupervisorTest {
 protected:
  // `child` has printed that its descendants are there. Many looks at the tree
  // find nothing wrong.
  void ExpectManyLooksLeaveAlone(ChildId child) {
    while (supervisor_->Log(child).empty()) {
      ASSERT_TRUE(supervisor_->Wait(absl::Milliseconds(10)).ok());
    }
    for (int i = 0; i < 100; ++i) {
      clock_.Advance(absl::Milliseconds(25));
      const auto events = supervisor_->Wait(absl::Milliseconds(1));
      ASSERT_TRUE(events.ok());
      ASSERT_TRUE(events->empty()) << events->front().exit.message;
    }
  }
};

TEST_F(LimitsTest, HungTaskIsKilledWithTheStackItIsIn) {
  for (const char* words : {"loop", "sleep"}) {
    SCOPED_TRACE(words);
    ChildOptions options = Options();
    options.task_timeout = absl::Milliseconds(300);
    const ChildId child = StartReady(options);
    const absl::Duration before = Clock::Real().Monotonic();
    const ChildEvent event = Perform(child, {words});
    EXPECT_GE(Clock::Real().Monotonic() - before, options.task_timeout);
    ASSERT_EQ(event.kind, Kind::kExited);
    EXPECT_EQ(event.exit.cause, proto::TASK_TIMEOUT);
    EXPECT_EQ(event.exit.message,
              Cat("no progress for 300ms (--task-timeout)", kAtRecord));
    EXPECT_TRUE(event.exit.was_running_task);
    EXPECT_EQ(WTERMSIG(event.exit.exit_status), SIGKILL);
    // That sanitizer delivers no signal within a loop that calls nothing.
    if (kUnderThreadSanitizer && words == std::string("loop")) continue;
    EXPECT_THAT(event.exit.stack, HasSubstr("ForEver"));
    EXPECT_THAT(event.exit.stack, HasSubstr("  at main\n"));
  }
}

TEST_F(LimitsTest, DeafTaskIsKilledWithoutAStack) {
  ChildOptions options = Options();
  options.task_timeout = absl::Milliseconds(100);
  const ChildEvent event = Perform(StartReady(options), {"deaf"});
  EXPECT_EQ(event.exit.cause, proto::TASK_TIMEOUT);
  EXPECT_EQ(event.exit.stack, "");
}

TEST_F(LimitsTest, TaskThatGetsOnIsNotHung) {
  ChildOptions options = Options();
  options.task_timeout = absl::Milliseconds(300);
  const ChildId child = StartReady(options);
  // Twice the timeout in all, with progress every millisecond or so.
  const ChildEvent event = Perform(child, {"work", "600"});
  EXPECT_EQ(event.kind, Kind::kDone) << event.exit.message;
}

TEST_F(LimitsTest, TaskThatGetsOnForEverIsKilledAtItsLimit) {
  ChildOptions options = Options();
  options.task_timeout = absl::Seconds(300);
  options.task_time_limit = absl::Seconds(1);
  const ChildId child = StartReady(options);
  // Tasks before do not count; all together they take longer than the limit.
  for (int i = 0; i < 50; ++i) {
    const ChildEvent event = Perform(child, {"work", "25"});
    ASSERT_EQ(event.kind, Kind::kDone) << event.exit.message;
  }
  const ChildEvent event = Perform(child, {"work", "60000"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::TASK_TIMEOUT);
  EXPECT_EQ(event.exit.message,
            Cat("ran for 1s and has not ended (--task-time-limit)", kAtRecord));
  EXPECT_THAT(event.exit.stack, HasSubstr("  at main\n"));
}

TEST_F(LimitsTest, IdleChildIsNotHung) {
  ChildOptions options = Options();
  options.task_timeout = absl::Milliseconds(20);
  const ChildId child = StartReady(options);
  const auto events = supervisor_->Wait(absl::Milliseconds(200));
  ASSERT_TRUE(events.ok());
  EXPECT_TRUE(events->empty());
  EXPECT_EQ(Perform(child, {"ok"}).kind, Kind::kDone);
}

TEST_F(LimitsTest, TimeInWhichNobodyWatchedDoesNotCount) {
  UseManualClock();
  ChildOptions options = Options();
  options.task_timeout = absl::Seconds(80);
  const ChildId child = StartReady(options);
  Run(child, {"sleep"});
  // One leap, as after the whole machine was stopped: no reason to kill.
  clock_.Advance(absl::Hours(1));
  auto events = supervisor_->Wait(absl::Milliseconds(1));
  ASSERT_TRUE(events.ok());
  EXPECT_TRUE(events->empty());
  // Watched all the time: killed after the timeout, and not much later.
  int seconds = 0;
  while (events->empty() && seconds < 200) {
    clock_.Advance(absl::Seconds(1));
    ++seconds;
    events = supervisor_->Wait(absl::Milliseconds(1));
    ASSERT_TRUE(events.ok());
  }
  if (events->empty()) events = supervisor_->Wait(absl::Minutes(1));
  ASSERT_EQ(events->size(), 1u);
  EXPECT_EQ(events->front().exit.cause, proto::TASK_TIMEOUT);
  EXPECT_GE(seconds, 70);
  EXPECT_LE(seconds, 95);
}

TEST_F(LimitsTest, CallersKillTakesTheStackToo) {
  const ChildId child = StartReady();
  Run(child, {"leave-and-sleep", "ended", File("pids")});
  while (supervisor_->Log(child).empty()) {
    ASSERT_TRUE(supervisor_->Wait(absl::Milliseconds(10)).ok());
  }
  supervisor_->Kill(child, proto::INTERNAL, "because", true);
  supervisor_->Kill(child, proto::CRASHED, "too late", false);
  const ChildEvent event = NextEvent();
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::INTERNAL);
  EXPECT_EQ(event.exit.message, "because");
  EXPECT_THAT(event.exit.stack, HasSubstr("SleepForEver"));
}

TEST_F(LimitsTest, KillBeforeReadyAsksForNoStack) {
  const ChildId child = Start(Options("never-ready"));
  supervisor_->Kill(child, proto::INTERNAL, "because", true);
  const ChildEvent event = NextEvent();
  EXPECT_EQ(event.exit.message, "because");
  EXPECT_EQ(WTERMSIG(event.exit.exit_status), SIGKILL);
}

TEST_F(LimitsTest, MemoryWithoutEndIsEnded) {
  ChildOptions options = Options();
  options.memory_limit_bytes = kMemoryScale * 256 << 20;
  const ChildId child = StartReady(options);
  const ChildEvent event = Perform(child, {"allocate", "0"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::MEMORY_LIMIT);
  EXPECT_THAT(event.exit.message,
              MatchesRegex(Cat("used [0-9.]+ [MG]iB of resident memory, limit ",
                               HumanBytes(options.memory_limit_bytes),
                               ", in map, /data/x.txt offset 1234 .*")));
}

TEST_F(LimitsTest, MemoryBelowTheLimitIsFine) {
  ChildOptions options = Options();
  options.memory_limit_bytes = kMemoryScale * 512 << 20;
  const ChildId child = StartReady(options);
  EXPECT_EQ(Perform(child, {"allocate", "134217728"}).kind, Kind::kDone);
  // And between two tasks nobody looks.
  EXPECT_EQ(Perform(child, {"ok"}).kind, Kind::kDone);
}

TEST_F(LimitsTest, MemoryOfDescendantsCounts) {
  ChildOptions options = Options();
  options.memory_limit_bytes = 300 << 20;
  const ChildId child = StartReady(options);
  // Three times 128 MiB, each of them harmless.
  const ChildEvent event =
      Perform(child, {"allocate-in-children", File("pids"), "3", "134217728"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::MEMORY_LIMIT);
  EXPECT_THAT(
      event.exit.message,
      MatchesRegex(Cat("used [0-9.]+ [MG]iB of resident memory in [234] "
                       "processes, limit ",
                       HumanBytes(options.memory_limit_bytes), ", .*")));
  ExpectAllEnded(File("pids"), 3);
}

TEST_F(LimitsTest, ProcessesWithoutEndAreEnded) {
  ChildOptions options = Options();
  options.memory_limit_bytes = uint64_t{64} << 30;
  options.processes_max = 20;
  const ChildId child = StartReady(options);
  const ChildEvent event =
      Perform(child, {"allocate-in-children", File("pids"), "30", "4096"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::PROCESS_LIMIT);
  EXPECT_THAT(event.exit.message,
              MatchesRegex("ran (2[1-9]|3[01]) processes, all that it had "
                           "started included; 20 are allowed, .*"));
  ExpectAllEnded(File("pids"), 19);
}

TEST_F(LimitsTest, AsManyProcessesAsAreAllowedAreFine) {
  UseManualClock();
  ChildOptions options = Options();
  options.memory_limit_bytes = uint64_t{64} << 30;
  options.processes_max = 4;
  const ChildId child = StartReady(options);
  Run(child, {"share-with-children", File("pids"), "3", "4096"});
  ExpectManyLooksLeaveAlone(child);
}

TEST_F(LimitsTest, MemorySharedWithDescendantsCountsOnce) {
  UseManualClock();
  ChildOptions options = Options();
  options.memory_limit_bytes = kMemoryScale * 300 << 20;
  const ChildId child = StartReady(options);
  // Four processes that share 160 MiB.
  Run(child, {"share-with-children", File("pids"), "3", "167772160"});
  ExpectManyLooksLeaveAlone(child);
}

TEST_F(LimitsTest, FloodOfOutputIsEnded) {
  ChildOptions options = Options();
  options.log_bytes_max = 8 << 20;
  const ChildId child = StartReady(options);
  const ChildEvent event = Perform(child, {"flood", "1073741824"});
  ASSERT_EQ(event.kind, Kind::kExited);
  EXPECT_EQ(event.exit.cause, proto::LOG_LIMIT);
  EXPECT_EQ(event.exit.message,
            Cat("wrote more than 8.0 MiB to stdout and stderr (--log-limit)",
                kAtRecord));
  EXPECT_THAT(supervisor_->Log(child), HasSubstr("bytes left out"));
}

TEST_F(LimitsTest, OutputUpToTheLimitIsFineForEveryTask) {
  ChildOptions options = Options();
  options.log_bytes_max = 1 << 20;
  const ChildId child = StartReady(options);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Perform(child, {"flood", "1048576"}).kind, Kind::kDone);
  }
  // One kilobyte more, however fast the answer comes after it.
  EXPECT_EQ(Perform(child, {"flood", "1049600"}).exit.cause, proto::LOG_LIMIT);
}

}  // namespace
}  // namespace millrace::supervisor
