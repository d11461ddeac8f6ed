#include "master/service/blob_uploads.h"

#include <gtest/gtest.h>

#include <functional>

namespace millrace::master {
namespace {

const std::function<void()> kNever = [] { FAIL() << "nobody waits here"; };

class BlobUploadsTest : public testing::Test {
 protected:
  std::function<void()> Counted() {
    return [this] { ++resumed_; };
  }

  ManualClock clock_;
  BlobUploads uploads_{clock_};
  const uint64_t first_ = uploads_.NewTicket();
  const uint64_t second_ = uploads_.NewTicket();
  const uint64_t third_ = uploads_.NewTicket();
  int resumed_ = 0;
};

TEST_F(BlobUploadsTest, OneSendsAndTheOthersWaitForItsEnd) {
  EXPECT_TRUE(uploads_.Begin("a", first_, kNever));
  EXPECT_FALSE(uploads_.Begin("a", second_, Counted()));
  EXPECT_FALSE(uploads_.Begin("a", third_, Counted()));
  EXPECT_EQ(resumed_, 0);
  uploads_.End("a");
  EXPECT_EQ(resumed_, 2);
  EXPECT_TRUE(uploads_.Begin("a", second_, kNever)) << "nobody sends it now";
  uploads_.End("a");
}

TEST_F(BlobUploadsTest, OtherBlobsDoNotWait) {
  EXPECT_TRUE(uploads_.Begin("a", first_, kNever));
  EXPECT_TRUE(uploads_.Begin("b", second_, kNever));
  uploads_.End("b");
  uploads_.End("a");
}

TEST_F(BlobUploadsTest, WhoStopsWaitingIsNotResumed) {
  EXPECT_TRUE(uploads_.Begin("a", first_, kNever));
  EXPECT_FALSE(uploads_.Begin("a", second_, kNever));
  EXPECT_FALSE(uploads_.Begin("a", third_, Counted()));
  EXPECT_TRUE(uploads_.StopWaiting("a", second_));
  EXPECT_FALSE(uploads_.StopWaiting("a", second_)) << "it waits no more";
  EXPECT_FALSE(uploads_.StopWaiting("b", third_));
  uploads_.End("a");
  EXPECT_EQ(resumed_, 1);
  EXPECT_FALSE(uploads_.StopWaiting("a", third_)) << "it was resumed";
}

TEST_F(BlobUploadsTest, AnUploadThatStandsStillIsNotWaitedFor) {
  EXPECT_TRUE(uploads_.Begin("a", first_, kNever));
  clock_.Advance(BlobUploads::kPatience / 2);
  uploads_.Progress("a");
  clock_.Advance(BlobUploads::kPatience / 2);
  EXPECT_FALSE(uploads_.Begin("a", second_, Counted())) << "it moves";
  clock_.Advance(BlobUploads::kPatience / 2);
  EXPECT_TRUE(uploads_.Begin("a", third_, kNever));
  // The one that is quicker ends the wait, the slow one may go on.
  uploads_.End("a");
  EXPECT_EQ(resumed_, 1);
  uploads_.Progress("a");
  uploads_.End("a");
}

}  // namespace
}  // namespace millrace::master
