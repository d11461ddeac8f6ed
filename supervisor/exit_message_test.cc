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

TEST_F(ExitMessageTest, WhoEndsForAStoppedSupervisorBlamesNoRecord) {
  page().phase.store(TaskPhase::kMap);
  page().record_offset.store(1234);
  page().file.Set("/data/x");
  const int status = W_EXITCODE(1, 0);
  EXPECT_EQ(JudgeExit(status, ExitMoment::kInTask, page()).cause,
            proto::EXITED);
  EXPECT_TRUE(EndedByItself(status, page()));

  page().supervisor_stop_limit_ms.store(20'000);
  page().supervisor_stopped.store(1);
  for (const ExitMoment moment : {ExitMoment::kBeforeReady, ExitMoment::kInTask,
                                  ExitMoment::kBetweenTasks}) {
    EXPECT_EQ(JudgeExit(status, moment, page()).cause, proto::WORKER_LOST);
  }
  EXPECT_EQ(Message(status, ExitMoment::kInTask),
            "task process ended by itself: its worker was stopped for 20000 "
            "ms, in map, /data/x offset 1234 (record 1)");
  EXPECT_FALSE(EndedByItself(status, page()));
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
  EXPECT_EQ(PositionSuffix(page()),
            ", in reduce, key \"a\\x00z\" (group 1), value 1");
  page().record_ordinal.store(2);
  page().value_ordinal.store(6);
  EXPECT_EQ(PositionSuffix(page()),
            ", in reduce, key \"a\\x00z\" (group 3), value 7");
}

TEST_F(ExitMessageTest, PositionInACombinerIsNotThatOfTheMapper) {
  page().phase.store(TaskPhase::kCombine);
  page().file.Set("/data/x");
  page().record_offset.store(1234);
  page().key.Set("word");
  page().value_ordinal.store(1);
  EXPECT_EQ(PositionSuffix(page()), ", in combine, key \"word\", value 2");
  page().value_is_emitted.store(1);
  EXPECT_EQ(PositionSuffix(page()),
            ", in combine, key \"word\", emitted record 2");
}

TEST_F(ExitMessageTest, ARecordIsAtFaultInTheMapAlone) {
  page().record_file.store(3);
  page().record_offset.store(~uint64_t{0});
  page().phase.store(TaskPhase::kMap);
  const auto at_fault = [&] {
    return RecordAtFault(page(), proto::CRASHED, "died", "  at Map()\n");
  };
  EXPECT_FALSE(at_fault().has_value()) << "no record yet";
  page().record_offset.store(1234);
  const std::optional<proto::BadRecord> record = at_fault();
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->file(), 3u);
  EXPECT_EQ(record->offset(), 1234u);
  EXPECT_EQ(record->cause(), proto::CRASHED);
  EXPECT_EQ(record->message(), "died");
  EXPECT_EQ(record->stack(), "  at Map()\n");
  for (const TaskPhase phase :
       {TaskPhase::kIdle, TaskPhase::kSetup, TaskPhase::kCombine,
        TaskPhase::kPartition, TaskPhase::kSpill, TaskPhase::kReduce,
        TaskPhase::kCleanup, TaskPhase::kCommit}) {
    page().phase.store(phase);
    EXPECT_FALSE(at_fault().has_value()) << TaskPhaseName(phase);
  }
}

TEST_F(ExitMessageTest, TextsOfABadRecordAreBoundedAndUtf8) {
  page().phase.store(TaskPhase::kMap);
  std::string stack;
  while (stack.size() < 100'000) stack += "  at Frame\u00f6()\n";
  const std::optional<proto::BadRecord> record =
      RecordAtFault(page(), proto::CRASHED, std::string(5000, '\xff'), stack);
  ASSERT_TRUE(record.has_value());
  EXPECT_LE(record->message().size(), 1100u);
  EXPECT_EQ(record->message().substr(0, 4), "\\xff");
  EXPECT_LE(record->stack().size(), 2048u);
  EXPECT_EQ(stack.substr(0, record->stack().size()), record->stack());
  EXPECT_EQ(record->stack().back(), '\n');
}

TEST_F(ExitMessageTest, WhoWasKilledDidNotEndByItself) {
  EXPECT_TRUE(EndedByItself(W_EXITCODE(0, 0), page()));
  EXPECT_TRUE(EndedByItself(W_EXITCODE(0, SIGSEGV), page()));
  EXPECT_FALSE(EndedByItself(W_EXITCODE(0, SIGKILL), page()));
  EXPECT_FALSE(EndedByItself(W_EXITCODE(0, SIGTERM), page()));
  page().crash_signal.store(SIGABRT);  // Its handler was ended by its alarm.
  EXPECT_TRUE(EndedByItself(W_EXITCODE(0, SIGALRM), page()));
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
