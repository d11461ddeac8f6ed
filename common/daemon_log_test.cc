#include "common/daemon_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

using testing::HasSubstr;

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Logs of eight bytes; the descriptors are of the test's own.
class DaemonLogTest : public testing::Test {
 protected:
  void SetUp() override {
    for (int& descriptor : descriptors_) {
      descriptor = open("/dev/null", O_WRONLY | O_CLOEXEC);
      ASSERT_GE(descriptor, 0);
    }
  }
  void TearDown() override {
    for (const int descriptor : descriptors_) close(descriptor);
  }
  void Print(int which, std::string_view text) {
    EXPECT_EQ(write(descriptors_[which], text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }
  void CloseFirst() { close(descriptors_[0]); }
  DaemonLog Make() { return DaemonLog(8, {descriptors_[0], descriptors_[1]}); }

  TempDir directory_;
  const std::string path_ = directory_ / "a.log";

 private:
  int descriptors_[2] = {-1, -1};
};

TEST_F(DaemonLogTest, GoesOnBehindWhatIsThereAndIsPutAsideWhenItIsLarge) {
  directory_.Write("a.log", "one ");
  DaemonLog log = Make();
  ASSERT_TRUE(log.Open(path_).ok());
  Print(0, "two");
  log.PutAsideIfLarge();
  EXPECT_EQ(TextOf(path_), "one two") << "it is not large";
  Print(1, "!");
  log.PutAsideIfLarge();
  EXPECT_EQ(TextOf(path_ + ".1"), "one two!");
  EXPECT_EQ(TextOf(path_), "");
  Print(0, "three, ");
  Print(1, "four");
  log.PutAsideIfLarge();
  EXPECT_EQ(TextOf(path_ + ".1"), "three, four") << "of the older one's place";
  log.PutAsideIfLarge();
  EXPECT_EQ(TextOf(path_ + ".1"), "three, four");
}

// By whoever started the daemon.
TEST_F(DaemonLogTest, ADescriptorThatIsClosedLeadsThereToo) {
  CloseFirst();
  DaemonLog log = Make();
  ASSERT_TRUE(log.Open(path_).ok());
  Print(0, "one, ");
  Print(1, "two");
  EXPECT_EQ(TextOf(path_), "one, two");
  log.PutAsideIfLarge();
  Print(0, "three");
  EXPECT_EQ(TextOf(path_), "three");
}

TEST_F(DaemonLogTest, AFileThatWasTakenAwayIsBegunAnew) {
  DaemonLog log = Make();
  ASSERT_TRUE(log.Open(path_).ok());
  Print(0, "gone soon");
  std::filesystem::remove(path_);
  log.PutAsideIfLarge();
  Print(0, "new");
  EXPECT_EQ(TextOf(path_), "new");
}

TEST_F(DaemonLogTest, WhereItCannotBePutAsideItGoesOn) {
  DaemonLog log = Make();
  ASSERT_TRUE(log.Open(path_).ok());
  Print(0, "long enough");
  std::filesystem::create_directories(path_ + ".1/in the way");
  testing::internal::CaptureStderr();
  log.PutAsideIfLarge();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("the log grows on: rename " + path_));
  Print(0, ", and more");
  EXPECT_EQ(TextOf(path_), "long enough, and more");
}

TEST_F(DaemonLogTest, WhatCannotBeOpenedIsNamed) {
  DaemonLog log = Make();
  const std::string path = directory_ / "no/such/log";
  EXPECT_THAT(std::string(log.Open(path).message()), HasSubstr("open " + path));
}

TEST_F(DaemonLogTest, WithoutAFileNothingHappens) {
  DaemonLog log = Make();
  ASSERT_TRUE(log.Open("").ok());
  Print(0, "into the void, at length");
  log.PutAsideIfLarge();
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

}  // namespace
}  // namespace millrace
