// Members together, over a network in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/random.h"
#include "common/strings.h"
#include "raft/node/testing/list_sink.h"
#include "raft/node/testing/node_group.h"
#include "raft/transport/testing/memory_network.h"

namespace millrace::raft {
namespace {

using testing::Each;
using testing::SizeIs;

class MemoryWire final : public TestWire {
 public:
  std::unique_ptr<Transport> NewTransport(int) override {
    return network_.NewTransport();
  }
  std::string AddressOf(int number) override { return Cat("member-", number); }
  void Started(int, Node&) override {}
  void Stopping(int) override {}
  MemoryNetwork& network() { return network_; }

 private:
  MemoryNetwork network_;
};

NodeOptions QuickOptions() {
  NodeOptions options;
  options.segment_bytes = 64 << 10;
  options.free_bytes_min = 1000;
  options.tick = absl::Milliseconds(10);
  options.retry_interval = absl::Milliseconds(1);
  return options;
}

class GroupTest : public testing::Test {
 protected:
  explicit GroupTest(const NodeOptions& options = QuickOptions())
      : group_(wire_, options) {}

  MemoryNetwork& network() { return wire_.network(); }
  // A voter that is not the leader.
  int Follower(int leader) {
    for (int i = 0; i < group_.size(); ++i) {
      if (i != leader && group_.running(i)) return i;
    }
    return -1;
  }
  void CommitMany(const std::string& prefix, int count, int except = -1) {
    for (int i = 0; i < count; ++i) group_.Commit(Cat(prefix, i), except);
  }

  // To whoever is furthest. On a busy machine one may fail, and leadership
  // stay: that is for whoever asked to find out.
  void TransferFrom(int leader, uint64_t term) {
    WaitUntil([&] {
      if (group_.sink(leader).leading() != term) return true;
      group_.node(leader).TransferLeadership(kNobody).IgnoreError();
      return false;
    });
  }

  MemoryWire wire_;
  NodeGroup group_;
};

TEST_F(GroupTest, ThreeMembersApplyTheSame) {
  group_.Grow(3);
  CommitMany("entry ", 50);
  group_.WaitForAll("entry 49");
  EXPECT_THAT(group_.sink(0).payloads(), SizeIs(testing::Ge(50u)));
  const Membership membership = group_.node(1).status().membership;
  ASSERT_THAT(membership, SizeIs(3));
  for (const auto& [id, member] : membership) EXPECT_TRUE(member.voter);
}

TEST_F(GroupTest, FollowersKnowWhereTheLeaderIs) {
  group_.Grow(3);
  const int leader = group_.WaitForLeader();
  const int follower = Follower(leader);
  WaitUntil([&] {
    return group_.sink(follower).leader_address() == Cat("member-", leader);
  });
  const uint64_t term = group_.sink(leader).leading();
  EXPECT_TRUE(
      absl::IsFailedPrecondition(group_.node(follower).Propose(term, {"x"})));
  EXPECT_TRUE(absl::IsFailedPrecondition(group_.Confirm(follower, term)));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      group_.node(follower).TransferLeadership(group_.id(follower))));
}

TEST_F(GroupTest, ALeaderThatCrashesIsReplacedAndLosesNothing) {
  group_.Grow(3);
  for (int round = 0; round < 5; ++round) {
    CommitMany(Cat("round ", round, " entry "), 10);
    const int leader = group_.WaitForLeader();
    const std::vector<std::string> known = group_.sink(leader).payloads();
    group_.Crash(leader);
    group_.Commit(Cat("round ", round, " without"));
    const std::vector<std::string> now =
        group_.sink(group_.WaitForLeader()).payloads();
    ASSERT_GE(now.size(), known.size());
    ASSERT_TRUE(std::equal(known.begin(), known.end(), now.begin()));
    group_.Restart(leader);
    group_.Commit(Cat("round ", round, " again"));
    group_.WaitForAll(Cat("round ", round, " again"));
  }
}

TEST_F(GroupTest, FiveMembersBearTheLossOfTwo) {
  group_.Grow(5);
  CommitMany("five ", 10);
  const int leader = group_.WaitForLeader();
  const int other = Follower(leader);
  group_.Crash(leader);
  group_.Crash(other);
  CommitMany("three ", 10);
  group_.Restart(leader);
  group_.Restart(other);
  group_.Commit("last");
  group_.WaitForAll("last");
}

TEST_F(GroupTest, AllCrashAtOnceAndComeBack) {
  group_.Grow(3);
  CommitMany("before ", 20);
  const std::vector<std::string> known =
      group_.sink(group_.WaitForLeader()).payloads();
  for (int i = 0; i < 3; ++i) group_.Crash(i);
  for (int i = 0; i < 3; ++i) group_.Restart(i);
  group_.Commit("after");
  group_.WaitForAll("after");
  const std::vector<std::string> now = group_.sink(0).payloads();
  ASSERT_GE(now.size(), known.size());
  EXPECT_TRUE(std::equal(known.begin(), known.end(), now.begin()));
}

TEST_F(GroupTest, ALeaderThatIsCutOffIsFoundOutByReadsAndStepsDown) {
  group_.Grow(3);
  CommitMany("entry ", 5);
  const int leader = group_.WaitForLeader();
  const uint64_t term = group_.sink(leader).leading();
  network().Isolate(group_.id(leader));
  // It may believe that it leads, but cannot confirm it, and what it is given
  // has no effect.
  group_.node(leader).Propose(term, {"lost"}).IgnoreError();
  EXPECT_TRUE(absl::IsFailedPrecondition(group_.Confirm(leader, term)));
  group_.Commit("elsewhere", leader);
  group_.sink(leader).WaitUntilFollowing();
  EXPECT_TRUE(
      absl::IsFailedPrecondition(group_.node(leader).Propose(term, {"late"})));
  network().HealAll();
  group_.Commit("together");
  group_.WaitForAll("together");
  EXPECT_THAT(group_.sink(leader).payloads(), Each(testing::Ne("lost")));
}

// A change whose fate the leader cannot know.
TEST_F(GroupTest, AChangeThatLosesItsLeaderSaysThatItsFateIsUnknown) {
  group_.Grow(3);
  const int leader = group_.WaitForLeader();
  CommitMany("entry ", 3);
  absl::Status result;
  absl::Notification answered;
  // The leader commits nothing any more, though it may not know it yet.
  network().Isolate(group_.id(leader));
  MembershipChange change;
  change.kind = MembershipChange::Kind::kAddLearner;
  change.node = 77;
  change.address = "nowhere:1";
  group_.node(leader).ChangeMembership(change, [&](absl::Status status) {
    result = std::move(status);
    answered.Notify();
  });
  ASSERT_TRUE(answered.WaitForNotificationWithTimeout(kTestPatience));
  EXPECT_TRUE(absl::IsUnavailable(result)) << result;
  network().HealAll();
  group_.Commit("last");
  group_.WaitForAll("last");
}

TEST_F(GroupTest, LosesNothingOverABadNetwork) {
  group_.Grow(3);
  const auto random = Random::Seeded(11);
  network().SetLose(
      [&random](const Message&) { return random->Uniform(10) == 0; });
  CommitMany("entry ", 60);
  network().SetLose(nullptr);
  group_.Commit("last");
  group_.WaitForAll("last");
  const std::vector<std::string> all = group_.sink(0).payloads();
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(std::count(all.begin(), all.end(), Cat("entry ", i)) > 0, true);
  }
}

// ------------------------------------------------------------------- proposals

TEST_F(GroupTest, ManyThreadsProposeWhileLeadersChange) {
  group_.Grow(3);
  std::atomic<bool> stop = false;
  std::atomic<int> accepted = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) {
        for (int m = 0; m < 3; ++m) {
          const uint64_t term = group_.sink(m).leading();
          if (term == 0) continue;
          if (group_.node(m).Propose(term, {Cat(t, " ", i)}).ok()) ++accepted;
        }
        std::this_thread::yield();
      }
    });
  }
  for (int round = 0; round < 6; ++round) {
    const int leader = group_.WaitForLeader();
    const uint64_t term = group_.sink(leader).leading();
    TransferFrom(leader, term);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(accepted.load(), 0);
  group_.Commit("last");
  group_.WaitForAll("last");
}

// A sink that stands still does not stop the group's clock.
TEST_F(GroupTest, ASlowSinkHoldsUpNothingButItself) {
  group_.Grow(3);
  const int leader = group_.WaitForLeader();
  const uint64_t term = group_.sink(leader).leading();
  const size_t before = group_.sink(leader).count();
  const uint64_t index = group_.node(leader).status().commit_index;
  group_.sink(leader).Hold();
  ASSERT_TRUE(group_.node(leader).Propose(term, {"held"}).ok());
  group_.sink(leader).WaitFor(before + 1);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(group_.node(leader).Propose(term, {Cat("x", i)}).ok());
  }
  // They are committed all the same, and the others have them.
  WaitUntil(
      [&] { return group_.node(leader).status().commit_index >= index + 101; });
  group_.sink(Follower(leader)).WaitFor(before + 101);
  EXPECT_EQ(group_.sink(leader).count(), before + 1);
  group_.sink(leader).Release();
  group_.sink(leader).WaitFor(before + 101);
  EXPECT_EQ(group_.sink(leader).leading(), term);
}

// ------------------------------------------------------------------- transfers

TEST_F(GroupTest, LeadershipGoesWhereItIsSent) {
  group_.Grow(3);
  for (const int to : {1, 2, 0}) {
    CommitMany(Cat("to ", to, " "), 3);
    WaitUntil([&] {
      const int leader = group_.WaitForLeader();
      if (leader == to) return true;
      // Refused while another one is under way.
      group_.node(leader).TransferLeadership(group_.id(to)).IgnoreError();
      return false;
    });
  }
}

// The one that is to take over is gone: leadership stays, and what was proposed
// meanwhile is not forgotten.
TEST_F(GroupTest, ProposalsWaitForATransferThatFails) {
  group_.Grow(3);
  CommitMany("entry ", 3);
  const int leader = group_.WaitForLeader();
  const uint64_t term = group_.sink(leader).leading();
  const int to = Follower(leader);
  network().Isolate(group_.id(to));
  ASSERT_TRUE(group_.node(leader).TransferLeadership(group_.id(to)).ok());
  ASSERT_TRUE(group_.node(leader).Propose(term, {"patient"}).ok());
  WaitUntil([&] {
    const auto payloads = group_.sink(leader).payloads();
    return payloads.back() == "patient";
  });
  EXPECT_EQ(group_.sink(leader).leading(), term);
}

TEST_F(GroupTest, ATransferToNobodyPicksSomebody) {
  group_.Grow(3);
  const int leader = group_.WaitForLeader();
  const uint64_t term = group_.sink(leader).leading();
  TransferFrom(leader, term);
  group_.Commit("x");
}

TEST_F(GroupTest, ATransferOfOneAloneIsRefused) {
  group_.Grow(1);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(group_.node(0).TransferLeadership(kNobody)));
  EXPECT_TRUE(
      absl::IsInvalidArgument(group_.node(0).TransferLeadership(12345)));
}

// ------------------------------------------------------------------ membership

TEST_F(GroupTest, GrowsAndShrinks) {
  group_.Grow(1);
  group_.Commit("alone");
  group_.Grow(3);
  group_.Commit("three");
  group_.WaitForAll("three");
  for (const int gone : {2, 1}) {
    if (group_.WaitForLeader() == gone) {
      ASSERT_TRUE(group_.node(gone).TransferLeadership(group_.id(0)).ok());
      WaitUntil([&] { return group_.WaitForLeader() != gone; });
    }
    WaitUntil([&] {
      return group_.Change(MembershipChange::Kind::kRemove, gone).ok();
    });
    group_.Stop(gone);
  }
  group_.Commit("alone again");
  EXPECT_THAT(group_.node(0).status().membership, SizeIs(1));
  // And after a restart, at once.
  group_.Stop(0);
  group_.Restart(0);
  group_.Commit("restarted");
}

// It knows durably that the other is no member any more, so it does not wait
// for a vote of that.
TEST_F(GroupTest, WhoIsLeftOfTwoLeadsAfterAPowerCut) {
  group_.Grow(2);
  group_.Commit("two");
  const int stays = group_.WaitForLeader();
  const int goes = 1 - stays;
  WaitUntil([&] {
    return group_.Change(MembershipChange::Kind::kRemove, goes).ok();
  });
  group_.Crash(stays);
  group_.Stop(goes);
  group_.Restart(stays);
  group_.Commit("alone");
}

TEST_F(GroupTest, ALeaderThatIsRemovedStepsDown) {
  group_.Grow(3);
  group_.Commit("before");
  const int leader = group_.WaitForLeader();
  WaitUntil([&] {
    return group_.Change(MembershipChange::Kind::kRemove, leader).ok();
  });
  group_.sink(leader).WaitUntilFollowing();
  group_.Commit("after", leader);
  group_.Stop(leader);
  group_.Commit("later");
  group_.WaitForAll("later");
}

TEST_F(GroupTest, ChangesThatMakeNoSenseAreRefused) {
  group_.Grow(1);
  // The only voter.
  EXPECT_TRUE(absl::IsInvalidArgument(
      group_.Change(MembershipChange::Kind::kRemove, 0)));
  group_.Grow(2);
  // Two at once.
  const int leader = group_.WaitForLeader();
  const int other = 1 - leader;
  network().Cut(group_.id(leader), group_.id(other));
  std::atomic<int> answered = 0;
  std::vector<absl::Status> results(2);
  for (size_t i = 0; i < 2; ++i) {
    MembershipChange change;
    change.kind = MembershipChange::Kind::kAddLearner;
    change.node = 100 + i;
    change.address = "nowhere:1";
    group_.node(leader).ChangeMembership(change, [&, i](absl::Status status) {
      results[i] = std::move(status);
      ++answered;
    });
  }
  WaitUntil([&] { return answered.load() >= 1; });
  network().HealAll();
  WaitUntil([&] { return answered.load() == 2; });
  EXPECT_TRUE(absl::IsFailedPrecondition(results[1])) << results[1];
}

// A member that lost its disk is another one; the old one is removed.
TEST_F(GroupTest, AMemberWithoutItsDiskComesBackAsANewOne) {
  group_.Grow(3);
  CommitMany("entry ", 10);
  const int leader = group_.WaitForLeader();
  const int lost = Follower(leader);
  const NodeId old_id = group_.id(lost);
  group_.Stop(lost);
  WaitUntil([&] {
    return group_.Change(MembershipChange::Kind::kRemove, lost).ok();
  });
  group_.Wipe(lost);
  EXPECT_NE(group_.id(lost), old_id);
  group_.AddLearner(lost);
  group_.Promote(lost);
  group_.Commit("last");
  group_.WaitForAll("last");
}

// ------------------------------------------------------------------- snapshots

class SnapshotGroupTest : public GroupTest {
 protected:
  SnapshotGroupTest() : GroupTest(Options()) {}
  static NodeOptions Options() {
    NodeOptions options = QuickOptions();
    options.segment_bytes = 8192;
    options.snapshot_entries = 30;
    options.keep_entries = 5;
    return options;
  }
  void CommitUntilLogBeginsAfter(int member, uint64_t index, int except) {
    WaitUntil([&] {
      CommitMany(Cat("more than ", index, std::string(200, 'x'), " "), 20,
                 except);
      const auto names = group_.disk(member).Names("/data/log");
      for (const std::string& name : names) {
        // "<seq>-<first>.seg": the first one.
        if (name.size() > 11 && std::stoull(name.substr(11)) <= index) {
          return false;
        }
      }
      return true;
    });
  }
};

TEST_F(SnapshotGroupTest, AMemberThatWasAwayForLongGetsASnapshot) {
  group_.Grow(3);
  CommitMany("before ", 5);
  const int leader = group_.WaitForLeader();
  const int away = Follower(leader);
  group_.WaitForAll("before 4");
  const uint64_t index = group_.node(away).status().last_index;
  group_.Stop(away);
  CommitUntilLogBeginsAfter(group_.WaitForLeader(), index, -1);
  group_.Restart(away);
  group_.sink(away).WaitForSnapshots(1);
  group_.Commit("last");
  group_.WaitForAll("last");
  // It starts with it, too.
  group_.Crash(away);
  group_.Restart(away);
  group_.Commit("really last");
  group_.WaitForAll("really last");
}

TEST_F(SnapshotGroupTest, ANewMemberOfAnOldGroupGetsASnapshot) {
  group_.Grow(1);
  CommitUntilLogBeginsAfter(0, 1, -1);
  group_.Grow(3);
  group_.Commit("last");
  group_.WaitForAll("last");
  EXPECT_GE(group_.sink(1).restored(), 1u);
  EXPECT_GE(group_.sink(2).restored(), 1u);
  // What they got names the members.
  EXPECT_THAT(group_.node(2).status().membership, SizeIs(3));
}

TEST_F(SnapshotGroupTest, ATransferThatBreaksOffGoesOn) {
  group_.Grow(1);
  CommitUntilLogBeginsAfter(0, 1, -1);
  // Chunks are 1 MiB: two of them at least.
  for (int i = 0; i < 40; ++i) {
    const std::string large(3000, static_cast<char>('a' + i % 26));
    for (int j = 0; j < 10; ++j) {
      WaitUntil([&] {
        return group_.node(0).Propose(group_.sink(0).leading(), {large}).ok();
      });
    }
  }
  CommitMany("and ", 40);
  network().BreakNextTransfer(1);
  const int added = group_.StartNew();
  group_.AddLearner(added);
  group_.sink(added).WaitForSnapshots(1);
  group_.Promote(added);
  group_.Commit("last");
  group_.WaitForAll("last");
}

TEST_F(SnapshotGroupTest, MembersComeAndGoWhileSnapshotsAreTaken) {
  group_.Grow(3);
  const auto random = Random::Seeded(5);
  for (int round = 0; round < 12; ++round) {
    const int victim = static_cast<int>(random->Uniform(3));
    group_.Crash(victim);
    CommitMany(Cat("round ", round, std::string(100, 'y'), " "),
               10 + static_cast<int>(random->Uniform(60)));
    group_.Restart(victim);
    group_.Commit(Cat("round ", round, " end"));
    if (random->Uniform(2) == 0) {
      group_.WaitForAll(Cat("round ", round, " end"));
    }
  }
  group_.Commit("last");
  group_.WaitForAll("last");
}

// ------------------------------------------------------------------ full disks

class FullDiskTest : public GroupTest {
 protected:
  FullDiskTest() : GroupTest(Options()) {}
  static NodeOptions Options() {
    NodeOptions options = QuickOptions();
    options.segment_bytes = 8192;
    options.free_bytes_min = 0;
    return options;
  }
  // No segment can be made on it any more.
  void Fill(int member) { group_.disk(member).SetFreeBytes(100); }
};

// More is accepted than its disk holds: the others hold it.
TEST_F(FullDiskTest, ALeaderThatRunsOutOfSpaceHandsLeadershipOver) {
  group_.Grow(3);
  CommitMany("entry ", 3);
  const int leader = group_.WaitForLeader();
  Fill(leader);
  std::vector<std::string> batch;
  for (int i = 0; i < 20; ++i) batch.push_back(Cat(i, std::string(3000, 'x')));
  ASSERT_TRUE(
      group_.node(leader).Propose(group_.sink(leader).leading(), batch).ok());
  group_.sink(leader).WaitUntilFollowing();
  CommitMany("elsewhere ", 5, leader);
  const std::vector<std::string> all =
      group_.sink(group_.WaitForLeader(leader)).payloads();
  EXPECT_EQ(std::count(all.begin(), all.end(), batch.back()), 1);
  EXPECT_LT(group_.sink(leader).count(), all.size());
  group_.disk(leader).SetFreeBytes(1 << 30);
  group_.Commit("last");
  group_.WaitForAll("last");
  EXPECT_EQ(group_.fatal_errors(leader), 0);
}

// It refuses proposals before that; then somebody else takes them.
TEST_F(FullDiskTest, ALeaderThatIsNearlyFullHandsLeadershipOverAfterAWhile) {
  group_.Grow(3);
  CommitMany("entry ", 3);
  const int leader = group_.WaitForLeader();
  Fill(leader);
  WaitUntil([&] {
    const uint64_t term = group_.sink(leader).leading();
    if (term != 0) group_.node(leader).Propose(term, {"x"}).IgnoreError();
    return term == 0;
  });
  CommitMany("elsewhere ", 5, leader);
  group_.disk(leader).SetFreeBytes(1 << 30);
  group_.Commit("last", leader);
  group_.WaitForAll("last");
  EXPECT_EQ(group_.fatal_errors(leader), 0);
}

TEST_F(FullDiskTest, AFollowerWithoutSpaceWaitsAndCatchesUp) {
  group_.Grow(3);
  CommitMany("entry ", 3);
  const int leader = group_.WaitForLeader();
  const int full = Follower(leader);
  Fill(full);
  for (int i = 0; i < 100; ++i) {
    group_.Commit(Cat(i, std::string(1000, 'x')), full);
  }
  // It lags behind, and neither crashes nor disturbs.
  EXPECT_LT(group_.sink(full).count(), 100u);
  EXPECT_EQ(group_.sink(full).leading(), 0u);
  group_.disk(full).SetFreeBytes(1 << 30);
  group_.Commit("last", full);
  group_.WaitForAll("last");
  EXPECT_EQ(group_.fatal_errors(full), 0);
}

}  // namespace
}  // namespace millrace::raft
