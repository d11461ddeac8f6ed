#include "worker/agent/spool_account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr bool kMap = false;
constexpr bool kReduce = true;

TEST(SpoolAccountTest, NothingIsKnownBeforeTheFirstLook) {
  SpoolAccount account({.free_bytes_min = 1000});
  EXPECT_TRUE(account.Reserve(Uid(1), kMap, 1 << 30));
  EXPECT_TRUE(account.Reserve(Uid(2), kMap, 1 << 30));
  account.Review();
  EXPECT_FALSE(account.low());
}

TEST(SpoolAccountTest, FloorOfTheDisk) {
  SpoolAccount account({.free_bytes_min = 1000});
  account.Measured(999, {});
  account.Review();
  EXPECT_TRUE(account.low());
  EXPECT_TRUE(account.full());
  EXPECT_THAT(account.Why(), HasSubstr("--min-free-disk"));
  account.Measured(1249, {});
  account.Review();
  EXPECT_TRUE(account.low()) << "not so fast";
  account.Measured(1250, {});
  account.Review();
  EXPECT_FALSE(account.low());
  EXPECT_EQ(account.Why(), "");
}

TEST(SpoolAccountTest, AttemptsThatBeginTogetherShareWhatIsThere) {
  SpoolAccount account({.free_bytes_min = 1000});
  account.Measured(2000, {});
  EXPECT_TRUE(account.Reserve(Uid(1), kMap, 400));
  EXPECT_TRUE(account.Reserve(Uid(2), kMap, 600));
  EXPECT_FALSE(account.Reserve(Uid(3), kMap, 1));
  account.Review();
  EXPECT_TRUE(account.low());
  EXPECT_FALSE(account.full());
  EXPECT_THAT(account.Why(), HasSubstr("beside 2 attempts"));
  // What was written is no longer reserved, and no longer free.
  account.Measured(1700, {{Uid(1), 300}});
  EXPECT_FALSE(account.Reserve(Uid(3), kMap, 1));
  account.Release(Uid(1));
  EXPECT_TRUE(account.Reserve(Uid(3), kMap, 100));
  EXPECT_FALSE(account.Reserve(Uid(4), kMap, 1));
  account.Release(Uid(2));
  account.Review();
  EXPECT_FALSE(account.low());
}

TEST(SpoolAccountTest, TheOnlyOneOfItsKindIsNeverKeptFromRunning) {
  SpoolAccount account({.free_bytes_min = 1000});
  account.Measured(1001, {});
  EXPECT_TRUE(account.Reserve(Uid(1), kReduce, 5000));
  EXPECT_TRUE(account.Reserve(Uid(2), kMap, 5000));
  EXPECT_FALSE(account.Reserve(Uid(3), kMap, 5000));
  EXPECT_FALSE(account.Reserve(Uid(4), kReduce, 5000));
  account.Review();
  EXPECT_TRUE(account.low()) << "for maps";
  EXPECT_TRUE(account.Reserve(Uid(5), kMap, 0)) << "it needs nothing known";
  account.Release(Uid(2));
  EXPECT_TRUE(account.Reserve(Uid(3), kMap, 5000));
}

TEST(SpoolAccountTest, ReducesTakeNothingFromMaps) {
  SpoolAccount account({.free_bytes_min = 0});
  account.Measured(1000, {});
  EXPECT_TRUE(account.Reserve(Uid(1), kReduce, 900));
  EXPECT_TRUE(account.Reserve(Uid(2), kMap, 500));
  EXPECT_TRUE(account.Reserve(Uid(3), kMap, 500));
  EXPECT_FALSE(account.Reserve(Uid(5), kReduce, 101));
  account.Review();
  EXPECT_FALSE(account.low()) << "a reduce that waits keeps no map away";
  EXPECT_FALSE(account.Reserve(Uid(4), kMap, 1));
}

TEST(SpoolAccountTest, SpoolThatReachesItsLimit) {
  SpoolAccount account({.free_bytes_min = 0, .spool_bytes_max = 800});
  account.Measured(1 << 30, {});
  EXPECT_TRUE(account.tight());
  ASSERT_TRUE(account.Reserve(Uid(1), kMap, 300));
  account.Release(Uid(1));
  account.Keep(Uid(1), 300);
  ASSERT_TRUE(account.Reserve(Uid(2), kMap, 300));
  EXPECT_FALSE(account.Reserve(Uid(3), kMap, 201));
  ASSERT_TRUE(account.Reserve(Uid(3), kMap, 200));
  EXPECT_EQ(account.spool_bytes(), 300u);
  account.Measured(1 << 30, {{Uid(2), 310}, {Uid(3), 190}});
  account.Review();
  EXPECT_TRUE(account.full());
  EXPECT_THAT(account.Why(),
              AllOf(HasSubstr("800 B of 800 B"), HasSubstr("--spool-limit")));
  EXPECT_FALSE(account.Excess().has_value()) << "reached is not exceeded";
  account.Measured(1 << 30, {{Uid(2), 310}, {Uid(3), 191}});
  EXPECT_EQ(account.Excess(), Uid(2));
  EXPECT_EQ(account.WrittenBy(Uid(2)), 310u);
  account.Release(Uid(2));
  EXPECT_FALSE(account.Excess().has_value());
  account.Review();
  EXPECT_FALSE(account.full());
}

TEST(SpoolAccountTest, OutputsAloneEndNoAttempt) {
  SpoolAccount account({.free_bytes_min = 0, .spool_bytes_max = 800});
  account.Keep(Uid(1), 500);
  account.Keep(Uid(2), 500);
  account.Keep(Uid(2), 400);  // Found once more.
  account.Measured(1 << 30, {{Uid(7), 100}});
  ASSERT_TRUE(account.Reserve(Uid(3), kReduce, 10));
  account.Review();
  EXPECT_EQ(account.spool_bytes(), 900u);
  EXPECT_TRUE(account.full());
  EXPECT_FALSE(account.Excess().has_value());
  account.Forget(Uid(2));
  account.Forget(Uid(9));
  account.Review();
  EXPECT_FALSE(account.full());
}

}  // namespace
}  // namespace millrace::worker
