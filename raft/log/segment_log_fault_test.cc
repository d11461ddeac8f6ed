// Every call of a log's life fails once, in every way.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/random.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {
namespace {

bool Possible(const LogRunner& runner, const ModelLog& log) {
  return std::any_of(
      runner.possible().begin(), runner.possible().end(),
      [&log](const ModelLog& possible) { return SameLog(possible, log); });
}

struct Outcome {
  bool failed = false;  // The runner stopped.
  bool fatal = false;   // The handler was told.
  std::string call;     // That failed.
};

class SegmentLogFaultTest : public testing::Test {
 protected:
  // Runs a life in which call number `call` fails, and checks what the next
  // start finds, killed or with the power cut.
  Outcome Fail(uint64_t call, SimFault fault) {
    SimDisk disk;
    disk.FailCall(call, fault);
    LogRunner runner(SmallLogOptions(), disk);
    const bool opened = runner.log() != nullptr;
    runner.Run(life_);
    EXPECT_TRUE(disk.fault_happened());
    const Outcome outcome = {!runner.status().ok(), runner.fatal(),
                             disk.last_call()};
    if (!outcome.failed) {
      EXPECT_EQ(runner.possible().size(), 1u);
    } else {
      EXPECT_EQ(opened, runner.fatal()) << runner.status();
    }
    const auto killed = disk.AfterProcessDeath();
    const auto log = Recover(SmallLogOptions(), runner.snapshot(), *killed);
    EXPECT_TRUE(log.ok()) << log.status();
    if (!log.ok()) return outcome;
    EXPECT_TRUE(Possible(runner, *log)) << *log;
    // The recovered log is durable, even where a failed sync left pages that
    // look clean and are not.
    const auto cut = killed->AfterPowerCut(SimDisk::LoseAll);
    const auto again = Recover(SmallLogOptions(), runner.snapshot(), *cut);
    EXPECT_TRUE(again.ok()) << again.status();
    if (again.ok()) {
      EXPECT_EQ(*again, *log);
    }

    for (uint64_t seed = 0; seed < 8; ++seed) {
      const auto random = Random::Seeded(call * 8 + seed);
      const auto after = disk.AfterPowerCut(
          [&](size_t options) { return random->Uniform(options); });
      const auto found = Recover(SmallLogOptions(), runner.snapshot(), *after);
      EXPECT_TRUE(found.ok()) << "seed " << seed << ": " << found.status();
      if (found.ok()) {
        EXPECT_TRUE(Possible(runner, *found)) << "seed " << seed << *found;
      }
    }
    return outcome;
  }

  uint64_t Calls() {
    SimDisk disk;
    LogRunner runner(SmallLogOptions(), disk);
    runner.Run(life_);
    EXPECT_TRUE(runner.status().ok()) << runner.status();
    return disk.calls();
  }

  const std::vector<LogStep> life_ = SmallLife(true);
};

TEST_F(SegmentLogFaultTest, AnIoErrorStopsTheLogForGood) {
  const uint64_t calls = Calls();
  for (uint64_t call = 1; call <= calls; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    Fail(call, SimFault::kIoError);
    if (HasFailure()) return;
  }
}

TEST_F(SegmentLogFaultTest, AFailedSyncThatDropsPagesIsNeverRetried) {
  const uint64_t calls = Calls();
  int stopped = 0;
  for (uint64_t call = 1; call <= calls; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    stopped += Fail(call, SimFault::kSyncDropsPages).fatal ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(stopped, 20);
}

TEST_F(SegmentLogFaultTest, NoSpaceForASegmentIsNotTheEnd) {
  const uint64_t calls = Calls();
  int survived = 0;
  for (uint64_t call = 1; call <= calls; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    const Outcome outcome = Fail(call, SimFault::kNoSpace);
    if (HasFailure()) return;
    // The runner tries again, so allocating a segment, or naming it, may fail.
    survived += outcome.failed ? 0 : 1;
  }
  EXPECT_GE(survived, 4 + 4);
}

TEST_F(SegmentLogFaultTest, AShortWriteIsContinued) {
  const uint64_t calls = Calls();
  for (uint64_t call = 1; call <= calls; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    EXPECT_FALSE(Fail(call, SimFault::kShortWrite).failed);
    if (HasFailure()) return;
  }
}

TEST_F(SegmentLogFaultTest, NothingIsWrittenAfterAFailedSync) {
  SimDisk disk;
  LogRunner runner(SmallLogOptions(), disk);
  LogAppend append;
  append.hard_state = HardState{1, 1, 0};
  ASSERT_TRUE(runner.log()->Append(append).ok());
  disk.FailCall(disk.calls() + 1, SimFault::kSyncDropsPages);
  EXPECT_FALSE(runner.log()->Sync().ok());
  EXPECT_TRUE(runner.fatal());
  const uint64_t calls = disk.calls();
  EXPECT_FALSE(runner.log()->Sync().ok());
  EXPECT_FALSE(runner.log()->Append(append).ok());
  EXPECT_FALSE(runner.log()->PrepareSpare().ok());
  EXPECT_FALSE(runner.log()->Reset(5, 1).ok());
  EXPECT_FALSE(runner.log()->DropThrough(0).ok());
  EXPECT_FALSE(runner.log()->Close().ok());
  EXPECT_EQ(disk.calls(), calls);
}

TEST(SegmentLogFaultDeathTest, WithoutAHandlerTheProcessEnds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  SimDisk disk;
  SegmentLogOptions options = SmallLogOptions();
  options.on_fatal = nullptr;
  const auto random = Random::Seeded(1);
  auto log = SegmentLog::Open(options, disk, *random);
  ASSERT_TRUE(log.ok()) << log.status();
  LogAppend append;
  append.hard_state = HardState{1, 1, 0};
  ASSERT_TRUE((*log)->Append(append).ok());
  disk.FailCall(disk.calls() + 1, SimFault::kIoError);
  EXPECT_DEATH((*log)->Sync().IgnoreError(),
               "the log in /data cannot go on after an error of the disk");
}

}  // namespace
}  // namespace millrace::raft
