// Second attempts of slow tasks: when, where, how many, and who wins.
#include "master/scheduler/speculation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/strings.h"
#include "master/scheduler/scheduler_core.h"
#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Harness;
using ::testing::IsEmpty;
using testing::MapDone;
using testing::ReduceDone;

constexpr absl::Duration kSecond = absl::Seconds(1);

std::vector<std::string> Names(const std::vector<proto::Grant>& grants) {
  std::vector<std::string> names;
  for (const proto::Grant& grant : grants) {
    names.push_back(Cat(ToString(TaskId::From(grant.attempt().task())),
                        grant.attempt().speculative() ? " again" : ""));
  }
  return names;
}

// A job whose maps, of `records` each, run on workers of one slot; the last
// worker gets the last map and is slow.
class SpeculationTest : public ::testing::Test {
 protected:
  void Start(int workers, uint32_t maps, uint32_t partitions,
             uint32_t slots = 1, bool off = false) {
    for (int i = 0; i < workers; ++i) {
      sessions_.push_back(
          h_.Join(static_cast<uint64_t>(i + 1), Cat("w", i + 1), slots));
    }
    proto::JobSpec spec = h_.Spec("/out");
    spec.set_speculation_off(off);
    job_ = h_.Submit(spec).job;
    maps_ = maps;
    partitions_ = partitions;
    Collect();
    const std::vector<Granted> plan = TakeAll();
    h_.Finish(plan.at(0).session, plan.at(0).grant, maps, partitions);
    Collect();
  }

  // Beats once a second, as workers do; keeps what is granted.
  void Pass(absl::Duration how_long) {
    for (; how_long > absl::ZeroDuration(); how_long -= kSecond / 2) {
      h_.Pass(kSecond / 2);
      h_.Beat();
      Collect();
    }
  }
  void Collect() {
    for (SessionId session : sessions_) {
      for (const proto::MasterMessage& message : h_.Take(session)) {
        if (message.has_grant()) {
          grants_.push_back({session, message.grant()});
        } else if (message.has_kill()) {
          killed_.push_back(message.kill().attempt_uid());
        }
      }
    }
  }
  struct Granted {
    SessionId session = 0;
    proto::Grant grant;
  };
  std::vector<Granted> TakeAll() { return std::exchange(grants_, {}); }
  std::vector<proto::Grant> Of(const std::vector<Granted>& all) {
    std::vector<proto::Grant> grants;
    for (const Granted& one : all) grants.push_back(one.grant);
    return grants;
  }
  void DoMap(const Granted& map) {
    proto::TaskDone done =
        MapDone(10 * partitions_, map.grant.attempt().task().index());
    ASSERT_EQ(done.counters(0).name(), "MAP_INPUT_RECORDS");
    done.mutable_counters(0)->set_value(1000);
    h_.Done(map.session, map.grant, done);
    Collect();
  }
  void Tell(const Granted& map, uint64_t records) {
    proto::Update update;
    proto::AttemptProgress* progress = update.add_progress();
    progress->set_attempt_uid(map.grant.attempt().attempt_uid());
    progress->set_phase(proto::EXECUTING);
    progress->set_records(records);
    h_.Update(map.session, update);
  }

  Harness h_;
  std::vector<SessionId> sessions_;
  JobId job_;
  uint32_t maps_ = 0;
  uint32_t partitions_ = 0;
  std::vector<Granted> grants_;
  std::vector<std::string> killed_;
};

TEST_F(SpeculationTest, SlowMapIsGrantedAgainElsewhereAndTheFirstToEndWins) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  ASSERT_EQ(maps.size(), 3u);
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Tell(maps[2], 90);  // The others have read 1000 by now.
  Pass(kSecond);
  const auto again = TakeAll();
  ASSERT_EQ(Names(Of(again)), std::vector<std::string>{"map 2 again"});
  EXPECT_NE(again[0].session, maps[2].session);
  EXPECT_EQ(again[0].grant.attempt().number(), 1u);
  EXPECT_EQ(h_.Status(job_).maps().running(), 1u);  // One task.
  EXPECT_EQ(h_.Status(job_).attempts().launched(), 5u);
  EXPECT_EQ(h_.Status(job_).attempts().speculative(), 1u);

  DoMap(again[0]);
  EXPECT_EQ(killed_,
            std::vector<std::string>{maps[2].grant.attempt().attempt_uid()});
  const Task& task = h_.job(job_).maps.tasks[2];
  EXPECT_TRUE(task.has_winner);
  EXPECT_EQ(task.uid.bytes(), again[0].grant.attempt().attempt_uid());
  // The beaten one says that it was stopped, which is no failure.
  h_.Fail(maps[2].session, maps[2].grant, proto::CANCELLED);
  const proto::JobStatus status = h_.Status(job_);
  EXPECT_EQ(status.attempts().failed(), 0u);
  EXPECT_EQ(status.attempts().launched(), 5u);
  EXPECT_EQ(status.attempts().speculative(), 1u);
  EXPECT_EQ(h_.job(job_).FindTrouble({proto::MAP_TASK, 2}), nullptr);
}

TEST_F(SpeculationTest, FirstSlotThatIsIdleIsUsedAtOnce) {
  Start(3, 5, 0);
  const auto first = TakeAll();
  ASSERT_EQ(first.size(), 3u);
  Pass(4 * kSecond);
  DoMap(first[0]);
  DoMap(first[1]);
  const auto second = TakeAll();
  ASSERT_EQ(Names(Of(second)), (std::vector<std::string>{"map 3", "map 4"}));
  Pass(4 * kSecond);
  Tell(first[2], 90);
  DoMap(second[0]);
  EXPECT_EQ(Names(Of(TakeAll())), std::vector<std::string>{"map 2 again"});
}

TEST_F(SpeculationTest, FirstAttemptMayStillWin) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Pass(4 * kSecond);
  const auto again = TakeAll();
  ASSERT_EQ(again.size(), 1u);
  DoMap(maps[2]);
  EXPECT_EQ(killed_,
            std::vector<std::string>{again[0].grant.attempt().attempt_uid()});
  // Too late: it is acknowledged and what it made is dropped.
  DoMap(again[0]);
  EXPECT_EQ(h_.Applied(proto::LogEntry::kMapWon), 3u);
  EXPECT_EQ(h_.Status(job_).attempts().launched(), 5u);
  EXPECT_EQ(h_.Status(job_).attempts().speculative(), 1u);
}

TEST_F(SpeculationTest, BothReportsOnTheirWayGiveOneWinner) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Pass(4 * kSecond);
  const auto again = TakeAll();
  ASSERT_EQ(again.size(), 1u);
  h_.hold = true;
  DoMap(again[0]);
  DoMap(maps[2]);
  EXPECT_EQ(h_.proposed.size(), 2u);
  h_.Release();
  EXPECT_EQ(h_.job(job_).maps.tasks[2].uid.bytes(),
            again[0].grant.attempt().attempt_uid());
  EXPECT_EQ(h_.job(job_).maps.done, 3u);
  EXPECT_EQ(h_.Status(job_).attempts().launched(), 5u);
}

TEST_F(SpeculationTest, OffMeansNever) {
  Start(3, 3, 0, 1, /*off=*/true);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Pass(60 * kSecond);
  EXPECT_THAT(Names(Of(TakeAll())), IsEmpty());
}

TEST_F(SpeculationTest, WorkThatWaitsComesFirst) {
  Start(3, 5, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  // Two more maps took the slots.
  const auto more = TakeAll();
  ASSERT_EQ(Names(Of(more)), (std::vector<std::string>{"map 3", "map 4"}));
  Pass(kSecond);
  EXPECT_THAT(Names(Of(TakeAll())), IsEmpty());
  DoMap(more[0]);
  Pass(3 * kSecond);
  EXPECT_EQ(Names(Of(TakeAll())), std::vector<std::string>{"map 2 again"});
}

TEST_F(SpeculationTest, UsualDurationIsLeftAlone) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Tell(maps[2], 900);
  Pass(kSecond / 2);
  EXPECT_THAT(Names(Of(TakeAll())), IsEmpty());
}

// With four workers of one slot one task at a time is doubled; the other one
// when that is over.
TEST_F(SpeculationTest, NoMoreThanTheLimitAtOnce) {
  Start(4, 4, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Pass(20 * kSecond);
  const auto first = TakeAll();
  ASSERT_EQ(first.size(), 1u);
  DoMap(first[0]);
  Pass(kSecond);
  EXPECT_EQ(TakeAll().size(), 1u);
}

TEST_F(SpeculationTest, FailureOfOneLeavesTheOtherAlone) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Pass(4 * kSecond);
  const auto again = TakeAll();
  ASSERT_EQ(again.size(), 1u);
  h_.Fail(maps[2].session, maps[2].grant, proto::USER_EXCEPTION);
  Collect();
  EXPECT_THAT(killed_, IsEmpty());
  EXPECT_THAT(Names(Of(TakeAll())), IsEmpty());
  h_.Fail(again[0].session, again[0].grant, proto::USER_EXCEPTION);
  Pass(3 * kSecond);
  // Nobody runs it now: it comes as any task that has failed.
  EXPECT_EQ(Names(Of(TakeAll())), std::vector<std::string>{"map 2"});
  EXPECT_EQ(h_.Status(job_).attempts().speculative(), 1u);
  EXPECT_EQ(h_.Status(job_).attempts().launched(), 6u);
}

TEST_F(SpeculationTest, LossOfTheFirstWorkerLeavesTheSecond) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Pass(4 * kSecond);
  const auto again = TakeAll();
  ASSERT_EQ(again.size(), 1u);
  h_.Close(maps[2].session);
  std::erase(sessions_, maps[2].session);
  Pass(kSecond);
  h_.Pass(kSecond);
  Collect();
  EXPECT_EQ(h_.Applied(proto::LogEntry::kWorkerLost), 1u);
  EXPECT_THAT(Names(Of(TakeAll())), IsEmpty());
  DoMap(again[0]);
  EXPECT_EQ(h_.job(job_).maps.done, 3u);
}

TEST_F(SpeculationTest, NewLeaderGoesOnWithBoth) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  Pass(4 * kSecond);
  const auto again = TakeAll();
  ASSERT_EQ(again.size(), 1u);
  h_.Restart();
  const std::vector<SessionId> before = std::exchange(sessions_, {});
  for (size_t i = 0; i < before.size(); ++i) {
    proto::Hello hello =
        h_.HelloOf(static_cast<uint64_t>(i + 1), Cat("w", i + 1));
    for (const Granted* one : {&maps[2], &again[0]}) {
      if (one->session != before[i]) continue;
      proto::RunningAttempt* running = hello.add_running();
      *running->mutable_attempt() = one->grant.attempt();
      running->mutable_progress()->set_phase(proto::EXECUTING);
    }
    sessions_.push_back(h_.Open(hello));
  }
  Collect();
  EXPECT_THAT(killed_, IsEmpty());
  EXPECT_EQ(h_.Status(job_).attempts().speculative(), 1u);
  EXPECT_EQ(h_.Status(job_).attempts().launched(), 5u);
  Pass(3 * kSecond);
  EXPECT_THAT(Names(Of(TakeAll())), IsEmpty());  // No third one.
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] == again[0].session) DoMap({sessions_[i], again[0].grant});
  }
  EXPECT_EQ(killed_.size(), 1u);
  EXPECT_EQ(h_.job(job_).maps.done, 3u);
}

// A leader that has seen nothing finish knows from the log how long maps take,
// and from the worker how long this one has been running.
TEST_F(SpeculationTest, NewLeaderFindsTheStraggler) {
  Start(3, 3, 0);
  const auto maps = TakeAll();
  Pass(4 * kSecond);
  DoMap(maps[0]);
  DoMap(maps[1]);
  h_.Restart();
  const std::vector<SessionId> before = std::exchange(sessions_, {});
  for (size_t i = 0; i < before.size(); ++i) {
    proto::Hello hello =
        h_.HelloOf(static_cast<uint64_t>(i + 1), Cat("w", i + 1));
    if (before[i] == maps[2].session) {
      proto::RunningAttempt* running = hello.add_running();
      *running->mutable_attempt() = maps[2].grant.attempt();
      running->mutable_progress()->set_phase(proto::EXECUTING);
      running->mutable_progress()->set_executing_ms(9000);
    }
    sessions_.push_back(h_.Open(hello));
  }
  Pass(kSecond);
  EXPECT_EQ(Names(Of(TakeAll())), std::vector<std::string>{"map 2 again"});
}

TEST_F(SpeculationTest, SlowReduceIsGrantedAgain) {
  Start(3, 1, 3);
  std::vector<Granted> reduces;
  for (int rounds = 0; rounds < 4 && reduces.size() < 3; ++rounds) {
    for (const Granted& one : TakeAll()) {
      if (one.grant.has_map()) {
        DoMap(one);
      } else {
        reduces.push_back(one);
      }
    }
  }
  ASSERT_EQ(reduces.size(), 3u);
  for (const Granted& one : reduces) {
    h_.Phase(one.session, one.grant, proto::EXECUTING);
  }
  Pass(2 * kSecond);
  for (int i = 0; i < 2; ++i) {
    h_.Done(reduces[i].session, reduces[i].grant, ReduceDone(10, "/part"));
  }
  Pass(2 * kSecond);
  const auto again = TakeAll();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_TRUE(again[0].grant.attempt().speculative());
  EXPECT_EQ(again[0].grant.attempt().task().index(),
            reduces[2].grant.attempt().task().index());
  EXPECT_NE(again[0].session, reduces[2].session);
  h_.Done(again[0].session, again[0].grant, ReduceDone(10, "/part"));
  Collect();
  EXPECT_EQ(h_.job(job_).reduces.done, 3u);
  EXPECT_EQ(killed_.size(), 1u);
}

}  // namespace
}  // namespace millrace::master
