#include "master/group/blob_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"
#include "common/random.h"
#include "common/sha256.h"
#include "common/strings.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::master {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class BlobKeeperTest : public testing::Test {
 protected:
  BlobKeeperTest()
      : store_(*BlobStore::Open({"/blobs"}, fs_, *random_)),
        keeper_(*store_, clock_,
                {[this](std::set<std::string>* named) {
                   *named = named_;
                   return answers_;
                 },
                 [this](const std::string& sha256) {
                   fetched_.push_back(sha256);
                   return fetch_status_;
                 },
                 [this](const std::vector<std::string>& blobs) {
                   asked_.push_back(blobs);
                   return released_ ? blobs : std::vector<std::string>();
                 }}) {}

  std::string Put(const std::string& text) {
    const std::string sha256 = Sha256Of(text);
    auto writer = store_->Put(sha256, text.size());
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE((*writer)->Append(text).ok());
    EXPECT_TRUE((*writer)->Finish().ok());
    return sha256;
  }
  // Whether it is there, without using it.
  bool There(const std::string& sha256) {
    return fs_.Stat(JoinPath("/blobs", HexEncode(sha256))).ok();
  }
  void LookAfter(absl::Duration time) {
    clock_.Advance(time);
    keeper_.Remove();
  }

  MemoryFileSystem fs_;
  ManualClock clock_;
  std::unique_ptr<Random> random_ = Random::Seeded(1);
  std::unique_ptr<BlobStore> store_;
  std::set<std::string> named_;
  bool answers_ = true;
  bool released_ = true;
  absl::Status fetch_status_;
  std::vector<std::string> fetched_;
  std::vector<std::vector<std::string>> asked_;
  BlobKeeper keeper_;
};

TEST_F(BlobKeeperTest, RemovesWhatNobodyNeedsForAQuarterOfAnHour) {
  const std::string blob = Put("a");
  const std::string needed = Put("b");
  named_ = {needed};
  LookAfter(absl::ZeroDuration());  // Put since the last look.
  LookAfter(absl::Minutes(5));
  LookAfter(absl::Minutes(14));
  EXPECT_TRUE(There(blob));
  EXPECT_THAT(asked_, IsEmpty());
  LookAfter(absl::Minutes(1));
  EXPECT_THAT(asked_, ElementsAre(ElementsAre(blob)));
  EXPECT_FALSE(There(blob));
  EXPECT_TRUE(There(needed));
}

TEST_F(BlobKeeperTest, UseIsNeed) {
  const std::string blob = Put("a");
  for (int i = 0; i < 20; ++i) {
    LookAfter(absl::Minutes(30));
    EXPECT_TRUE(store_->Has(blob)) << i;
  }
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(BlobKeeperTest, KeepsWhatTheLeaderDoesNotLetGo) {
  const std::string blob = Put("a");
  released_ = false;
  for (int i = 0; i < 5; ++i) LookAfter(absl::Hours(1));
  EXPECT_TRUE(There(blob));
  EXPECT_GE(asked_.size(), 3u);
  released_ = true;
  LookAfter(absl::Minutes(5));
  EXPECT_FALSE(There(blob));
}

TEST_F(BlobKeeperTest, KeepsEverythingWhenNobodySaysWhatIsNeeded) {
  const std::string blob = Put("a");
  answers_ = false;
  for (int i = 0; i < 5; ++i) LookAfter(absl::Hours(1));
  EXPECT_TRUE(There(blob));
}

// The reason of the order: used, then asked about, is kept.
TEST_F(BlobKeeperTest, WhatIsUsedWhileTheLeaderIsAskedStays) {
  const std::string blob = Put("a");
  BlobKeeper keeper(*store_, clock_,
                    {[](std::set<std::string>*) { return true; },
                     [](const std::string&) { return absl::OkStatus(); },
                     [&](const std::vector<std::string>& blobs) {
                       EXPECT_TRUE(store_->Has(blobs.at(0)));
                       return blobs;
                     }});
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(absl::Hours(1));
    keeper.Remove();
  }
  EXPECT_TRUE(There(blob));
}

TEST_F(BlobKeeperTest, FetchesWhatIsNamedAndNotHere) {
  const std::string here = Put("a");
  const std::string elsewhere = Sha256Of("b");
  named_ = {here, elsewhere};
  fetch_status_ = absl::UnavailableError("no other master is there");
  keeper_.Repair();
  EXPECT_THAT(fetched_, ElementsAre(elsewhere));
  keeper_.Repair();
  EXPECT_EQ(fetched_.size(), 1u) << "not at once again";
  clock_.Advance(absl::Seconds(2));
  fetch_status_ = absl::OkStatus();
  keeper_.Repair();
  EXPECT_EQ(fetched_.size(), 2u);
}

TEST_F(BlobKeeperTest, DoesNotFetchWhatIsNamedNoMore) {
  keeper_.Need({Sha256Of("b")});
  keeper_.Repair();
  EXPECT_THAT(fetched_, IsEmpty());
}

TEST_F(BlobKeeperTest, ThreadFetchesAtOnceWhatItIsToldOf) {
  const std::string here = Put("a");
  absl::Notification fetched;
  BlobKeeper keeper(
      *store_, clock_,
      {[](std::set<std::string>*) { return false; },
       [&](const std::string& sha256) {
         EXPECT_EQ(sha256, Sha256Of("c"));
         fetched.Notify();
         return absl::OkStatus();
       },
       [](const std::vector<std::string>& blobs) { return blobs; }});
  keeper.Start();
  keeper.Need({Sha256Of("c"), here});
  fetched.WaitForNotification();
  keeper.Stop();
}

}  // namespace
}  // namespace millrace::master
