// Jobs that are dropped: what is deleted when, and what the leader is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/agent/agent_core.h"
#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class AgentDropTest : public AgentTest {
 protected:
  static std::string Bytes(const JobId& id) { return std::string(id.bytes()); }
};

TEST_F(AgentDropTest, WhoMadeTheStagingDirectoryRemovesItUnasked) {
  Begin();
  Give(proto::PLAN_TASK, 1);
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  Drop(Job('a'), /*remove_staging=*/false);
  Tell(AttemptPrepared{Uid(1), Job('a'), std::nullopt});
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteJob>()[0].output, "/out/dir");
}

// Before its restart it may have made the staging directory, when the job was
// long over: the masters have to hear of it to have that removed.
TEST_F(AgentDropTest, AJobOfWhichOnlyItsDirectoryIsLeftIsTold) {
  Make({.outputs = {}, .jobs = {Job('b')}});
  Open();
  EXPECT_THAT(Hello().jobs(), ElementsAre(std::string(Job('b').bytes())));
  Welcome();
  Drop(Job('b'), /*remove_staging=*/true);
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteJob>()[0].output, "/out/dir");
}

TEST_F(AgentDropTest, TheStagingDirectoryStaysWithWhoeverMadeIt) {
  Begin();
  const ChildNumber child = RunMap(1, 0);
  Drop(Job('a'), /*remove_staging=*/false);
  Tell(Exit(child, proto::CANCELLED));
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteJob>()[0].output, "") << "others may be writing into it";
}

TEST_F(AgentDropTest, ADroppedJobWhoseFilesStayKeepsNoSlot) {
  Begin();
  const ChildNumber child = RunMap(1, 0);
  Drop(Job('a'), /*remove_staging=*/true);
  now_ += absl::Seconds(1);
  Tell(Tick{});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].stopped_jobs(), IsEmpty()) << "it may still write";
  Tell(Exit(child, proto::CANCELLED));
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  Tell(JobDeleted{Job('a'), absl::UnavailableError("stale handle")});
  now_ += absl::Seconds(1);
  Tell(Tick{});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].stopped_jobs(), ElementsAre(Bytes(Job('a'))));
  EXPECT_THAT(Updates()[0].dropped_jobs(), IsEmpty());
  Command({});  // The leader is there.
  now_ += absl::Seconds(1);
  Tell(Tick{});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].stopped_jobs(), IsEmpty()) << "once is enough";
}

TEST_F(AgentDropTest, ADroppedJobIsDeletedWhenNothingOfItRuns) {
  Begin();
  Finish(RunMap(1, 0), 1);
  const ChildNumber busy = RunMap(2, 1);
  Give(proto::REDUCE_TASK, 3);
  Drop(Job('a'), /*remove_staging=*/true);
  ASSERT_THAT(Of<KillChild>(), SizeIs(1));
  EXPECT_EQ(Of<KillChild>()[0].child, busy);
  EXPECT_THAT(Of<CancelFetch>(), SizeIs(1));
  ASSERT_THAT(Of<ForgetFetches>(), SizeIs(1));
  EXPECT_THAT(Of<DeleteJob>(), IsEmpty());
  EXPECT_THAT(Outcomes(), IsEmpty()) << "nobody wants to know";
  Give(proto::MAP_TASK, 7);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CANCELLED);

  Tell(Exit(busy, proto::CANCELLED));
  EXPECT_THAT(Of<DeleteJob>(), IsEmpty())
      << "the reduce's directories are being made";
  Tell(AttemptPrepared{Uid(3), Job('a'), std::nullopt});
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteJob>()[0].output, "/out/dir");
  EXPECT_THAT(Of<DeleteAttempt>(), IsEmpty()) << "all goes at once";

  // A new leader does not know that it is going.
  Reopen();
  EXPECT_THAT(Hello().jobs(), ElementsAre(Bytes(Job('a'))));
  EXPECT_THAT(Hello().held(), IsEmpty());
  Welcome();
  Drop(Job('a'), true);
  EXPECT_THAT(Of<DeleteJob>(), IsEmpty()) << "it is on its way";
  Tell(JobDeleted{Job('a'), absl::OkStatus()});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].dropped_jobs(), ElementsAre(Bytes(Job('a'))));
  ASSERT_THAT(Of<TrimBlobs>(), SizeIs(1));
  EXPECT_THAT(Of<TrimBlobs>()[0].keep, IsEmpty());
  Reopen();
  EXPECT_THAT(Hello().jobs(), IsEmpty());
}

// An answer to a leader that is gone would be taken for one to the next leader,
// who wants the staging directory removed, too.
TEST_F(AgentDropTest, AJobDroppedBetweenStreamsIsNotToldAgainAfterTheHello) {
  Begin();
  Drop(Job('f'));
  Tell(StreamClosed{stream_});
  Tell(JobDeleted{Job('f'), absl::OkStatus()});
  Open();
  EXPECT_THAT(Hello().jobs(), Not(Contains(Bytes(Job('f')))));
  Welcome();
  Drop(Job('f'), /*remove_staging=*/true);
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  for (const proto::Update& update : Updates()) {
    EXPECT_THAT(update.dropped_jobs(), IsEmpty());
  }
  now_ += absl::Seconds(1);
  Tell(Tick{});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].dropped_jobs(), IsEmpty()) << "not yet";
  Tell(JobDeleted{Job('f'), absl::OkStatus()});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].dropped_jobs(), ElementsAre(Bytes(Job('f'))));
}

TEST_F(AgentDropTest, AJobDroppedAfterTheHelloIsToldWhenAskedForAgain) {
  Begin();
  Drop(Job('f'));
  Tell(StreamClosed{stream_});
  Open();
  EXPECT_THAT(Hello().jobs(), Contains(Bytes(Job('f'))));
  Tell(JobDeleted{Job('f'), absl::OkStatus()});
  Welcome();
  for (const proto::Update& update : Updates()) {
    EXPECT_THAT(update.dropped_jobs(), IsEmpty());
  }
  Drop(Job('f'), /*remove_staging=*/true);
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  EXPECT_THAT(Updates(), IsEmpty());
  Tell(JobDeleted{Job('f'), absl::OkStatus()});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].dropped_jobs(), ElementsAre(Bytes(Job('f'))));
}

TEST_F(AgentDropTest, ADropOfAnUnknownJobIsCarriedOutAndAnswered) {
  Begin();
  Drop(Job('f'));
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteJob>()[0].output, "") << "its staging is not ours";
  // Told meanwhile to take the staging too.
  Drop(Job('f'), true);
  Tell(JobDeleted{Job('f'), absl::OkStatus()});
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteJob>()[0].output, "/out/dir");
  Tell(JobDeleted{Job('f'), absl::OkStatus()});
  ASSERT_THAT(Updates(), SizeIs(1));
  EXPECT_THAT(Updates()[0].dropped_jobs(), SizeIs(1));
}

TEST_F(AgentDropTest, ADeletionThatFailsIsTriedAgain) {
  Begin();
  Drop(Job('a'));
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  Tell(JobDeleted{Job('a'), absl::UnavailableError("store is away")});
  EXPECT_THAT(Of<DeleteJob>(), IsEmpty());
  EXPECT_THAT(Updates(), IsEmpty());
  now_ += options_.delete_retry_interval;
  Tell(Tick{});
  ASSERT_THAT(Of<DeleteJob>(), SizeIs(1));
  Tell(JobDeleted{Job('a'), absl::OkStatus()});
  EXPECT_THAT(Updates(), SizeIs(1));
}

}  // namespace
}  // namespace millrace::worker
