#include "supervisor/stop_detector.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace millrace::supervisor {
namespace {

class StopDetectorTest : public testing::Test {
 protected:
  void SetUp() override {
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (true) pause();
    }
    ASSERT_GT(pid_, 0);
  }
  void TearDown() override {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  // Returns when it is in that state.
  void Stop() { Signal(SIGSTOP, WSTOPPED); }
  void Continue() { Signal(SIGCONT, WCONTINUED); }

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
  EXPECT_EQ(detector.Look(), 2);
  EXPECT_EQ(detector.Look(), 3);
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
  EXPECT_EQ(detector.Look(), 2);
}

TEST_F(StopDetectorTest, WhatIsNotThereIsNotStopped) {
  StopDetector detector(pid_);
  kill(pid_, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT),
            0);
  EXPECT_EQ(detector.Look(), 0) << "it has ended";
  ASSERT_EQ(waitpid(pid_, nullptr, 0), pid_);
  EXPECT_EQ(detector.Look(), 0) << "it is gone";
}

}  // namespace
}  // namespace millrace::supervisor
