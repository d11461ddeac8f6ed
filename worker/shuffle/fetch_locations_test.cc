// Where map outputs are: here, there, elsewhere, nowhere.
#include "worker/shuffle/fetch_core.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/strings.h"
#include "worker/shuffle/testing/fetch_world.h"
#include "worker/spool/layout.h"

namespace millrace::worker {
namespace {

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
  EXPECT_EQ(world.wires_.rbegin()->second.section().offset, 0);
  world.Complete(world.wires_.rbegin()->first);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&now});
}

TEST(FetchCore, BytesOfOneAttemptAreNeverContinuedWithThoseOfAnother) {
  FetchWorld world;
  const TestOutput old = Output(0, 1), now = Output(0, 2);
  world.Locate({&old}, world.AddWorker(1));
  const AttemptUid reduce = world.StartReduce(0, 1);
  world.SendBytes(world.Only(), old, 500);
  world.End(world.Only().start.transfer, kCut);
  world.Locate({&now}, world.AddWorker(2));
  EXPECT_EQ(world.Only().section().offset, 0);
  EXPECT_TRUE(world.Only().section().want_index);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&now});
  EXPECT_EQ(world.started_.size(), 2);
}

// What an earlier leader said may be of an epoch that is over.
TEST(FetchCore, AReduceDoesNotBeginWithLocationsOfAnEarlierStream) {
  FetchWorld world;
  const TestOutput old = Output(0, 1), now = Output(0, 2);
  const auto w1 = world.AddWorker(1);
  world.Locate({&old}, w1);
  world.Step(fetch::ForgetLocations{});
  const AttemptUid reduce = world.StartReduce(0, 1);
  EXPECT_TRUE(world.wires_.empty());
  world.Locate({&now}, w1);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&now});
}

TEST(FetchCore, RoomOfATransferThatWasLeftIsUsedAgain) {
  FetchWorld world;
  const TestOutput first = Output(0, 1), second = Output(0, 2);
  const auto w1 = world.AddWorker(1);
  world.Locate({&first}, w1);
  world.StartReduce(0, 1);
  world.SendBytes(world.Only(), first, 500);
  const uint64_t used = world.core_.memory_used();
  for (int i = 0; i < 10; ++i) {
    // Lost in the middle; then it, or another of its length, is there again.
    world.Lose(first);
    world.CompleteAll();
    world.Locate({&first}, w1);
    world.SendBytes(world.Only(), first, 500);
  }
  EXPECT_EQ(world.core_.memory_used(), used);
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
  EXPECT_EQ(world.Only().section().offset, 123);
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
  EXPECT_EQ(world.Only().section().identity.map_index, 1);
  world.CompleteAll();
  ASSERT_EQ(world.ready_.size(), 1);
  EXPECT_EQ(world.ready_[0].maps[0].path, world.checks_[0].path);
  EXPECT_EQ(world.ready_[0].maps[1].path, "");
  EXPECT_EQ(world.Section(reduce, world.ready_[0].maps[1]), b.partition(0));
}

// Every thousandth worker is of this host; all outputs are come by, each once.
TEST(FetchCore, OfAThousandHostsThisOneIsReadInPlaceAndTheOthersOnceEach) {
  constexpr int kWorkers = 1000;
  FetchWorld world;
  std::vector<TestOutput> outputs;
  for (uint32_t i = 0; i < kWorkers; ++i) outputs.push_back(Output(i));
  const AttemptUid reduce = world.StartReduce(0, kWorkers);
  for (int i = 0; i < kWorkers; ++i) {
    const bool here = i % 250 == 7;
    world.Locate({&outputs[static_cast<size_t>(i)]},
                 world.AddWorker(i, here ? "here" : Cat("far", i)));
  }
  ASSERT_EQ(world.checks_.size(), 4);
  for (const fetch::CheckLocal& check : std::vector(world.checks_)) {
    world.Step(fetch::LocalChecked{check.check, absl::OkStatus()});
  }
  world.CompleteAll();
  ASSERT_EQ(world.ready_.size(), 1);
  EXPECT_EQ(world.ready_[0].attempt, reduce);
  ASSERT_EQ(world.ready_[0].maps.size(), kWorkers);
  for (const fetch::ReadyMap& map : world.ready_[0].maps) {
    EXPECT_EQ(map.path.empty(), map.map_index % 250 != 7) << map.map_index;
  }
  EXPECT_EQ(world.started_.size(), kWorkers - 4);
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

}  // namespace
}  // namespace millrace::worker
