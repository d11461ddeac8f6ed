// Who is in the cluster, what a new leader takes over, what is cleaned up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "common/strings.h"
#include "master/scheduler/testing/harness.h"
#include "master/state/limits.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using testing::Harness;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MakeId;

proto::RefusalReason RefusedAs(Harness& h, SessionId session) {
  const auto sent = h.Take(session);
  if (sent.size() != 1 || !sent[0].has_refused() || !h.closed(session)) {
    return proto::REFUSAL_REASON_UNSPECIFIED;
  }
  return sent[0].refused().reason();
}

TEST(MembershipTest, StrangersAreRefusedWithTheReason) {
  Harness h;
  proto::Hello hello = h.HelloOf(1, "w1");
  hello.set_protocol_version(99);
  EXPECT_EQ(RefusedAs(h, h.Open(hello)), proto::PROTOCOL_VERSION);
  hello = h.HelloOf(1, "w1");
  hello.set_cluster_id(Bytes(99));
  EXPECT_EQ(RefusedAs(h, h.Open(hello)), proto::WRONG_CLUSTER);
  hello.set_cluster_id(std::string(h.state().cluster_id().bytes()));
  const SessionId w = h.Open(hello);
  EXPECT_TRUE(h.Take(w).at(0).has_welcome());
  EXPECT_EQ(RefusedAs(h, h.Join(2, "w1")), proto::NAME_TAKEN);
  hello = h.HelloOf(3, "");
  EXPECT_EQ(RefusedAs(h, h.Open(hello)), proto::PROTOCOL_VERSION);
  h.Feed(LostLeadership{"elsewhere:1"});
  EXPECT_TRUE(h.closed(w));
  const SessionId late = h.Join(4, "w4");
  const auto sent = h.Take(late);
  EXPECT_EQ(sent.at(0).refused().reason(), proto::NOT_LEADER);
  EXPECT_EQ(sent.at(0).refused().leader_address(), "elsewhere:1");
}

TEST(MembershipTest, DeadWorkerIsLostWithinTwoSeconds) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.Close(w);
  h.Pass(absl::Milliseconds(1400));
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 0u);
  h.Pass(absl::Milliseconds(600));
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 1u);
  EXPECT_EQ(RefusedAs(h, h.Join(1, "w1")), proto::INCARNATION_LOST);
  EXPECT_TRUE(h.Take(h.Join(2, "w1")).at(0).has_welcome());
}

TEST(MembershipTest, ReconnectInTimeIsNoLoss) {
  Harness h;
  SessionId w = h.Join(1, "w1");
  for (int i = 0; i < 5; ++i) {
    h.Close(w);
    h.Pass(absl::Seconds(1));
    w = h.Join(1, "w1");
    h.Pass(absl::Seconds(1));
  }
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 0u);
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerJoined), 1u);
}

TEST(MembershipTest, SilentWorkerIsLostWithinTwelveSeconds) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.Pass(absl::Seconds(9));
  h.Update(w);
  h.Pass(absl::Seconds(9));
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 0u);
  h.Pass(absl::Milliseconds(1500));
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 1u);
  EXPECT_TRUE(h.closed(w));
}

TEST(MembershipTest, LoopThatStoodStillDoesNotBlameItsWorkers) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.Pass(absl::Seconds(1));
  // Thirty seconds without a step, then one late tick.
  h.Skip(absl::Seconds(30));
  h.Feed(Tick{});
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 0u);
  h.Update(w);
  h.Pass(absl::Seconds(5));
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 0u);
}

TEST(MembershipTest, LeaderThatHasNothingToSaySaysThatItIsThere) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.Take(w);
  for (int beat = 0; beat < 5; ++beat) {
    h.Pass(absl::Milliseconds(1300));
    h.Update(w);
    int alive = 0;
    for (const proto::MasterMessage& message : h.Take(w)) {
      EXPECT_TRUE(message.has_alive());
      EXPECT_EQ(message.term(), 1u);
      ++alive;
    }
    EXPECT_GE(alive, 1);
    EXPECT_LE(alive, 2);
  }
}

// What is held is taken for proposed and comes back as one whose blob is gone.
void LoseBlob(Harness& h, proto::LogEntry::EntryCase expected) {
  ASSERT_EQ(h.proposed.size(), 1u);
  const proto::LogEntry entry = h.proposed.front();
  ASSERT_EQ(entry.entry_case(), expected);
  h.proposed.clear();
  h.hold = false;
  h.Feed(BlobLost{entry, "blob 1f is gone"});
}

TEST(MembershipTest, PlanWhoseBlobIsGoneIsMadeAgain) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = h.SubmitJob("/out");
  auto grants = h.TakeGrants(w);
  ASSERT_EQ(grants.size(), 1u);
  h.hold = true;
  h.Finish(w, grants[0], 1, 1);
  LoseBlob(h, proto::LogEntry::kPlanned);
  EXPECT_EQ(h.Applied(proto::LogEntry::kAttemptFailed), 1u);
  const std::string cause =
      h.job(job).FindTrouble({proto::PLAN_TASK, 0})->last_message;
  EXPECT_THAT(cause, HasSubstr("blob 1f"));
  h.Pass(absl::Seconds(1));
  h.Update(w);
  h.RunAll({w}, 1, 1);
  EXPECT_EQ(h.Status(job).state(), proto::SUCCEEDED);
}

TEST(MembershipTest, ManifestThatIsGoneIsMadeAgain) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = h.SubmitJob("/out");
  std::vector<proto::Grant> grants = h.TakeGrants(w);
  while (!grants.at(0).has_check()) {
    for (const proto::Grant& grant : grants) h.Finish(w, grant, 1, 1);
    grants = h.TakeGrants(w);
    ASSERT_FALSE(grants.empty());
  }
  h.hold = true;
  h.Finish(w, grants[0], 1, 1);
  LoseBlob(h, proto::LogEntry::kDecided);
  EXPECT_EQ(h.Status(job).state(), proto::RUNNING);
  // Late news of the same is none.
  h.Feed(BlobLost{h.log.back(), "again"});
  h.Pass(absl::Seconds(1));
  h.Update(w);
  h.RunAll({w}, 1, 1);
  EXPECT_EQ(h.Status(job).state(), proto::SUCCEEDED);
}

TEST(MembershipTest, NewProcessReplacesTheOldOne) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.Close(w);
  const SessionId again = h.Join(2, "w1");
  EXPECT_TRUE(h.Take(again).at(0).has_welcome());
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 1u);
}

TEST(MembershipTest, WorkerThatReturnsWhileItsLossIsDecidedMustStartAnew) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.Close(w);
  h.hold = true;
  h.Pass(absl::Seconds(2));
  ASSERT_EQ(h.proposed.size(), 1u);
  const SessionId back = h.Join(1, "w1");
  EXPECT_THAT(h.Take(back), IsEmpty());
  h.Release();
  EXPECT_EQ(RefusedAs(h, back), proto::INCARNATION_LOST);
}

TEST(MembershipTest, NewLeaderWaitsForAllAndAdoptsWhatRuns) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  h.Join(2, "w2");
  const JobId job = h.SubmitJob("/out");
  h.Finish(a, h.TakeGrants(a).at(0), 3, 0);
  const auto running = h.TakeGrants(a);
  ASSERT_EQ(running.size(), 1u);
  h.Restart();
  proto::Hello hello = h.HelloOf(1, "w1", 1);
  *hello.add_running()->mutable_attempt() = running[0].attempt();
  const SessionId a2 = h.Open(hello);
  EXPECT_THAT(h.TakeGrants(a2), IsEmpty());
  EXPECT_THAT(h.Status(job).waiting_for(), IsEmpty());
  h.Finish(a2, running[0], 3, 0);
  EXPECT_THAT(h.TakeGrants(a2), IsEmpty());
  EXPECT_THAT(h.Status(job).waiting_for(), HasSubstr("reported"));
  EXPECT_EQ(h.Status(job).maps().done(), 1u);
  const SessionId b2 = h.Join(2, "w2");
  const auto at_a = h.TakeGrants(a2);
  const auto at_b = h.TakeGrants(b2);
  EXPECT_EQ(at_a.size() + at_b.size(), 2u);
  // Each map is started once.
  EXPECT_EQ(h.Status(job).attempts().launched(), 4u);
}

TEST(MembershipTest, NewLeaderDoesNotWaitForEver) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  h.Join(2, "w2");
  h.SubmitJob("/out");
  h.Finish(a, h.TakeGrants(a).at(0), 2, 0);
  h.Restart();
  const SessionId a2 = h.Join(1, "w1");
  for (int i = 0; i < 12; ++i) {
    h.Beat();
    h.Pass(absl::Seconds(1));
  }
  EXPECT_EQ(h.Applied(proto::LogEntry::kWorkerLost), 1u);
  EXPECT_EQ(h.TakeGrants(a2).size(), 1u);
}

TEST(MembershipTest, JobOfThisTermDoesNotWaitForOtherWorkers) {
  Harness h;
  h.Join(1, "w1");
  h.Join(2, "w2");
  h.Restart();
  const SessionId a = h.Join(1, "w1");
  h.SubmitJob("/out");
  EXPECT_EQ(h.TakeGrants(a).size(), 1u);
}

TEST(MembershipTest, GrantThatNeverArrivedIsGrantedAnew) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.SubmitJob("/out");
  const auto lost = h.TakeGrants(w);
  h.Close(w);
  const SessionId again = h.Join(1, "w1");
  const auto grants = h.TakeGrants(again);
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_NE(grants[0].attempt().attempt_uid(),
            lost.at(0).attempt().attempt_uid());
}

TEST(MembershipTest, AdoptedAttemptOfATaskThatIsDoneIsKilled) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.SubmitJob("/out");
  const auto plan = h.TakeGrants(w);
  h.Finish(w, plan.at(0), 1, 0);
  h.Close(w);
  proto::Hello hello = h.HelloOf(1, "w1");
  *hello.add_running()->mutable_attempt() = plan[0].attempt();
  hello.mutable_running(0)->mutable_attempt()->set_attempt_uid(Bytes(77));
  const SessionId again = h.Open(hello);
  int kills = 0;
  for (const auto& message : h.Take(again)) {
    kills += message.has_kill() && message.kill().attempt_uid() == Bytes(77);
  }
  EXPECT_EQ(kills, 1);
}

TEST(MembershipTest, IntactOutputIsTakenBackFromANewProcess) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId job = h.SubmitJob("/out");
  h.Finish(w, h.TakeGrants(w).at(0), 1, 1);
  const auto grants = h.TakeGrants(w);
  h.Finish(w, grants.at(0), 1, 1);
  h.Close(w);
  h.Pass(absl::Seconds(2));
  EXPECT_EQ(h.Status(job).maps().done(), 0u);
  proto::Hello hello = h.HelloOf(2, "w1");
  hello.add_jobs(std::string(job.bytes()));
  for (const std::string& uid :
       {grants[0].attempt().attempt_uid(), Bytes(88)}) {
    proto::HeldOutput* held = hello.add_held();
    held->set_job_id(std::string(job.bytes()));
    held->set_attempt_uid(uid);
    held->set_root(Bytes(0));
  }
  const SessionId again = h.Open(hello);
  EXPECT_EQ(h.Applied(proto::LogEntry::kMapReoffered), 1u);
  EXPECT_EQ(h.Status(job).maps().done(), 1u);
  std::vector<std::string> dropped;
  for (const auto& message : h.Take(again)) {
    if (message.has_drop_attempt()) {
      dropped.push_back(message.drop_attempt().attempt_uid());
    }
  }
  EXPECT_THAT(dropped, ::testing::ElementsAre(Bytes(88)));
}

// ------------------------------------------------------------------ clean-up

std::vector<proto::DropJob> Drops(Harness& h, SessionId session) {
  std::vector<proto::DropJob> drops;
  for (const auto& message : h.Take(session)) {
    if (message.has_drop_job()) drops.push_back(message.drop_job());
  }
  return drops;
}

void Dropped(Harness& h, SessionId session, const JobId& job) {
  proto::Update update;
  update.add_dropped_jobs(std::string(job.bytes()));
  h.Update(session, update);
}

TEST(CleanupTest, StagingGoesLastAndByOneWorker) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  const SessionId b = h.Join(2, "w2");
  const JobId job = h.SubmitJob("/out");
  h.Finish(a, h.TakeGrants(a).at(0), 2, 0);
  h.Feed(ClientKill{500, job, "enough"});
  EXPECT_TRUE(h.replies[500].status.ok());
  EXPECT_FALSE(h.replies[500].too_late);
  EXPECT_EQ(h.Status(job).state(), proto::KILLED);
  auto at_a = Drops(h, a);
  auto at_b = Drops(h, b);
  ASSERT_EQ(at_a.size(), 1u);
  ASSERT_EQ(at_b.size(), 1u);
  EXPECT_FALSE(at_a[0].remove_staging());
  EXPECT_EQ(at_a[0].output(), "/out");
  Dropped(h, a, job);
  EXPECT_THAT(Drops(h, a), IsEmpty());
  Dropped(h, b, job);
  at_a = Drops(h, a);
  at_b = Drops(h, b);
  ASSERT_EQ(at_a.size() + at_b.size(), 1u);
  EXPECT_EQ(h.Applied(proto::LogEntry::kCleaned), 0u);
  EXPECT_TRUE((at_a.empty() ? at_b : at_a)[0].remove_staging());
  Dropped(h, at_a.empty() ? b : a, job);
  EXPECT_EQ(h.Applied(proto::LogEntry::kCleaned), 1u);
}

TEST(CleanupTest, NewLeaderGoesOnWithIt) {
  Harness h;
  const SessionId a = h.Join(1, "w1");
  const JobId job = h.SubmitJob("/out");
  h.Feed(ClientKill{500, job, "enough"});
  EXPECT_EQ(Drops(h, a).size(), 1u);
  h.Restart();
  proto::Hello hello = h.HelloOf(1, "w1");
  hello.add_jobs(std::string(job.bytes()));
  const SessionId again = h.Open(hello);
  const auto drops = Drops(h, again);
  ASSERT_EQ(drops.size(), 1u);
  EXPECT_TRUE(drops[0].remove_staging());
  Dropped(h, again, job);
  EXPECT_EQ(h.Applied(proto::LogEntry::kCleaned), 1u);
  h.Restart();
  EXPECT_THAT(Drops(h, h.Join(1, "w1")), IsEmpty());
}

TEST(CleanupTest, SlotOfAKilledJobIsFreeWhenItsWorkerSaysSo) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId first = h.SubmitJob("/first");
  h.TakeGrants(w);
  h.SubmitJob("/second");
  h.Feed(ClientKill{500, first, "enough"});
  EXPECT_THAT(h.TakeGrants(w), IsEmpty());
  Dropped(h, w, first);
  EXPECT_EQ(h.TakeGrants(w).size(), 1u);
}

// Its files may stay for long: the store that they are on is away.
TEST(CleanupTest, SlotOfAKilledJobIsFreeWhenOnlyFilesAreLeft) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  const JobId first = h.SubmitJob("/first");
  h.TakeGrants(w);
  proto::Update update;
  update.add_stopped_jobs(std::string(first.bytes()));
  h.Update(w, update);
  EXPECT_THAT(h.TakeGrants(w), IsEmpty()) << "nobody has told it to stop";
  h.SubmitJob("/second");
  h.Feed(ClientKill{500, first, "enough"});
  EXPECT_THAT(h.TakeGrants(w), IsEmpty());
  h.Update(w, update);
  EXPECT_EQ(h.TakeGrants(w).size(), 1u);
  EXPECT_EQ(h.Applied(proto::LogEntry::kCleaned), 0u);
  Dropped(h, w, first);
  EXPECT_EQ(h.Applied(proto::LogEntry::kCleaned), 1u);
}

TEST(CleanupTest, OldJobsAreForgotten) {
  SchedulerOptions options;
  options.finished_jobs_kept = 3;
  Harness h(options);
  const SessionId w = h.Join(1, "w1");
  std::vector<JobId> jobs;
  for (int i = 0; i < 5; ++i) {
    jobs.push_back(h.SubmitJob(Cat("/out", i)));
    h.Feed(ClientKill{static_cast<ReplyTag>(500 + i), jobs.back(), ""});
    Dropped(h, w, jobs.back());
  }
  EXPECT_EQ(h.state().jobs().size(), 3u);
  EXPECT_EQ(h.state().FindJob(jobs[1]), nullptr);
  EXPECT_NE(h.state().FindJob(jobs[2]), nullptr);
}

// ------------------------------------------------------------------- clients

TEST(ClientsTest, SubmitIsKnownByItsRequest) {
  Harness h;
  const Reply first = h.Submit(h.Spec("/out"), 42);
  const Reply second = h.Submit(h.Spec("/out"), 42);
  EXPECT_TRUE(second.status.ok());
  EXPECT_EQ(second.job, first.job);
  EXPECT_TRUE(second.existed);
  EXPECT_FALSE(first.existed);
}

TEST(ClientsTest, TwoSubmitsUnderWayWithOneRequestMakeOneJob) {
  Harness h;
  h.hold = true;
  for (ReplyTag tag : {901, 902}) {
    ClientSubmit submit;
    submit.tag = tag;
    submit.request_id = MakeId<RequestId>(42);
    submit.spec = h.Spec("/out");
    h.Feed(submit);
  }
  h.Release();
  EXPECT_EQ(h.replies[901].job, h.replies[902].job);
  EXPECT_TRUE(h.replies[902].existed);
}

TEST(ClientsTest, SecondJobForAnOutputIsRefusedNamingTheFirst) {
  Harness h;
  const JobId first = h.SubmitJob("/out");
  const Reply second = h.Submit(h.Spec("/out"));
  EXPECT_EQ(second.status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status.message()), HasSubstr(first.ToShort()));
}

TEST(ClientsTest, OneOutputByTwoNamesIsRefusedNamingBoth) {
  Harness h;
  const JobId first = h.SubmitJob("/store/out");
  proto::JobSpec linked = h.Spec("/link/out");
  linked.set_output_place("/store/out");
  const Reply second = h.Submit(linked);
  EXPECT_EQ(second.status.code(), absl::StatusCode::kAlreadyExists);
  const std::string message(second.status.message());
  EXPECT_THAT(message, HasSubstr(first.ToShort()));
  EXPECT_THAT(message, HasSubstr("/link/out, by the name of /store/out"));
  linked.set_output_place("/elsewhere/out");
  EXPECT_TRUE(h.Submit(linked).status.ok());
  // The other way round: the first one came through a link.
  EXPECT_EQ(h.Submit(h.Spec("/elsewhere/out")).status.code(),
            absl::StatusCode::kAlreadyExists);
  proto::JobSpec wrong = h.Spec("/third");
  wrong.set_output_place("not/absolute");
  EXPECT_EQ(h.Submit(wrong).status.code(), absl::StatusCode::kInvalidArgument);
}

TEST(ClientsTest, LimitsAreRefusedClearly) {
  SchedulerOptions options;
  options.live_jobs_max = 2;
  options.spec_bytes_max = 4096;
  Harness h(options);
  proto::JobSpec spec = h.Spec("/out");
  spec.set_num_reducers(kPartitionsMax + 1);
  EXPECT_EQ(h.Submit(spec).status.code(), absl::StatusCode::kResourceExhausted);
  spec = h.Spec("/out");
  spec.add_arguments(std::string(5000, 'a'));
  EXPECT_EQ(h.Submit(spec).status.code(), absl::StatusCode::kResourceExhausted);
  h.SubmitJob("/1");
  h.SubmitJob("/2");
  EXPECT_EQ(h.Submit(h.Spec("/3")).status.code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ClientsTest, NonsenseIsRefused) {
  Harness h;
  const std::function<void(proto::JobSpec*)> wrongs[] = {
      [](proto::JobSpec* spec) { spec->clear_program_sha256(); },
      [](proto::JobSpec* spec) { spec->clear_inputs(); },
      [](proto::JobSpec* spec) { spec->set_inputs(0, "relative"); },
      [](proto::JobSpec* spec) { spec->set_output("relative"); },
      [](proto::JobSpec* spec) { spec->set_output("/out/"); },
      [](proto::JobSpec* spec) { spec->set_output("/"); },
      [](proto::JobSpec* spec) { spec->add_side_files()->set_name("../x"); },
      [](proto::JobSpec* spec) { spec->set_max_attempts(100'000); },
  };
  for (const auto& wrong : wrongs) {
    proto::JobSpec spec = h.Spec("/out");
    wrong(&spec);
    EXPECT_EQ(h.Submit(spec).status.code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(h.state().jobs().empty());
}

TEST(ClientsTest, KillComesTooLateForWhatHasEnded) {
  Harness h;
  const JobId job = h.SubmitJob("/out");
  h.Feed(ClientKill{500, job, "first"});
  h.Feed(ClientKill{501, job, "second"});
  EXPECT_FALSE(h.replies[500].too_late);
  EXPECT_TRUE(h.replies[501].too_late);
  h.Feed(ClientKill{502, MakeId<JobId>(77), "whom"});
  EXPECT_EQ(h.replies[502].status.code(), absl::StatusCode::kNotFound);
}

TEST(ClientsTest, LostLeadershipAnswersWhoWaits) {
  Harness h;
  h.hold = true;
  ClientSubmit submit;
  submit.tag = 900;
  submit.request_id = MakeId<RequestId>(42);
  submit.spec = h.Spec("/out");
  h.Feed(submit);
  h.Feed(LostLeadership{});
  EXPECT_TRUE(h.replies[900].not_leader);
}

TEST(ClientsTest, DrainedWorkerGetsNothing) {
  Harness h;
  const SessionId w = h.Join(1, "w1");
  h.Feed(ClientDrain{500, "w1", true});
  EXPECT_TRUE(h.replies[500].status.ok());
  const JobId job = h.SubmitJob("/out");
  EXPECT_THAT(h.TakeGrants(w), IsEmpty());
  EXPECT_THAT(h.Status(job).waiting_for(), HasSubstr("draining"));
  proto::ListWorkersReply workers;
  h.core().FillWorkers(0, &workers);
  EXPECT_EQ(workers.workers(0).state(), "drained");
  h.Feed(ClientDrain{501, "w1", false});
  EXPECT_EQ(h.TakeGrants(w).size(), 1u);
  h.Feed(ClientDrain{502, "nobody", true});
  EXPECT_EQ(h.replies[502].status.code(), absl::StatusCode::kNotFound);
}

// -------------------------------------------------------------------- status

TEST(StatusTest, SaysWhatAJobWaitsFor) {
  Harness h;
  const JobId job = h.SubmitJob("/out");
  EXPECT_EQ(h.Status(job).waiting_for(), "no workers have joined");
  EXPECT_EQ(h.Status(job).state(), proto::QUEUED);
  const SessionId w = h.Join(1, "w1");
  EXPECT_EQ(h.Status(job).waiting_for(), "");
  proto::Update update;
  update.set_disk_low(true);
  h.Update(w, update);
  const JobId second = h.SubmitJob("/second");
  EXPECT_THAT(h.Status(second).waiting_for(), HasSubstr("disk space"));
  update.set_disk_low(false);
  update.set_free_disk_bytes(1);
  h.Update(w, update);
  EXPECT_EQ(h.Status(second).waiting_for(),
            Cat("all slots are taken by job ", job.ToShort()));
}

TEST(StatusTest, LogsOfFailedRunningAndWinningAttemptsAreFound) {
  Harness h;
  const SessionId w = h.Join(1, "w1", 2);
  const JobId job = h.SubmitJob("/out");
  h.Finish(w, h.TakeGrants(w).at(0), 2, 0);
  const auto grants = h.TakeGrants(w);
  h.Fail(w, grants.at(0), proto::CRASHED);
  h.Finish(w, grants.at(1), 2, 0);
  proto::LocateLogsReply logs;
  h.core().FillLogs(h.job(job), nullptr, {}, &logs);
  ASSERT_EQ(logs.logs_size(), 3);
  EXPECT_TRUE(logs.logs(0).running());
  EXPECT_EQ(logs.logs(0).attempt().number(), 1u);
  EXPECT_EQ(logs.logs(1).attempt().task().index(), 1u);
  EXPECT_EQ(logs.logs(2).attempt().attempt_uid(),
            grants[0].attempt().attempt_uid());
  logs.Clear();
  const TaskId second{proto::MAP_TASK, 1};
  h.core().FillLogs(h.job(job), &second, {}, &logs);
  EXPECT_EQ(logs.logs_size(), 1);
}

}  // namespace
}  // namespace millrace::master
