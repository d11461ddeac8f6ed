// A standby whose state is replaced by the leader's snapshot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "master/scheduler/scheduler_core.h"
#include "master/scheduler/testing/harness.h"
#include "master/state/testing/byte_strings.h"

namespace millrace::master {
namespace {

using ::testing::ElementsAre;
using testing::Harness;
using ::testing::HasSubstr;
using testing::MakeId;

std::unique_ptr<State> CopyOf(const State& state) {
  testing::StringSink sink;
  EXPECT_TRUE(state.Freeze()->WriteTo(sink).ok());
  testing::StringSource source(sink.bytes);
  auto copy = State::Restore(source);
  EXPECT_TRUE(copy.ok()) << copy.status();
  return *std::move(copy);
}

class RestoredTest : public ::testing::Test {
 protected:
  // What another leader has brought about since.
  void ApplyElsewhere(State& state, const proto::LogEntry& entry) {
    const ApplyResult result = state.Apply(state.applied_index() + 1, 2, entry);
    EXPECT_TRUE(result.applied()) << result.message;
  }

  Harness h_;
};

TEST_F(RestoredTest, StandbyLeadsFromTheStateThatItWasGiven) {
  const SessionId w1 = h_.Join(1, "w1", 2);
  const JobId running = h_.SubmitJob("/running");
  const JobId killed = h_.SubmitJob("/killed");
  const auto grants = h_.TakeGrants(w1);
  ASSERT_EQ(grants.size(), 2u);
  EXPECT_EQ(h_.Status(killed).state(), proto::QUEUED);

  h_.Feed(LostLeadership{"elsewhere:1"});
  const std::unique_ptr<State> state = CopyOf(h_.state());
  ApplyElsewhere(*state, testing::TermStarted());
  ApplyElsewhere(*state, testing::WorkerLost(1));
  ApplyElsewhere(*state, testing::WorkerJoined(2, "w1"));
  proto::LogEntry cancelled;
  cancelled.mutable_cancelled()->set_job_id(std::string(killed.bytes()));
  ApplyElsewhere(*state, cancelled);
  proto::LogEntry planned = testing::Planned(0, 50, 2, 3, 1);
  planned.mutable_planned()->mutable_attempt()->set_job_id(
      std::string(running.bytes()));
  ApplyElsewhere(*state, planned);
  ApplyElsewhere(*state, testing::Submitted(9, "/new"));
  h_.state().Swap(*state);
  h_.Feed(StateRestored{});

  // What people see is what the new state says.
  EXPECT_EQ(h_.Status(running).state(), proto::RUNNING);
  EXPECT_EQ(h_.Status(running).maps().total(), 3u);
  EXPECT_EQ(h_.Status(killed).state(), proto::KILLED);
  EXPECT_EQ(h_.Status(MakeId<JobId>(9)).state(), proto::QUEUED);

  h_.LeadAgain();
  ASSERT_TRUE(h_.core().leading());
  // The worker of before is lost in it.
  const SessionId old = h_.Join(1, "w1", 2);
  const auto answer = h_.Take(old);
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].refused().reason(), proto::INCARNATION_LOST);
  // The one that has its place is waited for, and gets what is to be done.
  const SessionId w2 = h_.Join(2, "w1", 2);
  std::vector<std::string> granted;
  for (const proto::MasterMessage& message : h_.Take(w2)) {
    if (message.has_grant()) {
      granted.push_back(
          ToString(TaskId::From(message.grant().attempt().task())));
    }
    if (message.has_drop_job()) {
      EXPECT_EQ(message.drop_job().job_id(), killed.bytes());
      granted.push_back("drop");
    }
  }
  EXPECT_THAT(granted,
              ::testing::UnorderedElementsAre("map 0", "the plan", "drop"));
}

TEST_F(RestoredTest, WatchersOfEveryJobAreToLookAgain) {
  h_.Join(1, "w1");
  const JobId first = h_.SubmitJob("/first");
  h_.Feed(LostLeadership{});
  const std::unique_ptr<State> state = CopyOf(h_.state());
  ApplyElsewhere(*state, testing::Submitted(9, "/second"));
  h_.state().Swap(*state);
  std::vector<JobId> changed;
  for (const Effect& effect :
       h_.core().Step(StateRestored{}, h_.now(), 1'000'000)) {
    ASSERT_TRUE(std::holds_alternative<JobChanged>(effect));
    changed.push_back(std::get<JobChanged>(effect).job);
  }
  EXPECT_THAT(changed,
              ::testing::UnorderedElementsAre(first, MakeId<JobId>(9)));
}

TEST_F(RestoredTest, NewMasterMayBeginWithAState) {
  h_.Join(1, "w1");
  h_.SubmitJob("/out");
  const std::unique_ptr<State> given = CopyOf(h_.state());
  const auto random = Random::Seeded(1);
  State state;
  SchedulerCore core({}, state, *random);
  state.Swap(*given);
  EXPECT_EQ(core.Step(StateRestored{}, h_.now(), 0).size(), 1u);
  EXPECT_EQ(core.NextDeadline(), absl::InfiniteDuration());
}

TEST_F(RestoredTest, StateOfALeaderIsNeverReplaced) {
  EXPECT_DEATH(h_.Feed(StateRestored{}), "state of a leader was replaced");
}

}  // namespace
}  // namespace millrace::master
