#include "master/state/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <memory>
#include <string_view>

#include "common/strings.h"
#include "master/state/ledger.h"
#include "master/state/packed_done.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using testing::MakeId;
using testing::MapDone;
using testing::ReduceDone;

constexpr TaskId Map(uint32_t i) { return {proto::MAP_TASK, i}; }
constexpr TaskId Reduce(uint32_t i) { return {proto::REDUCE_TASK, i}; }

// Applies entries; every one that is refused must leave no trace.
class StateTest : public ::testing::Test {
 protected:
  StateTest() {
    EXPECT_TRUE(Apply(testing::TermStarted()).applied());
    EXPECT_TRUE(Apply(testing::WorkerJoined(1, "w1")).applied());
    EXPECT_TRUE(Apply(testing::WorkerJoined(2, "w2")).applied());
  }

  ApplyResult Apply(const proto::LogEntry& entry) {
    log_.push_back(entry);
    const ApplyResult result =
        state_.Apply(state_.applied_index() + 1, 1, entry);
    if (!result.applied()) {
      // The same log with an empty place instead.
      State twin;
      for (size_t i = 0; i + 1 < log_.size(); ++i)
        twin.Apply(i + 1, 1, log_[i]);
      twin.Apply(log_.size(), 1, proto::LogEntry());
      EXPECT_EQ(twin.Hash(), state_.Hash()) << "a refused entry left a trace";
    }
    return result;
  }
  Refusal Why(const proto::LogEntry& entry) { return Apply(entry).refusal; }

  // Job 5 with so many tasks, planned by worker 1.
  const Job& Plan(uint32_t maps, uint32_t partitions) {
    EXPECT_TRUE(Apply(testing::Submitted(5, "/out")).applied());
    EXPECT_TRUE(Apply(testing::Planned(5, 50, 1, maps, partitions)).applied());
    return job();
  }
  const Job& job() { return *state_.FindJob(MakeId<JobId>(5)); }
  Refusal WinMap(uint32_t map, uint64_t uid, uint64_t worker,
                 uint64_t root = 9) {
    return Why(testing::MapWon(5, map, uid, worker, MapDone(10, root)));
  }
  Refusal WinReduce(uint32_t partition, uint64_t uid, uint64_t worker,
                    uint32_t epoch = 0) {
    return Why(testing::ReduceWon(5, partition, uid, worker, epoch,
                                  ReduceDone(10, "/out.millrace-x/p")));
  }
  Refusal Decide() { return Why(testing::Decided(5, WinnersHash(job()))); }

  State state_;
  std::vector<proto::LogEntry> log_;
};

TEST_F(StateTest, FirstTermMintsTheClusterLaterOnesKeepIt) {
  EXPECT_EQ(state_.cluster_id(), MakeId<ClusterId>(1));
  EXPECT_EQ(Why(testing::TermStarted(2)), Refusal::kNone);
  EXPECT_EQ(state_.cluster_id(), MakeId<ClusterId>(1));
}

TEST_F(StateTest, LaterVersionIsNotApplied) {
  proto::LogEntry entry = testing::Submitted(5, "/out");
  entry.set_version(kLogEntryVersion + 1);
  EXPECT_EQ(Why(entry), Refusal::kVersion);
}

TEST_F(StateTest, RepeatedRequestFindsTheSameJob) {
  EXPECT_EQ(Why(testing::Submitted(5, "/out", 77)), Refusal::kNone);
  const ApplyResult again = Apply(testing::Submitted(6, "/other", 77));
  EXPECT_EQ(again.refusal, Refusal::kRequestKnown);
  EXPECT_EQ(again.job, MakeId<JobId>(5));
  EXPECT_EQ(state_.FindJob(MakeId<JobId>(6)), nullptr);
}

TEST_F(StateTest, OutputPathIsReservedUntilTheJobEnds) {
  EXPECT_EQ(Why(testing::Submitted(5, "/out")), Refusal::kNone);
  const ApplyResult second = Apply(testing::Submitted(6, "/out"));
  EXPECT_EQ(second.refusal, Refusal::kOutputReserved);
  EXPECT_EQ(second.job, MakeId<JobId>(5));
  EXPECT_THAT(second.message, ::testing::HasSubstr("job5"));
  EXPECT_EQ(Why(testing::Cancelled(5)), Refusal::kNone);
  EXPECT_EQ(Why(testing::Submitted(6, "/out")), Refusal::kNone);
}

TEST_F(StateTest, PlanFixesTheTasksOnce) {
  EXPECT_EQ(Why(testing::Planned(5, 50, 1, 3, 2)), Refusal::kUnknownJob);
  EXPECT_EQ(Why(testing::Submitted(5, "/out")), Refusal::kNone);
  EXPECT_EQ(job().state, proto::QUEUED);
  EXPECT_EQ(WinMap(0, 51, 1), Refusal::kNotPlanned);
  EXPECT_EQ(Why(testing::Planned(5, 50, 9, 3, 2)), Refusal::kWorkerNotAlive);
  EXPECT_EQ(Why(testing::Planned(5, 50, 1, kMapsMax + 1, 2)),
            Refusal::kTooLarge);
  EXPECT_EQ(Why(testing::Planned(5, 50, 1, 3, 2)), Refusal::kNone);
  EXPECT_EQ(job().state, proto::RUNNING);
  EXPECT_EQ(job().maps.total, 3u);
  EXPECT_EQ(job().reduces.total, 2u);
  EXPECT_EQ(Why(testing::Planned(5, 51, 1, 4, 2)), Refusal::kAlreadyPlanned);
}

TEST_F(StateTest, FirstWinnerStays) {
  Plan(2, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kRepeated);
  EXPECT_EQ(WinMap(0, 61, 2), Refusal::kHasWinner);
  EXPECT_EQ(WinMap(7, 61, 2), Refusal::kNoSuchTask);
  EXPECT_EQ(job().maps.done, 1u);
  EXPECT_EQ(job().maps.tasks[0].uid, MakeId<AttemptUid>(60));
}

TEST_F(StateTest, MapOfAJobWithReducesNeedsARoot) {
  Plan(1, 1);
  proto::TaskDone done = MapDone(1, 1);
  done.clear_map_output_root();
  EXPECT_EQ(Why(testing::MapWon(5, 0, 60, 1, done)), Refusal::kMalformed);
}

TEST_F(StateTest, LostWorkerNeverWinsAgainAndLosesItsMaps) {
  Plan(3, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(WinMap(1, 61, 2), Refusal::kNone);
  const ApplyResult lost = Apply(testing::WorkerLost(1));
  ASSERT_EQ(lost.lost.size(), 1u);
  EXPECT_EQ(lost.lost[0].task, Map(0));
  EXPECT_FALSE(job().maps.tasks[0].has_winner);
  EXPECT_TRUE(job().maps.tasks[1].has_winner);
  EXPECT_EQ(WinMap(2, 62, 1), Refusal::kWorkerNotAlive);
  EXPECT_EQ(Why(testing::WorkerJoined(1, "w1")), Refusal::kWorkerNotAlive);
  EXPECT_EQ(Why(testing::WorkerLost(1)), Refusal::kRepeated);
  EXPECT_EQ(job().attempts_lost, 1u);
}

TEST_F(StateTest, MapsThatNobodyNeedsSurviveTheirWorker) {
  Plan(1, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(WinReduce(0, 70, 2), Refusal::kNone);
  EXPECT_TRUE(Apply(testing::WorkerLost(1)).lost.empty());
  EXPECT_TRUE(job().complete());
  // Needed again, they are found to be lost.
  const ApplyResult lost = Apply(testing::OutputLost(5, Reduce(0), 70));
  EXPECT_EQ(lost.lost.size(), 2u);
  EXPECT_FALSE(job().maps.tasks[0].has_winner);
  EXPECT_EQ(WinReduce(0, 70, 2), Refusal::kAttemptCounted);
}

TEST_F(StateTest, MapOnlyWinnersSurviveTheirWorker) {
  Plan(1, 0);
  EXPECT_EQ(Why(testing::MapWon(5, 0, 60, 1, ReduceDone(1, "/out.x/part"))),
            Refusal::kNone);
  EXPECT_TRUE(Apply(testing::WorkerLost(1)).lost.empty());
  EXPECT_EQ(Why(testing::MapLost(5, 0, 60)), Refusal::kNotNeeded);
  EXPECT_EQ(Why(testing::OutputLost(5, Map(0), 60)), Refusal::kNone);
  EXPECT_FALSE(job().complete());
}

TEST_F(StateTest, AttemptsOfALostWorkerAreCountedOnce) {
  Plan(2, 1);
  proto::LogEntry entry = testing::WorkerLost(1);
  *entry.mutable_worker_lost()->add_attempts() =
      testing::MapWon(5, 0, 60, 1, MapDone(1, 1)).map_won().attempt();
  *entry.mutable_worker_lost()->add_attempts() =
      entry.worker_lost().attempts(0);
  EXPECT_EQ(Why(entry), Refusal::kNone);
  EXPECT_EQ(job().attempts_lost, 1u);
  EXPECT_EQ(job().FindTrouble(Map(0))->infrastructure_failures, 1u);
  EXPECT_EQ(Why(testing::AttemptFailed(5, Map(0), 60, 1, proto::CRASHED)),
            Refusal::kAttemptCounted);
}

TEST_F(StateTest, NameIsFreeWhenItsWorkerIsLost) {
  EXPECT_EQ(Why(testing::WorkerJoined(3, "w1")), Refusal::kNameTaken);
  EXPECT_EQ(Why(testing::WorkerJoined(1, "w1")), Refusal::kRepeated);
  EXPECT_EQ(Why(testing::WorkerLost(1)), Refusal::kNone);
  EXPECT_EQ(Why(testing::WorkerJoined(3, "w1")), Refusal::kNone);
  EXPECT_EQ(state_.FindAliveWorker("w1")->incarnation,
            MakeId<WorkerIncarnation>(3));
}

TEST_F(StateTest, ReofferedOutputMustBeTheLastWinner) {
  Plan(1, 1);
  EXPECT_EQ(Why(testing::MapReoffered(5, 0, 60, 9, 2)), Refusal::kNotWinner);
  EXPECT_EQ(WinMap(0, 60, 1, 9), Refusal::kNone);
  EXPECT_EQ(Why(testing::MapReoffered(5, 0, 60, 9, 2)), Refusal::kRepeated);
  EXPECT_EQ(Why(testing::WorkerLost(1)), Refusal::kNone);
  EXPECT_EQ(Why(testing::WorkerJoined(3, "w1")), Refusal::kNone);
  EXPECT_EQ(Why(testing::MapReoffered(5, 0, 61, 9, 3)), Refusal::kNotWinner);
  EXPECT_EQ(Why(testing::MapReoffered(5, 0, 60, 8, 3)), Refusal::kNotWinner);
  EXPECT_EQ(Why(testing::MapReoffered(5, 0, 60, 9, 1)),
            Refusal::kWorkerNotAlive);
  EXPECT_EQ(Why(testing::MapReoffered(5, 0, 60, 9, 3)), Refusal::kNone);
  EXPECT_TRUE(job().maps.all_done());
  EXPECT_EQ(job().totals.ledger.emitted_records(), 10u);
  EXPECT_EQ(job().maps.tasks[0].worker, 2u);
}

TEST_F(StateTest, LostOutputComesBackByOfferAlone) {
  Plan(1, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(Why(testing::MapLost(5, 0, 61)), Refusal::kNotWinner);
  EXPECT_EQ(Why(testing::MapLost(5, 0, 60)), Refusal::kNone);
  EXPECT_EQ(Why(testing::MapLost(5, 0, 60)), Refusal::kNotWinner);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kAttemptCounted);
  EXPECT_EQ(Why(testing::MapReoffered(5, 0, 60, 9, 1)), Refusal::kNone);
}

TEST_F(StateTest, EqualRootChangesTheLocationAlone) {
  Plan(1, 2);
  EXPECT_EQ(WinMap(0, 60, 1, 9), Refusal::kNone);
  EXPECT_EQ(WinReduce(0, 70, 2), Refusal::kNone);
  EXPECT_EQ(Why(testing::WorkerLost(1)), Refusal::kNone);
  EXPECT_EQ(WinMap(0, 61, 2, 9), Refusal::kNone);
  EXPECT_EQ(job().epoch, 0u);
  EXPECT_EQ(job().reduces.done, 1u);
}

TEST_F(StateTest, UnequalRootRaisesTheEpochAndRollsReducesBack) {
  Plan(1, 2);
  EXPECT_EQ(WinMap(0, 60, 1, 9), Refusal::kNone);
  EXPECT_EQ(WinReduce(0, 70, 2), Refusal::kNone);
  EXPECT_EQ(Why(testing::MapLost(5, 0, 60)), Refusal::kNone);
  const ApplyResult won = Apply(testing::MapWon(5, 0, 61, 2, MapDone(10, 8)));
  EXPECT_TRUE(won.epoch_raised);
  ASSERT_EQ(won.lost.size(), 1u);
  EXPECT_EQ(won.lost[0].task, Reduce(0));
  EXPECT_EQ(job().epoch, 1u);
  EXPECT_EQ(job().reduces.done, 0u);
  EXPECT_EQ(WinReduce(1, 71, 2, 0), Refusal::kOldEpoch);
  EXPECT_EQ(WinReduce(1, 71, 2, 1), Refusal::kNone);
}

TEST_F(StateTest, ThirdEpochFailsTheJobAndNamesTheMap) {
  Plan(2, 1);
  for (uint64_t i = 0; i <= kEpochRaisesMax; ++i) {
    EXPECT_EQ(WinMap(1, 60 + i, 1, 20 + i), Refusal::kNone);
    EXPECT_EQ(Why(testing::MapLost(5, 1, 60 + i)), Refusal::kNone);
  }
  EXPECT_EQ(job().state, proto::RUNNING);
  const ApplyResult last = Apply(testing::MapWon(5, 1, 69, 1, MapDone(1, 99)));
  EXPECT_THAT(last.ended, ::testing::ElementsAre(MakeId<JobId>(5)));
  EXPECT_EQ(job().state, proto::FAILED);
  EXPECT_EQ(job().failure->cause(), proto::NONDETERMINISTIC_MAP);
  EXPECT_THAT(job().failure->message(), ::testing::HasSubstr("map 1"));
}

TEST_F(StateTest, UserFailuresEndTheJobAtTheLimit) {
  Plan(1, 1);
  for (uint64_t i = 0; i < kMaxAttemptsDefault; ++i) {
    EXPECT_EQ(job().state, proto::RUNNING);
    EXPECT_EQ(Why(testing::AttemptFailed(5, Map(0), 60 + i, 1,
                                         proto::USER_EXCEPTION)),
              Refusal::kNone);
    if (i == 0) {
      EXPECT_EQ(
          Why(testing::AttemptFailed(5, Map(0), 60, 1, proto::USER_EXCEPTION)),
          Refusal::kAttemptCounted);
      EXPECT_EQ(WinMap(0, 60, 1), Refusal::kAttemptCounted);
    }
  }
  EXPECT_EQ(job().state, proto::FAILED);
  EXPECT_EQ(job().failure->cause(), proto::USER_EXCEPTION);
  EXPECT_EQ(job().failure->worker(), "w1");
  EXPECT_EQ(job().failure->attempt().attempt_uid(), Bytes(63));
  EXPECT_EQ(job().attempts_failed, 4u);
}

TEST_F(StateTest, InfrastructureFailuresHaveALimitOfTheirOwn) {
  Plan(1, 1);
  for (uint64_t i = 0; i + 1 < kInfrastructureFailuresMax; ++i) {
    EXPECT_EQ(
        Why(testing::AttemptFailed(5, Map(0), 100 + i, 1, proto::DISK_FULL)),
        Refusal::kNone);
  }
  EXPECT_EQ(job().state, proto::RUNNING);
  EXPECT_EQ(Why(testing::AttemptFailed(5, Map(0), 99, 1, proto::SPAWN_FAILED)),
            Refusal::kNone);
  EXPECT_EQ(job().state, proto::FAILED);
  EXPECT_EQ(job().failure->cause(), proto::INFRASTRUCTURE);
}

TEST_F(StateTest, OneLossMayEndSeveralJobs) {
  for (uint64_t id : {5, 6}) {
    Apply(testing::Submitted(id, Cat("/out", id)));
    Apply(testing::Planned(id, 50 + id, 2, 1, 1));
    for (uint64_t i = 0; i + 1 < kInfrastructureFailuresMax; ++i) {
      Apply(testing::AttemptFailed(id, Map(0), 100 * id + i, 2,
                                   proto::DISK_FULL));
    }
    EXPECT_EQ(Why(testing::MapWon(id, 0, 90 + id, 1, MapDone(1, 9))),
              Refusal::kNone);
  }
  const ApplyResult result = Apply(testing::WorkerLost(1));
  EXPECT_EQ(result.ended.size(), 2u);
  EXPECT_TRUE(state_.live_jobs().empty());
  EXPECT_EQ(state_.ended_jobs().size(), 2u);
  Apply(testing::Evicted(5));
  ASSERT_EQ(state_.ended_jobs().size(), 1u);
  EXPECT_EQ(state_.ended_jobs().begin()->second->id, MakeId<JobId>(6));
}

TEST_F(StateTest, HopelessFailureEndsTheJobAtOnce) {
  Plan(1, 1);
  EXPECT_EQ(Why(testing::AttemptFailed(5, Map(0), 60, 1, proto::INPUT_CHANGED,
                                       /*retryable=*/false)),
            Refusal::kNone);
  EXPECT_EQ(job().failure->cause(), proto::INPUT_CHANGED);
}

TEST_F(StateTest, WinnerDoesNotFailAfterwards) {
  Plan(1, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(Why(testing::AttemptFailed(5, Map(0), 60, 1, proto::CRASHED)),
            Refusal::kHasWinner);
}

TEST_F(StateTest, DecidedNeedsAllWinnersTheirNamesAndTheLedger) {
  Plan(1, 1);
  EXPECT_EQ(Why(testing::Decided(5, "x")), Refusal::kIncomplete);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(WinReduce(0, 70, 1), Refusal::kNone);
  EXPECT_EQ(Why(testing::Decided(5, std::string(16, 'x'))),
            Refusal::kWinnersDiffer);
  EXPECT_EQ(Why(testing::Committed(5)), Refusal::kJobNotDecided);
  EXPECT_EQ(Decide(), Refusal::kNone);
  EXPECT_EQ(job().state, proto::COMMITTING);

  // Only forward from here.
  EXPECT_EQ(Why(testing::Cancelled(5)), Refusal::kJobDecided);
  EXPECT_EQ(Why(testing::Failed(5, proto::INTERNAL)), Refusal::kJobDecided);
  EXPECT_EQ(Why(testing::OutputLost(5, Reduce(0), 70)), Refusal::kJobDecided);
  EXPECT_EQ(Why(testing::MapLost(5, 0, 60)), Refusal::kJobDecided);
  EXPECT_EQ(Why(testing::WorkerLost(1)), Refusal::kNone);
  EXPECT_TRUE(job().complete());
  EXPECT_EQ(Why(testing::Committed(5)), Refusal::kNone);
  EXPECT_EQ(job().state, proto::SUCCEEDED);
  EXPECT_EQ(Why(testing::Committed(5)), Refusal::kRepeated);
  EXPECT_EQ(Why(testing::Failed(5, proto::OUTPUT_CONFLICT)),
            Refusal::kJobEnded);
  EXPECT_EQ(Why(testing::Cancelled(5)), Refusal::kJobEnded);
}

TEST_F(StateTest, LedgerThatDoesNotBalanceIsNotDecided) {
  Plan(1, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(Why(testing::ReduceWon(5, 0, 70, 1, 0, ReduceDone(11, "/p"))),
            Refusal::kNone);
  const ApplyResult decided = Apply(testing::Decided(5, WinnersHash(job())));
  EXPECT_EQ(decided.refusal, Refusal::kLedger);
  EXPECT_THAT(decided.message, ::testing::HasSubstr("fetched 11 records"));
}

TEST_F(StateTest, MapWhoseLedgerContradictsItselfIsNamed) {
  Plan(2, 1);
  proto::TaskDone wrong = MapDone(10, 9);
  wrong.mutable_ledger()->set_emitted_records(12);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(Why(testing::MapWon(5, 1, 61, 1, wrong)), Refusal::kNone);
  EXPECT_EQ(WinReduce(0, 70, 1), Refusal::kNone);
  EXPECT_THAT(std::string(CheckLedger(job()).message()),
              ::testing::HasSubstr("ledger of map 1"));
  // Its loss takes the contradiction away.
  EXPECT_EQ(Why(testing::OutputLost(5, Reduce(0), 70)), Refusal::kNone);
  EXPECT_EQ(Why(testing::MapLost(5, 1, 61)), Refusal::kNone);
  EXPECT_EQ(job().totals.unbalanced_maps, 0u);
}

TEST_F(StateTest, DecidedFailsForTwoCausesAlone) {
  Plan(0, 1);
  EXPECT_EQ(Why(testing::ReduceWon(5, 0, 70, 1, 0, ReduceDone(0, "/p"))),
            Refusal::kNone);
  EXPECT_EQ(Decide(), Refusal::kNone);
  EXPECT_EQ(Why(testing::Failed(5, proto::OUTPUT_CONFLICT)), Refusal::kNone);
  EXPECT_EQ(job().state, proto::FAILED);
}

TEST_F(StateTest, CountersAndSumsAreOfTheWinnersAlone) {
  Plan(2, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  EXPECT_EQ(WinMap(1, 61, 2), Refusal::kNone);
  ASSERT_EQ(job().totals.counters.size(), 1u);
  EXPECT_EQ(job().totals.counters[0], 20);
  EXPECT_EQ(job().totals.map_output_bytes, 200u);
  EXPECT_EQ(Why(testing::WorkerLost(2)), Refusal::kNone);
  EXPECT_EQ(job().totals.counters[0], 10);
  EXPECT_EQ(job().totals.map_output_bytes, 100u);
  EXPECT_EQ(job().totals.ledger.written().hash(), 770u);
}

TEST_F(StateTest, CleanedThenEvictedForgetsTheRequestToo) {
  EXPECT_EQ(Why(testing::Submitted(5, "/out", 77)), Refusal::kNone);
  EXPECT_EQ(Why(testing::Cleaned(5)), Refusal::kJobNotEnded);
  EXPECT_EQ(Why(testing::Evicted(5)), Refusal::kJobNotEnded);
  EXPECT_EQ(Why(testing::Cancelled(5)), Refusal::kNone);
  EXPECT_EQ(Why(testing::Cleaned(5)), Refusal::kNone);
  EXPECT_EQ(Why(testing::Cleaned(5)), Refusal::kRepeated);
  EXPECT_EQ(Why(testing::Evicted(5)), Refusal::kNone);
  EXPECT_EQ(Why(testing::Evicted(5)), Refusal::kUnknownJob);
  EXPECT_TRUE(state_.jobs().empty());
  EXPECT_EQ(Why(testing::Submitted(6, "/out", 77)), Refusal::kNone);
}

TEST_F(StateTest, DrainingOutlivesIncarnations) {
  proto::LogEntry entry;
  entry.set_version(1);
  entry.mutable_worker_drained()->set_name("w1");
  entry.mutable_worker_drained()->set_draining(true);
  EXPECT_EQ(Why(entry), Refusal::kNone);
  EXPECT_EQ(Why(testing::WorkerLost(1)), Refusal::kNone);
  EXPECT_TRUE(state_.IsDraining("w1"));
  entry.mutable_worker_drained()->set_draining(false);
  EXPECT_EQ(Why(entry), Refusal::kNone);
  EXPECT_FALSE(state_.IsDraining("w1"));
}

TEST_F(StateTest, PrefixesFindOneJob) {
  for (uint64_t id : {0x5, 0x15, 0x16}) {
    EXPECT_EQ(Why(testing::Submitted(id, Cat("/out", id))), Refusal::kNone);
  }
  const std::string zeros(30, '0');
  const auto found = state_.FindJobByPrefix(zeros + "05");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ((*found)->id, MakeId<JobId>(5));
  const auto upper = state_.FindJobByPrefix(zeros + "1");
  EXPECT_EQ(upper.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(state_.FindJobByPrefix("f").status().code(),
            absl::StatusCode::kNotFound);
  for (std::string_view bad : {"", "xyz", "0 "}) {
    EXPECT_EQ(state_.FindJobByPrefix(bad).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(state_.FindJobByPrefix(std::string(33, '0')).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(StateTest, MalformedEntriesAreRefused) {
  EXPECT_EQ(Why(proto::LogEntry()), Refusal::kMalformed);
  proto::LogEntry entry = testing::MapWon(5, 0, 60, 1, MapDone(1, 1));
  entry.mutable_map_won()->mutable_attempt()->set_attempt_uid("short");
  EXPECT_EQ(Why(entry), Refusal::kMalformed);
  EXPECT_EQ(Why(testing::Failed(5, proto::INTERNAL)), Refusal::kUnknownJob);
}

TEST_F(StateTest, ReplayGivesTheSameState) {
  Plan(2, 2);
  WinMap(0, 60, 1);
  WinMap(1, 61, 2);
  WinReduce(0, 70, 1);
  Apply(testing::WorkerLost(1));
  Apply(testing::AttemptFailed(5, Map(0), 80, 2, proto::CRASHED));
  State twin;
  for (size_t i = 0; i < log_.size(); ++i) {
    EXPECT_NE(twin.Hash(), state_.Hash());
    twin.Apply(i + 1, 1, log_[i]);
  }
  EXPECT_EQ(twin.Hash(), state_.Hash());
}

TEST_F(StateTest, WhatAWinnerReportedIsKept) {
  Plan(1, 1);
  EXPECT_EQ(WinMap(0, 60, 1), Refusal::kNone);
  proto::TaskDone done = ReduceDone(10, "/out.millrace-x/att/u/part-00000");
  done.mutable_output()->set_xxh3(0xFFFFFFFFFFFFFFFF);
  done.mutable_output()->set_inode(1234567);
  proto::Counter* negative = done.add_counters();
  negative->set_group("mine");
  negative->set_name("LOW");
  negative->set_value(std::numeric_limits<int64_t>::min());
  EXPECT_EQ(Why(testing::ReduceWon(5, 0, 70, 1, 0, done)), Refusal::kNone);
  const UnpackedDone kept = UnpackDone(job(), {proto::REDUCE_TASK, 0});
  EXPECT_EQ(kept.done.output().SerializeAsString(),
            done.output().SerializeAsString());
  EXPECT_EQ(kept.done.ledger().SerializeAsString(),
            done.ledger().SerializeAsString());
  ASSERT_EQ(kept.counters.size(), 1u);
  EXPECT_EQ(job().counter_names.Name(kept.counters[0].first).second, "LOW");
  EXPECT_EQ(kept.counters[0].second, std::numeric_limits<int64_t>::min());
}

// A report is packed as a copy of it is encoded that lacks what stands
// elsewhere; a field of a later version is kept.
TEST(PackedDoneTest, IsACopyWithoutWhatStandsElsewhere) {
  Job job;
  auto spec = std::make_shared<proto::JobSpec>();
  spec->set_output("/out");
  job.spec = spec;
  const std::string unknown(
      "\xA0\x06\x07"                  // 100: a number.
      "\xAA\x06\x02hi"                // 101: bytes.
      "\xB5\x06_4__\xB9\x06___8____"  // 102, 103: four and eight bytes.
      "\xC3\x06\x10\x01\xC4\x06");    // 104: a group with a field 2.
  for (const std::string& later : {std::string(), unknown}) {
    for (const char* path : {"", "/out", "/out/part-1", "/elsewhere/1"}) {
      proto::TaskDone done = ReduceDone(10, path);
      done.MergeFrom(MapDone(200, 9));
      done.set_attempt_uid(testing::Bytes(5));
      done.set_left_processes(true);
      done.set_plan_hash(std::string(100, 'p'));
      done.set_input_files(3);
      done.mutable_dead_letter()->set_path("/out/letter");
      ASSERT_TRUE(done.ParseFromString(done.SerializeAsString() + later));

      proto::TaskDone copy = done;
      copy.clear_attempt_uid();
      copy.clear_counters();
      copy.clear_map_output_root();
      copy.clear_left_processes();
      const bool shortened = std::string_view(path).substr(0, 4) == "/out";
      if (shortened) copy.mutable_output()->mutable_path()->erase(0, 4);
      const std::string rest = copy.SerializeAsString();
      ASSERT_LT(rest.size(), 1u << 14);
      ASSERT_GT(rest.size(), 1u << 7);
      const std::string length = {static_cast<char>(rest.size() % 128 + 128),
                                  static_cast<char>(rest.size() / 128)};
      const PackedDone packed = PackDone(done, &job);
      EXPECT_EQ(packed.bytes.substr(0, 3 + rest.size()),
                Cat(std::string(1, static_cast<char>(shortened)), length, rest))
          << path;
      EXPECT_EQ(packed.counters, (NumberedCounters{{0, 200}})) << path;
    }
  }
}

TEST_F(StateTest, CounterNamesHaveALimitTogether) {
  Plan(2, 1);
  proto::TaskDone done = MapDone(0, 9);
  for (int i = 0; i < 1000; ++i) {
    proto::Counter* counter = done.add_counters();
    counter->set_group(std::string(1000, 'g'));
    counter->set_name(Cat("n", i));
    counter->set_value(1);
  }
  EXPECT_EQ(Why(testing::MapWon(5, 0, 60, 1, done)), Refusal::kNone);
  const size_t kept = job().counter_names.size();
  EXPECT_GT(kept, 500u);
  EXPECT_LT(kept, 550u);
  // Those that have a number go on counting.
  EXPECT_EQ(Why(testing::MapWon(5, 1, 61, 1, done)), Refusal::kNone);
  EXPECT_EQ(job().counter_names.size(), kept);
  EXPECT_EQ(job().totals.counters[kept - 1], 2);
}

TEST_F(StateTest, TaskCostsFewBytes) {
  constexpr uint32_t kMaps = 100'000;
  Plan(kMaps, 1);
  proto::TaskDone done = MapDone(0, 9);
  for (int i = 0; i < 15; ++i) {
    proto::Counter* counter = done.add_counters();
    counter->set_group("task");
    counter->set_name(Cat("SOME_COUNTER_OF_A_MAP_", i));
    counter->set_value(i * i * i);
  }
  const uint64_t before = mallinfo2().uordblks;
  for (uint32_t i = 0; i < kMaps; ++i) {
    const proto::LogEntry entry = testing::MapWon(5, i, 1000 + i, 1, done);
    ASSERT_TRUE(state_.Apply(state_.applied_index() + 1, 1, entry).applied());
  }
  const uint64_t grown = mallinfo2().uordblks - before;
  const double each = static_cast<double>(grown) / kMaps;
  RecordProperty("bytes_per_task", static_cast<int>(each));
  EXPECT_LT(each, 500);
}

}  // namespace
}  // namespace millrace::master
