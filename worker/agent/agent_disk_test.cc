// Attempts on a disk that has not room for all of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class AgentDiskTest : public AgentTest {
 protected:
  // Of them 1000 are the floor.
  void Free(uint64_t bytes, std::map<AttemptUid, uint64_t> written = {}) {
    Tell(DiskMeasured{bytes, std::move(written)});
  }
  void Grant(int uid, uint64_t bytes, proto::TaskKind kind = proto::MAP_TASK) {
    proto::Grant grant =
        GrantOf(kind, uid, static_cast<uint32_t>(uid), Job('a'));
    grant.set_spool_bytes(bytes);
    Give(grant);
  }
  void Pass(absl::Duration time) {
    now_ += time;
    Tell(Tick{});
  }
  bool DiskLow() const {
    bool low = false;
    for (const proto::Update& update : Updates()) low = update.disk_low();
    return low;
  }
};

TEST_F(AgentDiskTest, AttemptsWithoutRoomWaitUntilOthersHaveEnded) {
  Begin();
  Free(2000);
  Grant(1, 600);
  EXPECT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  Grant(2, 600);
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty());
  EXPECT_THAT(Outcomes(), IsEmpty());
  EXPECT_TRUE(DiskLow()) << "no more of them";
  EXPECT_THAT(Updates().back().disk_why(), HasSubstr("600 B"));
  Supply(1);
  const ChildNumber child = Of<StartChild>().at(0).child;
  EXPECT_EQ(Of<StartChild>().at(0).attempt, Uid(1));
  Tell(ChildReady{child});
  Tell(ChildFailed{child, {}, "", std::nullopt});
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_EQ(Of<PrepareAttempt>()[0].attempt, Uid(2));
  Pass(absl::Seconds(1));
  EXPECT_TRUE(DiskLow()) << "a third one would wait again";
  Tell(AttemptPrepared{Uid(2), Job('a'), std::nullopt});
  ASSERT_THAT(Of<StartChild>(), SizeIs(1));
  EXPECT_EQ(Of<StartChild>()[0].attempt, Uid(2));
  Kill(2);
  EXPECT_FALSE(DiskLow());
}

TEST_F(AgentDiskTest, AttemptsThatWaitTooLongRunElsewhere) {
  Begin();
  Free(2000);
  Grant(1, 900);
  Grant(2, 900);
  Pass(absl::Milliseconds(9'999));
  EXPECT_THAT(Outcomes(), IsEmpty());
  Pass(absl::Milliseconds(1));
  ASSERT_THAT(Outcomes(), SizeIs(1));
  const proto::AttemptFailure failure = Outcomes()[0].failed();
  EXPECT_EQ(failure.cause(), proto::DISK_FULL);
  EXPECT_TRUE(failure.retryable());
  EXPECT_THAT(failure.message(),
              AllOf(HasSubstr("900 B"), HasSubstr("/w of worker w1")));
  EXPECT_TRUE(DiskLow()) << "another one would fare no better";
  Kill(1);
  EXPECT_FALSE(DiskLow());
  Grant(3, 900);
  EXPECT_THAT(Of<PrepareAttempt>(), SizeIs(1));
}

// The maps that they wait for must go on.
TEST_F(AgentDiskTest, ReducesWithoutRoomKeepNoMapsAway) {
  Begin();
  Free(2000);
  Grant(1, 900, proto::REDUCE_TASK);
  EXPECT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  Grant(2, 900, proto::REDUCE_TASK);
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty());
  Pass(absl::Seconds(100));
  EXPECT_THAT(Outcomes(), IsEmpty());
  EXPECT_FALSE(DiskLow());
  Grant(3, 900);
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_EQ(Of<PrepareAttempt>()[0].attempt, Uid(3));
  Kill(1);
  EXPECT_THAT(Of<PrepareAttempt>(), SizeIs(1)) << "the second one's turn";
}

TEST_F(AgentDiskTest, AWaitingAttemptCanBeKilledAndDropped) {
  Begin();
  Free(2000);
  Grant(1, 900);
  Grant(2, 900);
  Kill(2);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CANCELLED);
  Grant(3, 900);
  Drop(Job('a'));
  Pass(absl::Seconds(20));
  EXPECT_THAT(Outcomes(), IsEmpty());
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty());
}

TEST_F(AgentDiskTest, FinishedOutputsAreNotReservedTwice) {
  Begin();
  Free(2000);
  Grant(1, 600);
  Supply(1);
  const ChildNumber child = Of<StartChild>().at(0).child;
  Tell(ChildReady{child});
  Finish(child, 1);
  ASSERT_TRUE(Outcomes().at(0).has_done());
  Grant(2, 600);
  EXPECT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  Pass(absl::Seconds(5));
  ASSERT_THAT(Of<MeasureDisk>(), SizeIs(1));
  EXPECT_THAT(Of<MeasureDisk>()[0].attempts,
              ::testing::ElementsAre(std::pair(Job('a'), Uid(2))));
}

TEST_F(AgentDiskTest, TheAttemptThatHasWrittenMostFailsWhenTheSpoolIsTooLarge) {
  options_.spool.spool_bytes_max = 5000;
  FoundOutput found;
  found.job = Job('b');
  found.attempt = Uid(9);
  found.bytes = 3000;
  Make({{found}, {}});
  Open();
  Welcome();
  Introduce(Job('a'), Spec());
  RunMap(1, 1);
  RunMap(2, 2);
  Free(1 << 30, {{Uid(1), 900}, {Uid(2), 1100}});
  EXPECT_THAT(Outcomes(), IsEmpty());
  EXPECT_TRUE(DiskLow()) << "it has reached its limit";
  Pass(absl::Seconds(1));
  EXPECT_THAT(Of<MeasureDisk>(), SizeIs(1)) << "looked at often";
  Free(1 << 30, {{Uid(1), 950}, {Uid(2), 1100}});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].attempt().attempt_uid(), std::string(Uid(2).bytes()));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::DISK_FULL);
  EXPECT_TRUE(Outcomes()[0].failed().retryable());
  EXPECT_THAT(Outcomes()[0].failed().message(),
              AllOf(HasSubstr("--spool-limit"), HasSubstr("1.1 KiB")));
  EXPECT_THAT(Of<KillChild>(), SizeIs(1));
  EXPECT_EQ(Updates().back().spool_bytes(), 3950u);
  EXPECT_EQ(Updates().back().spool_bytes_max(), 5000u);
  EXPECT_FALSE(DiskLow());
  // What a job leaves is counted no more.
  Drop(Job('b'));
  Pass(absl::Seconds(1));
  EXPECT_EQ(Updates().back().spool_bytes(), 950u);
}

TEST_F(AgentDiskTest, AFullSpoolTakesNothing) {
  options_.spool.spool_bytes_max = 3000;
  FoundOutput found;
  found.job = Job('b');
  found.attempt = Uid(9);
  found.bytes = 3000;
  Make({{found}, {}});
  Open();
  Welcome();
  Introduce(Job('a'), Spec());
  Grant(1, 0);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::DISK_FULL);
  EXPECT_THAT(Outcomes()[0].failed().message(), HasSubstr("--spool-limit"));
}

}  // namespace
}  // namespace millrace::worker
