#include "worker/shuffle/fetch_core.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "worker/shuffle/testing/fetch_world.h"
#include "worker/spool/layout.h"

namespace millrace::worker {
namespace {

using fetch::TransferEnded;

const absl::Status kCut = absl::UnavailableError("connection reset");

TestOutput Output(uint32_t map, uint64_t seed = 1) {
  TestOutputOptions options;
  options.map_index = map;
  options.seed = seed;
  return MakeTestOutput(options);
}

// Whether what is ready are the partitions of these outputs, in order.
void ExpectReady(const FetchWorld& world, const AttemptUid& attempt,
                 uint32_t partition,
                 const std::vector<const TestOutput*>& outputs) {
  ASSERT_EQ(world.ready_.size(), 1);
  const fetch::Ready& ready = world.ready_[0];
  EXPECT_EQ(ready.attempt, attempt);
  ASSERT_EQ(ready.maps.size(), outputs.size());
  for (uint32_t map = 0; map < outputs.size(); ++map) {
    const fetch::ReadyMap& got = ready.maps[map];
    EXPECT_EQ(got.map_index, map);
    EXPECT_EQ(got.uid, outputs[map]->identity.attempt);
    EXPECT_EQ(got.root, outputs[map]->summary.root);
    const engine::PartitionEntry& entry =
        outputs[map]->summary.partitions[partition];
    EXPECT_EQ(got.section.records(), entry.sum.records);
    EXPECT_EQ(got.section.hash(), entry.sum.hash);
    EXPECT_EQ(got.section.digest(), entry.digest);
    EXPECT_EQ(got.section.blocks(), entry.blocks);
    EXPECT_EQ(world.Section(attempt, got), outputs[map]->partition(partition));
  }
}

TEST(FetchCore, BringsAPartitionOfEveryMapFromEveryWorker) {
  FetchWorld world;
  const TestOutput a = Output(0), b = Output(1), c = Output(2);
  const auto w1 = world.AddWorker(1), w2 = world.AddWorker(2);
  world.Locate({&a}, w1);  // Before the reduce is known,
  const AttemptUid reduce = world.StartReduce(2, 3);
  world.Locate({&b, &c}, w2);  // and after.
  world.CompleteAll();
  ExpectReady(world, reduce, 2, {&a, &b, &c});
  EXPECT_EQ(world.started_.size(), 3);
  EXPECT_TRUE(world.failed_.empty());
  EXPECT_EQ(world.progress_.back().fetched_maps, 3);
  EXPECT_EQ(
      world.progress_.back().fetched_bytes,
      a.partition(2).size() + b.partition(2).size() + c.partition(2).size());
}

TEST(FetchCore, AReduceWithoutMapsIsReadyAtOnce) {
  FetchWorld world;
  world.StartReduce(0, 0);
  EXPECT_EQ(world.ready_.size(), 1);
}

TEST(FetchCore, AReduceThatCannotBeIsAborted) {
  FetchWorld world;
  world.StartReduce(3, 1, 3);
  world.StartReduce(0, 4'000'000'000, 3);
  EXPECT_EQ(world.aborted_.size(), 2);
  world.Step(fetch::Cancel{world.aborted_[0].attempt});
}

TEST(FetchCore, ACutAnywhereIsResumedThere) {
  const TestOutput output = Output(0);
  const uint64_t size = output.partition(1).size();
  for (uint64_t cut = 0; cut < size; ++cut) {
    FetchWorld world;
    world.Locate({&output}, world.AddWorker(1));
    const AttemptUid reduce = world.StartReduce(1, 1);
    FetchWorld::Wire& first = world.Only();
    EXPECT_TRUE(first.start.want_index);
    world.SendBytes(first, output, cut);
    world.End(first.start.transfer, kCut);
    world.Pass(absl::Seconds(1));
    const FetchWorld::Wire& second = world.Only();
    EXPECT_EQ(second.start.offset, cut);
    EXPECT_FALSE(second.start.want_index);
    world.CompleteAll();
    ExpectReady(world, reduce, 1, {&output});
    EXPECT_TRUE(world.failed_.empty());
  }
}

TEST(FetchCore, AStreamThatEndsEarlyWithoutAnErrorIsACutToo) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(1, 1);
  world.SendBytes(world.Only(), output, 100);
  world.End(world.Only().start.transfer, absl::OkStatus());
  EXPECT_TRUE(world.ready_.empty());
  world.Pass(absl::Seconds(1));
  world.CompleteAll();
  ExpectReady(world, reduce, 1, {&output});
}

TEST(FetchCore, ADamagedByteOnceIsFetchedAgain) {
  const TestOutput output = Output(0);
  const uint64_t size = output.partition(1).size();
  for (uint64_t at = 0; at < size; at += 13) {
    FetchWorld world;
    world.Locate({&output}, world.AddWorker(1));
    const AttemptUid reduce = world.StartReduce(1, 1);
    world.SendBytes(world.Only(), output, size, at);
    EXPECT_EQ(world.Only().start.offset, 0);  // Nothing of it counts.
    world.CompleteAll();
    ExpectReady(world, reduce, 1, {&output});
    EXPECT_TRUE(world.failed_.empty());
  }
}

TEST(FetchCore, ADamagedByteTwiceIsTheHoldersFile) {
  FetchWorld world;
  const TestOutput output = Output(0);
  const auto w1 = world.AddWorker(1);
  world.Locate({&output}, w1);
  const AttemptUid reduce = world.StartReduce(1, 1);
  world.SendBytes(world.Only(), output, 5000, 300);
  world.SendBytes(world.Only(), output, 5000, 300);
  ASSERT_EQ(world.failed_.size(), 1);
  EXPECT_TRUE(world.failed_[0].gone);
  EXPECT_EQ(world.failed_[0].attempt, reduce);
  EXPECT_EQ(world.failed_[0].map_uid, output.identity.attempt);
  EXPECT_EQ(world.failed_[0].source, w1);
  EXPECT_TRUE(world.wires_.empty());
  world.Pass(absl::Minutes(10));
  EXPECT_TRUE(world.wires_.empty());  // It waits for the leader.
  const TestOutput again = Output(0, 2);
  world.Locate({&again}, world.AddWorker(2));
  world.CompleteAll();
  ExpectReady(world, reduce, 1, {&again});
}

TEST(FetchCore, AnIndexWithAnotherRootTwiceIsGone) {
  FetchWorld world;
  const TestOutput output = Output(0), other = Output(0, 2);
  world.Locate({&output}, world.AddWorker(1));
  world.StartReduce(1, 1);
  world.SendHeader(world.Only(), other);
  EXPECT_TRUE(world.failed_.empty());
  world.SendHeader(world.Only(), other);
  ASSERT_EQ(world.failed_.size(), 1);
  EXPECT_TRUE(world.failed_[0].gone);
}

TEST(FetchCore, AnotherLengthThanTheIndexSaysIsNotTaken) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(1, 1);
  proto::FetchHeader header = output.header(1, true);
  header.set_partition_bytes(header.partition_bytes() + 1);
  EXPECT_FALSE(world.SendThisHeader(world.Only(), header));
  world.CompleteAll();
  ExpectReady(world, reduce, 1, {&output});
}

TEST(FetchCore, WhatTheHolderDoesNotHaveIsReportedAtOnceAndNotAskedAgain) {
  for (const absl::Status& status :
       {absl::NotFoundError("no"), absl::DataLossError("damaged")}) {
    FetchWorld world;
    const TestOutput output = Output(0);
    const auto w1 = world.AddWorker(1);
    world.Locate({&output}, w1);
    const AttemptUid reduce = world.StartReduce(0, 1);
    world.End(world.Only().start.transfer, status);
    ASSERT_EQ(world.failed_.size(), 1);
    EXPECT_TRUE(world.failed_[0].gone);
    world.Pass(absl::Minutes(10));
    EXPECT_TRUE(world.wires_.empty());
    world.Locate({&output}, w1);  // Named anew: tried anew.
    world.CompleteAll();
    ExpectReady(world, reduce, 0, {&output});
  }
}

TEST(FetchCore, AHolderOutOfReachIsReportedAfterThreeTriesAndTriedForEver) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  absl::Duration last_gap;
  for (int report = 1; report <= 5; ++report) {
    const absl::Duration begun = world.now_;
    while (world.failed_.size() < static_cast<size_t>(report)) {
      world.Pass(absl::Milliseconds(10));
      if (!world.wires_.empty()) {
        world.End(world.Only().start.transfer, kCut);
      }
      ASSERT_LT(world.now_ - begun, absl::Minutes(2));
    }
    const absl::Duration gap = world.now_ - begun;
    if (report > 1) {
      EXPECT_GE(gap, last_gap) << report;
    }
    last_gap = std::min(gap, absl::Seconds(30));
    EXPECT_FALSE(world.failed_.back().gone);
    if (report == 1) {
      EXPECT_EQ(world.started_.size(), 3);
      EXPECT_LT(gap, absl::Seconds(1));
    }
  }
  world.Pass(absl::Seconds(31));
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&output});
}

TEST(FetchCore, AllThatALostSourceHoldsIsReportedTogether) {
  FetchWorld world;
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < 10; ++map) outputs.push_back(Output(map));
  std::vector<const TestOutput*> pointers;
  for (const TestOutput& output : outputs) pointers.push_back(&output);
  world.Locate(pointers, world.AddWorker(1));
  world.StartReduce(0, 10);
  const absl::Duration begun = world.now_;
  std::set<uint32_t> reported;
  while (reported.size() < 10) {
    while (!world.wires_.empty()) {
      world.End(world.wires_.begin()->first, kCut);
    }
    world.Pass(absl::Milliseconds(10));
    for (const FetchFailed& failed : world.failed_) {
      reported.insert(failed.map_index);
    }
    ASSERT_LT(world.now_ - begun, absl::Seconds(2));
  }
}

TEST(FetchCore, ProgressInBetweenStartsTheTriesAnew) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  for (int i = 0; i < 20; ++i) {
    world.SendBytes(world.Only(), output, 10);
    world.End(world.Only().start.transfer, kCut);
    world.Pass(absl::Seconds(1));
  }
  EXPECT_TRUE(world.failed_.empty());
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&output});
}

TEST(FetchCore, ABusyHolderIsAskedAgainAndNotReported) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  for (int i = 0; i < 30; ++i) {
    world.End(world.Only().start.transfer,
              absl::ResourceExhaustedError("too many transfers"));
    EXPECT_TRUE(world.wires_.empty());  // Not at once.
    world.Pass(absl::Seconds(2));
  }
  EXPECT_TRUE(world.failed_.empty());
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&output});
}

TEST(FetchCore, ATransferThatBringsNothingIsEndedAfterFifteenSeconds) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  world.SendBytes(world.Only(), output, 100);
  world.Pass(absl::Seconds(10));
  world.SendBytes(world.Only(), output, 100);  // Slow is not silent.
  world.Pass(absl::Milliseconds(14'900));
  EXPECT_FALSE(world.Only().cancelled);
  world.Pass(absl::Milliseconds(200));
  EXPECT_TRUE(world.Only().cancelled);
  world.End(world.Only().start.transfer, absl::CancelledError("cancelled"));
  world.Pass(absl::Seconds(1));
  EXPECT_EQ(world.Only().start.offset, 200);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&output});
}

TEST(FetchCore, AnotherAttemptsOutputTakesThePlaceOfOneUnderWay) {
  FetchWorld world;
  const TestOutput old = Output(0, 1), now = Output(0, 2);
  world.Locate({&old}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  const TransferId first = world.Only().start.transfer;
  world.SendBytes(world.Only(), old, 500);
  world.Locate({&now}, world.AddWorker(2));
  EXPECT_TRUE(world.wires_.at(first).cancelled);
  // Bytes of the old one that are on their way disturb nobody.
  world.SendBytes(world.wires_.at(first), old, 500);
  ASSERT_EQ(world.wires_.size(), 2);
  EXPECT_EQ(world.wires_.rbegin()->second.start.offset, 0);
  world.Complete(world.wires_.rbegin()->first);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&now});
}

TEST(FetchCore, WhatHasBeenFetchedStaysGoodWhenItsPlaceChanges) {
  FetchWorld world;
  const TestOutput a = Output(0, 1), b = Output(1, 1), a2 = Output(0, 2);
  const auto w1 = world.AddWorker(1);
  world.Locate({&a}, w1);
  const AttemptUid reduce = world.StartReduce(0, 2);
  world.CompleteAll();
  world.Lose(a);
  world.Locate({&a2}, world.AddWorker(2));
  EXPECT_TRUE(world.wires_.empty());
  world.Locate({&b}, w1);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&a, &b});
}

TEST(FetchCore, TheSameOutputOfferedElsewhereIsResumedWhenItWasNotRunning) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  world.SendBytes(world.Only(), output, 123);
  world.End(world.Only().start.transfer, kCut);
  world.Locate({&output}, world.AddWorker(2));  // Adopted by a new incarnation.
  EXPECT_EQ(world.Only().start.address, "w2:1");
  EXPECT_EQ(world.Only().start.offset, 123);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&output});
}

TEST(FetchCore, ALostOutputIsNotAskedForUntilThereIsAnother) {
  FetchWorld world;
  const TestOutput output = Output(0), next = Output(0, 2);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  world.Lose(output);
  EXPECT_TRUE(world.Only().cancelled);
  world.End(world.Only().start.transfer, kCut);
  world.Pass(absl::Minutes(5));
  EXPECT_TRUE(world.wires_.empty());
  EXPECT_TRUE(world.failed_.empty());
  world.Locate({&next}, world.AddWorker(2));
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&next});
}

TEST(FetchCore, OutputsOfThisWorkerAreUsedInPlace) {
  FetchWorld world;
  const TestOutput a = Output(0), b = Output(1);
  const auto own = TestId<WorkerIncarnation>(99);
  const AttemptUid reduce = world.StartReduce(0, 2);
  world.Locate({&a, &b}, own);
  ASSERT_EQ(world.checks_.size(), 2);
  EXPECT_EQ(world.checks_[0].path,
            MapOutputPath("/spool", a.identity.job, a.identity.attempt));
  EXPECT_EQ(world.checks_[0].root, a.summary.root);
  for (const fetch::CheckLocal& check : std::vector(world.checks_)) {
    world.Step(fetch::LocalChecked{check.check, absl::OkStatus()});
  }
  ASSERT_EQ(world.ready_.size(), 1);
  EXPECT_EQ(world.ready_[0].maps[1].path, world.checks_[1].path);
  EXPECT_TRUE(world.started_.empty());
  // Another reduce need not check again.
  world.StartReduce(1, 2);
  EXPECT_EQ(world.checks_.size(), 2);
  EXPECT_EQ(world.ready_.size(), 2);
  EXPECT_EQ(reduce, world.ready_[0].attempt);
}

TEST(FetchCore, AnOwnOutputThatIsNotThereIsGone) {
  FetchWorld world;
  const TestOutput a = Output(0);
  world.StartReduce(0, 1);
  world.Locate({&a}, TestId<WorkerIncarnation>(99));
  world.Step(fetch::LocalChecked{world.checks_[0].check,
                                 absl::NotFoundError("no such file")});
  ASSERT_EQ(world.failed_.size(), 1);
  EXPECT_TRUE(world.failed_[0].gone);
  EXPECT_TRUE(world.wires_.empty());
}

TEST(FetchCore, AnOwnOutputThatCannotBeOpenedNowIsTriedAgain) {
  FetchWorld world;
  const TestOutput a = Output(0);
  world.StartReduce(0, 1);
  world.Locate({&a}, TestId<WorkerIncarnation>(99));
  world.Step(
      fetch::LocalChecked{world.checks_[0].check,
                          absl::ResourceExhaustedError("too many open files")});
  EXPECT_TRUE(world.failed_.empty());
  world.Pass(absl::Seconds(2));
  ASSERT_EQ(world.checks_.size(), 2);
  world.Step(fetch::LocalChecked{world.checks_[1].check, absl::OkStatus()});
  EXPECT_EQ(world.ready_.size(), 1);
}

TEST(FetchCore, AWorkerOfTheSameHostIsReadInPlaceOrElseOverTheNetwork) {
  FetchWorld world;
  const TestOutput a = Output(0), b = Output(1);
  const auto w1 = world.AddWorker(1, "here");
  const AttemptUid reduce = world.StartReduce(0, 2);
  world.Locate({&a, &b}, w1);
  ASSERT_EQ(world.checks_.size(), 2);
  EXPECT_EQ(world.checks_[0].path,
            MapOutputPath("/spool1", a.identity.job, a.identity.attempt));
  world.Step(fetch::LocalChecked{world.checks_[0].check, absl::OkStatus()});
  world.Step(fetch::LocalChecked{world.checks_[1].check,
                                 absl::PermissionDeniedError("not ours")});
  EXPECT_EQ(world.Only().start.identity.map_index, 1);
  world.CompleteAll();
  ASSERT_EQ(world.ready_.size(), 1);
  EXPECT_EQ(world.ready_[0].maps[0].path, world.checks_[0].path);
  EXPECT_EQ(world.ready_[0].maps[1].path, "");
  EXPECT_EQ(world.Section(reduce, world.ready_[0].maps[1]), b.partition(0));
}

TEST(FetchCore, AFileInPlaceThatGoesWithItsWorkerIsFetchedFromTheNextOne) {
  FetchWorld world;
  const TestOutput a = Output(0), b = Output(1), a2 = Output(0, 2);
  const auto w1 = world.AddWorker(1, "here");
  world.StartReduce(0, 2);
  world.Locate({&a}, w1);
  world.Step(fetch::LocalChecked{world.checks_[0].check, absl::OkStatus()});
  world.Lose(a);
  const auto w2 = world.AddWorker(2);
  world.Locate({&a2, &b}, w2);
  world.CompleteAll();
  ASSERT_EQ(world.ready_.size(), 1);
  EXPECT_EQ(world.ready_[0].maps[0].uid, a2.identity.attempt);
  EXPECT_EQ(world.ready_[0].maps[0].path, "");
}

TEST(FetchCore, AnAddressThatComesLaterIsWaitedFor) {
  FetchWorld world;
  const TestOutput output = Output(0);
  const auto unknown = TestId<WorkerIncarnation>(501);
  const AttemptUid reduce = world.StartReduce(0, 1);
  world.Locate({&output}, unknown);
  EXPECT_TRUE(world.wires_.empty());
  world.Locate({}, world.AddWorker(1));  // Has that incarnation.
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&output});
}

TEST(FetchCore, LimitsHoldInTotalAndForEachSource) {
  FetchOptions options = FetchWorld::Options();
  options.transfers_max = 5;
  options.transfers_per_source_max = 2;
  FetchWorld world(options);
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < 40; ++map) outputs.push_back(Output(map));
  for (int w = 0; w < 4; ++w) {
    std::vector<const TestOutput*> held;
    for (uint32_t map = static_cast<uint32_t>(w); map < 40; map += 4) {
      held.push_back(&outputs[map]);
    }
    world.Locate(held, world.AddWorker(w));
  }
  const AttemptUid reduce = world.StartReduce(0, 40);
  while (!world.wires_.empty()) {
    std::map<std::string, int> active;
    for (const auto& [id, wire] : world.wires_) ++active[wire.start.address];
    EXPECT_LE(world.wires_.size(), 5);
    for (const auto& [address, n] : active) EXPECT_LE(n, 2) << address;
    world.Complete(world.wires_.begin()->first);
  }
  std::vector<const TestOutput*> all;
  for (const TestOutput& output : outputs) all.push_back(&output);
  ExpectReady(world, reduce, 0, all);
}

TEST(FetchCore, ASourceThatHangsDoesNotHoldUpTheOthers) {
  FetchWorld world;
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < 20; ++map) outputs.push_back(Output(map));
  std::vector<const TestOutput*> slow, quick;
  for (uint32_t map = 0; map < 20; ++map) {
    (map < 10 ? slow : quick).push_back(&outputs[map]);
  }
  world.Locate(slow, world.AddWorker(1));
  world.Locate(quick, world.AddWorker(2));
  world.StartReduce(0, 20);
  for (int i = 0; i < 10; ++i) {
    for (auto& [id, wire] : world.wires_) {
      if (wire.start.address == "w2:1") {
        world.Complete(id);
        break;
      }
    }
  }
  world.Pass(absl::Seconds(1));
  EXPECT_EQ(world.progress_.back().fetched_maps, 10);
}

TEST(FetchCore, AnIndexIsFetchedOnceForAllPartitions) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  for (uint32_t partition : {0, 1, 2}) world.StartReduce(partition, 1);
  // The others wait for the one that brings it.
  EXPECT_TRUE(world.Only().start.want_index);
  world.SendHeader(world.Only(), output);
  EXPECT_EQ(world.wires_.size(), 2);
  world.CompleteAll();
  world.StartReduce(0, 1);
  world.CompleteAll();
  EXPECT_EQ(world.ready_.size(), 4);
  int wanted = 0;
  for (const auto& start : world.started_) wanted += start.want_index;
  EXPECT_EQ(wanted, 1);
}

TEST(FetchCore, WhenTheTransferWithTheIndexFailsAnotherBringsIt) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid first = world.StartReduce(0, 1);
  world.StartReduce(1, 1);
  world.Step(fetch::Cancel{first});
  EXPECT_TRUE(world.Only().cancelled);
  world.CompleteAll();
  ASSERT_EQ(world.ready_.size(), 1);
  EXPECT_EQ(world.started_.size(), 2);
  EXPECT_TRUE(world.started_[1].want_index);
}

TEST(FetchCore, AnEmptyPartitionCostsNothingBeyondTheIndex) {
  FetchWorld world;
  TestOutputOptions options;
  options.empty_partitions = {0, 2};
  const TestOutput output = MakeTestOutput(options);
  world.Locate({&output}, world.AddWorker(1));
  world.StartReduce(0, 1);
  world.SendHeader(world.Only(), output);
  EXPECT_EQ(world.ready_.size(), 1);
  EXPECT_TRUE(world.wires_.empty());
  world.StartReduce(2, 1);
  EXPECT_EQ(world.ready_.size(), 2);
  EXPECT_EQ(world.started_.size(), 1);
  EXPECT_EQ(world.ready_[1].maps[0].section.bytes(), 0);
}

TEST(FetchCore, SectionsGoToMemoryWhileTheyFitAndToDiskAfterwards) {
  FetchOptions options = FetchWorld::Options();
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < 12; ++map) outputs.push_back(Output(map));
  options.memory_bytes = outputs[0].partition(0).size() * 5;
  FetchWorld world(options);
  std::vector<const TestOutput*> all;
  for (const TestOutput& output : outputs) all.push_back(&output);
  world.Locate(all, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 12);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, all);
  std::map<ContainerKind, int> count;
  for (const fetch::ReadyMap& map : world.ready_[0].maps) {
    ++count[map.container];
  }
  EXPECT_GT(count[ContainerKind::kMemory], 2);
  EXPECT_GT(count[ContainerKind::kDisk], 2);
  EXPECT_LE(world.core_.memory_used(), options.memory_bytes);
  EXPECT_GT(world.core_.memory_used(), 0);
  world.Step(fetch::Cancel{reduce});
  EXPECT_EQ(world.core_.memory_used(), 0);
  EXPECT_EQ(world.dropped_, std::vector<AttemptUid>{reduce});
}

TEST(FetchCore, ALargeSectionDoesNotTakeTheMemoryOfAll) {
  FetchOptions options = FetchWorld::Options();
  const TestOutput output = Output(0);
  options.memory_bytes = output.partition(0).size() * 2;
  FetchWorld world(options);
  world.Locate({&output}, world.AddWorker(1));
  world.StartReduce(0, 1);
  world.CompleteAll();
  EXPECT_EQ(world.ready_[0].maps[0].container, ContainerKind::kDisk);
}

TEST(FetchCore, AFullDiskAbortsTheAttemptAndNoOther) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  world.End(world.Only().start.transfer,
            absl::ResourceExhaustedError("no space left on device"),
            TransferEnded::Blame::kLocal);
  ASSERT_EQ(world.aborted_.size(), 1);
  EXPECT_EQ(world.aborted_[0].attempt, reduce);
  EXPECT_TRUE(world.wires_.empty());
  world.Pass(absl::Minutes(1));
  EXPECT_TRUE(world.wires_.empty());
  world.Step(fetch::Cancel{reduce});
  world.StartReduce(1, 1);
  world.CompleteAll();
  EXPECT_EQ(world.ready_.size(), 1);
}

TEST(FetchCore, NothingHappensForACancelledAttempt) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  const TransferId id = world.Only().start.transfer;
  world.SendBytes(world.Only(), output, 100);
  world.Step(fetch::Cancel{reduce});
  world.Step(fetch::Cancel{reduce});  // Unknown by now.
  EXPECT_TRUE(world.wires_.at(id).cancelled);
  world.SendBytes(world.wires_.at(id), output, 100);
  world.End(id, absl::CancelledError("cancelled"));
  world.Pass(absl::Minutes(1));
  EXPECT_TRUE(world.ready_.empty());
  EXPECT_TRUE(world.failed_.empty());
  EXPECT_TRUE(world.wires_.empty());
  EXPECT_EQ(world.core_.next_wake(), absl::InfiniteDuration());
}

TEST(FetchCore, LocationsOfAForgottenJobAreForgotten) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  world.Step(fetch::ForgetJob{output.identity.job});
  world.StartReduce(0, 1);
  EXPECT_TRUE(world.wires_.empty());
}

TEST(FetchCore, IdsOfTheWrongLengthAreTakenForLost) {
  FetchWorld world;
  const TestOutput output = Output(0);
  proto::Locations locations;
  locations.set_job_id(std::string(output.identity.job.bytes()));
  locations.add_workers()->set_incarnation("short");
  proto::MapLocation* map = locations.add_maps();
  map->set_attempt_uid("x");
  map->set_root("y");
  map->set_worker("z");
  locations.add_maps()->set_map_index(4'000'000'000);
  world.StartReduce(0, 1);
  world.Step(fetch::UpdateLocations{&locations});
  locations.set_job_id("bad");
  world.Step(fetch::UpdateLocations{&locations});
  EXPECT_TRUE(world.wires_.empty());
}

TEST(FetchCore, IndexesAreKeptWithinTheirLimit) {
  FetchOptions options = FetchWorld::Options();
  options.index_rows_max = 6;  // Of two outputs.
  FetchWorld world(options);
  std::vector<TestOutput> outputs;
  for (uint32_t map = 0; map < 4; ++map) outputs.push_back(Output(map));
  std::vector<const TestOutput*> all;
  for (const TestOutput& output : outputs) all.push_back(&output);
  world.Locate(all, world.AddWorker(1));
  world.StartReduce(0, 4);
  world.CompleteAll();
  world.StartReduce(1, 4);
  world.CompleteAll();
  EXPECT_EQ(world.ready_.size(), 2);
  int wanted = 0;
  for (const auto& start : world.started_) wanted += start.want_index;
  EXPECT_GT(wanted, 4);
}

TEST(FetchCore, ProgressIsToldNowAndThen) {
  FetchWorld world;
  const TestOutput output = Output(0);
  world.Locate({&output}, world.AddWorker(1));
  world.StartReduce(0, 1);
  const size_t before = world.progress_.size();
  for (int i = 0; i < 100; ++i) {
    world.SendBytes(world.Only(), output, 5);
    world.Pass(absl::Milliseconds(10));
  }
  EXPECT_LE(world.progress_.size(), before + 3);
  EXPECT_GT(world.progress_.size(), before);
}

// Everything that can go wrong, in any order; at the end the network heals, and
// what is ready must be right.
TEST(FetchCore, WhateverHappensWhatIsReadyIsRight) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    engine::TestRandom random(seed);
    FetchOptions options = FetchWorld::Options();
    options.memory_bytes = 40'000;
    options.transfers_max = static_cast<int>(1 + random.Below(6));
    options.index_rows_max = random.Below(30);
    FetchWorld world(options);
    constexpr uint32_t kMaps = 6;
    std::vector<TestOutput> outputs;  // Attempts 1 and 2 of each map.
    outputs.reserve(2 * kMaps);
    for (uint32_t map = 0; map < kMaps; ++map) {
      outputs.push_back(Output(map, 1));
      outputs.push_back(Output(map, 2));
    }
    std::vector<WorkerIncarnation> workers;
    for (int w = 0; w < 3; ++w) {
      workers.push_back(world.AddWorker(w, w == 2 ? "here" : ""));
    }
    std::map<AttemptUid, uint32_t> reduces;
    for (uint32_t p = 0; p < 3; ++p) reduces[world.StartReduce(p, kMaps)] = p;

    size_t checked = 0;
    const auto announce = [&](uint32_t map) {
      const TestOutput& output = outputs[2 * map + random.Below(2)];
      world.Locate({&output}, workers[random.Below(workers.size())]);
    };
    const auto act = [&](bool healthy) {
      while (checked < world.checks_.size()) {
        const bool ok = healthy || random.Below(2) == 0;
        world.Step(fetch::LocalChecked{
            world.checks_[checked].check,
            ok ? absl::OkStatus() : absl::NotFoundError("no")});
        ++checked;
      }
      if (world.wires_.empty()) {
        world.Pass(absl::Milliseconds(100 + random.Below(5000)));
        return;
      }
      auto it = world.wires_.begin();
      std::advance(it, random.Below(world.wires_.size()));
      const TransferId id = it->first;
      FetchWorld::Wire& wire = it->second;
      if (wire.cancelled && random.Below(2) == 0) {
        world.End(id, absl::CancelledError("cancelled"));
        return;
      }
      const TestOutput& output = world.OutputOf(wire);
      const uint64_t dice = healthy ? 99 : random.Below(100);
      if (dice < 8) {
        world.End(id, kCut);
      } else if (dice < 10) {
        world.End(id, absl::NotFoundError("no"));
      } else if (dice < 12) {
        world.End(id, absl::ResourceExhaustedError("busy"));
      } else if (dice < 14) {
        world.SendBytes(wire, output, 5000, random.Below(2000));
      } else if (dice < 16) {
        world.Pass(absl::Seconds(16));
      } else if (dice < 18 && !wire.header_sent) {
        world.SendHeader(wire, outputs[random.Below(outputs.size())]);
      } else if (dice < 22) {
        announce(static_cast<uint32_t>(random.Below(kMaps)));
      } else if (dice < 23) {
        world.Lose(outputs[random.Below(outputs.size())]);
      } else if (random.Below(3) == 0) {
        world.Complete(id);
      } else {
        world.SendBytes(wire, output, random.Below(1500));
      }
    };
    for (uint32_t map = 0; map < kMaps; ++map) announce(map);
    for (int i = 0; i < 300 && world.ready_.size() < 3; ++i) act(false);
    for (uint32_t map = 0; map < kMaps; ++map) announce(map);
    for (int i = 0; i < 5000 && world.ready_.size() < 3; ++i) {
      // What was reported is announced again, as a leader would.
      if (i % 100 == 99) {
        for (uint32_t map = 0; map < kMaps; ++map) announce(map);
      }
      act(true);
    }
    ASSERT_EQ(world.ready_.size(), 3);
    EXPECT_TRUE(world.aborted_.empty());
    for (const fetch::Ready& ready : world.ready_) {
      const uint32_t partition = reduces.at(ready.attempt);
      ASSERT_EQ(ready.maps.size(), kMaps);
      for (const fetch::ReadyMap& map : ready.maps) {
        const TestOutput& output = *world.outputs_.at(map.uid);
        EXPECT_EQ(output.identity.map_index, map.map_index);
        if (map.path.empty()) {
          ASSERT_EQ(world.Section(ready.attempt, map),
                    output.partition(partition));
        }
      }
    }
    EXPECT_LE(world.core_.memory_used(), options.memory_bytes);
    for (const auto& [attempt, partition] : reduces) {
      world.Step(fetch::Cancel{attempt});
    }
    world.CompleteAll();
    EXPECT_EQ(world.core_.memory_used(), 0);
    EXPECT_EQ(world.core_.transfers(), 0);
    EXPECT_EQ(world.core_.next_wake(), absl::InfiniteDuration());
  }
}

}  // namespace
}  // namespace millrace::worker
