#include "common/pace.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"

namespace millrace {
namespace {

TEST(PaceTest, WhatWasNeverDoneIsDue) {
  EXPECT_TRUE(Pace().IsDue(absl::ZeroDuration()));
}

TEST(PaceTest, WhatTakesLongComesAsMuchLater) {
  Pace pace;
  const absl::Duration from = absl::Hours(1);
  const absl::Duration to = from + absl::Milliseconds(30);
  pace.Done(from, to);
  const absl::Duration next = to + absl::Seconds(30);
  EXPECT_FALSE(pace.IsDue(next - absl::Milliseconds(1)));
  EXPECT_TRUE(pace.IsDue(next));

  pace.Done(next, next + absl::Microseconds(10));
  EXPECT_TRUE(pace.IsDue(next + absl::Milliseconds(11)));
}

TEST(PaceTest, AProcessThatWasStoppedMeanwhileDoesNotPutItOffForLong) {
  Pace pace;
  const absl::Duration to = absl::Hours(2);
  pace.Done(absl::Hours(1), to);
  EXPECT_FALSE(pace.IsDue(to + absl::Minutes(4)));
  EXPECT_TRUE(pace.IsDue(to + absl::Minutes(5)));
}

}  // namespace
}  // namespace millrace
