#include "supervisor/stop_detector.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

namespace millrace::supervisor {
namespace {

class StopDetectorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!StopDetector::CanTell()) GTEST_SKIP() << "of this kernel's making";
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (true) pause();
    }
    ASSERT_GT(pid_, 0);
  }
  void TearDown() override {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  // Returns when it is in that state.
  void Stop() { Signal(SIGSTOP, WSTOPPED); }
  void Continue() { Signal(SIGCONT, WCONTINUED); }

  // Looks until it is found stopped for the nth time in a row. One that has
  // just said that it is stopped may have to get a processor once more to leave
  // it, so the count may begin anew.
  static void LookUntil(StopDetector& detector, int n) {
    for (int i = 0; i < kLooksMax; ++i) {
      const int looks = detector.Look();
      ASSERT_GE(looks, 1);
      if (looks == n) return;
    }
    FAIL() << "never found stopped " << n << " times in a row";
  }

  static constexpr int kLooksMax = 1000;

  pid_t pid_ = 0;

 private:
  void Signal(int number, int state) {
    kill(pid_, number);
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, state), 0);
  }
};

TEST_F(StopDetectorTest, CountsLooksAtAStoppedProcess) {
  StopDetector detector(pid_);
  EXPECT_EQ(detector.Look(), 0);
  Stop();
  EXPECT_EQ(detector.Look(), 1);
  LookUntil(detector, 3);
  Continue();
  EXPECT_EQ(detector.Look(), 0);
  Stop();
  EXPECT_EQ(detector.Look(), 1);
}

// It is stopped in each look, and yet it goes on.
TEST_F(StopDetectorTest, AProcessThatRanBetweenTwoLooksIsNotStopped) {
  StopDetector detector(pid_);
  Stop();
  EXPECT_EQ(detector.Look(), 1);
  for (int i = 0; i < 20; ++i) {
    Continue();
    Stop();
    EXPECT_EQ(detector.Look(), 1);
  }
  LookUntil(detector, 2);
}

TEST_F(StopDetectorTest, WhatIsNotThereIsNotStopped) {
  StopDetector detector(pid_);
  kill(pid_, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT),
            0);
  EXPECT_EQ(detector.Look(), 0) << "it has ended";
  const pid_t pid = std::exchange(pid_, 0);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_EQ(detector.Look(), 0) << "it is gone";
}

}  // namespace
}  // namespace millrace::supervisor
