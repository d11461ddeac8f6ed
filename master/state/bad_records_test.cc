// Records that a job passes over, in the replicated state.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "master/state/state.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

using testing::MakeId;
using testing::MapDone;
using testing::ReduceDone;

TEST(BadRecordsTest, AreCountedOnceForAllAttemptsOfTheJob) {
  State state;
  uint64_t index = 0;
  const auto why = [&](const proto::LogEntry& entry) {
    return state.Apply(++index, 1, entry).refusal;
  };
  why(testing::TermStarted());
  why(testing::WorkerJoined(7, "a"));
  why(testing::WorkerJoined(8, "b"));
  why(testing::Submitted(5, "/out"));
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 31, 7, 100)),
            Refusal::kNotPlanned);
  why(testing::Planned(5, 30, 7, 2, 1));
  const Job& job = *state.FindJob(MakeId<JobId>(5));
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 31, 7, 200)), Refusal::kNone);
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 31, 7, 100)), Refusal::kNone);
  // Told again, and by another attempt of the task.
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 31, 7, 100)),
            Refusal::kRepeated);
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 32, 8, 100)),
            Refusal::kRepeated);
  EXPECT_EQ(job.bad_records_count, 2u);
  ASSERT_EQ(job.BadRecordsOf(0).size(), 2u);
  EXPECT_EQ(job.BadRecordsOf(0)[0]->offset(), 100u);
  EXPECT_EQ(job.BadRecordsOf(0)[0]->message(), "crashed at 100");
  EXPECT_EQ(job.BadRecordsOf(0)[1]->offset(), 200u);
  EXPECT_TRUE(job.BadRecordsOf(1).empty());
  EXPECT_EQ(job.attempts_failed, 0u);
  EXPECT_EQ(job.FindTrouble({proto::MAP_TASK, 0}), nullptr);

  EXPECT_EQ(why(testing::RecordPassedOver(5, 2, 33, 7, 1)),
            Refusal::kNoSuchTask);
  EXPECT_EQ(why(testing::RecordPassedOver(5, 1, 33, 9, 1)),
            Refusal::kWorkerNotAlive);
  // They outlive their worker.
  why(testing::WorkerLost(7));
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 31, 7, 300)),
            Refusal::kWorkerNotAlive);
  EXPECT_EQ(job.BadRecordsOf(0).size(), 2u);
  // The limit is the job's, and the next one ends it.
  EXPECT_EQ(why(testing::RecordPassedOver(5, 1, 34, 8, 1)), Refusal::kNone);
  const ApplyResult over =
      state.Apply(++index, 1, testing::RecordPassedOver(5, 1, 34, 8, 2));
  EXPECT_TRUE(over.applied());
  EXPECT_THAT(over.ended, ::testing::ElementsAre(MakeId<JobId>(5)));
  ASSERT_EQ(job.state, proto::FAILED);
  EXPECT_EQ(job.failure->cause(), proto::BAD_RECORD_LIMIT);
  EXPECT_EQ(job.failure->message(),
            "more bad records than the 3 that --skip-bad-records allows; the "
            "last one: crashed at 2");
  EXPECT_EQ(job.failure->worker(), "b");
  EXPECT_EQ(job.bad_records_count, 3u);
  EXPECT_TRUE(job.bad_records->empty()) << "given up with the tasks";
}

TEST(BadRecordsTest, AWinnerNeedsNoMoreOfThem) {
  State state;
  uint64_t index = 0;
  const auto why = [&](const proto::LogEntry& entry) {
    return state.Apply(++index, 1, entry).refusal;
  };
  why(testing::TermStarted());
  why(testing::WorkerJoined(7, "a"));
  why(testing::Submitted(5, "/out"));
  why(testing::Planned(5, 30, 7, 1, 1));
  why(testing::RecordPassedOver(5, 0, 31, 7, 100));
  proto::TaskDone done = MapDone(10, 1);
  done.mutable_ledger()->set_skipped_records(1);
  done.mutable_dead_letter()->set_records(1);
  EXPECT_EQ(why(testing::MapWon(5, 0, 31, 7, done)), Refusal::kNone);
  const Job& job = *state.FindJob(MakeId<JobId>(5));
  EXPECT_EQ(job.totals.ledger.skipped_records(), 1u);
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 32, 7, 200)),
            Refusal::kHasWinner);
  // Its dead-letter file is output of the job: it can be lost as such, though
  // every reduce is done.
  EXPECT_EQ(why(testing::ReduceWon(5, 0, 40, 7, 0,
                                   ReduceDone(10, "/out.millrace-x/p"))),
            Refusal::kNone);
  EXPECT_EQ(why(testing::MapLost(5, 0, 31)), Refusal::kNotNeeded);
  EXPECT_EQ(why(testing::OutputLost(5, {proto::MAP_TASK, 0}, 31)),
            Refusal::kNone);
  EXPECT_EQ(job.totals.ledger.skipped_records(), 0u);
  EXPECT_EQ(why(testing::MapWon(5, 0, 33, 7, done)), Refusal::kNone);
  EXPECT_TRUE(job.complete()) << "the same records: the reduce stands";
  EXPECT_EQ(why(testing::Decided(5, WinnersHash(job))), Refusal::kNone);
}

TEST(BadRecordsTest, AJobThatPassesOverNoneHasNone) {
  State state;
  uint64_t index = 0;
  const auto why = [&](const proto::LogEntry& entry) {
    return state.Apply(++index, 1, entry).refusal;
  };
  why(testing::TermStarted());
  why(testing::WorkerJoined(7, "a"));
  proto::LogEntry submitted = testing::Submitted(5, "/out");
  submitted.mutable_job_submitted()->mutable_spec()->clear_skip_bad_records();
  why(submitted);
  why(testing::Planned(5, 30, 7, 1, 1));
  EXPECT_EQ(why(testing::RecordPassedOver(5, 0, 31, 7, 100)),
            Refusal::kMalformed);
}

TEST(BadRecordsTest, OnlyTheEntryThatIsNewHasTheNewVersion) {
  EXPECT_EQ(VersionOf(testing::RecordPassedOver(5, 0, 31, 7, 100)), 2u);
  EXPECT_EQ(VersionOf(testing::MapLost(5, 0, 31)), 1u);
}

}  // namespace
}  // namespace millrace::master
