// What the fetcher takes: connections, memory, indexes; and how it lets go.
#include "worker/shuffle/fetch_core.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "worker/shuffle/testing/fetch_world.h"

namespace millrace::worker {
namespace {

using fetch::TransferEnded;

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
  EXPECT_TRUE(world.Only().section().want_index);
  world.SendHeader(world.Only(), output);
  EXPECT_EQ(world.wires_.size(), 2);
  world.CompleteAll();
  world.StartReduce(0, 1);
  world.CompleteAll();
  EXPECT_EQ(world.ready_.size(), 4);
  EXPECT_EQ(world.IndexesAskedFor(), 1);
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
  EXPECT_TRUE(world.started_[1].sections[0].want_index);
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
  EXPECT_TRUE(world.Only().over());
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
  options.index_rows_max = 18;  // Of two outputs.
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
  EXPECT_GT(world.IndexesAskedFor(), 4);
}

// What is kept does not grow with the jobs that have been.
TEST(FetchCore, IndexesOfAJobGoWithIt) {
  FetchWorld world;
  const TestOutput output = Output(0);
  const auto worker = world.AddWorker(1);
  world.Locate({&output}, worker);
  for (const bool forget_first : {true, false}) {
    std::vector<AttemptUid> reduces = {world.StartReduce(0, 1)};
    EXPECT_TRUE(world.Only().section().want_index);
    world.CompleteAll();
    reduces.push_back(world.StartReduce(1, 1));
    EXPECT_FALSE(world.Only().section().want_index);
    world.CompleteAll();
    if (forget_first) world.Step(fetch::ForgetJob{output.identity.job});
    for (const AttemptUid& reduce : reduces) world.Step(fetch::Cancel{reduce});
    if (!forget_first) world.Step(fetch::ForgetJob{output.identity.job});
    world.Locate({&output}, worker);
  }
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

}  // namespace
}  // namespace millrace::worker
