#include "raft/single/single_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"
#include "common/strings.h"
#include "raft/log/testing/sim_disk.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// Keeps what it is told, and checks the order in which it is told.
class RecordingSink final : public LogSink {
 public:
  void OnCommitted(std::vector<CommittedEntry> entries) override {
    absl::MutexLock lock(&mu_);
    ASSERT_FALSE(entries.empty());
    for (CommittedEntry& entry : entries) {
      ASSERT_EQ(entry.index, entries_.size() + 1);
      if (!entries_.empty()) {
        ASSERT_GE(entry.term, entries_.back().term);
      }
      if (term_ == 0) {
        ++replayed_;
      } else {
        ASSERT_EQ(entry.term, term_);
      }
      entries_.push_back(std::move(entry));
    }
    ++batches_;
  }
  void OnLeading(uint64_t term) override {
    absl::MutexLock lock(&mu_);
    ASSERT_EQ(term_, 0u) << "leads twice";
    term_ = term;
  }
  void OnFollowing(uint64_t, std::string) override {
    FAIL() << "a group of one always leads";
  }

  uint64_t WaitUntilLeading() {
    absl::MutexLock lock(&mu_);
    const auto leading = [this] { return term_ != 0; };
    EXPECT_TRUE(
        mu_.AwaitWithTimeout(absl::Condition(&leading), absl::Seconds(60)));
    return term_;
  }
  std::vector<std::string> WaitFor(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] { return entries_.size() >= count; };
    EXPECT_TRUE(
        mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(60)));
    std::vector<std::string> payloads;
    for (const CommittedEntry& entry : entries_) {
      payloads.push_back(entry.payload);
    }
    return payloads;
  }
  size_t count() {
    absl::MutexLock lock(&mu_);
    return entries_.size();
  }
  size_t replayed() {
    absl::MutexLock lock(&mu_);
    return replayed_;
  }
  size_t batches() {
    absl::MutexLock lock(&mu_);
    return batches_;
  }

 private:
  absl::Mutex mu_;
  uint64_t term_ ABSL_GUARDED_BY(mu_) = 0;
  size_t replayed_ ABSL_GUARDED_BY(mu_) = 0;
  size_t batches_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<CommittedEntry> entries_ ABSL_GUARDED_BY(mu_);
};

// Waits for the error that ends a process.
class FatalError {
 public:
  std::function<void(const absl::Status&)> handler() {
    return [this](const absl::Status& status) {
      absl::MutexLock lock(&mu_);
      ++count_;
      status_ = status;
    };
  }
  absl::Status Wait() {
    absl::MutexLock lock(&mu_);
    const auto told = [this] { return count_ > 0; };
    EXPECT_TRUE(
        mu_.AwaitWithTimeout(absl::Condition(&told), absl::Seconds(60)));
    return status_;
  }
  int count() {
    absl::MutexLock lock(&mu_);
    return count_;
  }

 private:
  absl::Mutex mu_;
  int count_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

SingleLogOptions SmallOptions() {
  SingleLogOptions options;
  options.directory = "/data";
  options.segment_bytes = 8192;
  options.free_bytes_min = 1000;
  options.retry_interval = absl::Milliseconds(1);
  return options;
}

std::unique_ptr<SingleLog> MustOpen(const SingleLogOptions& options, Disk& disk,
                                    LogSink& sink, uint64_t seed = 1) {
  const auto random = Random::Seeded(seed);
  auto log = OpenSingleLog(options, disk, *random, sink);
  EXPECT_TRUE(log.ok()) << log.status();
  return log.ok() ? *std::move(log) : nullptr;
}

TEST(SingleLogTest, CommitsInOrder) {
  SimDisk disk;
  RecordingSink sink;
  const auto log = MustOpen(SmallOptions(), disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  EXPECT_TRUE(log->Propose(1, {"a", "b"}).ok());
  EXPECT_TRUE(log->Propose(1, {}).ok());
  EXPECT_TRUE(log->Propose(1, {"", "c"}).ok());
  EXPECT_THAT(sink.WaitFor(4), ElementsAre("a", "b", "", "c"));
}

TEST(SingleLogTest, EachStartLeadsANewTermAndReplaysTheLog) {
  SimDisk disk;
  std::vector<std::string> expected;
  LogIdentity identity;
  for (uint64_t start = 1; start <= 5; ++start) {
    RecordingSink sink;
    const auto log = MustOpen(SmallOptions(), disk, sink, start);
    ASSERT_EQ(sink.WaitUntilLeading(), start);
    EXPECT_EQ(sink.replayed(), expected.size());
    if (start == 1) identity = log->identity();
    EXPECT_EQ(log->identity(), identity);
    EXPECT_FALSE(identity.cluster.is_zero());
    for (int i = 0; i < 20; ++i) {
      expected.push_back(
          Cat("start ", start, " entry ", i, std::string(200, 'x')));
      ASSERT_TRUE(log->Propose(start, {expected.back()}).ok());
    }
    EXPECT_EQ(sink.WaitFor(expected.size()), expected);
  }
}

// Cuts the power in the very moment it is told something.
class PowerCuttingSink final : public LogSink {
 public:
  struct Cut {
    std::unique_ptr<SimDisk> disk;
    uint64_t term = 0;
    std::vector<std::string> payloads;  // Handed over until then.
  };

  explicit PowerCuttingSink(SimDisk& disk) : disk_(disk) {}

  void OnCommitted(std::vector<CommittedEntry> entries) override {
    absl::MutexLock lock(&mu_);
    for (CommittedEntry& entry : entries) {
      payloads_.push_back(std::move(entry.payload));
    }
    cuts_.push_back({disk_.AfterPowerCut(SimDisk::LoseAll), term_, payloads_});
  }
  void OnLeading(uint64_t term) override {
    absl::MutexLock lock(&mu_);
    term_ = term;
    cuts_.push_back({disk_.AfterPowerCut(SimDisk::LoseAll), term_, payloads_});
  }
  void OnFollowing(uint64_t, std::string) override {}

  void WaitUntilLeading() {
    absl::MutexLock lock(&mu_);
    const auto leading = [this] { return term_ != 0; };
    mu_.Await(absl::Condition(&leading));
  }
  void WaitFor(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] { return payloads_.size() >= count; };
    mu_.Await(absl::Condition(&enough));
  }
  // After the log has stopped.
  std::vector<Cut> TakeCuts() {
    absl::MutexLock lock(&mu_);
    return std::move(cuts_);
  }

 private:
  SimDisk& disk_;
  absl::Mutex mu_;
  uint64_t term_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::string> payloads_ ABSL_GUARDED_BY(mu_);
  std::vector<Cut> cuts_ ABSL_GUARDED_BY(mu_);
};

TEST(SingleLogTest, WhatIsToldSurvivesAPowerCut) {
  SimDisk disk;
  PowerCuttingSink sink(disk);
  std::vector<std::string> expected;
  {
    const auto log = MustOpen(SmallOptions(), disk, sink);
    sink.WaitUntilLeading();
    for (size_t i = 0; i < 60; ++i) {
      expected.push_back(Cat("entry ", i, std::string(i * 20, 'x')));
      ASSERT_TRUE(log->Propose(1, {expected.back()}).ok());
      if (i % 3 == 2) sink.WaitFor(i + 1);
    }
  }
  const auto cuts = sink.TakeCuts();
  ASSERT_GE(cuts.size(), 20u);
  for (const PowerCuttingSink::Cut& cut : cuts) {
    RecordingSink again;
    const auto log = MustOpen(SmallOptions(), *cut.disk, again);
    // The term that it led is not led twice.
    ASSERT_EQ(again.WaitUntilLeading(), cut.term + 1);
    ASSERT_GE(again.replayed(), cut.payloads.size());
    const std::vector<std::string> found = again.WaitFor(cut.payloads.size());
    ASSERT_TRUE(
        std::equal(cut.payloads.begin(), cut.payloads.end(), found.begin()));
    ASSERT_LE(found.size(), expected.size());
    ASSERT_TRUE(std::equal(found.begin(), found.end(), expected.begin()));
  }
}

TEST(SingleLogTest, OtherTermsAreRefused) {
  SimDisk disk;
  RecordingSink sink;
  const auto log = MustOpen(SmallOptions(), disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  for (const uint64_t term : {0, 2}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(log->Propose(term, {"x"})));
  }
  EXPECT_TRUE(log->Propose(1, {"y"}).ok());
  EXPECT_THAT(sink.WaitFor(1), ElementsAre("y"));
}

TEST(SingleLogTest, TooLargeIsRefusedWhole) {
  SimDisk disk;
  RecordingSink sink;
  SingleLogOptions options = SmallOptions();
  options.uncommitted_bytes_max = 10'000;
  const auto log = MustOpen(options, disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  // Larger than a segment holds.
  EXPECT_TRUE(absl::IsInvalidArgument(
      log->Propose(1, {"small", std::string(4096, 'x')})));
  // More than may ever wait.
  EXPECT_TRUE(absl::IsInvalidArgument(
      log->Propose(1, std::vector<std::string>(5, std::string(3000, 'x')))));
  // As large as possible.
  EXPECT_TRUE(log->Propose(1, {std::string(3500, 'x')}).ok());
  EXPECT_THAT(sink.WaitFor(1), ElementsAre(SizeIs(3500)));
}

TEST(SingleLogTest, APayloadOfTheFullLengthFitsADefaultSegment) {
  SimDisk disk;
  RecordingSink sink;
  SingleLogOptions options;
  options.directory = "/data";
  const auto log = MustOpen(options, disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(
      log->Propose(1, {std::string(kPayloadBytesMax + 1, 'x')})));
  EXPECT_TRUE(log->Propose(1, {std::string(kPayloadBytesMax, 'x'), "y"}).ok());
  EXPECT_THAT(sink.WaitFor(2), ElementsAre(SizeIs(kPayloadBytesMax), "y"));
}

// A disk that stands still until it is told to go on.
class StuckSink final : public LogSink {
 public:
  void OnCommitted(std::vector<CommittedEntry> entries) override {
    absl::MutexLock lock(&mu_);
    count_ += entries.size();
    mu_.Await(absl::Condition(&open_));
  }
  void OnLeading(uint64_t) override {
    absl::MutexLock lock(&mu_);
    leading_ = true;
  }
  void OnFollowing(uint64_t, std::string) override {}
  void WaitUntilLeading() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&leading_));
  }
  void WaitFor(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] { return count_ >= count; };
    mu_.Await(absl::Condition(&enough));
  }
  void Open() {
    absl::MutexLock lock(&mu_);
    open_ = true;
  }

 private:
  absl::Mutex mu_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
  bool leading_ ABSL_GUARDED_BY(mu_) = false;
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
};

TEST(SingleLogTest, WhatIsNotYetCommittedIsBounded) {
  SimDisk disk;
  StuckSink sink;
  SingleLogOptions options = SmallOptions();
  options.uncommitted_bytes_max = 10'000;
  const auto log = MustOpen(options, disk, sink);
  sink.WaitUntilLeading();
  int accepted = 0;
  absl::Status status;
  while (status.ok() && accepted < 1000) {
    status = log->Propose(1, {std::string(100, 'x')});
    accepted += status.ok() ? 1 : 0;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_GT(accepted, 20);
  EXPECT_LT(accepted, 100);
  sink.Open();
  sink.WaitFor(static_cast<size_t>(accepted));
  // What was refused was not kept; there is room again.
  while (!log->Propose(1, {"y"}).ok()) std::this_thread::yield();
  sink.WaitFor(static_cast<size_t>(accepted) + 1);
}

// While one group is on its way, others gather and go together.
TEST(SingleLogTest, CommitsInGroups) {
  SimDisk disk;
  StuckSink sink;
  SingleLogOptions options = SmallOptions();
  options.segment_bytes = 1 << 20;
  const auto log = MustOpen(options, disk, sink);
  sink.WaitUntilLeading();
  ASSERT_TRUE(log->Propose(1, {"first"}).ok());
  sink.WaitFor(1);
  const uint64_t calls = disk.calls();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(log->Propose(1, {"x"}).ok());
  sink.Open();
  sink.WaitFor(501);
  EXPECT_LE(disk.calls() - calls, 4u);  // A write and a sync; a spare perhaps.
}

TEST(SingleLogTest, FromManyThreads) {
  SimDisk disk;
  RecordingSink sink;
  const auto log = MustOpen(SmallOptions(), disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&log, t] {
      for (int i = 0; i < 200; ++i) {
        EXPECT_TRUE(
            log->Propose(1, {Cat(t, " ", i, " a"), Cat(t, " ", i, " b")}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> all = sink.WaitFor(1600);
  // Proposals stay whole, and those of a thread in order.
  std::vector<int> next(4, 0);
  for (size_t i = 0; i < all.size(); i += 2) {
    const auto thread = static_cast<size_t>(all[i][0] - '0');
    const std::string expected = Cat(thread, " ", next[thread]++);
    ASSERT_EQ(all[i], Cat(expected, " a"));
    ASSERT_EQ(all[i + 1], Cat(expected, " b"));
  }
}

TEST(SingleLogTest, ANearlyFullDiskRefusesProposals) {
  SimDisk disk;
  RecordingSink sink;
  const auto log = MustOpen(SmallOptions(), disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  disk.SetFreeBytes(999);
  // The log thread notices with the next group.
  absl::Status status;
  size_t accepted = 0;
  while ((status = log->Propose(1, {"x"})).ok()) sink.WaitFor(++accepted);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the disk of /data is nearly full"));
  EXPECT_LE(accepted, 2u);
  disk.SetFreeBytes(1 << 20);
  EXPECT_TRUE(log->Propose(1, {"y"}).ok());
  sink.WaitFor(accepted + 1);
}

TEST(SingleLogTest, AFullDiskMakesWhatWasAcceptedWait) {
  SimDisk disk;
  RecordingSink sink;
  SingleLogOptions options = SmallOptions();
  options.free_bytes_min = 0;
  options.group_bytes_max = 1;  // Each entry a group.
  FatalError fatal;
  options.on_fatal = fatal.handler();
  const auto log = MustOpen(options, disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  // More than segment and spare hold, accepted at once.
  std::vector<std::string> payloads(8, std::string(3000, 'x'));
  disk.SetFreeBytes(100);
  ASSERT_TRUE(log->Propose(1, payloads).ok());
  const size_t before = sink.WaitFor(1).size();
  EXPECT_LT(before, payloads.size());
  // Until the log has noticed, one at a time.
  while (log->Propose(1, {}).ok()) std::this_thread::yield();
  EXPECT_LT(sink.count(), payloads.size());
  disk.SetFreeBytes(1 << 20);
  EXPECT_THAT(sink.WaitFor(payloads.size()).back(), SizeIs(3000));
  EXPECT_EQ(fatal.count(), 0);
}

TEST(SingleLogTest, StopsWhileItWaitsForSpace) {
  SimDisk disk;
  RecordingSink sink;
  SingleLogOptions options = SmallOptions();
  options.free_bytes_min = 0;
  options.retry_interval = absl::Hours(1);
  auto log = MustOpen(options, disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  disk.SetFreeBytes(0);
  ASSERT_TRUE(
      log->Propose(1, std::vector<std::string>(8, std::string(3000, 'x')))
          .ok());
  log.reset();
  const size_t count = sink.count();
  EXPECT_LT(count, 8u);
}

TEST(SingleLogTest, AFailedSyncEndsItAndNothingIsHandedOver) {
  SimDisk disk;
  RecordingSink sink;
  SingleLogOptions options = SmallOptions();
  FatalError fatal;
  options.on_fatal = fatal.handler();
  options.segment_bytes = 1 << 20;
  auto log = MustOpen(options, disk, sink);
  ASSERT_EQ(sink.WaitUntilLeading(), 1u);
  ASSERT_TRUE(log->Propose(1, {"a"}).ok());
  sink.WaitFor(1);
  // Writes and syncs of the log alternate; the spare is there, or fails first
  // and ends the log as well.
  for (uint64_t i = 0; fatal.count() == 0; ++i) {
    disk.FailCall(disk.calls() + 2, SimFault::kSyncDropsPages);
    if (!log->Propose(1, {"b"}).ok()) break;
    const auto handed_or_dead = [&] {
      return sink.count() > i + 1 || fatal.count() > 0;
    };
    while (!handed_or_dead()) std::this_thread::yield();
  }
  EXPECT_THAT(std::string(fatal.Wait().message()),
              HasSubstr("cannot go on after an error of the disk"));
  const size_t count = sink.count();
  while (log->Propose(1, {}).ok()) std::this_thread::yield();
  EXPECT_TRUE(absl::IsFailedPrecondition(log->Propose(1, {"c"})));
  log.reset();
  EXPECT_EQ(sink.count(), count);
  EXPECT_EQ(fatal.count(), 1);
}

TEST(SingleLogTest, TwoProcessesOnOneDirectory) {
  TempDir dir;
  SingleLogOptions options;
  options.directory = dir / "master";
  options.segment_bytes = 1 << 20;
  RecordingSink sink;
  auto log = MustOpen(options, Disk::Posix(), sink);
  const auto random = Random::Seeded(2);
  RecordingSink other;
  const auto second = OpenSingleLog(options, Disk::Posix(), *random, other);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(Cat("the directory ", options.directory,
                            " is in use by another master process")));
  log.reset();
  EXPECT_TRUE(OpenSingleLog(options, Disk::Posix(), *random, other).ok());
}

TEST(SingleLogTest, ADirectoryOfAnotherCluster) {
  SimDisk disk;
  SingleLogOptions options = SmallOptions();
  LogIdentity identity;
  {
    RecordingSink sink;
    identity = MustOpen(options, disk, sink)->identity();
  }
  const auto random = Random::Seeded(7);
  options.cluster = ClusterId::Generate(*random);
  RecordingSink sink;
  const auto log = OpenSingleLog(options, disk, *random, sink);
  EXPECT_TRUE(absl::IsFailedPrecondition(log.status())) << log.status();
  EXPECT_THAT(
      std::string(log.status().message()),
      HasSubstr(Cat("/data belongs to cluster ", identity.cluster.ToHex(),
                    ", not to ", options.cluster->ToHex())));
  options.cluster = identity.cluster;
  EXPECT_TRUE(OpenSingleLog(options, disk, *random, sink).ok());
}

TEST(SingleLogTest, ANewDirectoryJoinsTheClusterItIsGiven) {
  SimDisk disk;
  const auto random = Random::Seeded(7);
  SingleLogOptions options = SmallOptions();
  options.cluster = ClusterId::Generate(*random);
  RecordingSink sink;
  EXPECT_EQ(MustOpen(options, disk, sink)->identity().cluster,
            *options.cluster);
}

TEST(SingleLogTest, OnRealFiles) {
  TempDir dir;
  SingleLogOptions options;
  options.directory = dir / "master";
  options.segment_bytes = 64 << 10;
  std::vector<std::string> expected;
  for (uint64_t start = 1; start <= 3; ++start) {
    RecordingSink sink;
    const auto log = MustOpen(options, Disk::Posix(), sink);
    ASSERT_EQ(sink.WaitUntilLeading(), start);
    for (int i = 0; i < 100; ++i) {
      expected.push_back(Cat(start, " ", i, std::string(1000, 'x')));
      ASSERT_TRUE(log->Propose(start, {expected.back()}).ok());
    }
    EXPECT_EQ(sink.WaitFor(expected.size()), expected);
  }
}

}  // namespace
}  // namespace millrace::raft
