#include "api/src/local/local_job_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/strings.h"

namespace millrace::local {
namespace {

proto::TaskDone PlanDone(uint32_t maps, uint32_t partitions) {
  proto::TaskDone done;
  done.set_num_maps(maps);
  done.set_num_partitions(partitions);
  return done;
}

// Every map writes one record per partition whose hash is 5.
proto::TaskDone MapDone(uint32_t partitions, const std::string& root = "r") {
  proto::TaskDone done;
  done.set_map_output_root(root);
  done.mutable_ledger()->set_emitted_records(partitions);
  done.mutable_ledger()->mutable_written()->set_records(partitions);
  done.mutable_ledger()->mutable_written()->set_hash(5 * partitions);
  return done;
}

proto::TaskDone ReduceDone(uint32_t maps, uint64_t output_bytes = 0) {
  proto::TaskDone done;
  done.mutable_output()->set_bytes(output_bytes);
  for (proto::RecordSum* sum : {done.mutable_ledger()->mutable_fetched(),
                                done.mutable_ledger()->mutable_merged()}) {
    sum->set_records(maps);
    sum->set_hash(5 * maps);
  }
  return done;
}

Failure UserFailure() {
  Failure failure;
  failure.cause = proto::USER_EXCEPTION;
  failure.message = "threw";
  return failure;
}

Failure BadRecord(uint64_t offset, uint32_t file = 0) {
  Failure failure;
  failure.cause = proto::CRASHED;
  failure.message = Cat("crashed at ", offset);
  failure.bad_record.emplace();
  failure.bad_record->set_file(file);
  failure.bad_record->set_offset(offset);
  failure.bad_record->set_message(failure.message);
  return failure;
}

// Of a map that was told to pass over so many records.
proto::TaskDone WithLetters(proto::TaskDone done, uint64_t records) {
  done.mutable_dead_letter()->set_records(records);
  done.mutable_ledger()->set_skipped_records(records);
  return done;
}

std::vector<uint64_t> Offsets(const RunAttempt& run) {
  std::vector<uint64_t> offsets;
  for (const proto::BadRecord& record : run.bad_records) {
    offsets.push_back(record.offset());
  }
  return offsets;
}

Failure LostMap(uint32_t map) {
  Failure failure;
  failure.cause = proto::MAP_OUTPUT_LOST;
  failure.map_index = map;
  return failure;
}

// Plays the host: keeps what each slot runs and collects the other effects.
class Harness {
 public:
  explicit Harness(LocalJobCore::Options options, uint64_t seed = 1)
      : random_(Random::Seeded(seed)), core_(options, *random_) {
    Take(core_.Start());
  }

  void Step(const Event& event) { Take(core_.Step(event)); }

  // Starts whatever was asked to start.
  void StartSlots() {
    while (!starting_.empty()) {
      const int slot = *starting_.begin();
      starting_.erase(starting_.begin());
      Step(SlotReady{slot});
    }
  }
  void Succeed(int slot, const proto::TaskDone& done) {
    running_.erase(slot);
    Step(AttemptSucceeded{slot, done});
  }
  void Fail(int slot, const Failure& failure) {
    if (failure.bad_record.has_value()) restarts_.insert(running_.at(slot).uid);
    running_.erase(slot);
    Step(AttemptFailed{slot, failure});
    if (retired_.erase(slot) > 0) Step(SlotGone{slot, std::nullopt});
  }
  // The slot's process ends while it runs.
  void Die(int slot, const Failure& failure) {
    if (failure.bad_record.has_value()) restarts_.insert(running_.at(slot).uid);
    running_.erase(slot);
    Step(SlotGone{slot, failure});
  }
  // The slot that runs the task; -1: none does.
  int SlotOf(const TaskName& task) const {
    for (const auto& [slot, run] : running_) {
      if (run.task == task) return slot;
    }
    return -1;
  }

  LocalJobCore& core() { return core_; }
  const std::map<int, RunAttempt>& running() const { return running_; }
  const std::vector<AttemptUid>& dropped() const { return dropped_; }
  const std::vector<RunAttempt>& launched() const { return launched_; }
  bool committed() const { return committed_; }
  const std::optional<FailJob>& failed() const { return failed_; }
  std::set<int>& starting() { return starting_; }
  std::set<int>& retired() { return retired_; }

 private:
  void Take(const std::vector<Effect>& effects) {
    for (const Effect& effect : effects) {
      if (const auto* start = std::get_if<StartSlot>(&effect)) {
        EXPECT_TRUE(starting_.insert(start->slot).second);
      } else if (const auto* run = std::get_if<RunAttempt>(&effect)) {
        EXPECT_EQ(running_.count(run->slot), 0u) << "slot has two attempts";
        EXPECT_EQ(SlotOf(run->task), -1) << ToString(run->task) << " twice";
        EXPECT_FALSE(failed_.has_value()) << "attempt after the job failed";
        running_.emplace(run->slot, *run);
        launched_.push_back(*run);
        const bool restart = restarts_.erase(run->uid) > 0;
        EXPECT_EQ(uids_.insert(run->uid.ToHex()).second, !restart);
      } else if (const auto* retire = std::get_if<RetireSlot>(&effect)) {
        retired_.insert(retire->slot);
      } else if (const auto* drop = std::get_if<DropAttempt>(&effect)) {
        dropped_.push_back(drop->uid);
      } else if (const auto* fail = std::get_if<FailJob>(&effect)) {
        EXPECT_FALSE(failed_.has_value()) << "failed twice";
        EXPECT_FALSE(committed_) << "failed after commit";
        failed_ = *fail;
      } else {
        EXPECT_FALSE(committed_) << "committed twice";
        committed_ = true;
      }
    }
  }

  std::unique_ptr<Random> random_;
  LocalJobCore core_;
  std::set<int> starting_;
  std::set<int> retired_;
  std::map<int, RunAttempt> running_;
  std::vector<RunAttempt> launched_;
  std::vector<AttemptUid> dropped_;
  std::set<std::string> uids_;
  std::set<AttemptUid> restarts_;  // May run again.
  bool committed_ = false;
  std::optional<FailJob> failed_;
};

LocalJobCore::Options Slots(int slots) { return {slots, 4, false, 0}; }

TEST(LocalJobCoreTest, PlansWithOneProcessThenStartsAsManyAsTasksNeed) {
  Harness h(Slots(8));
  EXPECT_EQ(h.starting().size(), 1u);
  h.StartSlots();
  ASSERT_EQ(h.running().size(), 1u);
  h.Succeed(0, PlanDone(3, 1));
  EXPECT_EQ(h.running().size(), 1u);   // Slot 0 maps at once.
  EXPECT_EQ(h.starting().size(), 2u);  // Two more for the other maps.
  h.StartSlots();
  EXPECT_EQ(h.core().maps().running, 3u);
}

TEST(LocalJobCoreTest, ReducesWaitForEveryMapAndThenCommitOnce) {
  Harness h(Slots(2));
  h.StartSlots();
  h.Succeed(0, PlanDone(2, 2));
  h.StartSlots();
  h.Succeed(h.SlotOf({proto::MAP_TASK, 0}), MapDone(2));
  EXPECT_EQ(h.core().reduces().running, 0u);
  h.Succeed(h.SlotOf({proto::MAP_TASK, 1}), MapDone(2));
  EXPECT_EQ(h.core().reduces().running, 2u);
  h.Succeed(h.SlotOf({proto::REDUCE_TASK, 0}), ReduceDone(2));
  EXPECT_FALSE(h.committed());
  h.Succeed(h.SlotOf({proto::REDUCE_TASK, 1}), ReduceDone(2));
  EXPECT_TRUE(h.committed());
}

TEST(LocalJobCoreTest, EmptyInputStillReduces) {
  Harness h(Slots(2));
  h.StartSlots();
  h.Succeed(0, PlanDone(0, 1));
  EXPECT_EQ(h.core().reduces().running, 1u);
  h.Succeed(h.SlotOf({proto::REDUCE_TASK, 0}), ReduceDone(0));
  EXPECT_TRUE(h.committed());
}

TEST(LocalJobCoreTest, MapOnlyJobWithoutInputCommitsAtOnce) {
  Harness h(Slots(2));
  h.StartSlots();
  h.Succeed(0, PlanDone(0, 0));
  EXPECT_TRUE(h.committed());
}

TEST(LocalJobCoreTest, FourthUserFailureOfOneTaskFailsTheJob) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(2, 1));
  for (int i = 0; i < 3; ++i) {
    h.Fail(h.SlotOf({proto::MAP_TASK, 0}), UserFailure());
    ASSERT_FALSE(h.failed().has_value()) << i;
    h.StartSlots();
  }
  EXPECT_EQ(h.dropped().size(), 3u);
  h.Fail(h.SlotOf({proto::MAP_TASK, 0}), UserFailure());
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_EQ(ToString(h.failed()->task.value()), "map 0");
}

TEST(LocalJobCoreTest, FailureRetiresTheProcess) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  h.Step(AttemptFailed{0, UserFailure()});
  EXPECT_EQ(h.retired().count(0), 1u);
  EXPECT_TRUE(h.starting().empty());  // Not before the old one is gone.
  h.Step(SlotGone{0, std::nullopt});
  EXPECT_EQ(h.starting().count(0), 1u);
}

TEST(LocalJobCoreTest, FailuresThatWouldRepeatAreNotRetried) {
  for (const bool disk_full : {false, true}) {
    Harness h(Slots(1));
    h.StartSlots();
    Failure failure = UserFailure();
    failure.retryable = disk_full;
    if (disk_full) failure.cause = proto::DISK_FULL;
    h.Fail(0, failure);
    EXPECT_TRUE(h.failed().has_value());
  }
}

TEST(LocalJobCoreTest, ProgramThatCannotStartFailsTheJobAfterThreeTries) {
  Harness h(Slots(1));
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(h.failed().has_value());
    ASSERT_EQ(h.starting().count(0), 1u);
    h.starting().clear();
    h.Step(SlotGone{0, UserFailure()});
  }
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_EQ(h.failed()->failure.cause, proto::SPAWN_FAILED);
  EXPECT_FALSE(h.failed()->task.has_value());
}

TEST(LocalJobCoreTest, ShortageThatKeepsItFromStartingIsCalledSo) {
  Harness h(Slots(1));
  Failure failure = UserFailure();
  failure.cause = proto::NO_DESCRIPTORS;
  for (int i = 0; i < 3; ++i) {
    ASSERT_FALSE(h.failed().has_value());
    h.starting().clear();
    h.Step(SlotGone{0, failure});
  }
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_EQ(h.failed()->failure.cause, proto::NO_DESCRIPTORS);
}

TEST(LocalJobCoreTest, LostMapOutputsAreNoFailedStarts) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  for (int i = 0; i < 3; ++i) {
    h.Succeed(0, MapDone(1));
    h.Fail(0, LostMap(0));
    h.StartSlots();
  }
  h.Succeed(0, MapDone(1));
  h.Fail(0, LostMap(0));
  h.starting().clear();
  h.Step(SlotGone{0, UserFailure()});
  EXPECT_FALSE(h.failed().has_value());
  EXPECT_EQ(h.starting().count(0), 1u);
}

TEST(LocalJobCoreTest, CrashCountsAsAFailureOfTheTask) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  h.Step(SlotGone{0, UserFailure()});
  EXPECT_EQ(h.core().attempts().failed, 1u);
  EXPECT_EQ(h.starting().count(0), 1u);
}

TEST(LocalJobCoreTest, LostMapOutputIsMadeAgainBeforeReducesGoOn) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(2, 1));
  h.Succeed(0, MapDone(1));
  h.Succeed(0, MapDone(1));
  ASSERT_EQ(h.SlotOf({proto::REDUCE_TASK, 0}), 0);
  h.Fail(0, LostMap(1));
  h.StartSlots();
  ASSERT_EQ(h.SlotOf({proto::MAP_TASK, 1}), 0);
  EXPECT_EQ(h.core().attempts().lost, 1u);
  h.Succeed(0, MapDone(1));
  h.Succeed(h.SlotOf({proto::REDUCE_TASK, 0}), ReduceDone(2));
  EXPECT_TRUE(h.committed());
}

TEST(LocalJobCoreTest, RerunWithOtherRecordsRollsFinishedReducesBack) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 2));
  h.Succeed(0, MapDone(2, "first"));
  h.Succeed(h.SlotOf({proto::REDUCE_TASK, 0}), ReduceDone(1));
  h.Fail(h.SlotOf({proto::REDUCE_TASK, 1}), LostMap(0));
  h.StartSlots();
  h.Succeed(h.SlotOf({proto::MAP_TASK, 0}), MapDone(2, "second"));
  EXPECT_EQ(h.core().reduces().done, 0u);  // Reduce 0 read other records.
  h.Succeed(h.SlotOf({proto::REDUCE_TASK, 0}), ReduceDone(1));
  EXPECT_FALSE(h.committed());
  h.Succeed(h.SlotOf({proto::REDUCE_TASK, 1}), ReduceDone(1));
  EXPECT_TRUE(h.committed());
}

TEST(LocalJobCoreTest, ReduceOfAnOlderEpochDoesNotCount) {
  Harness h(Slots(2));
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 2));
  h.StartSlots();
  h.Succeed(h.SlotOf({proto::MAP_TASK, 0}), MapDone(2, "first"));
  h.StartSlots();
  ASSERT_EQ(h.core().reduces().running, 2u);
  const int survivor = h.SlotOf({proto::REDUCE_TASK, 1});
  h.Fail(h.SlotOf({proto::REDUCE_TASK, 0}), LostMap(0));
  h.StartSlots();
  h.Succeed(h.SlotOf({proto::MAP_TASK, 0}), MapDone(2, "second"));
  h.Succeed(survivor, ReduceDone(1));  // It read "first".
  EXPECT_EQ(h.core().reduces().done, 0u);
}

TEST(LocalJobCoreTest, MapThatNeverRepeatsItselfFailsTheJob) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  h.Succeed(0, MapDone(1, "root 0"));
  for (int i = 1; i <= 3; ++i) {
    ASSERT_FALSE(h.failed().has_value()) << i;
    h.Fail(h.SlotOf({proto::REDUCE_TASK, 0}), LostMap(0));
    h.StartSlots();
    h.Succeed(h.SlotOf({proto::MAP_TASK, 0}), MapDone(1, Cat("root ", i)));
  }
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_THAT(h.failed()->failure.message,
              testing::HasSubstr("NONDETERMINISTIC_MAP"));
}

TEST(LocalJobCoreTest, LedgerThatDoesNotBalanceIsNotPublished) {
  for (int wrong = 0; wrong < 3; ++wrong) {
    Harness h(Slots(1));
    h.StartSlots();
    h.Succeed(0, PlanDone(1, 1));
    proto::TaskDone map = MapDone(1);
    proto::TaskDone reduce = ReduceDone(1);
    if (wrong == 0) map.mutable_ledger()->set_emitted_records(2);
    if (wrong == 1) reduce.mutable_ledger()->mutable_fetched()->set_hash(6);
    if (wrong == 2) reduce.mutable_ledger()->mutable_merged()->set_records(0);
    h.Succeed(0, map);
    h.Succeed(0, reduce);
    EXPECT_FALSE(h.committed()) << wrong;
    ASSERT_TRUE(h.failed().has_value()) << wrong;
    EXPECT_EQ(h.failed()->failure.cause, proto::INTERNAL);
  }
}

TEST(LocalJobCoreTest, FreshProcessPerTaskWhenAskedFor) {
  Harness h({1, 4, true, 0});
  h.StartSlots();
  h.Succeed(0, PlanDone(2, 1));
  EXPECT_TRUE(h.running().empty());
  EXPECT_EQ(h.retired().count(0), 1u);
  h.retired().clear();
  h.Step(SlotGone{0, std::nullopt});
  h.StartSlots();
  EXPECT_EQ(h.running().size(), 1u);
}

// ------------------------------------------------------------- bad records

TEST(LocalJobCoreTest, ABadRecordRestartsTheAttemptWithoutIt) {
  Harness h({1, 4, false, 2});
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  const RunAttempt first = h.running().at(0);
  EXPECT_THAT(first.bad_records, testing::IsEmpty());
  h.Fail(0, BadRecord(20));
  EXPECT_THAT(h.dropped(), testing::ElementsAre(first.uid))
      << "what it wrote is in the way";
  h.StartSlots();
  h.Fail(0, BadRecord(10));
  h.StartSlots();
  const RunAttempt third = h.running().at(0);
  EXPECT_EQ(third.uid, first.uid);
  EXPECT_EQ(third.attempt, 0u);
  EXPECT_THAT(Offsets(third), testing::ElementsAre(10, 20));
  EXPECT_EQ(third.bad_records[0].message(), "crashed at 10");
  EXPECT_EQ(h.core().attempts().launched, 2u) << "plan and map";
  EXPECT_EQ(h.core().attempts().failed, 0u);
  EXPECT_EQ(h.core().attempts().restarted, 2u);
  h.Succeed(0, WithLetters(MapDone(1), 2));
  h.Succeed(0, ReduceDone(1));
  EXPECT_TRUE(h.committed());
}

TEST(LocalJobCoreTest, ADeadProcessIsABadRecordToo) {
  Harness h({1, 1, false, 1});
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  const AttemptUid uid = h.running().at(0).uid;
  h.Die(0, BadRecord(20));
  EXPECT_FALSE(h.failed().has_value());
  h.StartSlots();
  EXPECT_EQ(h.running().at(0).uid, uid);
}

TEST(LocalJobCoreTest, TheLimitOfBadRecordsIsTheJobs) {
  Harness h({2, 4, false, 2});
  h.StartSlots();
  h.Succeed(0, PlanDone(2, 1));
  h.StartSlots();
  h.Fail(h.SlotOf({proto::MAP_TASK, 0}), BadRecord(10));
  h.Fail(h.SlotOf({proto::MAP_TASK, 1}), BadRecord(10));
  h.StartSlots();
  EXPECT_EQ(h.core().bad_records(), 2u);
  h.Fail(h.SlotOf({proto::MAP_TASK, 1}), BadRecord(30));
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_EQ(h.failed()->failure.cause, proto::BAD_RECORD_LIMIT);
  EXPECT_EQ(h.failed()->failure.message,
            "more bad records than the 2 that --skip-bad-records allows; the "
            "last one: crashed at 30");
  EXPECT_FALSE(h.failed()->failure.retryable);
}

TEST(LocalJobCoreTest, TheLimitOfOutputIsThatOfAllPartFiles) {
  for (const uint64_t limit : {99, 100}) {
    Harness h({1, 4, false, 0, limit});
    h.StartSlots();
    h.Succeed(0, PlanDone(1, 2));
    h.Succeed(0, MapDone(2));
    h.Succeed(0, ReduceDone(1, 60));
    h.Succeed(0, ReduceDone(1, 40));
    ASSERT_EQ(h.committed(), limit == 100);
    if (h.committed()) continue;
    EXPECT_EQ(h.failed()->failure.cause, proto::OUTPUT_LIMIT);
    EXPECT_FALSE(h.failed()->task.has_value()) << "it did what it was told";
  }
}

TEST(LocalJobCoreTest, ARecordIsCountedOnceAndNeverTriedAgain) {
  Harness h({1, 4, false, 1});
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  h.Fail(0, BadRecord(10));
  h.StartSlots();
  const AttemptUid uid = h.running().at(0).uid;
  // Another failure: the next attempt is a new one, and passes it over as well.
  h.Fail(0, UserFailure());
  h.StartSlots();
  EXPECT_NE(h.running().at(0).uid, uid);
  EXPECT_EQ(h.running().at(0).attempt, 1u);
  EXPECT_THAT(Offsets(h.running().at(0)), testing::ElementsAre(10));
  h.Succeed(0, WithLetters(MapDone(1), 1));
  // So does the one that makes a lost output again.
  h.Fail(0, LostMap(0));
  h.StartSlots();
  EXPECT_THAT(Offsets(h.running().at(0)), testing::ElementsAre(10));
  h.Succeed(0, WithLetters(MapDone(1), 1));
  h.Succeed(0, ReduceDone(1));
  EXPECT_TRUE(h.committed());
  EXPECT_EQ(h.core().bad_records(), 1u);
}

TEST(LocalJobCoreTest, ARecordThatWasToBePassedOverFailsItsAttempt) {
  Harness h({1, 2, false, 10});
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  h.Fail(0, BadRecord(10));
  for (int i = 0; i < 2; ++i) {
    h.StartSlots();
    ASSERT_FALSE(h.failed().has_value());
    h.Fail(0, BadRecord(10));
  }
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_EQ(h.failed()->failure.cause, proto::CRASHED);
  EXPECT_EQ(h.core().attempts().failed, 2u);
  EXPECT_EQ(h.core().bad_records(), 1u);
}

TEST(LocalJobCoreTest, WithoutTheFlagABadRecordIsAFailure) {
  Harness h(Slots(1));
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  for (int i = 0; i < 4; ++i) {
    h.Fail(0, BadRecord(10));
    h.StartSlots();
  }
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_EQ(h.failed()->failure.cause, proto::CRASHED);
}

TEST(LocalJobCoreTest, AMapThatDidNotPassOverWhatItWasToldIsNotBelieved) {
  Harness h({1, 4, false, 1});
  h.StartSlots();
  h.Succeed(0, PlanDone(1, 1));
  h.Fail(0, BadRecord(10));
  h.StartSlots();
  h.Succeed(0, MapDone(1));
  ASSERT_TRUE(h.failed().has_value());
  EXPECT_EQ(h.failed()->failure.cause, proto::INTERNAL);
}

// Random schedules against the invariants that the harness checks on the way:
// one attempt per slot and task, uids never again, nothing after the end.
TEST(LocalJobCoreTest, RandomSchedulesEndAndKeepTheInvariants) {
  int committed = 0;
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    auto random = Random::Seeded(seed);
    const uint32_t num_maps = static_cast<uint32_t>(random->Uniform(6));
    const uint32_t partitions = static_cast<uint32_t>(random->Uniform(4));
    const uint32_t bad_records = static_cast<uint32_t>(random->Uniform(4));
    Harness h({static_cast<int>(1 + random->Uniform(4)), 4, false, bad_records},
              seed);
    int steps = 0;
    while (!h.committed() && !h.failed().has_value()) {
      ASSERT_LT(++steps, 5000) << "the job hangs";
      if (!h.starting().empty() && random->Uniform(2) == 0) {
        const int slot = *h.starting().begin();
        h.starting().erase(slot);
        h.Step(SlotReady{slot});
        continue;
      }
      if (h.running().empty()) {
        ASSERT_FALSE(h.starting().empty()) << "nothing runs, nothing starts";
        continue;
      }
      auto it = h.running().begin();
      std::advance(it, static_cast<long>(random->Uniform(h.running().size())));
      const auto [slot, run] = *it;
      const uint64_t dice = random->Uniform(20);
      if (dice == 0) {
        h.Fail(slot, UserFailure());
      } else if (dice == 1 && run.task.kind == proto::REDUCE_TASK &&
                 num_maps > 0) {
        h.Fail(slot, LostMap(static_cast<uint32_t>(random->Uniform(num_maps))));
      } else if (run.task.kind == proto::PLAN_TASK) {
        h.Succeed(slot, PlanDone(num_maps, partitions));
      } else if (run.task.kind == proto::MAP_TASK) {
        if (h.core().bad_records() < bad_records && random->Uniform(4) == 0) {
          h.Fail(slot, BadRecord(run.bad_records.size()));
          continue;
        }
        proto::TaskDone done =
            partitions == 0 ? proto::TaskDone() : MapDone(partitions);
        if (!run.bad_records.empty()) {
          done = WithLetters(done, run.bad_records.size());
        }
        h.Succeed(slot, done);
      } else {
        h.Succeed(slot, ReduceDone(num_maps));
      }
    }
    if (h.committed()) {
      ++committed;
      for (uint32_t i = 0; i < num_maps; ++i) h.core().map_winner(i);
    }
  }
  EXPECT_GT(committed, 1500);
}

}  // namespace
}  // namespace millrace::local
