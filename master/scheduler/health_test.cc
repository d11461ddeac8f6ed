// Workers on which things fail: who gets what afterwards, and who sees it.
#include "master/scheduler/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "common/strings.h"
#include "master/scheduler/scheduler_core.h"
#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using testing::Harness;
using ::testing::HasSubstr;

constexpr absl::Duration kSecond = absl::Seconds(1);

class HealthTest : public ::testing::Test {
 protected:
  struct Granted {
    SessionId session = 0;
    proto::Grant grant;
  };

  void Start(int workers, uint32_t maps, uint32_t partitions) {
    for (int i = 0; i < workers; ++i) {
      sessions_.push_back(
          h_.Join(static_cast<uint64_t>(i + 1), Cat("w", i + 1)));
    }
    maps_ = maps;
    partitions_ = partitions;
    job_ = h_.SubmitJob("/out");
    for (const Granted& one : Collect()) {
      h_.Finish(one.session, one.grant, maps, partitions);
    }
  }
  std::vector<Granted> Collect() {
    std::vector<Granted> grants;
    for (SessionId session : sessions_) {
      for (const proto::Grant& grant : h_.TakeGrants(session)) {
        grants.push_back({session, grant});
      }
    }
    return grants;
  }
  void Pass(absl::Duration how_long) {
    for (; how_long > absl::ZeroDuration(); how_long -= kSecond / 2) {
      h_.Pass(kSecond / 2);
      h_.Beat();
    }
  }
  // What is granted on the worker fails for this cause, all else succeeds, for
  // so long. Returns how much was granted there.
  int FailOn(size_t sick, proto::FailureCause cause, absl::Duration how_long) {
    int granted = 0;
    for (; how_long > absl::ZeroDuration(); how_long -= kSecond / 2) {
      for (const Granted& one : Collect()) {
        if (one.session != sessions_[sick] || one.grant.has_reduce()) {
          h_.Finish(one.session, one.grant, maps_, partitions_);
          continue;
        }
        ++granted;
        h_.Fail(one.session, one.grant, cause);
      }
      Pass(kSecond / 2);
    }
    return granted;
  }
  proto::WorkerStatus Worker(int number) {
    proto::WorkerStatus status;
    EXPECT_TRUE(h_.core().FillWorker(Cat("w", number), &status).ok());
    return status;
  }

  Harness h_;
  std::vector<SessionId> sessions_;
  JobId job_;
  uint32_t maps_ = 0;
  uint32_t partitions_ = 0;
};

TEST_F(HealthTest, WorkerWhoseDiskIsFullIsLeftAlone) {
  Start(3, 5000, 0);
  const int granted = FailOn(1, proto::DISK_FULL, 20 * kSecond);
  EXPECT_GE(granted, 3);
  EXPECT_LE(granted, 6);  // Some stood in its queue.
  const proto::WorkerStatus status = Worker(2);
  EXPECT_EQ(status.state(), "excluded");
  EXPECT_THAT(status.why(), HasSubstr("it failed"));
  EXPECT_GT(status.excluded_for_ms(), 5'000);
  EXPECT_LE(status.excluded_for_ms(), 30'000);
  EXPECT_EQ(Worker(1).state(), "up");
  // Then it may try once, and once more after twice as long.
  EXPECT_EQ(FailOn(1, proto::DISK_FULL, 20 * kSecond), 1);
  EXPECT_EQ(Worker(2).state(), "excluded");
  EXPECT_EQ(FailOn(1, proto::DISK_FULL, 40 * kSecond), 0);
}

// What fails in a millisecond would take much before a slow log says that it
// does.
TEST_F(HealthTest, WorkerIsGivenNothingWhileItsFailureIsOnTheWayIntoTheLog) {
  Start(3, 5000, 0);
  h_.hold = true;
  const SessionId sick = sessions_[1];
  int failed = 0;
  for (int round = 0; round < 20; ++round) {
    for (const proto::Grant& grant : h_.TakeGrants(sick)) {
      h_.Fail(sick, grant, proto::DISK_FULL);
      ++failed;
    }
    h_.Pass(absl::Milliseconds(100));
    h_.Beat();
  }
  EXPECT_GE(failed, 1);
  EXPECT_LE(failed, 3);  // One, and those that stood in its queue.
  // A failure of the program is no reason to wait.
  for (const proto::Grant& grant : h_.TakeGrants(sessions_[0])) {
    h_.Fail(sessions_[0], grant, proto::USER_EXCEPTION);
  }
  h_.Pass(absl::Milliseconds(100));
  EXPECT_FALSE(h_.TakeGrants(sessions_[0]).empty());
  h_.Release();
  h_.Pass(absl::Milliseconds(100));
  EXPECT_TRUE(Worker(2).state() == "excluded" || !h_.TakeGrants(sick).empty());
}

TEST_F(HealthTest, SuccessOnProbationBringsItBack) {
  Start(3, 5000, 0);
  FailOn(1, proto::DISK_FULL, 10 * kSecond);
  ASSERT_EQ(Worker(2).state(), "excluded");
  // The next thing that it is given goes well.
  for (int i = 0; i < 100 && Worker(2).state() == "excluded"; ++i) {
    for (const Granted& one : Collect()) {
      h_.Finish(one.session, one.grant, maps_, partitions_);
    }
    Pass(kSecond / 2);
  }
  auto grants = Collect();
  EXPECT_EQ(Worker(2).state(), "probation");
  int there = 0;
  for (const Granted& one : grants) there += one.session == sessions_[1];
  EXPECT_EQ(there, 1);
  for (const Granted& one : grants) {
    h_.Finish(one.session, one.grant, maps_, partitions_);
  }
  EXPECT_EQ(Worker(2).state(), "up");
  EXPECT_EQ(Worker(2).why(), "");
}

TEST_F(HealthTest, OnlyWorkerIsNeverExcluded) {
  Start(1, 100, 0);
  EXPECT_GT(FailOn(0, proto::DISK_FULL, 10 * kSecond), 3);
  EXPECT_EQ(Worker(1).state(), "up");
}

TEST_F(HealthTest, FailuresOfTheProgramExcludeNobody) {
  Start(3, 5000, 0);
  FailOn(1, proto::USER_EXCEPTION, 3 * kSecond);
  EXPECT_EQ(Worker(2).state(), "up");
}

TEST_F(HealthTest, JobAvoidsTheWorkerWhereItsTasksFailAlone) {
  Start(3, 5000, 0);
  const int granted = FailOn(1, proto::USER_EXCEPTION, 20 * kSecond);
  EXPECT_LE(granted, 10);
  EXPECT_GE(granted, 3);
  EXPECT_EQ(Worker(2).state(), "up");  // Others may do well there.
  proto::GetJobReply reply;
  h_.core().FillAvoided(h_.job(job_), &reply);
  ASSERT_EQ(reply.avoided_size(), 1);
  EXPECT_EQ(reply.avoided(0).worker(), "w2");
  EXPECT_GE(reply.avoided(0).tasks(), 3u);
  EXPECT_THAT(reply.avoided(0).why(), HasSubstr("it failed"));
  // Another job is given it.
  const JobId other = h_.SubmitJob("/other");
  bool used = false;
  for (int i = 0; i < 6; ++i) {
    for (const Granted& one : Collect()) {
      used |= one.session == sessions_[1] &&
              one.grant.attempt().job_id() == other.bytes();
      h_.Finish(one.session, one.grant, maps_, partitions_);
    }
  }
  EXPECT_TRUE(used);
}

// Nobody has to ask for it, which no task does while it has no slot.
TEST_F(HealthTest, AvoidedWorkerIsForgivenWhenItsTimeIsOver) {
  Start(3, 5000, 0);
  FailOn(1, proto::USER_EXCEPTION, 20 * kSecond);
  const auto avoided = [&] {
    proto::GetJobReply reply;
    h_.core().FillAvoided(h_.job(job_), &reply);
    return reply.avoided_size();
  };
  ASSERT_EQ(avoided(), 1);
  h_.Feed(ClientDrain{1'000, "w2", true});
  Pass(absl::Seconds(90));
  EXPECT_EQ(avoided(), 1);
  Pass(absl::Seconds(40));
  EXPECT_EQ(avoided(), 0);
}

// The other worker, which the job avoids, is none that the task could wait for.
TEST_F(HealthTest, TaskThatFailsWhereItsJobHasToRunIsTriedThereAgain) {
  Start(2, 5000, 0);
  FailOn(1, proto::USER_EXCEPTION, 20 * kSecond);
  proto::GetJobReply reply;
  h_.core().FillAvoided(h_.job(job_), &reply);
  ASSERT_EQ(reply.avoided_size(), 1);
  std::optional<uint32_t> failing;
  int granted = 0;
  for (int i = 0; i < 20 && granted < 3; ++i) {
    for (const Granted& one : Collect()) {
      const uint32_t map = one.grant.attempt().task().index();
      if (one.session == sessions_[0] && failing.value_or(map) == map) {
        failing = map;
        ++granted;
        h_.Fail(one.session, one.grant, proto::USER_EXCEPTION);
      } else {
        h_.Finish(one.session, one.grant, maps_, partitions_);
      }
    }
    Pass(kSecond / 2);
  }
  EXPECT_EQ(granted, 3);
}

TEST_F(HealthTest, HolderOfOutputsThatCannotBeFetchedIsExcluded) {
  Start(3, 12, 3);
  std::vector<proto::Grant> held;  // By w1.
  for (int round = 0; round < 12; ++round) {
    for (const Granted& one : Collect()) {
      if (!one.grant.has_map()) continue;
      if (one.session == sessions_[0]) held.push_back(one.grant);
      h_.Finish(one.session, one.grant, maps_, partitions_);
    }
  }
  ASSERT_EQ(h_.job(job_).maps.done, 12u);
  ASSERT_GE(held.size(), 3u);
  proto::Update update;
  for (size_t i = 0; i < 3; ++i) {
    proto::FetchFailure* failure = update.add_fetch_failures();
    failure->mutable_reduce()->set_job_id(held[i].attempt().job_id());
    failure->set_map_index(held[i].attempt().task().index());
    failure->set_map_uid(held[i].attempt().attempt_uid());
    failure->set_source(Bytes(1));
    failure->set_gone(true);
    failure->set_message("no such file");
  }
  h_.Update(sessions_[1], update);
  EXPECT_EQ(h_.Applied(proto::LogEntry::kMapLost), 3u);
  EXPECT_EQ(Worker(1).state(), "excluded");
  EXPECT_THAT(Worker(1).why(), HasSubstr("the output of map"));
  EXPECT_THAT(Worker(1).why(), HasSubstr("no such file"));
  for (const Granted& one : Collect()) {
    EXPECT_FALSE(one.grant.has_map() && one.session == sessions_[0]);
  }
}

TEST_F(HealthTest, ReaderThatReachesNobodyLosesItsReducesAndNoMapIsBlamed) {
  Start(4, 8, 4);
  std::map<SessionId, proto::Grant> held;
  std::map<SessionId, proto::Grant> reduces;
  for (int round = 0; round < 10; ++round) {
    for (const Granted& one : Collect()) {
      if (one.grant.has_reduce()) {
        reduces[one.session] = one.grant;
        continue;
      }
      held[one.session] = one.grant;
      h_.Finish(one.session, one.grant, maps_, partitions_);
    }
  }
  ASSERT_EQ(h_.job(job_).maps.done, 8u);
  ASSERT_EQ(held.size(), 4u);
  ASSERT_EQ(reduces.size(), 4u);
  for (int times = 0; times < 10; ++times) {
    proto::Update update;
    for (int holder : {0, 1}) {
      const proto::Grant& map = held[sessions_[holder]];
      proto::FetchFailure* failure = update.add_fetch_failures();
      *failure->mutable_reduce() = reduces[sessions_[3]].attempt();
      failure->set_map_index(map.attempt().task().index());
      failure->set_map_uid(map.attempt().attempt_uid());
      failure->set_source(Bytes(static_cast<uint64_t>(holder + 1)));
      failure->set_message("no route to host");
    }
    h_.Update(sessions_[3], update);
  }
  EXPECT_EQ(h_.Applied(proto::LogEntry::kMapLost), 0u);
  bool killed = false;
  for (const proto::MasterMessage& message : h_.Take(sessions_[3])) {
    killed |= message.kill().attempt_uid() ==
              reduces[sessions_[3]].attempt().attempt_uid();
  }
  EXPECT_TRUE(killed);
  h_.Fail(sessions_[3], reduces[sessions_[3]], proto::CANCELLED);
  const auto again = Collect();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_TRUE(again[0].grant.has_reduce());
  EXPECT_NE(again[0].session, sessions_[3]);
  proto::GetJobReply reply;
  h_.core().FillAvoided(h_.job(job_), &reply);
  ASSERT_EQ(reply.avoided_size(), 1);
  EXPECT_EQ(reply.avoided(0).worker(), "w4");
  EXPECT_THAT(reply.avoided(0).why(), HasSubstr("no route to host"));
}

TEST_F(HealthTest, DrainedMeansThatNobodyNeedsItsOutputs) {
  Start(2, 2, 2);
  std::vector<Granted> reduces;
  for (int round = 0; round < 4; ++round) {
    for (const Granted& one : Collect()) {
      if (one.grant.has_reduce()) {
        reduces.push_back(one);
      } else {
        h_.Finish(one.session, one.grant, maps_, partitions_);
      }
    }
  }
  ASSERT_EQ(reduces.size(), 2u);
  std::sort(
      reduces.begin(), reduces.end(),
      [](const Granted& a, const Granted& b) { return a.session < b.session; });
  ASSERT_NE(reduces[0].session, reduces[1].session);
  h_.Feed(ClientDrain{9999, "w1", true});
  EXPECT_EQ(Worker(1).state(), "draining");
  EXPECT_EQ(Worker(1).outputs_needed(), 1u);
  h_.Finish(reduces[0].session, reduces[0].grant, maps_, partitions_);
  // Nothing runs there; but the other reduce still reads from it.
  EXPECT_EQ(Worker(1).state(), "draining");
  EXPECT_EQ(Worker(1).outputs_needed(), 1u);
  h_.Finish(reduces[1].session, reduces[1].grant, maps_, partitions_);
  EXPECT_EQ(Worker(1).state(), "drained");
  EXPECT_EQ(Worker(1).outputs_needed(), 0u);
}

TEST_F(HealthTest, NewLeaderJudgesAnew) {
  Start(3, 5000, 0);
  FailOn(1, proto::DISK_FULL, 5 * kSecond);
  ASSERT_EQ(Worker(2).state(), "excluded");
  h_.Restart();
  sessions_.clear();
  for (int i = 0; i < 3; ++i) {
    sessions_.push_back(h_.Join(static_cast<uint64_t>(i + 1), Cat("w", i + 1)));
  }
  EXPECT_EQ(Worker(2).state(), "up");
}

}  // namespace
}  // namespace millrace::master
