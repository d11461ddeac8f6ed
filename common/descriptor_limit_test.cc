#include "common/descriptor_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace millrace {
namespace {

TEST(DescriptorLimitTest, IsRaisedAndNeverLowered) {
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  struct rlimit low = before;
  low.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(DescriptorLimit(), 100u);
  EXPECT_EQ(RaiseDescriptorLimit(50), 100u);
  EXPECT_EQ(RaiseDescriptorLimit(120), 120u);
  EXPECT_EQ(RaiseDescriptorLimit(~uint64_t{0} / 2), before.rlim_max)
      << "as far as it may";
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(DescriptorLimitTest, FewerDescriptorsMakeNarrowerMerges) {
  EXPECT_EQ(MergeFanIn(0), 2u);
  EXPECT_EQ(MergeFanIn(26), 2u);
  EXPECT_EQ(MergeFanIn(40), 16u);
  EXPECT_EQ(MergeFanIn(256), 232u);
  EXPECT_EQ(MergeFanIn(1024), 512u);
  EXPECT_EQ(MergeFanIn(~uint64_t{0}), 512u);
}

}  // namespace
}  // namespace millrace
