// Transfers: what arrives, what does not, and what is tried again.
#include "worker/shuffle/fetch_core.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "worker/shuffle/testing/fetch_world.h"

namespace millrace::worker {
namespace {

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
    EXPECT_TRUE(first.section().want_index);
    world.SendBytes(first, output, cut);
    world.End(first.start.transfer, kCut);
    world.Pass(absl::Seconds(1));
    const FetchWorld::Wire& second = world.Only();
    EXPECT_EQ(second.section().offset, cut);
    EXPECT_FALSE(second.section().want_index);
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
    EXPECT_EQ(world.Only().section().offset, 0);  // Nothing of it counts.
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
    world.Refuse(world.Only(), status);
    world.CompleteAll();
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
  EXPECT_EQ(world.Only().section().offset, 200);
  world.CompleteAll();
  ExpectReady(world, reduce, 0, {&output});
}

}  // namespace
}  // namespace millrace::worker
