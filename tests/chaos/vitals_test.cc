#include "tests/chaos/vitals.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace millrace::chaostest {
namespace {

TEST(VitalsTest, SignsAreThoseOfTheProcess) {
  VitalSigns before;
  ASSERT_TRUE(ReadVitalSigns(getpid(), &before));
  EXPECT_GT(before.resident_mib, 1);
  EXPECT_GE(before.threads, 1);
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  VitalSigns after;
  ASSERT_TRUE(ReadVitalSigns(getpid(), &after));
  EXPECT_EQ(after.descriptors, before.descriptors + 1);
  close(fd);
  EXPECT_FALSE(ReadVitalSigns(-1, &after));
}

TEST(VitalsTest, WhatALeaderNeedsMoreIsNoGrowth) {
  Vitals vitals;
  for (int minute = 0; minute <= 120; ++minute) {
    const absl::Duration at = absl::Minutes(minute);
    const bool late = minute > 90;
    vitals.Add("rests", 1, at, {late ? 33.0 : 30.0, 10, 5, late});
    vitals.Add("grows", 2, at, {minute / 30.0 + (late ? 0 : 3), 10, 5, !late});
    vitals.Add("leads", 3, at, {minute / 20.0, 10, 5, true});
  }
  const std::vector<Growth> growths = vitals.Of(absl::Minutes(30));
  ASSERT_EQ(growths.size(), 3u);
  EXPECT_EQ(growths[0].name, "grows");
  EXPECT_NEAR(growths[0].mib_per_hour, 2, 0.001);
  EXPECT_EQ(growths[1].name, "leads");
  EXPECT_NEAR(growths[1].mib_per_hour, 3, 0.001);
  EXPECT_EQ(growths[2].name, "rests");
  EXPECT_NEAR(growths[2].mib_per_hour, 0, 0.001);
}

TEST(VitalsTest, GrowthIsThatAfterTheBeginning) {
  Vitals vitals;
  for (int minute = 0; minute <= 120; ++minute) {
    const absl::Duration at = absl::Minutes(minute);
    // Grows at first, then by three a minute of an hour.
    vitals.Add("grows", 1, at,
               {minute < 30 ? minute * 2.0 : 60 + minute / 20.0, 10, 5});
    // Up and down, and no more.
    vitals.Add("rests", 2, at, {50.0 + minute % 2, 10 + minute % 3, 5});
    vitals.Add("leaks", 3, at, {50, minute, minute / 60});
    // Was not there from the beginning, or is not any more.
    vitals.Add("restarted", minute < 60 ? 4 : 5, at, {50, 10, 5});
  }
  const std::vector<Growth> growths = vitals.Of(absl::Minutes(30));
  ASSERT_EQ(growths.size(), 3u);
  EXPECT_EQ(growths[0].name, "grows");
  EXPECT_EQ(growths[0].samples, 91);
  EXPECT_NEAR(growths[0].mib_per_hour, 3, 0.001);
  EXPECT_EQ(growths[0].more_descriptors, 0);
  EXPECT_NEAR(growths[0].course.front(), 14, 0.001);
  EXPECT_NEAR(growths[0].course.back(), 65.625, 0.001);
  EXPECT_NEAR(growths[2].floor.front(), 50, 0.001);
  EXPECT_NEAR(growths[2].floor.back(), 50, 0.001);
  EXPECT_NEAR(growths[2].course.back(), 50.5, 0.1);
  EXPECT_EQ(growths[1].name, "leaks");
  EXPECT_NEAR(growths[1].mib_per_hour, 0, 0.001);
  EXPECT_EQ(growths[1].more_descriptors, 46);
  EXPECT_EQ(growths[1].more_threads, 1);
  EXPECT_EQ(growths[2].name, "rests");
  EXPECT_NEAR(growths[2].mib_per_hour, 0, 0.01);
  EXPECT_EQ(growths[2].more_descriptors, 0);
}

TEST(VitalsTest, WhoLeadsHasAsManyAsWhoHasLed) {
  Vitals vitals;
  for (int minute = 0; minute <= 120; ++minute) {
    const absl::Duration at = absl::Minutes(minute);
    const bool first = minute < 80;
    vitals.Add("master-1", 1, at, {50, first ? 60 : 40, first ? 38 : 35});
    vitals.Add("master-2", 2, at, {50, first ? 40 : 61, first ? 35 : 38});
    vitals.Add("worker-1", 3, at, {50, first ? 40 : 50, 35});
  }
  const std::vector<Growth> growths = vitals.Of(absl::Minutes(30));
  ASSERT_EQ(growths.size(), 3u);
  EXPECT_LT(growths[0].more_descriptors, 1);
  EXPECT_EQ(growths[1].more_descriptors, 1);
  EXPECT_EQ(growths[1].more_threads, 0);
  EXPECT_EQ(growths[2].more_descriptors, 10);
}

}  // namespace
}  // namespace millrace::chaostest
