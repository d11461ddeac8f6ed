// What jobs and tasks wait for: of each cause that it is named, with what it is
// about.
#include "master/why/why.h"

#include "common/clock.h"
#include "master/why/testing/why_case.h"

namespace millrace::master {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kCheck;
using testing::kPlan;
using testing::kPublish;
using testing::M;
using testing::R;

class WhyTest : public testing::WhyCase {};

// ----------------------------------------------------------------- attempts

TEST_F(WhyTest, PlanIsMadeOnAWorker) {
  Join(1);
  proto::JobSpec spec = h_.Spec("/out");
  spec.set_task_timeout_ms(600'000);
  const JobId job = h_.Submit(spec).job;
  auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PLANNED", "1 ATTEMPT_PREPARES"));
  EXPECT_EQ(reply.state(), proto::QUEUED);
  EXPECT_EQ(reply.name(), "job of /out");
  EXPECT_EQ(reply.job_id(), job.bytes());
  Phase(job, kPlan, proto::EXECUTING, 12);
  reply = Why(job, kPlan);
  EXPECT_THAT(Codes(reply), ElementsAre("0 ATTEMPT_RUNS"));
  EXPECT_THAT(reply.causes(0).text(),
              HasSubstr("the plan runs on worker w1 for 0.0 s: 12 records"));
  EXPECT_THAT(Workers(reply.causes(0)), ElementsAre("w1"));
}

TEST_F(WhyTest, AttemptThatStandsStillIsNamedWithWhatEndsIt) {
  Join(1);
  const JobId job = Plan("/out", 1, 0);
  Phase(job, M(0), proto::EXECUTING, 7);
  Pass(absl::Seconds(4));
  EXPECT_THAT(Codes(Why(job, M(0))), ElementsAre("0 ATTEMPT_RUNS"));
  Pass(absl::Seconds(2));
  const auto stalled = Cause(Why(job), proto::ATTEMPT_STALLED);
  EXPECT_THAT(stalled.text(), HasSubstr("7 records; nothing has changed for "
                                        "6.0 s, after 10 min 0 s of that"));
  EXPECT_EQ(stalled.ends_in_ms(), 594'000);
  EXPECT_EQ(stalled.for_ms(), 6'000);
  // The same said again is no progress; more records are.
  Phase(job, M(0), proto::EXECUTING, 7);
  EXPECT_THAT(Codes(Why(job, M(0))), ElementsAre("0 ATTEMPT_STALLED"));
  Phase(job, M(0), proto::EXECUTING, 8);
  EXPECT_THAT(Codes(Why(job, M(0))), ElementsAre("0 ATTEMPT_RUNS"));
}

TEST_F(WhyTest, AttemptWithALimitOfTimeIsNamedWithWhatEndsItFirst) {
  Join(1);
  proto::JobSpec spec = h_.Spec("/out");
  spec.set_task_timeout_ms(60'000);
  spec.set_task_time_limit_ms(65'000);
  const JobId job = h_.Submit(spec).job;
  Phase(job, kPlan, proto::EXECUTING, 12);
  Pass(absl::Seconds(2));
  const auto runs = Cause(Why(job), proto::ATTEMPT_RUNS);
  EXPECT_THAT(runs.text(), HasSubstr("12 records; after 1 min 5 s in all it is "
                                     "ended"));
  EXPECT_EQ(runs.ends_in_ms(), 63'000);
  // It is the timeout that comes first, and then, after progress, the limit.
  Pass(absl::Seconds(6));
  auto stalled = Cause(Why(job), proto::ATTEMPT_STALLED);
  EXPECT_THAT(
      stalled.text(),
      HasSubstr("nothing has changed for 8.0 s, after 1 min 0 s of that "
                "it is ended; after 1 min 5 s in all it is ended"));
  EXPECT_EQ(stalled.ends_in_ms(), 52'000);
  Phase(job, kPlan, proto::EXECUTING, 13);
  Pass(absl::Seconds(6));
  stalled = Cause(Why(job), proto::ATTEMPT_STALLED);
  EXPECT_EQ(stalled.ends_in_ms(), 51'000);
}

TEST_F(WhyTest, SlowMapSaysWhyThereIsNoSecondAttempt) {
  Join({1, 2});
  const JobId job = Plan("/out", 2, 0, /*speculation_off=*/true);
  Phase(job, M(0), proto::EXECUTING);
  Pass(absl::Seconds(4));
  Do(job, M(1));
  Pass(absl::Seconds(5));
  Phase(job, M(0), proto::EXECUTING, 5);
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 MAPS_MISSING", "1 ATTEMPT_SLOW",
                                        "2 NO_SECOND_ATTEMPT"));
  const auto slow = Cause(reply, proto::ATTEMPT_SLOW);
  EXPECT_THAT(slow.text(), HasSubstr("others took 4.1 s, this is 2.2 times"));
  EXPECT_EQ(slow.for_ms(), 9'000);
  EXPECT_THAT(Cause(reply, proto::NO_SECOND_ATTEMPT).text(),
              HasSubstr("--speculation=off"));
}

TEST_F(WhyTest, OnlyWorkerHasNoOtherForASecondAttempt) {
  Join(1, 2);
  const JobId job = Plan("/out", 2, 0);
  Phase(job, M(0), proto::EXECUTING);
  Pass(absl::Seconds(2));
  Do(job, M(1));
  Pass(absl::Seconds(2));
  EXPECT_THAT(Cause(Why(job, M(0)), proto::NO_SECOND_ATTEMPT).text(),
              HasSubstr("no other worker"));
  Join(2);
  const JobId other = Plan("/other", 9, 0);  // Takes what is free.
  ASSERT_TRUE(IsGranted(other, M(0)));
  if (All(job, M(0)).size() == 1) {
    EXPECT_THAT(Cause(Why(job, M(0)), proto::NO_SECOND_ATTEMPT).text(),
                HasSubstr("no slot is free"));
  }
}

TEST_F(WhyTest, SecondAttemptIsNamedBelowTheSlowOne) {
  Join({1, 2});
  const JobId job = Plan("/out", 2, 0);
  Phase(job, M(0), proto::EXECUTING);
  Pass(absl::Seconds(2));
  Do(job, M(1));
  for (int i = 0; i < 20 && All(job, M(0)).size() < 2; ++i) {
    Pass(absl::Seconds(1) / 2);
  }
  ASSERT_EQ(All(job, M(0)).size(), 2u);
  const auto reply = Why(job, M(0));
  EXPECT_EQ(reply.causes(0).depth(), 0u);
  const auto second = Cause(reply, proto::SECOND_ATTEMPT);
  EXPECT_EQ(second.depth(), 1u);
  EXPECT_THAT(Workers(second), ElementsAre(Cat("w", WorkerOf(job, M(0)))));
}

TEST_F(WhyTest, OutcomeIsOnItsWayIntoTheLog) {
  Join(1);
  const JobId job = Plan("/out", 1, 0);
  h_.hold = true;
  Do(job, M(0));
  EXPECT_THAT(Codes(Why(job, M(0))), ElementsAre("0 OUTCOME_NOT_LOGGED"));
  h_.Release();
  EXPECT_THAT(Codes(Why(job, M(0))), ElementsAre("0 TASK_DONE"));
}

// ------------------------------------------------------------ after a failure

TEST_F(WhyTest, TaskThatFailedIsTriedAgainLater) {
  Join(1);
  const JobId job = Plan("/out", 1, 0);
  Fail(job, M(0), proto::DISK_FULL);
  Pass(absl::Seconds(1));
  Fail(job, M(0), proto::DISK_FULL);
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 MAPS_MISSING", "1 RETRY_LATER",
                                        "2 FAILED_BEFORE"));
  EXPECT_EQ(Cause(reply, proto::RETRY_LATER).ends_in_ms(), 200);
  const auto failed = Cause(reply, proto::FAILED_BEFORE);
  EXPECT_THAT(failed.text(), HasSubstr("2 times; the last time: it failed"));
  EXPECT_EQ(failed.count(), 2u);
  EXPECT_THAT(Workers(failed), ElementsAre("w1"));
  // While it is tried, too.
  Pass(absl::Seconds(1));
  EXPECT_THAT(Codes(Why(job, M(0))),
              ElementsAre("0 ATTEMPT_PREPARES", "1 FAILED_BEFORE"));
}

TEST_F(WhyTest, JobThatHasFailedIsOnItsWayIntoTheLog) {
  Join(1);
  const JobId job = Plan("/out", 1, 0);
  for (const auto& task : {M(0), kCheck}) Do(job, task);
  h_.hold = true;
  Fail(job, kPublish, proto::OUTPUT_CONFLICT);
  EXPECT_THAT(Codes(Why(job)), ElementsAre("0 JOB_FAILS"));
  h_.Release();
  const auto ended = Cause(Why(job), proto::JOB_ENDED);
  EXPECT_EQ(ended.failure(), proto::OUTPUT_CONFLICT);
}

// ----------------------------------------------------------- other tasks first

TEST_F(WhyTest, ReduceIsHeldBackUntilMapsAreDone) {
  Join(1);
  const JobId job = Plan("/out", 40, 2);
  const auto reply = Why(job, R(1));
  const auto held = Cause(reply, proto::REDUCES_HELD_BACK);
  EXPECT_EQ(held.depth(), 0u);
  EXPECT_EQ(held.count(), 0u);
  EXPECT_EQ(held.of(), 2u);  // Of a twentieth.
  EXPECT_EQ(Cause(reply, proto::MAPS_MISSING).depth(), 1u);
  EXPECT_EQ(Cause(reply, proto::MAPS_MISSING).count(), 40u);
}

TEST_F(WhyTest, ReduceFetchesAndWaitsForTheMapsThatRun) {
  Join({1, 2});
  const JobId job = Plan("/out", 3, 1);
  Do(job, M(0));
  ASSERT_TRUE(IsGranted(job, R(0)));
  Phase(job, M(1), proto::EXECUTING, 5);
  Pass(absl::Seconds(1) / 2);
  Phase(job, M(2), proto::EXECUTING, 5);
  const auto reply = Why(job, R(0));
  EXPECT_THAT(Codes(reply), ElementsAre("0 ATTEMPT_FETCHES", "1 MAPS_MISSING",
                                        "2 ATTEMPT_RUNS"));
  EXPECT_EQ(reply.causes(0).of(), 3u);
  EXPECT_EQ(reply.causes(1).count(), 2u);
  EXPECT_EQ(reply.causes(1).of(), 3u);
  EXPECT_THAT(Workers(reply.causes(2)),
              ElementsAre(Cat("w", WorkerOf(job, M(1)))));
}

TEST_F(WhyTest, ReduceThatHasAllWaitsForASlot) {
  Join(1);
  const JobId job = Plan("/out", 1, 1);
  Do(job, M(0));
  ASSERT_TRUE(IsGranted(job, R(0)));
  const JobId other = Plan("/other", 5, 0);
  Phase(other, M(0), proto::EXECUTING);
  Phase(job, R(0), proto::WAITING);
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 REDUCES_MISSING", "1 ATTEMPT_QUEUED",
                                        "2 SLOTS_OF_JOB"));
  EXPECT_EQ(reply.causes(2).job_id(), other.bytes());
  EXPECT_EQ(reply.causes(2).count(), 1u);
  EXPECT_THAT(reply.causes(2).text(), HasSubstr("job of /other"));
}

TEST_F(WhyTest, LostOutputIsMadeAgainAndNamesItsWorker) {
  Join({1, 2});
  const JobId job = Plan("/out", 2, 1);
  const uint32_t lost = WorkerOf(job, M(0)) == 2 ? 0 : 1;
  Do(job, M(lost));
  Kill(2);
  h_.Pass(absl::Seconds(2));
  h_.Beat();
  const auto reply = Why(job, M(lost));
  const auto cause = Cause(reply, proto::LOST_WITH_WORKER);
  EXPECT_EQ(cause.depth(), 0u);
  EXPECT_THAT(Workers(cause), ElementsAre("w2"));
  EXPECT_THAT(cause.text(), HasSubstr("worker w2, which had its output, was "
                                      "lost"));
  EXPECT_EQ(Cause(reply, proto::SLOTS_TAKEN).depth(), 1u);
  EXPECT_THAT(Cause(reply, proto::GRANT_DUE).text(), HasSubstr("makes way"));
  // So does the job, also when it runs again beside others.
  EXPECT_EQ(Cause(Why(job), proto::LOST_WITH_WORKER).depth(), 1u);
  Join(3);
  ASSERT_EQ(All(job, M(lost)).size(), 2u);
  Phase(job, M(1 - lost), proto::EXECUTING);
  Phase(job, M(lost), proto::EXECUTING);
  const auto again = Why(job);
  EXPECT_EQ(Cause(again, proto::LOST_WITH_WORKER).depth(), 1u);
  EXPECT_THAT(Codes(again),
              ElementsAre("0 MAPS_MISSING", "1 ATTEMPT_RUNS",
                          "1 LOST_WITH_WORKER", "2 ATTEMPT_RUNS"));
}

TEST_F(WhyTest, ReduceMakesWayForALostMap) {
  Join({1, 2});
  const JobId job = Plan("/out", 2, 1);
  Do(job, M(0));
  Do(job, M(1));
  const int reader = WorkerOf(job, R(0));
  const uint32_t lost = WorkerOf(job, M(0)) == reader ? 1 : 0;
  Phase(job, R(0), proto::EXECUTING);
  Kill(3 - reader);
  h_.Pass(absl::Seconds(2));
  for (int i = 0; i < 6 && All(job, M(lost)).size() < 2; ++i) {
    h_.Beat();
    h_.Pass(absl::Seconds(1));
  }
  EXPECT_THAT(Codes(Why(job, R(0))), ElementsAre("0 ATTEMPT_STOPS"));
  EXPECT_THAT(
      Codes(Why(job, M(lost))),
      ElementsAre("0 LOST_WITH_WORKER", "1 ATTEMPT_QUEUED", "2 SLOTS_OF_JOB"));
}

TEST_F(WhyTest, OutputThatIsDamagedIsNamedWithWhatWasSaid) {
  Join(1);
  const JobId job = Plan("/out", 3, 1);
  Do(job, M(0));
  FailFetch(job, 0, 0, /*gone=*/true, "block 3 is damaged");
  const auto lost = Cause(Why(job, M(0)), proto::LOST_OUTPUT);
  EXPECT_EQ(lost.depth(), 0u);
  EXPECT_THAT(Workers(lost), ElementsAre("w1"));
  EXPECT_THAT(lost.text(), HasSubstr("block 3 is damaged"));
}

TEST_F(WhyTest, FetchThatFailsNamesHolderAndEvidence) {
  Join({1, 2});
  const JobId job = Plan("/out", 2, 1);
  Do(job, M(0));
  Do(job, M(1));
  const int reader = WorkerOf(job, R(0));
  const uint32_t map = WorkerOf(job, M(0)) == reader ? 1 : 0;
  FailFetch(job, 0, map, /*gone=*/false, "connection refused");
  Pass(absl::Seconds(1));
  FailFetch(job, 0, map, /*gone=*/false, "connection refused again");
  Pass(absl::Seconds(1));
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 REDUCES_MISSING",
                                        "1 ATTEMPT_FETCHES", "2 FETCH_FAILS"));
  const auto cause = Cause(reply, proto::FETCH_FAILS);
  EXPECT_EQ(cause.count(), 2u);
  EXPECT_THAT(Workers(cause), ElementsAre(Cat("w", 3 - reader)));
  EXPECT_THAT(cause.text(), HasSubstr("connection refused again; said 2 times, "
                                      "last 1.0 s ago"));
  // Third time: it is lost, and made again.
  FailFetch(job, 0, map, /*gone=*/false, "connection refused");
  Cause(Why(job, M(map)), proto::LOST_OUTPUT);
}

TEST_F(WhyTest, OutputIsCheckedPublishedAndRefusedByTheStore) {
  Join(1);
  const JobId job = Plan("/out", 1, 0);
  Do(job, M(0));
  EXPECT_THAT(Codes(Why(job)), ElementsAre("0 NOT_CHECKED", "1 ATTEMPT_RUNS"));
  EXPECT_THAT(Codes(Why(job, kPublish)),
              ElementsAre("0 NOT_CHECKED", "1 ATTEMPT_RUNS"));
  Do(job, kCheck);
  EXPECT_THAT(Codes(Why(job)),
              ElementsAre("0 NOT_PUBLISHED", "1 ATTEMPT_RUNS"));
  EXPECT_THAT(Codes(Why(job, kCheck)), ElementsAre("0 TASK_DONE"));
  Fail(job, kPublish, proto::OUTPUT_FAILED);
  auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PUBLISHED", "1 RETRY_LATER",
                                        "2 STORE_REFUSES"));
  EXPECT_EQ(Cause(reply, proto::RETRY_LATER).ends_in_ms(), 100);
  EXPECT_THAT(Cause(reply, proto::STORE_REFUSES).text(),
              HasSubstr("1 time; the last time: it failed"));
  Pass(absl::Seconds(1));
  EXPECT_THAT(Codes(Why(job)), ElementsAre("0 NOT_PUBLISHED", "1 ATTEMPT_RUNS",
                                           "2 STORE_REFUSES"));
}

TEST_F(WhyTest, CheckWaitsForTasks) {
  Join(1);
  const JobId job = Plan("/out", 2, 1);
  EXPECT_EQ(Codes(Why(job, kCheck)), Codes(Why(job)));
  Do(job, M(0));
  Do(job, M(1));
  EXPECT_EQ(Codes(Why(job, kCheck)).at(0), "0 REDUCES_MISSING");
}

// ------------------------------------------------------------ waits for
// nothing

TEST_F(WhyTest, JobThatHasEndedSaysWhatIsLeftOfIt) {
  Join(1);
  const JobId job = Plan("/out", 1, 0);
  for (const auto& task : {M(0), kCheck, kPublish}) Do(job, task);
  auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 JOB_ENDED", "1 LEFTOVERS"));
  EXPECT_THAT(reply.causes(0).text(), HasSubstr("SUCCEEDED"));
  EXPECT_THAT(Workers(reply.causes(1)), ElementsAre("w1"));
  proto::Update update;
  update.add_dropped_jobs(std::string(job.bytes()));
  h_.Update(sessions_[1], update);
  EXPECT_THAT(Codes(Why(job)), ElementsAre("0 JOB_ENDED"));
  EXPECT_THAT(Codes(Why(job, M(0))), ElementsAre("0 JOB_ENDED"));
}

TEST_F(WhyTest, JobThatFailedNamesTheCause) {
  Join(1);
  const JobId job = Plan("/out", 2, 0);
  Fail(job, M(0), proto::USER_EXCEPTION, /*retryable=*/false);
  const auto ended = Cause(Why(job), proto::JOB_ENDED);
  EXPECT_EQ(ended.failure(), proto::USER_EXCEPTION);
  EXPECT_THAT(ended.text(), HasSubstr("FAILED, USER_EXCEPTION: it failed"));
  EXPECT_TRUE(TaskId::From(ended.task()) == M(0));
  EXPECT_THAT(Workers(ended), ElementsAre("w1"));
}

TEST_F(WhyTest, TaskThatIsDoneNamesItsWorker) {
  Join(1);
  const JobId job = Plan("/out", 2, 1);
  Do(job, M(0));
  const auto reply = Why(job, M(0));
  EXPECT_THAT(Codes(reply), ElementsAre("0 TASK_DONE"));
  EXPECT_THAT(Workers(reply.causes(0)), ElementsAre("w1"));
  EXPECT_THAT(Codes(Why(job, kPlan)), ElementsAre("0 TASK_DONE"));
}

// --------------------------------------------------------------------- errors

TEST_F(WhyTest, TasksThatAreNoneAreNotFound) {
  Join(1);
  const JobId job = Plan("/out", 2, 0);
  proto::WhyReply reply;
  for (const TaskId& task :
       {M(2), R(0), TaskId{proto::TASK_KIND_UNSPECIFIED, 0},
        TaskId{static_cast<proto::TaskKind>(99), 0}}) {
    const absl::Status status = Ask(job, &task, &reply);
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_EQ(reply.causes_size(), 0);
  }
  const TaskId map = M(2);
  EXPECT_THAT(std::string(ToStd(Ask(job, &map, &reply).message())),
              HasSubstr("2 maps, numbered from 0, and no map 2"));
}

TEST_F(WhyTest, OfAJobWithoutPlanTasksAreNotKnownYet) {
  const JobId job = h_.SubmitJob("/out");
  EXPECT_THAT(Codes(Why(job, M(7))),
              ElementsAre("0 NOT_PLANNED", "1 NO_WORKER_JOINED"));
}

TEST_F(WhyTest, MasterThatDoesNotLeadSaysSo) {
  const JobId job = h_.SubmitJob("/out");
  h_.Feed(LostLeadership{"elsewhere:1"});
  proto::WhyReply reply;
  EXPECT_TRUE(absl::IsFailedPrecondition(Ask(job, nullptr, &reply)));
}

// What somebody else wrote, and how much of it there is, breaks no answer.
TEST_F(WhyTest, WordsOfOthersStayOneLineAndShort) {
  Join(1);
  const JobId job = Plan("/out", 3, 1);
  Do(job, M(0));
  FailFetch(job, 0, 0, /*gone=*/true,
            "line\nline\x1b[31m " + std::string(5'000, 'x'));
  const auto reply = Why(job, M(0));
  for (const proto::WhyCause& cause : reply.causes()) {
    EXPECT_EQ(cause.text().find_first_of("\n\x1b"), std::string::npos);
    EXPECT_LT(cause.text().size(), 1'000u);
  }
}

TEST_F(WhyTest, ThousandWorkersAndAHundredThousandMapsCostMilliseconds) {
  for (int n = 1; n <= 1000; ++n) Join(n, 2);
  const JobId large = Plan("/large", 100'000, 500);
  for (int i = 0; i < 200; ++i) h_.SubmitJob(Cat("/out", i));
  proto::WhyReply reply;
  absl::Duration best = absl::InfiniteDuration();
  for (int i = 0; i < 5; ++i) {
    const absl::Duration from = Clock::Real().Monotonic();
    reply = Why(large);
    best = std::min(best, Clock::Real().Monotonic() - from);
  }
  EXPECT_LT(best, absl::Milliseconds(100));
  EXPECT_EQ(Cause(reply, proto::SLOTS_TAKEN).of(), 2000u);
  EXPECT_LE(reply.causes_size(), 20);
  EXPECT_LT(reply.ByteSizeLong(), 20'000u);
}

}  // namespace
}  // namespace millrace::master
