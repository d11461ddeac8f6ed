// A member alone and its disk: full, bad, empty, cut off from its power.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
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
#include "raft/node/node_storage.h"
#include "raft/node/testing/list_sink.h"
#include "raft/node/testing/lone_node.h"
#include "raft/node/workers.h"
#include "raft/transport/testing/memory_network.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// ------------------------------------------------------------------ full disks

TEST_F(NodeTest, ANearlyFullDiskRefusesProposals) {
  SimDisk disk;
  ListSink sink;
  const auto node = MustOpen(SmallOptions(), disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  disk.SetFreeBytes(999);
  // The log thread notices with the next group.
  absl::Status status;
  size_t accepted = 0;
  while ((status = node->Propose(term, {"x"})).ok()) sink.WaitFor(++accepted);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the disk of /data is nearly full"));
  EXPECT_LE(accepted, 3u);
  disk.SetFreeBytes(1 << 20);
  EXPECT_TRUE(node->Propose(term, {"y"}).ok());
  sink.WaitFor(accepted + 1);
}

TEST_F(NodeTest, AFullDiskMakesWhatWasAcceptedWait) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options = SmallOptions();
  options.free_bytes_min = 0;
  options.group_bytes_max = 1;  // Each entry a group.
  FatalError fatal;
  options.on_fatal = fatal.handler();
  const auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  // More than segment and spare hold, accepted at once.
  std::vector<std::string> payloads;
  for (int i = 0; i < 8; ++i) payloads.push_back(std::string(3000, 'x'));
  disk.SetFreeBytes(100);
  for (const std::string& payload : payloads) {
    if (!node->Propose(term, {payload}).ok()) break;
  }
  // Until the log has noticed.
  WaitUntil([&] { return !node->Propose(term, {"y"}).ok(); });
  EXPECT_LT(sink.count(), payloads.size());
  disk.SetFreeBytes(1 << 20);
  WaitUntil([&] { return node->Propose(term, {"last"}).ok(); });
  WaitUntil([&] {
    const auto now = sink.payloads();
    return !now.empty() && now.back() == "last";
  });
  EXPECT_EQ(fatal.count(), 0);
  EXPECT_EQ(sink.leading(), term);
}

// A snapshot that became durable meanwhile is what may make the space.
TEST(LogWorkerTest, SegmentsGoWhileAWriteWaitsForSpace) {
  SimDisk disk;
  const auto random = Random::Seeded(1);
  NodeStorageOptions storage_options;
  storage_options.store.log.directory = "/data";
  storage_options.store.log.segment_bytes = 8192;
  storage_options.store.log.free_bytes_min = 0;
  storage_options.store.log.cluster = ClusterId::Generate(*random);
  auto storage = OpenNodeStorage(storage_options, disk, *random);
  ASSERT_TRUE(storage.ok()) << storage.status();
  SegmentLog& log = *storage->store.log;
  Mailbox mailbox{Mailbox::Limits()};
  FatalError fatal;
  LogWorker::Options options;
  options.group_bytes_max = 1;
  options.retry_interval = absl::Milliseconds(1);
  options.send = [](std::vector<Message>) {};
  options.fatal = fatal.handler();
  LogWorker worker(std::move(options), log, *storage->view, mailbox);

  // Entry 1 is the founder's.
  uint64_t next = 2;
  const auto append = [&] {
    LogWrite write;
    write.id = next - 1;
    write.must_sync = true;
    write.entries = {{next, 1, kNormalEntry, std::string(3000, 'x')}};
    write.hard_state = HardState{1, log.identity().member, next - 1};
    ++next;
    std::vector<LogWrite> writes;
    writes.push_back(std::move(write));
    if (worker.Claim(std::move(writes))) worker.WriteClaimed();
  };
  std::optional<bool> blocked;
  uint64_t durable = 0;
  const auto heard = [&](const std::function<bool()>& what) {
    Mailbox::Turn turn;
    Mail mail;
    for (int tries = 0; tries < 3000 && !what(); ++tries) {
      if (!mailbox.Take(absl::Milliseconds(10), &turn, &mail)) break;
      if (mail.blocked.has_value()) blocked = mail.blocked;
      if (mail.durable.has_value()) durable = *mail.durable;
      mail = Mail();
    }
    mailbox.Yield(&turn);
    return what();
  };
  for (int i = 0; i < 8; ++i) {
    append();
    ASSERT_TRUE(heard([&] { return durable == next - 2; }));
  }
  disk.SetFreeBytes(0);
  while (!blocked.value_or(false)) {
    append();
    ASSERT_TRUE(heard([&] { return durable == next - 2 || blocked; }));
  }
  const size_t files = disk.Names("/data/log").size();
  worker.Drop(6);
  EXPECT_TRUE(heard([&] { return disk.Names("/data/log").size() < files; }));
  EXPECT_LT(durable, next - 2);
  disk.SetFreeBytes(1 << 20);
  EXPECT_TRUE(heard([&] { return durable == next - 2; }));
  EXPECT_EQ(fatal.count(), 0);
}

TEST_F(NodeTest, StopsWhileItWaitsForSpace) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options = SmallOptions();
  options.free_bytes_min = 0;
  options.retry_interval = absl::Hours(1);
  auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  disk.SetFreeBytes(0);
  ASSERT_TRUE(
      node->Propose(term, std::vector<std::string>(8, std::string(3000, 'x')))
          .ok());
  node.reset();
  EXPECT_LT(sink.count(), 8u);
}

// ------------------------------------------------------------------ bad disks

TEST_F(NodeTest, AFailedSyncEndsItAndNothingIsHandedOver) {
  SimDisk disk;
  ListSink sink;
  NodeOptions options = SmallOptions();
  FatalError fatal;
  options.on_fatal = fatal.handler();
  options.segment_bytes = 1 << 20;
  auto node = MustOpen(options, disk, sink);
  const uint64_t term = sink.WaitUntilLeading();
  ASSERT_TRUE(node->Propose(term, {"a"}).ok());
  sink.WaitFor(1);
  for (uint64_t i = 0; fatal.count() == 0; ++i) {
    disk.FailCall(disk.calls() + 2, SimFault::kSyncDropsPages);
    if (!node->Propose(term, {"b"}).ok()) break;
    WaitUntil([&] { return sink.count() > i + 1 || fatal.count() > 0; });
  }
  EXPECT_THAT(std::string(fatal.Wait().message()),
              HasSubstr("cannot go on after an error of the disk"));
  WaitUntil([&] { return !node->Propose(term, {"c"}).ok(); });
  EXPECT_TRUE(absl::IsFailedPrecondition(node->Propose(term, {"c"})));
  const size_t count = sink.count();
  // Callers are answered.
  EXPECT_TRUE(absl::IsUnavailable(Confirm(*node, term)));
  EXPECT_TRUE(absl::IsUnavailable(node->TransferLeadership(kNobody)));
  node.reset();
  EXPECT_EQ(sink.count(), count);
  EXPECT_EQ(fatal.count(), 1);
}

// ------------------------------------------------------------- the first start

TEST_F(NodeTest, TwoProcessesOnOneDirectory) {
  TempDir dir;
  NodeOptions options;
  options.directory = dir / "master";
  options.segment_bytes = 1 << 20;
  ListSink sink;
  auto node = MustOpen(options, Disk::Posix(), sink);
  ListSink other;
  const auto second = TryOpen(options, Disk::Posix(), other, 2);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(Cat("the directory ", options.directory,
                            " is in use by another master process")));
  node.reset();
  EXPECT_TRUE(TryOpen(options, Disk::Posix(), other, 2).ok());
}

TEST_F(NodeTest, ADirectoryOfAnotherCluster) {
  SimDisk disk;
  NodeOptions options = SmallOptions();
  LogIdentity identity;
  ListSink sink;
  identity = MustOpen(options, disk, sink)->identity();
  const auto random = Random::Seeded(7);
  options.cluster = ClusterId::Generate(*random);
  const auto node = TryOpen(options, disk, sink);
  EXPECT_TRUE(absl::IsFailedPrecondition(node.status())) << node.status();
  EXPECT_THAT(
      std::string(node.status().message()),
      HasSubstr(Cat("/data belongs to cluster ", identity.cluster.ToHex(),
                    ", not to ", options.cluster->ToHex())));
  options.cluster = identity.cluster;
  ListSink again;
  EXPECT_TRUE(TryOpen(options, disk, again).ok());
}

TEST_F(NodeTest, AFounderIsTheOnlyVoterAndSaysWhereItIs) {
  SimDisk disk;
  NodeOptions options = SmallOptions();
  options.address = "here:1";
  ListSink sink;
  const auto node = MustOpen(options, disk, sink);
  sink.WaitUntilLeading();
  const auto status = node->status();
  EXPECT_EQ(status.self, node->identity().member);
  EXPECT_EQ(status.leader, status.self);
  EXPECT_THAT(status.membership,
              ElementsAre(testing::Pair(status.self, Member{true, "here:1"})));
}

TEST_F(NodeTest, ANewAddressIsMadeKnown) {
  SimDisk disk;
  NodeOptions options = SmallOptions();
  {
    ListSink sink;
    const auto node = MustOpen(options, disk, sink);
    sink.WaitUntilLeading();
    EXPECT_EQ(node->status().membership.at(node->identity().member).address,
              "");
    node->SetAddress("there:2");
    WaitUntil([&] {
      return node->status().membership.at(node->identity().member).address ==
             "there:2";
    });
  }
  options.address = "elsewhere:3";
  ListSink sink;
  const auto node = MustOpen(options, disk, sink);
  WaitUntil([&] {
    const Membership membership = node->status().membership;
    return !membership.empty() && membership.begin()->second.voter &&
           membership.begin()->second.address == "elsewhere:3";
  });
  EXPECT_THAT(sink.payloads(), IsEmpty());
}

// The first start may end at any call of the disk; whatever it leaves becomes
// one founder, or nothing has happened.
TEST_F(NodeTest, FoundingSurvivesAPowerCutAnywhere) {
  uint64_t calls = 0;
  {
    SimDisk disk;
    ListSink sink;
    const auto node = MustOpen(SmallOptions(), disk, sink);
    sink.WaitUntilLeading();
    calls = disk.calls();
  }
  for (uint64_t cut = 0; cut <= calls; ++cut) {
    for (const bool keep : {false, true}) {
      SimDisk disk;
      disk.CutPowerAfter(cut);
      NodeOptions options = SmallOptions();
      FatalError fatal;
      options.on_fatal = fatal.handler();
      {
        ListSink sink;
        auto node = TryOpen(options, disk, sink);
        if (node.ok()) {
          WaitUntil([&] { return fatal.count() > 0 || sink.leading() > 0; });
        }
      }
      const auto after =
          disk.AfterPowerCut(keep ? SimDisk::KeepAll : SimDisk::LoseAll);
      ListSink sink;
      const auto node = MustOpen(SmallOptions(), *after, sink, 2);
      ASSERT_NE(node, nullptr) << "after call " << cut;
      const uint64_t term = sink.WaitUntilLeading();
      ASSERT_TRUE(node->Propose(term, {"x"}).ok());
      sink.WaitFor(1);
      ASSERT_THAT(node->status().membership, SizeIs(1));
    }
  }
}

TEST_F(NodeTest, WhoJoinsNeverLeadsNorBecomesAFounder) {
  SimDisk disk;
  const auto random = Random::Seeded(7);
  NodeOptions options = SmallOptions();
  options.tick = absl::Milliseconds(1);
  options.join = true;
  ListSink nothing;
  EXPECT_TRUE(
      absl::IsInvalidArgument(TryOpen(options, disk, nothing).status()));
  options.cluster = ClusterId::Generate(*random);
  for (const bool join : {true, false}) {
    // The second start forgot to say that it joins.
    options.join = join;
    ListSink sink;
    const auto node = MustOpen(options, disk, sink);
    EXPECT_EQ(node->identity().cluster, *options.cluster);
    sink.WaitUntilFollowing();
    absl::Notification never;
    never.WaitForNotificationWithTimeout(absl::Milliseconds(100));
    EXPECT_EQ(sink.leading(), 0u);
    EXPECT_EQ(node->status().term, 0u);
    EXPECT_THAT(node->status().membership, IsEmpty());
  }
}

TEST_F(NodeTest, ALogWithoutAnEntryOnMembersIsThatOfAFounder) {
  SimDisk disk;
  {
    SegmentLogOptions options;
    options.directory = "/data";
    options.segment_bytes = 8192;
    const auto random = Random::Seeded(1);
    auto log = SegmentLog::Open(options, disk, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    const std::vector<LogEntry> entries = {{1, 1, kNormalEntry, "a"},
                                           {2, 1, kNormalEntry, "b"}};
    LogAppend append;
    append.entries = entries;
    append.hard_state = HardState{1, (*log)->identity().member, 0};
    ASSERT_TRUE((*log)->Append(append).ok());
    ASSERT_TRUE((*log)->Sync().ok());
  }
  NodeOptions options = SmallOptions();
  options.address = "here:1";
  ListSink sink;
  const auto node = MustOpen(options, disk, sink);
  EXPECT_EQ(sink.WaitUntilLeading(), 2u);
  EXPECT_THAT(sink.payloads(), ElementsAre("a", "b"));
  // An entry that others will find.
  WaitUntil([&] {
    return node->status().membership.begin()->second.address == "here:1";
  });
}

// ------------------------------------------------------------------ snapshots

NodeOptions SnapshotOptions() {
  NodeOptions options = SmallOptions();
  options.snapshot_entries = 50;
  options.keep_entries = 10;
  return options;
}

// "": there is none. What is being written has a name of another kind.
std::string NewestSnapshot(const SimDisk& disk) {
  std::string newest;
  for (const std::string& name : disk.Names("/data/snap")) {
    if (name.ends_with(".snap")) newest = std::max(newest, name);
  }
  return newest;
}

class SnapshotTest : public NodeTest {
 protected:
  void Propose(Node& node, uint64_t term, int count) {
    for (int i = 0; i < count; ++i) {
      expected_.push_back(
          Cat("entry ", expected_.size(), std::string(100, 'x')));
      ASSERT_TRUE(node.Propose(term, {expected_.back()}).ok());
    }
  }

  SimDisk disk_;
  std::vector<std::string> expected_;
};

// The log reaches back to the older of two snapshots, and those are as far
// apart as writing one takes: each is waited for here, so that they are as
// near to each other as possible.
TEST_F(SnapshotTest, SnapshotsShortenTheLogAndTheStart) {
  {
    ListSink sink;
    const auto node = MustOpen(SnapshotOptions(), disk_, sink);
    const uint64_t term = sink.WaitUntilLeading();
    for (int round = 0; round < 8; ++round) {
      const std::string before = NewestSnapshot(disk_);
      Propose(*node, term, 50);
      WaitUntil([&] { return NewestSnapshot(disk_) > before; });
    }
    sink.WaitFor(expected_.size());
    EXPECT_EQ(sink.asked(), 8u);
    WaitUntil([&] { return disk_.Names("/data/snap").size() == 2; });
    // All of it would be 60 kB, 20 segments. 50 entries behind the older
    // snapshot may begin within one, and there is the one that comes next.
    WaitUntil([&] { return disk_.Names("/data/log").size() <= 5; });
  }
  ListSink sink;
  const auto node = MustOpen(SnapshotOptions(), disk_, sink);
  const uint64_t term = sink.WaitUntilLeading();
  EXPECT_EQ(sink.restored(), 1u);
  EXPECT_EQ(sink.payloads(), expected_);
  Propose(*node, term, 1);
  sink.WaitFor(expected_.size());
}

// As on a busy machine: much is committed while one is being written.
TEST_F(SnapshotTest, ASnapshotThatTakesLongKeepsTheLogUntilLaterOnesAreThere) {
  ListSink sink;
  const auto node = MustOpen(SnapshotOptions(), disk_, sink);
  const uint64_t term = sink.WaitUntilLeading();
  sink.HoldSnapshots();
  Propose(*node, term, 50);
  WaitUntil([&] { return sink.asked() == 1; });
  Propose(*node, term, 350);
  sink.WaitFor(expected_.size());
  const size_t all = disk_.Names("/data/log").size();
  EXPECT_GE(all, 20u);
  sink.ReleaseSnapshots();
  // What came meanwhile is reason for another one at once; the log is as long
  // as before, because the older of the two is the first.
  WaitUntil([&] { return disk_.Names("/data/snap").size() == 2; });
  EXPECT_EQ(sink.asked(), 2u);
  // A third makes the first superfluous, and with it what the log had kept.
  Propose(*node, term, 50);
  WaitUntil([&] { return sink.asked() == 3; });
  WaitUntil([&] { return disk_.Names("/data/log").size() <= 5; });
  WaitUntil([&] { return disk_.Names("/data/snap").size() == 2; });
}

TEST_F(NodeTest, SnapshotsWhileThePowerFails) {
  std::vector<std::string> expected;
  std::unique_ptr<SimDisk> current = std::make_unique<SimDisk>();
  const auto random = Random::Seeded(3);
  for (int life = 0; life < 25; ++life) {
    ListSink sink;
    sink.ExpectPowerCut();
    NodeOptions options = SnapshotOptions();
    FatalError fatal;
    options.on_fatal = fatal.handler();
    current->CutPowerAfter(current->calls() + 20 + random->Uniform(150));
    {
      auto node =
          TryOpen(options, *current, sink, static_cast<uint64_t>(life) + 1);
      if (node.ok()) {
        WaitUntil([&] { return sink.leading() > 0 || fatal.count() > 0; });
        // Else the power failed before it was told everything again.
        const bool told_all = sink.leading() > 0;
        const std::vector<std::string> found = sink.payloads();
        if (told_all) {
          ASSERT_GE(found.size(), expected.size());
        }
        const size_t common = std::min(found.size(), expected.size());
        ASSERT_TRUE(std::equal(found.begin(),
                               found.begin() + static_cast<ptrdiff_t>(common),
                               expected.begin()));
        while (fatal.count() == 0) {
          const size_t count = sink.count();
          if (!(*node)
                   ->Propose(sink.leading(), {Cat("life ", life, " entry ",
                                                  count, std::string(60, 'x'))})
                   .ok()) {
            break;
          }
          WaitUntil([&] { return sink.count() > count || fatal.count() > 0; });
        }
        std::vector<std::string> now = sink.payloads();
        if (now.size() > expected.size()) expected = std::move(now);
      }
    }
    current = current->AfterPowerCut([&](size_t options_count) {
      return static_cast<size_t>(random->Uniform(options_count));
    });
  }
  EXPECT_GT(expected.size(), 200u);
}

TEST_F(NodeTest, OnRealFiles) {
  TempDir dir;
  NodeOptions options;
  options.directory = dir / "master";
  options.segment_bytes = 64 << 10;
  options.snapshot_entries = 120;
  options.keep_entries = 10;
  std::vector<std::string> expected;
  for (uint64_t start = 1; start <= 3; ++start) {
    ListSink sink;
    const auto node = MustOpen(options, Disk::Posix(), sink);
    const uint64_t term = sink.WaitUntilLeading();
    for (int i = 0; i < 100; ++i) {
      expected.push_back(Cat(start, " ", i, std::string(1000, 'x')));
      ASSERT_TRUE(node->Propose(term, {expected.back()}).ok());
    }
    EXPECT_EQ(sink.WaitFor(expected.size()), expected);
  }
}

}  // namespace
}  // namespace millrace::raft
