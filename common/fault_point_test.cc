#include "common/fault_point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "tests/testing/temp_dir.h"

namespace millrace {
namespace {

class FaultPointTest : public testing::Test {
 protected:
  ~FaultPointTest() override { EXPECT_TRUE(SetFaults("").ok()); }
  static bool Exists(const std::string& path) {
    return access(path.c_str(), F_OK) == 0;
  }
  TempDir temp_;
};

TEST_F(FaultPointTest, NothingHappensWhereNothingIsSet) {
  EXPECT_FALSE(FaultsSet());
  FaultPoint("a");
  ASSERT_TRUE(SetFaults("b:kill").ok());
  EXPECT_TRUE(FaultsSet());
  FaultPoint("a");
}

TEST_F(FaultPointTest, MarksOnceWhenReachedOftenEnough) {
  const std::string path = temp_ / "mark";
  ASSERT_TRUE(SetFaults("a@3:mark=" + path).ok());
  FaultPoint("a");
  FaultPoint("a");
  EXPECT_FALSE(Exists(path));
  FaultPoint("a");
  EXPECT_TRUE(Exists(path));
  unlink(path.c_str());
  FaultPoint("a");
  EXPECT_FALSE(Exists(path)) << "a fault happens once";
}

TEST_F(FaultPointTest, CountsHowOftenItIsReached) {
  const std::string path = temp_ / "count";
  ASSERT_TRUE(SetFaults("a@2:count=" + path).ok());
  for (int i = 0; i < 5; ++i) FaultPoint("a");
  EXPECT_EQ(temp_.Read("count"), "....");
}

TEST_F(FaultPointTest, CountsFromWhereItIsArmed) {
  const std::string path = temp_ / "mark";
  ASSERT_TRUE(SetFaults("x>a:mark=" + path + ";y>y:mark=" + path + "2").ok());
  FaultPoint("a");
  EXPECT_FALSE(Exists(path));
  FaultPoint("x");
  EXPECT_FALSE(Exists(path));
  FaultPoint("a");
  EXPECT_TRUE(Exists(path));
  FaultPoint("y");
  EXPECT_FALSE(Exists(path + "2")) << "what arms does not count";
  FaultPoint("y");
  EXPECT_TRUE(Exists(path + "2"));
}

TEST_F(FaultPointTest, HoldsUntilTheFileIsGone) {
  const std::string path = temp_ / "hold";
  ASSERT_TRUE(SetFaults("a:hold=" + path).ok());
  std::atomic<bool> passed = false;
  std::thread thread([&] {
    FaultPoint("a");
    passed = true;
  });
  while (!Exists(path)) poll(nullptr, 0, 1);
  FaultPoint("a");  // Others go on.
  EXPECT_FALSE(passed);
  unlink(path.c_str());
  thread.join();
  EXPECT_TRUE(passed);
}

using FaultPointDeathTest = FaultPointTest;

TEST_F(FaultPointDeathTest, Kills) {
  EXPECT_EXIT(
      {
        (void)SetFaults("a@2:kill");
        FaultPoint("a");
        FaultPoint("a");
        _exit(0);
      },
      testing::KilledBySignal(SIGKILL), "");
}

TEST_F(FaultPointTest, RefusesWhatIsNoFault) {
  for (const char* wrong :
       {"a", ":kill", "a:", "a:die", "a@:kill", "a@0:kill", "a@x:kill",
        ">a:kill", "a:hold=", "a:mark=", "a:count=", "b:kill;a"}) {
    EXPECT_EQ(SetFaults(wrong).code(), absl::StatusCode::kInvalidArgument)
        << wrong;
  }
  EXPECT_FALSE(FaultsSet());
}

}  // namespace
}  // namespace millrace
