#include "rpc/channel_cache.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/strings.h"

namespace millrace::rpc {
namespace {

class ChannelCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<grpc::Channel> To(int port) {
    auto channel = cache_.To(Cat("127.0.0.1:", port));
    EXPECT_TRUE(channel.ok()) << channel.status();
    return *std::move(channel);
  }

  ManualClock clock_;
  ChannelCache cache_{LoopbackCredentials(), clock_, 4};
};

TEST_F(ChannelCacheTest, AnAddressHasOneChannel) {
  const auto one = To(1);
  EXPECT_EQ(To(1), one);
  EXPECT_NE(To(2), one);
  EXPECT_EQ(cache_.size(), 2u);
  EXPECT_EQ(cache_.To("nonsense").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cache_.size(), 2u);
}

TEST_F(ChannelCacheTest, WhatNobodyAsksForGoes) {
  To(1);
  To(2);
  const auto held = To(3);
  clock_.Advance(ChannelCache::kIdleMax);
  To(2);
  clock_.Advance(absl::Seconds(1));
  const std::weak_ptr<grpc::Channel> used = To(2);
  To(4);
  EXPECT_EQ(cache_.size(), 3u) << "2, 3 and 4";
  EXPECT_EQ(To(3), held);
  EXPECT_FALSE(used.expired());
}

TEST_F(ChannelCacheTest, FullItKeepsOnlyWhatIsHeld) {
  const auto held = To(1);
  for (int port = 2; port <= 4; ++port) To(port);
  EXPECT_EQ(cache_.size(), 4u);
  To(5);
  EXPECT_EQ(cache_.size(), 2u);
  EXPECT_EQ(To(1), held);
}

}  // namespace
}  // namespace millrace::rpc
