#include "supervisor/exit_message.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <memory>

namespace millrace::supervisor {
namespace {

class ExitMessageTest : public testing::Test {
 protected:
  void SetUp() override {
    mapping_.reset(StatusPageMapping::CreateOrNull());
    ASSERT_NE(mapping_, nullptr);
  }
  StatusPage& page() { return mapping_->page(); }
  std::string Message(int wait_status, ExitMoment moment) {
    return JudgeExit(wait_status, moment, page()).message;
  }

  std::unique_ptr<StatusPageMapping> mapping_;
};

TEST_F(ExitMessageTest, NoPositionOnAFreshPage) {
  EXPECT_EQ(PositionSuffix(page()), "");
  page().phase.store(TaskPhase::kMerge);
  EXPECT_EQ(PositionSuffix(page()), ", in merge");
  page().phase.store(TaskPhase::kPlan);
  EXPECT_EQ(PositionSuffix(page()), "");
}

TEST_F(ExitMessageTest, PositionInFile) {
  page().phase.store(TaskPhase::kMap);
  page().file.Set("/data/new\nline");
  page().record_offset.store(1234);
  page().record_ordinal.store(16);
  EXPECT_EQ(PositionSuffix(page()),
            ", in map, /data/new\\nline offset 1234 (record 17)");
  page().record_offset.store(~uint64_t{0});
  EXPECT_EQ(PositionSuffix(page()), ", in map, /data/new\\nline (record 17)");
  page().phase.store(TaskPhase::kIdle);
  EXPECT_EQ(PositionSuffix(page()), ", /data/new\\nline (record 17)");
}

TEST_F(ExitMessageTest, PositionAtKey) {
  page().phase.store(TaskPhase::kReduce);
  page().key.Set(std::string("a\0z", 3));
  EXPECT_EQ(PositionSuffix(page()), ", in reduce, key \"a\\x00z\" (record 1)");
}

TEST_F(ExitMessageTest, EveryPhaseHasAName) {
  for (uint32_t i = 0; i <= static_cast<uint32_t>(TaskPhase::kCommit); ++i) {
    EXPECT_STRNE(TaskPhaseName(static_cast<TaskPhase>(i)), "unknown phase");
  }
  EXPECT_STREQ(TaskPhaseName(static_cast<TaskPhase>(99)), "unknown phase");
}

TEST_F(ExitMessageTest, ExitStatusByMoment) {
  const int status = 3 << 8;
  page().phase.store(TaskPhase::kMap);
  EXPECT_EQ(Message(status, ExitMoment::kInTask),
            "task process exited with status 3 before its task was done, in "
            "map");
  EXPECT_EQ(Message(status, ExitMoment::kBetweenTasks),
            "task process exited with status 3 between two tasks");
  EXPECT_EQ(Message(status, ExitMoment::kBeforeReady),
            "task process exited with status 3 before it was ready");
  EXPECT_EQ(JudgeExit(status, ExitMoment::kInTask, page()).cause,
            proto::EXITED);
  EXPECT_EQ(JudgeExit(status, ExitMoment::kBeforeReady, page()).cause,
            proto::SPAWN_FAILED);
}

TEST_F(ExitMessageTest, CrashWithAndWithoutAddress) {
  EXPECT_EQ(Message(SIGSEGV, ExitMoment::kInTask),
            "task process crashed: signal 11 (Segmentation fault)");
  page().crash_signal.store(SIGSEGV);
  page().crash_address.store(0);
  EXPECT_EQ(Message(SIGSEGV, ExitMoment::kInTask),
            "task process crashed: signal 11 (Segmentation fault) at address "
            "0x0");
  page().crash_overflow.store(1);
  EXPECT_EQ(Message(SIGSEGV, ExitMoment::kInTask),
            "task process crashed: signal 11 (Segmentation fault) at address "
            "0x0 (stack overflow)");
  page().crash_overflow.store(0);
  page().crash_address.store(kNoCrashAddress);
  EXPECT_EQ(Message(SIGSEGV, ExitMoment::kInTask),
            "task process crashed: signal 11 (Segmentation fault)");
}

TEST_F(ExitMessageTest, HandlerEndedByItsAlarmStillNamesTheCrash) {
  page().crash_signal.store(SIGABRT);
  page().crash_address.store(kNoCrashAddress);
  EXPECT_EQ(Message(SIGALRM, ExitMoment::kInTask),
            "task process crashed: signal 6 (Aborted)");
}

TEST_F(ExitMessageTest, KilledFromOutside) {
  page().crash_signal.store(SIGUSR2);  // A stack was taken once.
  EXPECT_EQ(Message(SIGKILL, ExitMoment::kInTask),
            "task process was killed: signal 9 (Killed) from outside; the "
            "system does that when memory runs out (see dmesg)");
  EXPECT_EQ(Message(SIGTERM, ExitMoment::kBetweenTasks),
            "task process was killed: signal 15 (Terminated) between two "
            "tasks");
  EXPECT_EQ(SignalText(64), "signal 64");
}

}  // namespace
}  // namespace millrace::supervisor
