// A member alone: what it is given, and the end of it.
#include "raft/node/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/file_system.h"
#include "common/strings.h"
#include "raft/core/membership.h"
#include "raft/log/segment_log.h"
#include "raft/log/testing/sim_disk.h"
#include "raft/node/testing/list_sink.h"
#include "raft/node/testing/lone_node.h"
#include "raft/transport/testing/memory_network.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

TEST_F(NodeTest, CommitsInOrder) {
  SimDisk disk;
  ListSink sink;
  const auto node = MustOpen(SmallOptions(), disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  EXPECT_TRUE(node->Propose(term, {"a", "b"}).ok());
  EXPECT_TRUE(node->Propose(term, {}).ok());
  EXPECT_TRUE(node->Propose(term, {"c"}).ok());
  EXPECT_THAT(sink.WaitFor(3), ElementsAre("a", "b", "c"));
}

TEST_F(NodeTest, EachStartLeadsANewTermAndReplaysTheLog) {
  SimDisk disk;
  std::vector<std::string> expected;
  LogIdentity identity;
  uint64_t last_term = 0;
  for (uint64_t start = 1; start <= 5; ++start) {
    ListSink sink;
    const auto node = MustOpen(SmallOptions(), disk, sink, start);
    const uint64_t term = sink.WaitUntilLeading();
    EXPECT_GT(term, last_term);
    last_term = term;
    EXPECT_EQ(sink.payloads(), expected);
    if (start == 1) identity = node->identity();
    EXPECT_EQ(node->identity(), identity);
    EXPECT_FALSE(identity.cluster.is_zero());
    for (int i = 0; i < 20; ++i) {
      expected.push_back(
          Cat("start ", start, " entry ", i, std::string(200, 'x')));
      ASSERT_TRUE(node->Propose(term, {expected.back()}).ok());
    }
    EXPECT_EQ(sink.WaitFor(expected.size()), expected);
  }
}

// What a power cut at some moment leaves, and what was known by then.
struct Cut {
  std::unique_ptr<SimDisk> disk;
  uint64_t term = 0;
  std::vector<std::string> payloads;
};

TEST_F(NodeTest, WhatIsToldSurvivesAPowerCut) {
  SimDisk disk;
  ListSink sink;
  absl::Mutex mu;
  std::vector<Cut> cuts;
  // The power goes in the very moment that the sink is told.
  sink.SetOnCommitted([&] {
    absl::MutexLock lock(&mu);
    cuts.push_back({disk.AfterPowerCut(SimDisk::LoseAll), sink.leading(),
                    sink.payloads()});
  });
  std::vector<std::string> expected;
  {
    const auto node = MustOpen(SmallOptions(), disk, sink);
    const uint64_t term = sink.WaitUntilLeading();
    for (size_t i = 0; i < 60; ++i) {
      expected.push_back(Cat("entry ", i, std::string(i * 20, 'x')));
      ASSERT_TRUE(node->Propose(term, {expected.back()}).ok());
      if (i % 3 == 2) sink.WaitFor(i + 1);
    }
  }
  ASSERT_GE(cuts.size(), 20u);
  for (const Cut& cut : cuts) {
    ListSink again;
    const auto node = MustOpen(SmallOptions(), *cut.disk, again);
    // The term that it led is not led twice.
    ASSERT_GT(again.WaitUntilLeading(), cut.term);
    const std::vector<std::string> found = again.payloads();
    ASSERT_GE(found.size(), cut.payloads.size());
    ASSERT_LE(found.size(), expected.size());
    ASSERT_TRUE(std::equal(found.begin(), found.end(), expected.begin()));
  }
}

TEST_F(NodeTest, OtherTermsAreRefused) {
  SimDisk disk;
  ListSink sink;
  const auto node = MustOpen(SmallOptions(), disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  for (const uint64_t other : {uint64_t{0}, term - 1, term + 1}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(node->Propose(other, {"x"})));
    EXPECT_TRUE(absl::IsFailedPrecondition(Confirm(*node, other)));
  }
  EXPECT_TRUE(node->Propose(term, {"y"}).ok());
  EXPECT_THAT(sink.WaitFor(1), ElementsAre("y"));
}

TEST_F(NodeTest, TooLargeOrEmptyIsRefusedWhole) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options = SmallOptions();
  options.uncommitted_bytes_max = 10'000;
  const auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  // Larger than a segment holds.
  EXPECT_TRUE(absl::IsInvalidArgument(
      node->Propose(term, {"small", std::string(4096, 'x')})));
  // More than may ever wait.
  EXPECT_TRUE(absl::IsInvalidArgument(node->Propose(
      term, std::vector<std::string>(5, std::string(3000, 'x')))));
  // Means that a leader begins.
  EXPECT_TRUE(absl::IsInvalidArgument(node->Propose(term, {"small", ""})));
  // As large as possible.
  EXPECT_TRUE(node->Propose(term, {std::string(3500, 'x')}).ok());
  EXPECT_THAT(sink.WaitFor(1), ElementsAre(SizeIs(3500)));
}

TEST_F(NodeTest, APayloadOfTheFullLengthFitsADefaultSegment) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options;
  options.directory = "/data";
  const auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  EXPECT_TRUE(absl::IsInvalidArgument(
      node->Propose(term, {std::string(kPayloadBytesMax + 1, 'x')})));
  EXPECT_TRUE(
      node->Propose(term, {std::string(kPayloadBytesMax, 'x'), "y"}).ok());
  EXPECT_THAT(sink.WaitFor(2), ElementsAre(SizeIs(kPayloadBytesMax), "y"));
}

TEST_F(NodeTest, WhatIsNotYetHandedOverIsBounded) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options = SmallOptions();
  options.uncommitted_bytes_max = 10'000;
  const auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  sink.Hold();
  size_t accepted = 0;
  absl::Status status;
  while (status.ok() && accepted < 1000) {
    status = node->Propose(term, {std::string(100, 'x')});
    accepted += status.ok() ? 1 : 0;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_GT(accepted, 20u);
  EXPECT_LT(accepted, 100u);
  sink.Release();
  sink.WaitFor(accepted);
  // What was refused was not kept; there is room again.
  WaitUntil([&] { return node->Propose(term, {"y"}).ok(); });
  EXPECT_THAT(sink.WaitFor(accepted + 1), SizeIs(accepted + 1));
}

// While one group is on its way, others gather and go together.
TEST_F(NodeTest, CommitsInGroups) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options = SmallOptions();
  options.segment_bytes = 1 << 20;
  const auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  const uint64_t before = disk.calls();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 250; ++i) {
        EXPECT_TRUE(node->Propose(term, {"x"}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  sink.WaitFor(1000);
  // A write and a sync for each group.
  EXPECT_LE(disk.calls() - before, 2 * sink.batches() + 4);
  EXPECT_LT(sink.batches(), 500u);
}

TEST_F(NodeTest, FromManyThreads) {
  SimDisk disk;
  ListSink sink;
  const auto node = MustOpen(SmallOptions(), disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&node, term, t] {
      for (int i = 0; i < 200; ++i) {
        EXPECT_TRUE(
            node->Propose(term, {Cat(t, " ", i, " a"), Cat(t, " ", i, " b")})
                .ok());
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

TEST_F(NodeTest, ConfirmLeadingSeesEverythingAndCostsNoWrite) {
  SimDisk disk;
  ListSink sink;
  const auto node = MustOpen(SmallOptions(), disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  ASSERT_TRUE(node->Propose(term, {"a"}).ok());
  sink.WaitFor(1);
  // The commit index may be written with the next tick.
  ASSERT_TRUE(Confirm(*node, term).ok());
  const uint64_t calls = disk.calls();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Confirm(*node, term).ok());
  EXPECT_LE(disk.calls() - calls, 1u) << disk.last_call();
}

TEST_F(NodeTest, AnIdleNodeLeavesTheDiskAlone) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options = SmallOptions();
  options.tick = absl::Milliseconds(1);
  const auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  ASSERT_TRUE(node->Propose(term, {"a"}).ok());
  sink.WaitFor(1);
  // Many ticks and elections' worth of time. What begins with the log, such as
  // the next segment, may still be under way in the first of them.
  const auto quiet = [&] {
    const uint64_t calls = disk.calls();
    absl::Notification never;
    never.WaitForNotificationWithTimeout(absl::Milliseconds(200));
    return disk.calls() == calls && Confirm(*node, term).ok() &&
           disk.calls() == calls;
  };
  EXPECT_TRUE(WaitUntil(quiet)) << disk.last_call();
  EXPECT_EQ(sink.leading(), term);
}

// -------------------------------------------------------------------- the end

TEST_F(NodeTest, EveryCallbackIsCalledByTheEnd) {
  SimDisk disk;
  ListSink sink;
  auto node = MustOpen(SmallOptions(), disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  sink.Hold();
  ASSERT_TRUE(node->Propose(term, {"x"}).ok());
  sink.WaitFor(1);
  std::atomic<int> answered = 0;
  for (int i = 0; i < 1000; ++i) {
    node->ConfirmLeading(term, [&](absl::Status) { ++answered; });
    node->ChangeMembership({}, [&](absl::Status) { ++answered; });
  }
  std::thread release([&] {
    absl::Notification never;
    never.WaitForNotificationWithTimeout(absl::Milliseconds(20));
    sink.Release();
  });
  node.reset();
  release.join();
  EXPECT_EQ(answered.load(), 2000);
}

TEST_F(NodeTest, CallbacksThatWaitAreBounded) {
  SimDisk disk;
  ListSink sink;
  auto node = MustOpen(SmallOptions(), disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  sink.Hold();
  ASSERT_TRUE(node->Propose(term, {"x"}).ok());
  sink.WaitFor(1);  // No callback comes while this call stands.
  std::atomic<int> refused = 0, answered = 0;
  const auto count = [&](absl::Status status) {
    ++(absl::IsResourceExhausted(status) ? refused : answered);
  };
  for (int i = 0; i < 70'000; ++i) node->ConfirmLeading(term, count);
  EXPECT_EQ(refused.load(), 70'000 - 65'536);
  sink.Release();
  WaitUntil([&] { return answered.load() == 65'536; });
  EXPECT_TRUE(Confirm(*node, term).ok());
}

}  // namespace
}  // namespace millrace::raft
