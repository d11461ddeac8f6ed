// Placement, outcomes, epochs, commit: what is granted when.
#include "master/scheduler/scheduler_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/strings.h"
#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using testing::Harness;
using testing::MapDone;
using testing::ReduceDone;

// What a list of grants is for: "plan", "map 3", ...
std::vector<std::string> Names(const std::vector<proto::Grant>& grants) {
  std::vector<std::string> names;
  for (const proto::Grant& grant : grants) {
    names.push_back(ToString(TaskId::From(grant.attempt().task())));
  }
  return names;
}
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Brings a job to the point where its plan stands in the log; the grants that
// followed are still to be taken.
JobId Planned(Harness& h, SessionId on, const std::string& output,
              uint32_t maps, uint32_t partitions) {
  const JobId job = h.SubmitJob(output);
  const auto grants = h.TakeGrants(on);
  EXPECT_THAT(Names(grants), ElementsAre("the plan"));
  h.Finish(on, grants.at(0), maps, partitions);
  return job;
}

TEST(SchedulerCoreTest, JobGoesThroughItsStages) {
  Harness h;
  const SessionId w = h.Join(1, "w1", 2);
  const JobId job = Planned(h, w, "/out", 2, 1);
  EXPECT_EQ(h.Status(job).state(), proto::RUNNING);
  auto grants = h.TakeGrants(w);
  // Both maps have slots; so the reduce may begin to prepare.
  ASSERT_THAT(Names(grants), ElementsAre("map 0", "map 1", "reduce 0"));
  h.Finish(w, grants[0], 2, 1);
  EXPECT_EQ(h.Status(job).maps().done(), 1u);
  EXPECT_EQ(h.Status(job).maps().running(), 1u);
  h.Finish(w, grants[1], 2, 1);
  h.Finish(w, grants[2], 2, 1);
  grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("the check"));
  EXPECT_EQ(grants[0].check().num_winners(), 1u);
  EXPECT_EQ(grants[0].check().ledger().at("emitted_records"), 20u);
  EXPECT_EQ(h.Status(job).state(), proto::RUNNING);
  h.Done(w, grants[0]);
  EXPECT_EQ(h.Status(job).state(), proto::COMMITTING);
  grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("the publication"));
  EXPECT_EQ(grants[0].publish().manifest_sha256(), std::string(32, 'm'));
  h.Done(w, grants[0]);
  const proto::JobStatus status = h.Status(job);
  EXPECT_EQ(status.state(), proto::SUCCEEDED);
  // The plan, two maps, one reduce.
  EXPECT_EQ(status.attempts().launched(), 4u);
  EXPECT_EQ(status.attempts().failed(), 0u);
}

TEST(SchedulerCoreTest, JobIsIntroducedBeforeItsFirstGrantOnAStream) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.SubmitJob("/out");
  const auto sent = h.Take(w);
  ASSERT_GE(sent.size(), 3u);
  EXPECT_TRUE(sent[0].has_welcome());
  EXPECT_TRUE(sent[1].has_job());
  EXPECT_EQ(sent[1].job().spec().output(), "/out");
  EXPECT_TRUE(sent[2].has_grant());
}

TEST(SchedulerCoreTest, NothingHappensBeforeTheOwnTermIsApplied) {
  Harness h;
  h.hold = true;
  h.Restart();
  const SessionId w = h.Join(1, "w1");
  EXPECT_FALSE(h.core().leading());
  EXPECT_THAT(h.Take(w), IsEmpty());
  ClientSubmit submit;
  submit.tag = 99;
  submit.request_id = testing::MakeId<RequestId>(5);
  submit.spec = h.Spec("/out");
  h.Feed(submit);
  EXPECT_TRUE(h.replies[99].not_leader);
  h.Release();
  EXPECT_TRUE(h.core().leading());
  const auto sent = h.Take(w);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].has_welcome());
}

TEST(SchedulerCoreTest, OutcomeIsAcknowledgedWhenItStandsInTheLog) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  Planned(h, w, "/out", 1, 1);
  const auto grants = h.TakeGrants(w);
  h.hold = true;
  h.Finish(w, grants[0], 1, 1);
  h.Finish(w, grants[0], 1, 1);  // Repeated before the answer.
  EXPECT_THAT(h.Take(w), IsEmpty());
  EXPECT_EQ(h.proposed.size(), 1u);
  h.Release();
  auto has_ack = [&](const proto::MasterMessage& message) {
    return message.has_ack() &&
           message.ack().attempt_uids(0) == grants[0].attempt().attempt_uid();
  };
  auto sent = h.Take(w);
  EXPECT_TRUE(std::any_of(sent.begin(), sent.end(), has_ack));
  h.Finish(w, grants[0], 1, 1);  // The answer was lost.
  sent = h.Take(w);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(has_ack(sent[0]));
  EXPECT_EQ(h.Applied(proto::LogEntry::kMapWon), 1u);
}

TEST(SchedulerCoreTest, ReducesWaitForTheFirstMapsWhileMapsAreLeft) {
  Harness h;
  const SessionId w = h.Join(1, "w1", 2);
  Planned(h, w, "/out", 60, 9);
  auto grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("map 0", "map 1"));
  auto finish_slowly = [&](const proto::Grant& grant) {
    h.Beat();
    h.Pass(absl::Seconds(3));
    h.Finish(w, grant, 60, 9);
    return h.TakeGrants(w);
  };
  EXPECT_THAT(Names(finish_slowly(grants[0])), ElementsAre("map 2"));
  EXPECT_THAT(Names(finish_slowly(grants[1])), ElementsAre("map 3"));
  // Three of sixty are the twentieth part; one more reduce than slots.
  grants[0].mutable_attempt()->mutable_task()->set_index(2);
  const JobId job = h.state().jobs().begin()->second->id;
  proto::GetJobReply tasks;
  h.core().FillTasks(h.job(job), nullptr, &tasks);
  grants[0].mutable_attempt()->set_attempt_uid(tasks.tasks(2).attempt_uid());
  EXPECT_THAT(Names(finish_slowly(grants[0])),
              ElementsAre("map 4", "reduce 0", "reduce 1", "reduce 2"));
}

TEST(SchedulerCoreTest, ReducesAreSpreadEvenly) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  const SessionId b = h.Join(2, "w2");
  Planned(h, a, "/out", 2, 8);
  const auto at_a = Names(h.TakeGrants(a));
  const auto at_b = Names(h.TakeGrants(b));
  EXPECT_THAT(at_a, ElementsAre("map 0", "reduce 0", "reduce 2"));
  EXPECT_THAT(at_b, ElementsAre("map 1", "reduce 1", "reduce 3"));
}

TEST(SchedulerCoreTest, ReadyReduceGoesToAFreeSlot) {
  Harness h;
  const SessionId busy = h.Join(1, "w1");
  const JobId other = Planned(h, busy, "/other", 1, 0);
  EXPECT_THAT(Names(h.TakeGrants(busy)), ElementsAre("map 0"));
  const SessionId free = h.Join(2, "w2", 2);
  Planned(h, free, "/out", 0, 2);
  EXPECT_THAT(Names(h.TakeGrants(free)), ElementsAre("reduce 0", "reduce 1"));
  EXPECT_THAT(h.TakeGrants(busy), IsEmpty());
  EXPECT_EQ(h.Status(other).maps().running(), 1u);
}

TEST(SchedulerCoreTest, ShortMapsAreQueuedWhileThereAreMany) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  Planned(h, w, "/out", 5, 0);
  auto grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("map 0"));  // Nothing known yet.
  h.Finish(w, grants[0], 5, 0);
  grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("map 1", "map 2"));
  h.Finish(w, grants[0], 5, 0);
  EXPECT_THAT(Names(h.TakeGrants(w)), ElementsAre("map 3"));
  h.Finish(w, grants[1], 5, 0);
  // The last one waits for whoever has a slot first.
  EXPECT_THAT(h.TakeGrants(w), IsEmpty());
}

TEST(SchedulerCoreTest, LongMapsAreNotQueued) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  Planned(h, w, "/out", 9, 0);
  auto grants = h.TakeGrants(w);
  h.Beat();
  h.Pass(absl::Seconds(5));
  h.Finish(w, grants.at(0), 9, 0);
  EXPECT_THAT(Names(h.TakeGrants(w)), ElementsAre("map 1"));
}

TEST(SchedulerCoreTest, QueuedMapMovesToASlotThatHasNothingToDo) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  Planned(h, a, "/out", 4, 0);
  auto grants = h.TakeGrants(a);
  h.Finish(a, grants.at(0), 4, 0);
  grants = h.TakeGrants(a);
  ASSERT_THAT(Names(grants), ElementsAre("map 1", "map 2"));
  h.Phase(a, grants[0], proto::EXECUTING);
  const SessionId b = h.Join(2, "w2");
  auto at_b = h.TakeGrants(b);
  ASSERT_THAT(Names(at_b), ElementsAre("map 3"));
  h.Finish(b, at_b[0], 4, 0);
  h.Pass(absl::Seconds(2));
  const auto sent = h.Take(a);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].kill().attempt_uid(), grants[1].attempt().attempt_uid());
  // Not before it has stopped where it was.
  EXPECT_THAT(h.TakeGrants(b), IsEmpty());
  h.Fail(a, grants[1], proto::CANCELLED);
  EXPECT_THAT(Names(h.TakeGrants(b)), ElementsAre("map 2"));
  EXPECT_EQ(h.Applied(proto::LogEntry::kAttemptFailed), 0u);
}

TEST(SchedulerCoreTest, JobsShareSlots) {
  Harness h;
  const SessionId w = h.Join(1, "w1", 4);
  Planned(h, w, "/first", 40, 0);
  auto first = h.TakeGrants(w);
  ASSERT_EQ(first.size(), 4u);
  const JobId second = h.SubmitJob("/second");
  EXPECT_THAT(h.Status(second).waiting_for(), HasSubstr("all slots are taken"));
  h.Beat();
  h.Pass(absl::Seconds(3));
  h.Finish(w, first[0], 40, 0);
  auto grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("the plan"));
  // Until the plan stands in the log there is nothing else to run.
  h.Finish(w, grants[0], 40, 0);
  EXPECT_NE(h.TakeGrants(w).at(0).attempt().job_id(), second.bytes());
  // From then on the second job has fewer running.
  for (int i : {1, 2}) {
    h.Finish(w, first[i], 40, 0);
    grants = h.TakeGrants(w);
    ASSERT_EQ(grants.size(), 1u);
    EXPECT_EQ(grants[0].attempt().job_id(), second.bytes()) << i;
  }
}

TEST(SchedulerCoreTest, LostMapGoesAheadOfTheOthers) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  const SessionId b = h.Join(2, "w2");
  const JobId job = Planned(h, a, "/out", 20, 1);
  auto at_a = h.TakeGrants(a);
  auto at_b = h.TakeGrants(b);
  h.Beat();
  h.Pass(absl::Seconds(3));
  h.Finish(a, at_a.at(0), 20, 1);
  h.Close(a);
  h.Pass(absl::Seconds(2));
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 1u);
  h.TakeGrants(b);
  h.Finish(b, at_b.at(0), 20, 1);
  // Map 0 was won by the lost worker, map 2 was running there.
  EXPECT_THAT(Names(h.TakeGrants(b)), ::testing::Contains("map 0"));
  EXPECT_EQ(h.Status(job).attempts().lost(), 3u);  // And a reduce.
}

TEST(SchedulerCoreTest, TaskAvoidsTheWorkerWhereItFailed) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  Planned(h, a, "/out", 1, 0);
  auto grants = h.TakeGrants(a);
  const SessionId b = h.Join(2, "w2");
  h.Fail(a, grants.at(0), proto::USER_EXCEPTION);
  EXPECT_THAT(h.TakeGrants(a), IsEmpty());
  grants = h.TakeGrants(b);
  ASSERT_THAT(Names(grants), ElementsAre("map 0"));
  EXPECT_EQ(grants[0].attempt().number(), 1u);
}

TEST(SchedulerCoreTest, InfrastructureFailuresAreRetriedEverMoreRarely) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = Planned(h, w, "/out", 1, 0);
  for (int wait_ms : {100, 200, 400, 800}) {
    const auto grants = h.TakeGrants(w);
    ASSERT_EQ(grants.size(), 1u) << wait_ms;
    h.Fail(w, grants[0], proto::DISK_FULL);
    EXPECT_THAT(h.Status(job).waiting_for(), HasSubstr("map 0"));
    h.Beat();
    h.Pass(absl::Milliseconds(wait_ms - 100));
    EXPECT_THAT(h.TakeGrants(w), IsEmpty()) << wait_ms;
    h.Pass(absl::Milliseconds(100));
  }
}

TEST(SchedulerCoreTest, ReduceThatFindsItsInputDamagedLosesThatMap) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  Planned(h, w, "/out", 1, 1);
  const auto grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("map 0", "reduce 0"));
  h.Finish(w, grants[0], 1, 1);
  proto::Update update;
  proto::AttemptOutcome* outcome = update.add_outcomes();
  *outcome->mutable_attempt() = grants[1].attempt();
  outcome->mutable_failed()->set_cause(proto::MAP_OUTPUT_LOST);
  outcome->mutable_failed()->set_retryable(true);
  outcome->mutable_failed()->set_map_index(0);
  outcome->mutable_failed()->set_map_uid(grants[0].attempt().attempt_uid());
  h.Update(w, update);
  EXPECT_EQ(h.Applied(proto::LogEntry::kMapLost), 1u);
  EXPECT_EQ(h.Applied(proto::LogEntry::kAttemptFailed), 1u);
  h.Pass(absl::Seconds(1));
  EXPECT_THAT(Names(h.TakeGrants(w)), ElementsAre("map 0", "reduce 0"));
}

TEST(SchedulerCoreTest, OtherRecordsKillTheReducesThatReadTheOldOnes) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  const SessionId b = h.Join(2, "w2");
  const JobId job = Planned(h, a, "/out", 1, 2);
  auto at_a = h.TakeGrants(a);
  auto at_b = h.TakeGrants(b);
  ASSERT_THAT(Names(at_a), ElementsAre("map 0", "reduce 1"));
  ASSERT_THAT(Names(at_b), ElementsAre("reduce 0"));
  h.Finish(a, at_a[0], 1, 2);
  proto::Update lost;
  proto::FetchFailure* failure = lost.add_fetch_failures();
  *failure->mutable_reduce() = at_b[0].attempt();
  failure->set_map_uid(at_a[0].attempt().attempt_uid());
  failure->set_source(Bytes(1));
  failure->set_gone(true);
  h.Update(b, lost);
  h.Beat();
  h.Pass(absl::Seconds(3));
  std::vector<proto::Grant> again = h.TakeGrants(a);
  SessionId on = a;
  if (again.empty()) {
    again = h.TakeGrants(b);
    on = b;
  }
  ASSERT_THAT(Names(again), ElementsAre("map 0"));
  h.Done(on, again[0], MapDone(20, 999));
  EXPECT_EQ(h.job(job).epoch, 1u);
  int kills = 0;
  for (SessionId session : {a, b}) {
    for (const auto& message : h.Take(session)) kills += message.has_kill();
  }
  EXPECT_EQ(kills, 2);
  // One was done already: its epoch is over, and it runs again.
  h.Finish(a, at_a[1], 1, 2);
  EXPECT_EQ(h.Applied(proto::LogEntry::kReduceWon), 0u);
  h.Fail(b, at_b[0], proto::CANCELLED);
  std::vector<proto::Grant> new_reduces = h.TakeGrants(a);
  for (const auto& grant : h.TakeGrants(b)) new_reduces.push_back(grant);
  ASSERT_EQ(new_reduces.size(), 2u);
  EXPECT_EQ(new_reduces[0].epoch(), 1u);
}

// With the old location it would read what the old epoch wrote, and its own
// epoch would be the right one.
TEST(SchedulerCoreTest, AReduceOfANewEpochIsGrantedAfterTheNewLocation) {
  Harness h;
  const SessionId w = h.Join(1, "w1", 4);
  Planned(h, w, "/out", 2, 1);
  const auto grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("map 0", "map 1", "reduce 0"));
  h.Finish(w, grants[0], 2, 1);
  h.Pass(absl::Milliseconds(100));
  proto::Update lost;
  proto::FetchFailure* failure = lost.add_fetch_failures();
  *failure->mutable_reduce() = grants[2].attempt();
  failure->set_map_uid(grants[0].attempt().attempt_uid());
  failure->set_source(Bytes(1));
  failure->set_gone(true);
  h.Update(w, lost);
  const auto again = h.TakeGrants(w);
  ASSERT_THAT(Names(again), ElementsAre("map 0"));
  // While a map runs, locations are gathered for a while.
  h.Done(w, again[0], MapDone(10, 999));
  h.Fail(w, grants[2], proto::CANCELLED);
  bool located = false;
  bool granted = false;
  for (const auto& message : h.Take(w)) {
    for (const auto& map : message.locations().maps()) {
      located |= map.attempt_uid() == again[0].attempt().attempt_uid();
    }
    if (!message.has_grant()) continue;
    EXPECT_EQ(message.grant().epoch(), 1u);
    EXPECT_TRUE(located);
    granted = true;
  }
  EXPECT_TRUE(granted);
}

TEST(SchedulerCoreTest, BadPartFileIsWrittenAgain) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = Planned(h, w, "/out", 0, 1);
  auto grants = h.TakeGrants(w);
  h.Finish(w, grants.at(0), 0, 1);
  const std::string uid = grants[0].attempt().attempt_uid();
  grants = h.TakeGrants(w);
  ASSERT_THAT(Names(grants), ElementsAre("the check"));
  proto::Update update;
  proto::AttemptOutcome* outcome = update.add_outcomes();
  *outcome->mutable_attempt() = grants[0].attempt();
  outcome->mutable_failed()->set_cause(proto::COMMIT_DATA_LOST);
  outcome->mutable_failed()->set_retryable(true);
  outcome->mutable_failed()->set_map_uid(uid);
  h.Update(w, update);
  EXPECT_EQ(h.Applied(proto::LogEntry::kOutputLost), 1u);
  h.Beat();
  h.Pass(absl::Seconds(1));
  h.RunAll({w}, 0, 1);
  h.Pass(absl::Seconds(1));
  h.RunAll({w}, 0, 1);
  EXPECT_EQ(h.Status(job).state(), proto::SUCCEEDED);
}

TEST(SchedulerCoreTest, LedgerThatDoesNotBalanceFailsTheJob) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = Planned(h, w, "/out", 1, 1);
  const auto grants = h.TakeGrants(w);
  h.Done(w, grants.at(0), MapDone(10, 1));
  h.Done(w, grants.at(1), ReduceDone(9, "/p"));
  EXPECT_EQ(h.Status(job).state(), proto::FAILED);
  EXPECT_EQ(h.Status(job).failure().cause(), proto::LEDGER_MISMATCH);
}

TEST(SchedulerCoreTest, StoreIsTriedForEverOnceTheJobIsDecided) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = Planned(h, w, "/out", 0, 1);
  h.Finish(w, h.TakeGrants(w).at(0), 0, 1);
  h.Finish(w, h.TakeGrants(w).at(0), 0, 1);  // The check.
  for (int i = 0; i < 50; ++i) {
    auto grants = h.TakeGrants(w);
    while (grants.empty()) {
      h.Beat();
      h.Pass(absl::Seconds(1));
      grants = h.TakeGrants(w);
    }
    ASSERT_THAT(Names(grants), ElementsAre("the publication"));
    h.Fail(w, grants[0], proto::OUTPUT_FAILED, /*retryable=*/false);
    EXPECT_THAT(h.Status(job).waiting_for(),
                HasSubstr("the store refuses the output"));
  }
  EXPECT_EQ(h.Status(job).state(), proto::COMMITTING);
  h.Beat();
  h.Pass(absl::Seconds(9));
  h.Beat();
  h.Pass(absl::Seconds(9));
  h.Beat();
  h.Pass(absl::Seconds(9));
  h.Beat();
  h.Pass(absl::Seconds(9));
  h.RunAll({w}, 0, 1);
  EXPECT_EQ(h.Status(job).state(), proto::SUCCEEDED);
}

TEST(SchedulerCoreTest, ForeignOutputFailsADecidedJob) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = Planned(h, w, "/out", 0, 1);
  h.Finish(w, h.TakeGrants(w).at(0), 0, 1);
  h.Finish(w, h.TakeGrants(w).at(0), 0, 1);
  h.Fail(w, h.TakeGrants(w).at(0), proto::OUTPUT_CONFLICT);
  EXPECT_EQ(h.Status(job).state(), proto::FAILED);
  EXPECT_EQ(h.Status(job).failure().cause(), proto::OUTPUT_CONFLICT);
}

TEST(SchedulerCoreTest, PlanThatIsTooLargeFailsTheJobAndSaysWhy) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = Planned(h, w, "/out", 900'000, 9'000);
  EXPECT_EQ(h.Status(job).state(), proto::FAILED);
  EXPECT_THAT(h.Status(job).failure().message(),
              HasSubstr("900000 maps and 9000 reduces"));
}

TEST(SchedulerCoreTest, LocationsComeWholeAndThenAsChanges) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  const SessionId b = h.Join(2, "w2");
  Planned(h, a, "/out", 2, 1);
  auto at_a = h.TakeGrants(a);
  auto at_b = h.TakeGrants(b);
  ASSERT_THAT(Names(at_a), ElementsAre("map 0", "reduce 0"));
  h.Finish(b, at_b.at(0), 2, 1);
  EXPECT_THAT(h.Take(a), IsEmpty());  // Gathered.
  h.Pass(absl::Milliseconds(100));
  auto sent = h.Take(a);
  ASSERT_EQ(sent.size(), 1u);
  const proto::Locations& first = sent[0].locations();
  ASSERT_EQ(first.maps_size(), 1);
  EXPECT_EQ(first.maps(0).map_index(), 1u);
  EXPECT_EQ(first.maps(0).worker(), Bytes(2));
  ASSERT_EQ(first.workers_size(), 1);
  EXPECT_EQ(first.workers(0).address(), "w2:1");
  EXPECT_EQ(first.workers(0).spool_dir(), "/spool/w2");

  h.Finish(a, at_a[0], 2, 1);  // The last one is not kept waiting.
  bool complete = false;
  for (const auto& message : h.Take(a)) {
    if (message.has_locations()) {
      complete = message.locations().maps(0).map_index() == 0;
    }
  }
  EXPECT_TRUE(complete);

  // A new stream knows nothing.
  h.Close(a);
  proto::Hello hello = h.HelloOf(1, "w1");
  *hello.add_running()->mutable_attempt() = at_a[1].attempt();
  const SessionId again = h.Open(hello);
  sent = h.Take(again);
  ASSERT_EQ(sent.back().locations().maps_size(), 2);
  EXPECT_EQ(sent.back().locations().workers_size(), 2);

  // The loss of a holder is told at the next turn.
  h.Close(b);
  h.Beat();
  h.Pass(absl::Seconds(3));
  bool lost = false;
  for (const auto& message : h.Take(again)) {
    for (const auto& map : message.locations().maps()) {
      lost = lost || (map.lost() && map.map_index() == 1);
    }
  }
  EXPECT_TRUE(lost);
}

TEST(SchedulerCoreTest, FetchFailuresAreWeighed) {
  // Who reports how often, until the map counts as lost.
  struct Case {
    std::vector<int> reporters;
    bool gone;
    bool lost;
  };
  const Case cases[] = {
      {{0}, true, true},         {{0}, false, false},
      {{0, 0}, false, false},    {{0, 1}, false, true},
      {{0, 0, 0}, false, false}, {{0, 0, 0, 0, 0, 0}, false, true},
  };
  for (const Case& one : cases) {
    Harness h;
    const SessionId holder = h.Join(1, "w1");
    Planned(h, holder, "/out", 1, 3);
    const auto map = h.TakeGrants(holder).at(0);
    const SessionId readers[] = {h.Join(2, "w2"), h.Join(3, "w3")};
    h.Finish(holder, map, 1, 3);
    h.Pass(absl::Seconds(1));
    // Reduce 0 and 1 are where the map is, or on the others by now.
    proto::GetJobReply tasks;
    h.core().FillTasks(*h.state().jobs().begin()->second, nullptr, &tasks);
    for (int reporter : one.reporters) {
      proto::Update update;
      proto::FetchFailure* failure = update.add_fetch_failures();
      failure->mutable_reduce()->set_job_id(map.attempt().job_id());
      failure->set_map_uid(map.attempt().attempt_uid());
      failure->set_source(Bytes(1));
      failure->set_gone(one.gone);
      h.Update(readers[reporter], update);
    }
    EXPECT_EQ(h.Applied(proto::LogEntry::kMapLost), one.lost ? 1u : 0u)
        << one.reporters.size();
  }
}

TEST(SchedulerCoreTest, OnlyReaderIsBelievedSooner) {
  Harness h;
  const SessionId holder = h.Join(1, "w1");
  Planned(h, holder, "/out", 1, 1);
  const auto map = h.TakeGrants(holder).at(0);
  h.Finish(holder, map, 1, 1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(h.Applied(proto::LogEntry::kMapLost), 0u);
    proto::Update update;
    proto::FetchFailure* failure = update.add_fetch_failures();
    failure->mutable_reduce()->set_job_id(map.attempt().job_id());
    failure->set_map_uid(map.attempt().attempt_uid());
    failure->set_source(Bytes(1));
    h.Update(holder, update);
  }
  EXPECT_EQ(h.Applied(proto::LogEntry::kMapLost), 1u);
}

}  // namespace
}  // namespace millrace::master
