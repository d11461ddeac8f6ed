// The fetcher's threads and files, over a transport in memory.
#include "worker/shuffle/shuffle_fetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock.h"
#include "tests/testing/temp_dir.h"
#include "worker/shuffle/testing/recording_observer.h"
#include "worker/spool/layout.h"

namespace millrace::worker {
namespace {

// Holders in memory, with faults by dice.
class MemoryTransport final : public FetchTransport {
 public:
  void Hold(const std::vector<TestOutput>& outputs) {
    for (const TestOutput& output : outputs) {
      held_[std::string(output.identity.attempt.bytes())] = output;
    }
  }

  std::unique_ptr<FetchStream> Open(
      const std::string& address, const proto::FetchRequest& request) override {
    ++opened;
    return std::make_unique<Stream>(*this, address, request);
  }

  // In percent of slices,
  int cuts = 0;
  int stalls = 0;
  // and of pieces.
  int damages = 0;
  int refusals = 0;
  bool all_stall = false;
  std::atomic<int> opened{0};

 private:
  class Stream final : public FetchStream {
   public:
    Stream(MemoryTransport& transport, const std::string& address,
           const proto::FetchRequest& request)
        : transport_(transport),
          request_(request),
          dice_(Random::Seeded(static_cast<uint64_t>(transport.opened))) {
      if (address == "nobody:1") status_ = absl::UnavailableError("refused");
    }

    bool Read(proto::FetchSlice* slice) override {
      slice->Clear();
      if (!status_.ok() || cancelled_.HasBeenNotified()) return false;
      if (Roll(transport_.cuts)) {
        status_ = absl::UnavailableError("cut");
        return false;
      }
      if (transport_.all_stall || Roll(transport_.stalls)) {
        cancelled_.WaitForNotification();
        return false;
      }
      // One piece or several, of one section or several.
      do {
        if (section_ == request_.sections_size()) break;
        AddPiece(slice);
      } while (dice_->Uniform(3) > 0);
      return slice->pieces_size() > 0;
    }
    absl::Status Finish() override {
      if (cancelled_.HasBeenNotified()) return absl::CancelledError("");
      return status_;
    }
    void Cancel() override {
      if (!told_.exchange(true)) cancelled_.Notify();
    }

   private:
    bool Roll(int percent) {
      return dice_->Uniform(100) < static_cast<uint64_t>(percent);
    }
    void AddPiece(proto::FetchSlice* slice) {
      const auto& asked = request_.sections(section_);
      proto::FetchPiece* piece = slice->add_pieces();
      const auto it = transport_.held_.find(asked.attempt_uid());
      if (it == transport_.held_.end() || Roll(transport_.refusals)) {
        const bool held = it != transport_.held_.end();
        piece->mutable_refusal()->set_code(static_cast<uint32_t>(
            held ? absl::StatusCode::kInternal : absl::StatusCode::kNotFound));
        piece->mutable_refusal()->set_message("no");
        return NextSection();
      }
      const TestOutput& output = it->second;
      const std::string bytes = output.partition(request_.partition());
      if (first_) {
        offset_ = asked.offset();
        *piece->mutable_header() =
            output.header(request_.partition(), asked.want_index());
      }
      first_ = false;
      piece->set_offset(offset_);
      piece->set_data(bytes.substr(offset_, 1 + dice_->Uniform(700)));
      offset_ += piece->data().size();
      if (!piece->data().empty() && Roll(transport_.damages)) {
        (*piece->mutable_data())[0] ^= 1;
      }
      if (offset_ == bytes.size()) NextSection();
    }
    void NextSection() {
      ++section_;
      first_ = true;
    }

    MemoryTransport& transport_;
    const proto::FetchRequest request_;
    int section_ = 0;
    uint64_t offset_ = 0;
    bool first_ = true;
    absl::Status status_;
    const std::unique_ptr<Random> dice_;
    std::atomic<bool> told_{false};
    absl::Notification cancelled_;
  };

  std::map<std::string, TestOutput> held_;
};

class ShuffleFetcherTest : public testing::Test {
 protected:
  ShuffleFetcherTest() {
    options_.host_id = "here";
    options_.spool_dir = dir_ / "spool";
    options_.idle_limit = absl::Milliseconds(300);
    options_.retry = {absl::Milliseconds(1), absl::Milliseconds(5), 2.0};
    options_.report = {absl::Milliseconds(5), absl::Milliseconds(20), 2.0};
    for (uint32_t map = 0; map < 12; ++map) {
      TestOutputOptions output;
      output.map_index = map;
      outputs_.push_back(MakeTestOutput(output));
    }
    transport_.Hold(outputs_);
  }

  void MakeIt() {
    fetcher_ = MakeFetcher(options_, Clock::Real(), FileSystem::Posix(),
                           Random::Seeded(3), transport_);
    fetcher_->Start(observer_);
    fetcher_->SetIncarnation(TestId<WorkerIncarnation>(99));
  }

  // A directory for a reduce attempt.
  std::string Directory(const std::string& name) {
    const std::string path = dir_ / name;
    EXPECT_TRUE(FileSystem::Posix().MakeDirectory(path).ok());
    return path;
  }

  void ExpectRight(const InputReady& input, uint32_t partition) {
    ASSERT_EQ(input.map_outputs.size(), outputs_.size());
    for (size_t map = 0; map < outputs_.size(); ++map) {
      const proto::MapOutputRef& ref = input.map_outputs[map];
      EXPECT_EQ(ref.map_index(), map);
      EXPECT_EQ(ref.attempt_uid(), outputs_[map].identity.attempt.bytes());
      EXPECT_EQ(BytesOf(ref), outputs_[map].partition(partition));
    }
  }

  TempDir dir_;
  FetchOptions options_;
  std::vector<TestOutput> outputs_;
  MemoryTransport transport_;
  RecordingObserver observer_;
  std::unique_ptr<Fetcher> fetcher_;
};

TEST_F(ShuffleFetcherTest, BringsEverythingIntoMemory) {
  MakeIt();
  fetcher_->StartReduce(ReduceOf(1, 2, 12, Directory("r")));
  fetcher_->UpdateLocations(
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "w1:1"));
  const auto ready = observer_.AwaitReady(1);
  ASSERT_EQ(ready.size(), 1);
  ExpectRight(ready[0], 2);
  EXPECT_EQ(ready[0].map_outputs[0].path().substr(0, 6), "/proc/");
  EXPECT_TRUE(dir_.Names("r").empty());
  EXPECT_EQ(observer_.progress().back().fetched_maps, 12);
}

TEST_F(ShuffleFetcherTest, BringsEverythingToDisk) {
  options_.memory_bytes = 0;
  MakeIt();
  fetcher_->StartReduce(ReduceOf(1, 0, 12, Directory("r")));
  fetcher_->UpdateLocations(
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "w1:1"));
  const auto ready = observer_.AwaitReady(1);
  ASSERT_EQ(ready.size(), 1);
  ExpectRight(ready[0], 0);
  EXPECT_EQ(ready[0].map_outputs[0].path(), dir_ / "r/fetch-sections");
}

TEST_F(ShuffleFetcherTest, MemoryIsGivenBackWhenTheAttemptEnds) {
  MakeIt();
  fetcher_->StartReduce(ReduceOf(1, 0, 12, Directory("r")));
  fetcher_->UpdateLocations(
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "w1:1"));
  const auto ready = observer_.AwaitReady(1);
  ASSERT_EQ(ready.size(), 1);
  const std::string path = ready[0].map_outputs[0].path();
  EXPECT_TRUE(FileSystem::Posix().Stat(path).ok());
  fetcher_->Cancel(ready[0].attempt);
  // Soon, by another thread.
  const absl::Duration end = Clock::Real().Monotonic() + absl::Seconds(30);
  while (FileSystem::Posix().Stat(path).ok()) {
    ASSERT_LT(Clock::Real().Monotonic(), end);
    std::this_thread::yield();
  }
}

TEST_F(ShuffleFetcherTest, WithoutSpaceTheAttemptIsAborted) {
  options_.memory_bytes = 0;
  MakeIt();
  fetcher_->StartReduce(ReduceOf(1, 0, 12, dir_ / "no/such/directory"));
  fetcher_->UpdateLocations(
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "w1:1"));
  EXPECT_EQ(observer_.AwaitAborted(1).size(), 1);
}

TEST_F(ShuffleFetcherTest, ComesThroughCutsDamageAndStalls) {
  transport_.cuts = 8;
  transport_.damages = 1;
  transport_.stalls = 1;
  transport_.refusals = 1;
  MakeIt();
  for (uint32_t partition = 0; partition < 3; ++partition) {
    fetcher_->StartReduce(
        ReduceOf(partition, partition, 12, Directory(Cat("r", partition))));
  }
  const auto locations =
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "w1:1");
  fetcher_->UpdateLocations(locations);
  // What was damaged twice waits for the leader, who names it again here.
  std::atomic<bool> done{false};
  std::thread leader([&] {
    size_t seen = 0;
    while (!done) {
      const size_t now = observer_.failed().size();
      if (now != seen) fetcher_->UpdateLocations(locations);
      seen = now;
      std::this_thread::yield();
    }
  });
  const auto ready = observer_.AwaitReady(3);
  done = true;
  leader.join();
  ASSERT_EQ(ready.size(), 3);
  for (const InputReady& input : ready) {
    for (uint32_t partition = 0; partition < 3; ++partition) {
      if (input.attempt == ReduceOf(partition, 0, 0, "").attempt) {
        ExpectRight(input, partition);
      }
    }
  }
}

TEST_F(ShuffleFetcherTest, AHolderOutOfReachIsReported) {
  MakeIt();
  fetcher_->UpdateLocations(
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "nobody:1"));
  fetcher_->StartReduce(ReduceOf(1, 0, 12, Directory("r")));
  const auto failed = observer_.AwaitFailed(12);
  ASSERT_GE(failed.size(), 12);
  EXPECT_FALSE(failed[0].gone);
  EXPECT_EQ(failed[0].message, "from nobody:1: refused");
}

TEST_F(ShuffleFetcherTest, LocalFilesAreUsedInPlace) {
  for (const TestOutput& output : outputs_) {
    const bool own = output.identity.map_index < 6;
    const std::string relative =
        MapOutputPath(own ? "spool" : "other-spool", output.identity.job,
                      output.identity.attempt);
    std::string bytes = output.file;
    if (output.identity.map_index == 7) bytes[bytes.size() - 40] ^= 1;
    dir_.Write(relative, bytes);
  }
  MakeIt();
  const std::vector<TestOutput> own(outputs_.begin(), outputs_.begin() + 6);
  const std::vector<TestOutput> other(outputs_.begin() + 6, outputs_.end());
  fetcher_->UpdateLocations(
      LocationsOf(own, TestId<WorkerIncarnation>(99), "w0:1"));
  fetcher_->UpdateLocations(LocationsOf(other, TestId<WorkerIncarnation>(1),
                                        "w1:1", "here", dir_ / "other-spool"));
  fetcher_->StartReduce(ReduceOf(1, 1, 12, Directory("r")));
  const auto ready = observer_.AwaitReady(1);
  ASSERT_EQ(ready.size(), 1);
  for (const proto::MapOutputRef& ref : ready[0].map_outputs) {
    const TestOutput& output = outputs_[ref.map_index()];
    // The damaged one came over the network instead.
    EXPECT_EQ(ref.has_section(), ref.map_index() == 7) << ref.map_index();
    if (ref.has_section()) {
      EXPECT_EQ(BytesOf(ref), output.partition(1));
    } else {
      EXPECT_EQ(ref.path(),
                MapOutputPath(
                    ref.map_index() < 6 ? dir_ / "spool" : dir_ / "other-spool",
                    output.identity.job, output.identity.attempt));
    }
  }
  EXPECT_EQ(transport_.opened, 1);
}

TEST_F(ShuffleFetcherTest, EndsWhileTransfersHang) {
  transport_.all_stall = true;
  MakeIt();
  fetcher_->UpdateLocations(
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "w1:1"));
  fetcher_->StartReduce(ReduceOf(1, 0, 12, Directory("r")));
  while (transport_.opened == 0) std::this_thread::yield();
  fetcher_.reset();
}

TEST_F(ShuffleFetcherTest, AttemptsComeAndGo) {
  transport_.cuts = 5;
  MakeIt();
  fetcher_->UpdateLocations(
      LocationsOf(outputs_, TestId<WorkerIncarnation>(1), "w1:1"));
  const std::string directory = Directory("r");
  for (uint64_t i = 0; i < 200; ++i) {
    const ReduceInput input =
        ReduceOf(i, static_cast<uint32_t>(i % 3), 12, directory);
    fetcher_->StartReduce(input);
    if (i % 4 != 0) fetcher_->Cancel(input.attempt);
  }
  const auto ready = observer_.AwaitReady(50);
  EXPECT_GE(ready.size(), 50);
}

}  // namespace
}  // namespace millrace::worker
