#include "master/scheduler/fetch_evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::MakeId;

constexpr absl::Duration kSecond = absl::Seconds(1);

class FetchEvidenceTest : public ::testing::Test {
 protected:
  FetchEvidence::Verdict Say(uint32_t map, WorkerNumber holder,
                             WorkerNumber reader) {
    now_ += kSecond;
    return evidence_.Add(
        {map, MakeId<AttemptUid>(map + 1), holder, reader, false}, only_reader_,
        can_move_, now_);
  }

  FetchEvidence evidence_;
  bool only_reader_ = false;
  bool can_move_ = true;
  absl::Duration now_ = absl::Seconds(100);
};

TEST_F(FetchEvidenceTest, HoldersOwnWordIsEnough) {
  FetchReport report{7, MakeId<AttemptUid>(1), 1, 2, true};
  EXPECT_THAT(evidence_.Add(report, false, true, now_).lost, ElementsAre(7));
}

TEST_F(FetchEvidenceTest, TwoReadersOfOneHolderAreEnoughForAllThatIsMissed) {
  EXPECT_THAT(Say(3, 1, 2).lost, IsEmpty());
  EXPECT_THAT(Say(4, 1, 2).lost, IsEmpty());
  EXPECT_THAT(Say(9, 1, 3).lost, ElementsAre(3, 4, 9));
}

TEST_F(FetchEvidenceTest, OneReaderHasToInsist) {
  for (int i = 0; i < 5; ++i) EXPECT_THAT(Say(3, 1, 2).lost, IsEmpty());
  EXPECT_THAT(Say(3, 1, 2).lost, ElementsAre(3));
}

TEST_F(FetchEvidenceTest, OnlyReaderIsBelievedSooner) {
  only_reader_ = true;
  for (int i = 0; i < 2; ++i) EXPECT_THAT(Say(3, 1, 2).lost, IsEmpty());
  EXPECT_THAT(Say(3, 1, 2).lost, ElementsAre(3));
}

TEST_F(FetchEvidenceTest, OldReportsDoNotCount) {
  Say(3, 1, 2);
  now_ += 100 * kSecond;
  EXPECT_THAT(Say(4, 1, 3).lost, IsEmpty());
}

TEST_F(FetchEvidenceTest, AnotherAttemptOfTheMapBeginsAnew) {
  for (int i = 0; i < 5; ++i) Say(3, 1, 2);
  EXPECT_THAT(
      evidence_.Add({3, MakeId<AttemptUid>(99), 1, 2, false}, false, true, now_)
          .lost,
      IsEmpty());
}

TEST_F(FetchEvidenceTest, WhoReachesNobodyIsSuspectAndNotBelieved) {
  EXPECT_FALSE(Say(3, 1, 5).reader_is_suspect);
  for (int i = 0; i < 20; ++i) {
    const auto verdict = Say(4, 2, 5);
    EXPECT_TRUE(verdict.reader_is_suspect);
    EXPECT_THAT(verdict.lost, IsEmpty());
  }
  // Elsewhere it is the same: it was not the reader.
  EXPECT_THAT(Say(4, 2, 6).lost, ElementsAre(4));
  EXPECT_THAT(Say(3, 1, 6).lost, ElementsAre(3));
}

TEST_F(FetchEvidenceTest, WithoutAnotherPlaceTheSuspectHasToBeBelieved) {
  can_move_ = false;
  only_reader_ = true;
  std::vector<uint32_t> lost;
  for (int i = 0; i < 3; ++i) {
    for (uint32_t map : {3u, 4u}) {
      const auto verdict = Say(map, map, 5);
      EXPECT_FALSE(verdict.reader_is_suspect);
      lost.insert(lost.end(), verdict.lost.begin(), verdict.lost.end());
    }
  }
  EXPECT_THAT(lost, ElementsAre(3, 4));
}

TEST_F(FetchEvidenceTest, WhatIsSaidAndNotOldIsKeptForPeople) {
  EXPECT_THAT(evidence_.Complaints(now_), IsEmpty());
  Say(4, 1, 2);
  now_ += kSecond;
  const FetchReport last{4, MakeId<AttemptUid>(5), 1, 2, false, "refused"};
  evidence_.Add(last, false, true, now_);
  Say(3, 1, 2);
  const auto complaints = evidence_.Complaints(now_ + kSecond);
  ASSERT_EQ(complaints.size(), 2u);
  EXPECT_EQ(complaints[0].map, 3u);
  EXPECT_EQ(complaints[1].map, 4u);
  EXPECT_EQ(complaints[1].holder, 1u);
  EXPECT_EQ(complaints[1].reader, 2u);
  EXPECT_EQ(complaints[1].reports, 2);
  EXPECT_EQ(complaints[1].message, "refused");
  EXPECT_EQ(complaints[1].at, now_ - kSecond);
  EXPECT_THAT(evidence_.Complaints(now_ + 100 * kSecond), IsEmpty());
  evidence_.Forget(3);
  EXPECT_EQ(evidence_.Complaints(now_).size(), 1u);
}

}  // namespace
}  // namespace millrace::master
