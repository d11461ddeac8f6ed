// What is said of workers that take no task: of each hindrance that it is
// named.
#include <set>

#include "master/scheduler/soft_state.h"
#include "master/why/testing/why_case.h"

namespace millrace::master {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::M;
using testing::R;

class WhyWorkersTest : public testing::WhyCase {
 protected:
  proto::WorkerStatus Worker(int n) {
    proto::WorkerStatus status;
    EXPECT_TRUE(h_.core().FillWorker(Cat("w", n), &status).ok());
    return status;
  }
  // What is granted fails on the sick worker and goes well elsewhere, until
  // `enough`.
  void FailOn(const JobId& job, int sick, proto::FailureCause cause,
              const std::function<bool()>& enough) {
    std::set<std::string> judged;
    for (int round = 0; round < 100 && !enough(); ++round) {
      IsGranted(job, M(0));  // Takes what was sent.
      const std::vector<Granted> grants = grants_;
      for (const Granted& one : grants) {
        if (!one.grant.has_map() || enough() ||
            !judged.insert(one.grant.attempt().attempt_uid()).second) {
          continue;
        }
        const SessionId session = sessions_.at(one.worker);
        if (one.worker == sick) {
          h_.Fail(session, one.grant, cause);
        } else {
          h_.Finish(session, one.grant, sizes_.at(job).first, 0);
        }
      }
      Pass(absl::Seconds(1) / 2);
    }
    EXPECT_TRUE(enough());
  }
};

TEST_F(WhyWorkersTest, NoneHasEverJoined) {
  const JobId job = h_.SubmitJob("/out");
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PLANNED", "1 NO_WORKER_JOINED"));
  EXPECT_THAT(reply.causes(1).text(), HasSubstr("start millrace-worker"));
}

TEST_F(WhyWorkersTest, AllAreAwayAndThenLost) {
  Join({1, 2});
  Kill(1);
  Kill(2);
  const JobId job = h_.SubmitJob("/out");
  h_.Skip(absl::Seconds(1));
  auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PLANNED", "1 NO_WORKER_READY",
                                        "2 WORKERS_AWAY"));
  const auto away = Cause(reply, proto::WORKERS_AWAY);
  EXPECT_THAT(Workers(away), ElementsAre("w1", "w2"));
  EXPECT_EQ(away.for_ms(), 1'000);
  EXPECT_EQ(away.ends_in_ms(), 500);
  h_.Pass(absl::Seconds(2));
  reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PLANNED", "1 ALL_WORKERS_LOST"));
  EXPECT_THAT(Workers(reply.causes(1)), ElementsAre("w2", "w1"));
}

TEST_F(WhyWorkersTest, AllAreDrained) {
  Join({1, 2});
  h_.Feed(ClientDrain{901, "w1", true});
  h_.Feed(ClientDrain{902, "w2", true});
  const JobId job = h_.SubmitJob("/out");
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PLANNED", "1 NO_WORKER_READY",
                                        "2 WORKERS_DRAINED"));
  EXPECT_THAT(reply.causes(2).text(),
              HasSubstr("workers w1, w2 are drained: millrace worker undrain"));
  EXPECT_EQ(reply.causes(1).of(), 2u);
}

TEST_F(WhyWorkersTest, EachHindranceStandsForItself) {
  Join({1, 2, 3});
  h_.Feed(ClientDrain{901, "w1", true});
  proto::Update update;
  update.set_disk_low(true);
  update.set_free_disk_bytes(100 << 20);
  h_.Update(sessions_[2], update);
  Kill(3);
  const auto reply = Why(h_.SubmitJob("/out"));
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PLANNED", "1 NO_WORKER_READY",
                                        "2 WORKERS_AWAY", "2 WORKERS_DRAINED",
                                        "2 WORKERS_DISK_LOW"));
  EXPECT_THAT(reply.causes(4).text(), HasSubstr("100 MiB free"));
}

class WhyRoomTest : public testing::WhyCase {
 protected:
  static SchedulerOptions TenTasks() {
    SchedulerOptions options;
    options.live_tasks_max = 10;
    return options;
  }
  WhyRoomTest() : WhyCase(TenTasks()) {}
};

TEST_F(WhyRoomTest, TheClusterHasAsManyTasksAsItTakes) {
  Join({1, 2});
  const JobId first = Plan("/first", 10, 0);
  const JobId second = h_.SubmitJob("/second");
  const auto reply = Why(second);
  EXPECT_THAT(Codes(reply), ElementsAre("0 NOT_PLANNED", "1 NO_ROOM"));
  EXPECT_THAT(reply.causes(1).text(), HasSubstr("--max-tasks"));
  ASSERT_EQ(h_.Status(first).state(), proto::RUNNING);
}

TEST_F(WhyWorkersTest, AnotherJobHasAllSlots) {
  Join({1, 2});
  const JobId first = Plan("/first", 9, 0);
  const JobId second = h_.SubmitJob("/second");
  const auto reply = Why(second);
  EXPECT_THAT(Codes(reply),
              ElementsAre("0 NOT_PLANNED", "1 SLOTS_TAKEN", "2 SLOTS_OF_JOB"));
  EXPECT_EQ(reply.causes(1).count(), 2u);
  EXPECT_EQ(reply.causes(1).of(), 2u);
  EXPECT_EQ(reply.causes(2).job_id(), first.bytes());
  EXPECT_EQ(reply.causes(2).count(), 2u);
  EXPECT_THAT(reply.causes(2).text(),
              HasSubstr(Cat(first.ToShort(), " (job of /first) has 2")));
  // Its own are told apart.
  EXPECT_THAT(Cause(Why(first), proto::SLOTS_OF_JOB).text(),
              HasSubstr("this job itself has 2"));
}

TEST_F(WhyWorkersTest, ReducesHaveNoPlaceLeft) {
  Join(1);
  const JobId job = Plan("/out", 1, 5);
  Do(job, M(0));
  ASSERT_FALSE(IsGranted(job, R(4)));
  const auto reply = Why(job, R(4));
  EXPECT_THAT(Codes(reply), ElementsAre("0 PLACES_TAKEN", "1 SLOTS_OF_JOB"));
  EXPECT_EQ(reply.causes(1).count(), 2u);
}

TEST_F(WhyWorkersTest, ExcludedWorkerIsNamedBesideTheSlots) {
  Join({1, 2, 3});
  const JobId job = Plan("/out", 5000, 0);
  FailOn(job, 2, proto::DISK_FULL,
         [&] { return Worker(2).state() == "excluded"; });
  const auto reply = Why(job);
  const auto excluded = Cause(reply, proto::WORKERS_EXCLUDED);
  EXPECT_EQ(excluded.depth(), Cause(reply, proto::SLOTS_TAKEN).depth() + 1);
  EXPECT_EQ(Cause(reply, proto::SLOTS_TAKEN).of(), 2u);
  EXPECT_THAT(Workers(excluded), ElementsAre("w2"));
  EXPECT_THAT(excluded.text(), HasSubstr("it failed"));
  EXPECT_GT(excluded.ends_in_ms(), 20'000);
  EXPECT_LE(excluded.ends_in_ms(), 30'000);
  // Then it may try one.
  Pass(absl::Seconds(31));
  ASSERT_EQ(Worker(2).state(), "probation");
  const auto trial = Cause(Why(job), proto::WORKERS_ON_PROBATION);
  EXPECT_THAT(Workers(trial), ElementsAre("w2"));
}

TEST_F(WhyWorkersTest, FailureOnItsWayIntoTheLogKeepsItsWorkerIdle) {
  Join(1);
  const JobId job = Plan("/out", 2, 0);
  h_.hold = true;
  Fail(job, M(0), proto::DISK_FULL);
  EXPECT_THAT(Codes(Why(job, M(1))),
              ElementsAre("0 NO_WORKER_READY", "1 WORKERS_ACCUSED"));
}

TEST_F(WhyWorkersTest, TaskWaitsForAnotherWorkerThanWhereItFailed) {
  Join({1, 2});
  const JobId job = Plan("/out", 9, 0);
  const uint32_t failed = WorkerOf(job, M(0)) == 1 ? 0 : 1;
  Fail(job, M(failed), proto::USER_EXCEPTION);
  const auto reply = Why(job, M(failed));
  EXPECT_THAT(Codes(reply), ElementsAre("0 SLOTS_TAKEN", "1 SLOTS_OF_JOB",
                                        "1 FAILED_ON_WORKER"));
  EXPECT_THAT(Workers(reply.causes(2)), ElementsAre("w1"));
  EXPECT_EQ(reply.causes(2).ends_in_ms(), 2'000);
}

TEST_F(WhyWorkersTest, JobAvoidsAWorkerAndItsTasksHaveTheOther) {
  Join({1, 2});
  const JobId job = Plan("/out", 500, 0);
  const auto avoided = [&] {
    proto::GetJobReply reply;
    h_.core().FillAvoided(h_.job(job), &reply);
    return reply.avoided_size() > 0;
  };
  FailOn(job, 1, proto::USER_EXCEPTION, avoided);
  auto cause = Cause(Why(job), proto::AVOIDED_BY_JOB);
  EXPECT_THAT(Workers(cause), ElementsAre("w1"));
  EXPECT_THAT(cause.text(), HasSubstr("it failed"));
  EXPECT_GT(cause.ends_in_ms(), 110'000);
  EXPECT_LE(cause.ends_in_ms(), 120'000);
  // What fails twice on the other one goes there again all the same.
  const SoftJob& soft = h_.core().soft_state().jobs.begin()->second;
  ASSERT_FALSE(soft.live.empty());
  const TaskId map = soft.live.begin()->first;
  int failures = 0;
  for (int round = 0; round < 100 && failures < 2; ++round) {
    std::vector<TaskId> live;
    for (const auto& [task, attempt] : soft.live) live.push_back(task);
    for (const TaskId& task : live) {
      if (task != map) {
        Do(job, task);
      } else if (++failures <= 2) {
        Fail(job, task, proto::USER_EXCEPTION);
      }
    }
    Pass(absl::Seconds(1) / 2);
  }
  ASSERT_EQ(failures, 2);
  const auto reply = Why(job, map);
  EXPECT_EQ(Codes(reply).at(0), "0 ATTEMPT_QUEUED");
  EXPECT_THAT(Workers(Cause(reply, proto::ATTEMPT_QUEUED)), ElementsAre("w2"));
  EXPECT_THAT(Cause(reply, proto::FAILED_BEFORE).text(), HasSubstr("failed"));
}

TEST_F(WhyWorkersTest, NewLeaderWaitsForReports) {
  Join({1, 2});
  const JobId job = Plan("/out", 3, 1);
  h_.Restart();
  sessions_.clear();
  Join(1);
  h_.Pass(absl::Seconds(1));
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 MAPS_MISSING", "1 LEADER_WAITS",
                                        "2 WORKERS_UNREPORTED"));
  EXPECT_EQ(reply.causes(1).count(), 1u);
  EXPECT_EQ(reply.causes(1).of(), 2u);
  EXPECT_THAT(reply.causes(1).text(), HasSubstr("term 2"));
  EXPECT_THAT(Workers(reply.causes(2)), ElementsAre("w2"));
  EXPECT_EQ(reply.causes(2).ends_in_ms(), 9'000);
  // A job of its own term need not wait.
  EXPECT_THAT(Codes(Why(h_.SubmitJob("/new"))),
              ElementsAre("0 NOT_PLANNED", "1 ATTEMPT_PREPARES"));
  for (int i = 0; i < 12; ++i) {
    h_.Beat();
    h_.Pass(absl::Seconds(1));
  }
  EXPECT_EQ(Codes(Why(job)).at(1), "1 SLOTS_TAKEN");
}

TEST_F(WhyWorkersTest, SilentWorkerIsNamedBelowWhatItRuns) {
  Join(1);
  const JobId job = Plan("/out", 1, 1);
  Phase(job, M(0), proto::EXECUTING);
  h_.Pass(absl::Seconds(4));  // Without a word of it.
  const auto reply = Why(job, M(0));
  EXPECT_THAT(Codes(reply), ElementsAre("0 ATTEMPT_RUNS", "1 WORKERS_AWAY"));
  EXPECT_THAT(reply.causes(1).text(), HasSubstr("said nothing for 4.0 s"));
  EXPECT_EQ(reply.causes(1).ends_in_ms(), 6'000);
}

TEST_F(WhyWorkersTest, HolderThatIsAwayIsNamedBelowWhoFetches) {
  Join({1, 2});
  const JobId job = Plan("/out", 2, 1);
  Do(job, M(0));
  Do(job, M(1));
  const int holder = 3 - WorkerOf(job, R(0));
  Kill(holder);
  const auto reply = Why(job);
  EXPECT_THAT(Codes(reply), ElementsAre("0 REDUCES_MISSING",
                                        "1 ATTEMPT_FETCHES", "2 WORKERS_AWAY"));
  EXPECT_THAT(Workers(reply.causes(2)), ElementsAre(Cat("w", holder)));
}

TEST_F(WhyWorkersTest, CheckNeedsAWorkerToo) {
  Join(1);
  const JobId job = Plan("/out", 1, 0);
  h_.Feed(ClientDrain{901, "w1", true});
  Do(job, M(0));
  EXPECT_THAT(Codes(Why(job)), ElementsAre("0 NOT_CHECKED", "1 NO_WORKER_READY",
                                           "2 WORKERS_DRAINED"));
}

}  // namespace
}  // namespace millrace::master
