// Fetcher and server over real ports, with real map output files.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "rpc/credentials.h"
#include "worker/shuffle/grpc_transport.h"
#include "worker/shuffle/shuffle_fetcher.h"
#include "worker/shuffle/testing/recording_observer.h"
#include "worker/shuffle/testing/served_spool.h"

namespace millrace::worker {
namespace {

constexpr uint32_t kMaps = 6;

class EndToEndTest : public testing::Test {
 protected:
  EndToEndTest() {
    for (uint32_t map = 0; map < kMaps; ++map) {
      TestOutputOptions options;
      options.map_index = map;
      options.records = 2000;
      options.block_bytes = 4096;
      options.codec = map % 2 == 0 ? engine::Codec::kLz4 : engine::Codec::kNone;
      outputs_.push_back(MakeTestOutput(options));
    }
    FetchOptions options;
    options.host_id = "here";
    options.spool_dir = dir_ / "spool";
    options.retry = {absl::Milliseconds(5), absl::Milliseconds(50), 2.0};
    options.report = {absl::Milliseconds(50), absl::Milliseconds(50), 2.0};
    transport_ = MakeGrpcTransport(rpc::LoopbackCredentials(), Clock::Real());
    fetcher_ = MakeFetcher(options, Clock::Real(), FileSystem::Posix(),
                           Random::Seeded(1), *transport_);
    fetcher_->Start(observer_);
    fetcher_->SetIncarnation(TestId<WorkerIncarnation>(99));
  }

  void Locate(ServedSpool& spool, uint64_t worker,
              const std::vector<TestOutput>& outputs) {
    fetcher_->UpdateLocations(LocationsOf(
        outputs, TestId<WorkerIncarnation>(worker), spool.address()));
  }
  void StartReduce(uint32_t partition) {
    const std::string directory = dir_ / Cat("r", partition);
    ASSERT_TRUE(FileSystem::Posix().MakeDirectory(directory).ok());
    fetcher_->StartReduce(ReduceOf(partition, partition, kMaps, directory));
  }
  void ExpectReady(uint32_t partition) {
    const auto ready = observer_.AwaitReady(1);
    ASSERT_EQ(ready.size(), 1);
    for (uint32_t map = 0; map < kMaps; ++map) {
      EXPECT_EQ(BytesOf(ready[0].map_outputs[map]),
                outputs_[map].partition(partition));
    }
  }

  TempDir dir_;
  std::vector<TestOutput> outputs_;
  ServedSpool a_, b_;
  std::unique_ptr<FetchTransport> transport_;
  RecordingObserver observer_;
  std::unique_ptr<Fetcher> fetcher_;
};

TEST_F(EndToEndTest, BringsPartitionsFromTwoWorkers) {
  StartReduce(1);
  for (uint32_t map = 0; map < kMaps; ++map) {
    ServedSpool& spool = map < 2 ? a_ : b_;
    spool.Hold(outputs_[map]);
    Locate(spool, map < 2 ? 1 : 2, {outputs_[map]});
  }
  ExpectReady(1);
  EXPECT_TRUE(observer_.failed().empty());
}

// Calls for many sections, among which some are missing, damaged or another's.
TEST_F(EndToEndTest, WhatIsWrongWithSomeOfManyIsReportedAndTheRestComes) {
  outputs_.clear();
  for (uint32_t map = 0; map < 200; ++map) {
    TestOutputOptions options;
    options.map_index = map;
    options.records = map % 40 == 0 ? 20'000 : 20;
    if (map % 7 == 3) options.empty_partitions = {1};
    outputs_.push_back(MakeTestOutput(options));
    std::string file = outputs_[map].file;
    if (map == 50) continue;
    if (map == 70) file[outputs_[70].summary.partitions[1].offset + 300] ^= 1;
    if (map == 90) file[file.size() - 100] ^= 1;
    a_.Hold(outputs_[map], map == 110 ? outputs_[109].file : file);
  }
  const std::string directory = dir_ / "many";
  ASSERT_TRUE(FileSystem::Posix().MakeDirectory(directory).ok());
  fetcher_->StartReduce(ReduceOf(1, 1, 200, directory));
  Locate(a_, 1, outputs_);
  std::set<uint32_t> gone;
  for (const FetchFailed& failed : observer_.AwaitFailed(4)) {
    EXPECT_TRUE(failed.gone) << failed.message;
    gone.insert(failed.map_index);
  }
  EXPECT_EQ(gone, (std::set<uint32_t>{50, 70, 90, 110}));
  for (const uint32_t map : gone) {
    b_.Hold(outputs_[map]);
    Locate(b_, 2, {outputs_[map]});
  }
  const auto ready = observer_.AwaitReady(1);
  ASSERT_EQ(ready.size(), 1);
  uint64_t bytes = 0;
  for (uint32_t map = 0; map < 200; ++map) {
    const std::string expected = outputs_[map].partition(1);
    EXPECT_TRUE(BytesOf(ready[0].map_outputs[map]) == expected) << map;
    bytes += expected.size();
  }
  // What was good has come once; 70 twice up to its damaged block's end.
  EXPECT_LE(observer_.progress().back().fetched_bytes,
            bytes + 2 * outputs_[70].partition(1).size());
}

TEST_F(EndToEndTest, AFlippedBitInABlockIsFoundHereAndReportedAsGone) {
  std::string file = outputs_[3].file;
  file[outputs_[3].summary.partitions[1].offset + 1000] ^= 1;
  for (const TestOutput& output : outputs_) a_.Hold(output);
  a_.Hold(outputs_[3], file);
  StartReduce(1);
  Locate(a_, 1, outputs_);
  const auto failed = observer_.AwaitFailed(1);
  ASSERT_EQ(failed.size(), 1);
  EXPECT_TRUE(failed[0].gone);
  EXPECT_EQ(failed[0].map_index, 3);
  EXPECT_NE(failed[0].message.find("block"), std::string::npos)
      << failed[0].message;
  // The leader finds another place.
  b_.Hold(outputs_[3]);
  Locate(b_, 2, {outputs_[3]});
  ExpectReady(1);
}

TEST_F(EndToEndTest, ADamagedIndexATruncatedAndADeletedFileAreGone) {
  a_.Hold(outputs_[0]);
  std::string file = outputs_[1].file;
  file[file.size() - 100] ^= 1;
  a_.Hold(outputs_[1], file);
  a_.Hold(outputs_[2], outputs_[2].file.substr(0, 5000));
  StartReduce(0);
  Locate(a_, 1, outputs_);
  const auto failed = observer_.AwaitFailed(5);
  ASSERT_EQ(failed.size(), 5);
  for (const FetchFailed& one : failed) {
    EXPECT_TRUE(one.gone) << one.message;
    EXPECT_NE(one.map_index, 0);
  }
  for (const TestOutput& output : outputs_) b_.Hold(output);
  Locate(b_, 2, outputs_);
  ExpectReady(0);
}

TEST_F(EndToEndTest, OutputsOfTheWrongAttemptAreNotTaken) {
  // The holder has another attempt's file in this one's place.
  TestOutputOptions options;
  options.seed = 2;
  options.map_index = 0;
  const TestOutput other = MakeTestOutput(options);
  a_.Hold(outputs_[0], other.file);
  StartReduce(0);
  Locate(a_, 1, {outputs_[0]});
  const auto failed = observer_.AwaitFailed(1);
  ASSERT_EQ(failed.size(), 1);
  EXPECT_TRUE(failed[0].gone);
}

TEST_F(EndToEndTest, AHolderThatRestartsIsComeBackTo) {
  for (const TestOutput& output : outputs_) a_.Hold(output);
  const std::string address = a_.address();
  a_.server_.reset();
  StartReduce(2);
  Locate(a_, 1, outputs_);  // Dials the old address.
  EXPECT_FALSE(observer_.AwaitFailed(1)[0].gone);
  auto server = rpc::Server::Start(rpc::LoopbackCredentials(), address,
                                   {a_.shuffle_.service()});
  ASSERT_TRUE(server.ok()) << server.status();
  a_.server_ = *std::move(server);
  ExpectReady(2);
}

TEST_F(EndToEndTest, AnAddressOffLoopbackIsNotDialled) {
  proto::Locations locations =
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "10.1.2.3:5");
  StartReduce(0);
  fetcher_->UpdateLocations(locations);
  const auto failed = observer_.AwaitFailed(1);
  ASSERT_GE(failed.size(), 1);
  EXPECT_FALSE(failed[0].gone);
  EXPECT_NE(failed[0].message.find("needs TLS"), std::string::npos);
}

TEST_F(EndToEndTest, EndsInTheMiddleOfTransfers) {
  TestOutputOptions large;
  large.num_partitions = 3;
  large.records = 100'000;
  outputs_[0] = MakeTestOutput(large);
  a_.Hold(outputs_[0]);
  StartReduce(0);
  Locate(a_, 1, {outputs_[0]});
  EXPECT_FALSE(observer_.AwaitProgress(1).empty());
  fetcher_.reset();
}

}  // namespace
}  // namespace millrace::worker
