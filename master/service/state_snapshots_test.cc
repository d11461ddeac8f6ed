// A master's state and its log: members with real logs, snapshots and threads,
// on simulated disks.
#include "master/service/state_snapshots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "common/random.h"
#include "common/strings.h"
#include "master/state/testing/byte_strings.h"
#include "master/state/testing/entries.h"
#include "master/state/testing/random_entries.h"
#include "raft/log/testing/sim_disk.h"
#include "raft/node/testing/lone_node.h"

namespace millrace::master {
namespace {

using raft::kTestPatience;

// What a master's loop does with its state, under a lock in place of a loop.
class StateSink final : public raft::LogSink {
 public:
  void OnCommitted(std::vector<raft::CommittedEntry> entries) override {
    absl::MutexLock lock(&mu_);
    for (const raft::CommittedEntry& committed : entries) {
      proto::LogEntry entry;
      ASSERT_TRUE(entry.ParseFromString(committed.payload));
      state_.Apply(committed.index, committed.term, entry);
      ++applied_;
    }
  }
  void OnSnapshot(uint64_t index, uint64_t term,
                  std::unique_ptr<ByteSource> source) override {
    auto state = ReadSnapshot(index, term, *source);
    ASSERT_TRUE(state.ok()) << state.status();
    absl::MutexLock lock(&mu_);
    ASSERT_LE(state_.applied_index(), index);
    state_.Swap(**state);
    ++restored_;
  }
  void OnSnapshotWanted(SnapshotTaken done) override {
    absl::MutexLock lock(&mu_);
    TakeSnapshot(state_, done);
  }
  void OnLeading(uint64_t term) override {
    absl::MutexLock lock(&mu_);
    term_ = term;
  }
  void OnFollowing(uint64_t, std::string) override {
    absl::MutexLock lock(&mu_);
    term_ = 0;
  }

  uint64_t WaitUntilLeading() {
    const auto leads = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return term_ > 0;
    };
    absl::MutexLock lock(&mu_);
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&leads), kTestPatience));
    return term_;
  }
  // Index and hash once the index is at least `index`.
  std::pair<uint64_t, uint64_t> WaitFor(uint64_t index) {
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return state_.applied_index() >= index;
    };
    absl::MutexLock lock(&mu_);
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&there), kTestPatience))
        << "at entry " << state_.applied_index() << ", not " << index;
    return {state_.applied_index(), state_.Hash()};
  }
  proto::LogEntry NextEntry(Random& random) {
    absl::MutexLock lock(&mu_);
    return testing::AnyEntry(random, state_);
  }
  uint64_t applied_index() {
    absl::MutexLock lock(&mu_);
    return state_.applied_index();
  }
  uint64_t applied() {  // Entries, in this life.
    absl::MutexLock lock(&mu_);
    return applied_;
  }
  uint64_t restored() {
    absl::MutexLock lock(&mu_);
    return restored_;
  }

 private:
  absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_);
  uint64_t term_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t applied_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t restored_ ABSL_GUARDED_BY(mu_) = 0;
};

class StateSnapshotsTest : public raft::NodeTest {
 protected:
  StateSnapshotsTest() {
    options_.snapshot_entries = 40;
    options_.keep_entries = 10;
    options_.segment_bytes = 64 << 10;
    options_.address = "first:1";
  }

  // So many entries, one after the other, each applied before the next.
  void Commit(raft::Node& node, StateSink& sink, int count) {
    const uint64_t term = sink.WaitUntilLeading();
    for (int i = 0; i < count; ++i) {
      const uint64_t before = sink.applied_index();
      const absl::Status proposed =
          node.Propose(term, {sink.NextEntry(*random_).SerializeAsString()});
      ASSERT_TRUE(proposed.ok()) << proposed;
      sink.WaitFor(before + 1);
    }
  }

  const std::unique_ptr<Random> random_ = Random::Seeded(1);
  raft::NodeOptions options_ = raft::SmallOptions();
};

TEST_F(StateSnapshotsTest, MasterBeginsWithItsSnapshotAndTheTailOfItsLog) {
  auto disk = std::make_unique<raft::SimDisk>();
  std::pair<uint64_t, uint64_t> last{0, State().Hash()};
  for (uint64_t life = 0; life < 4; ++life) {
    StateSink sink;
    auto node = MustOpen(options_, *disk, sink);
    ASSERT_NE(node, nullptr);
    sink.WaitUntilLeading();
    EXPECT_EQ(sink.WaitFor(last.first), last) << "life " << life;
    EXPECT_EQ(sink.restored(), life == 0 ? 0u : 1u);
    if (life > 0) {
      EXPECT_LT(sink.applied(), 200 * life) << "the whole log was replayed";
    }
    Commit(*node, sink, 200);
    last = sink.WaitFor(0);
    ASSERT_TRUE(raft::WaitUntil([&] {
      const auto names = disk->Names("/data/snap");
      return std::any_of(names.begin(), names.end(), [](const auto& name) {
        return name.find(".snap") != std::string::npos;
      });
    }));
    ASSERT_FALSE(HasFailure());
    node.reset();
    disk = disk->AfterProcessDeath();
  }
}

TEST_F(StateSnapshotsTest, MemberThatIsFarBehindGetsTheStateOfItsLeader) {
  raft::SimDisk disk;
  StateSink sink;
  auto leader = MustOpen(options_, disk, sink, 1);
  ASSERT_NE(leader, nullptr);
  raft::SimDisk other_disk;
  StateSink other;
  raft::NodeOptions joining = options_;
  joining.cluster = leader->identity().cluster;
  joining.join = true;
  joining.address = "second:1";
  auto follower = MustOpen(joining, other_disk, other, 2);
  ASSERT_NE(follower, nullptr);
  const raft::NodeId member = follower->identity().member;
  raft::MembershipChange change;
  change.kind = raft::MembershipChange::Kind::kAddLearner;
  change.node = member;
  change.address = joining.address;
  // The leader goes on until it has dropped all of its log as it is now.
  const auto fall_behind = [&] {
    const auto segments = [&] {
      std::set<std::string> names;
      for (const std::string& name : disk.Names("/data/log")) {
        if (name.find(".seg") != std::string::npos) names.insert(name);
      }
      return names;
    };
    const std::set<std::string> before = segments();
    ASSERT_FALSE(before.empty());
    ASSERT_TRUE(raft::WaitUntil([&] {
      Commit(*leader, sink, 40);
      return *segments().begin() > *before.rbegin();
    }));
  };
  network_.Isolate(member);
  ASSERT_TRUE(raft::WaitUntil([&] {
    absl::Notification answered;
    absl::Status result;
    leader->ChangeMembership(change, [&](absl::Status status) {
      result = std::move(status);
      answered.Notify();
    });
    answered.WaitForNotification();
    return result.ok();
  }));
  fall_behind();
  network_.HealAll();
  EXPECT_EQ(other.WaitFor(sink.applied_index()), sink.WaitFor(0));
  EXPECT_GE(other.restored(), 1u);

  // One that has a state gets another in its place.
  const uint64_t before = other.restored();
  network_.Isolate(member);
  fall_behind();
  network_.HealAll();
  EXPECT_EQ(other.WaitFor(sink.applied_index()), sink.WaitFor(0));
  EXPECT_GT(other.restored(), before);
  // ... and goes on from it.
  Commit(*leader, sink, 20);
  EXPECT_EQ(other.WaitFor(sink.applied_index()), sink.WaitFor(0));
}

// A state of more than one piece of a stream.
void Fill(State& state) {
  state.Apply(1, 1, testing::TermStarted());
  for (uint64_t job = 1; job <= 4; ++job) {
    proto::LogEntry entry = testing::Submitted(job, Cat("/out", job));
    entry.mutable_job_submitted()->mutable_spec()->add_arguments(
        std::string(300'000, 'a'));
    state.Apply(1 + job, 1, entry);
  }
}

raft::FrozenState Frozen(const State& state) {
  raft::FrozenState frozen;
  TakeSnapshot(state, [&](uint64_t index, raft::FrozenState taken) {
    EXPECT_EQ(index, state.applied_index());
    frozen = std::move(taken);
  });
  return frozen;
}

TEST(StateSnapshotTakenTest, IsTheStateOfThatMomentWhateverBecomesOfIt) {
  auto state = std::make_unique<State>();
  Fill(*state);
  const uint64_t hash = state->Hash();
  const raft::FrozenState frozen = Frozen(*state);
  state->Apply(6, 2, testing::Cancelled(1));
  state.reset();
  testing::StringSink sink;
  ASSERT_TRUE(frozen(sink).ok());
  testing::StringSource source(sink.bytes);
  const auto read = ReadSnapshot(5, 1, source);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->Hash(), hash);
}

TEST(StateSnapshotTakenTest, BreaksOffWhenItsSinkSaysSo) {
  class Breaking final : public ByteSink {
   public:
    absl::Status Append(std::string_view) override {
      return ++pieces == 2 ? absl::CancelledError("enough") : absl::OkStatus();
    }
    int pieces = 0;
  };
  State state;
  Fill(state);
  Breaking sink;
  EXPECT_EQ(Frozen(state)(sink), absl::CancelledError("enough"));
  EXPECT_EQ(sink.pieces, 2);
}

TEST(StateSnapshotTakenTest, SnapshotOfAnotherEntryIsRefused) {
  State state;
  Fill(state);
  testing::StringSink sink;
  ASSERT_TRUE(Frozen(state)(sink).ok());
  for (const auto& [index, term] :
       {std::pair<uint64_t, uint64_t>{4, 1}, {6, 1}, {5, 2}}) {
    testing::StringSource source(sink.bytes);
    const absl::Status status = ReadSnapshot(index, term, source).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(
        std::string(ToStd(status.message())),
        ::testing::AllOf(
            ::testing::HasSubstr(Cat("entry ", index, " of term ", term)),
            ::testing::HasSubstr("state at entry 5 of term 1")));
  }
  testing::StringSource cut(std::string_view(sink.bytes).substr(0, 1000));
  EXPECT_TRUE(absl::IsDataLoss(ReadSnapshot(5, 1, cut).status()));
}

}  // namespace
}  // namespace millrace::master
