// The log of a core against a dumb twin: a list of entries, of which each knows
// whether it is on the disk.
#include "raft/core/raft_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "common/random.h"
#include "raft/core/testing/test_group.h"

namespace millrace::raft {
namespace {

constexpr uint64_t kNoLimit = ~uint64_t{0};

// A log, the disk behind it, and what both should be.
class TwinLog {
 public:
  explicit TwinLog(uint64_t seed)
      : random_(Random::Seeded(seed)), log_(disk_, 0, 0, 1 << 20, false) {}

  // One random event. Then everything that can be asked is compared.
  void Step() {
    switch (random_->Uniform(7)) {
      case 0:
      case 1:
        Merge();
        break;
      case 2:
        TakeWrite();
        break;
      case 3:
        Complete();
        break;
      case 4:
        Commit();
        break;
      case 5:
        Apply();
        break;
      case 6:
        if (random_->Uniform(10) == 0) Snapshot();
        if (random_->Uniform(10) == 0) Compact();
        break;
    }
    Compare();
  }

  uint64_t snapshots() const { return snapshots_; }
  uint64_t overwritten() const { return overwritten_; }
  uint64_t applied() const { return log_.applied(); }

 private:
  // A write that is not done, and for each index what it carried.
  struct Write {
    LogWrite write;
    std::map<uint64_t, LogEntry> carried;
  };

  uint64_t last_index() const {
    return entries_.empty() ? base_.index : entries_.rbegin()->first;
  }

  // A leader of a term that is as new or newer, whose log parts from ours
  // somewhere behind the commit index.
  void Merge() {
    if (random_->Uniform(4) == 0) ++term_;
    const uint64_t from =
        commit_ + random_->Uniform(last_index() - commit_ + 1);
    std::vector<LogEntry> entries;
    for (uint64_t n = random_->Uniform(5); n > 0; --n) {
      const uint64_t index = from + 1 + entries.size();
      // Some that are there already, then new ones.
      const auto known = entries_.find(index);
      const bool keep = known != entries_.end() && random_->Uniform(2) == 0 &&
                        (entries.empty() || entries.back().term <= term_) &&
                        entries.size() == kept(entries);
      entries.push_back(keep ? known->second
                             : LogEntry{index, term_, kNormalEntry,
                                        std::to_string(++payloads_)});
    }
    // Of one term and index there is only one entry.
    for (LogEntry& entry : entries) {
      const auto known = entries_.find(entry.index);
      if (known != entries_.end() && known->second.term == entry.term) {
        entry = known->second;
      }
    }
    ASSERT_TRUE(log_.Merge(entries).ok());
    for (const LogEntry& entry : entries) {
      const auto known = entries_.find(entry.index);
      if (known != entries_.end()) {
        if (known->second == entry) continue;
        overwritten_ += durable_ >= entry.index;
        durable_ = std::min(durable_, entry.index - 1);
        entries_.erase(known, entries_.end());
      }
      entries_[entry.index] = entry;
    }
  }
  size_t kept(const std::vector<LogEntry>& entries) const {
    size_t count = 0;
    for (const LogEntry& entry : entries) {
      const auto known = entries_.find(entry.index);
      count += known != entries_.end() && known->second == entry;
    }
    return count;
  }

  void TakeWrite() {
    Write next;
    next.write.id = ++last_write_;
    log_.HandOut(&next.write);
    ASSERT_FALSE(log_.HasUnwritten());
    for (const LogEntry& entry : next.write.entries) {
      next.carried[entry.index] = entry;
    }
    writes_.push_back(std::move(next));
  }

  // Some of the oldest writes.
  void Complete() {
    const uint64_t count = random_->Uniform(writes_.size() + 1);
    if (count == 0) return;
    for (uint64_t i = 0; i < count; ++i) {
      disk_.Write(writes_.front().write);
      last_done_ = writes_.front().write.id;
      if (writes_.front().write.snapshot.has_value() &&
          writes_.front().write.snapshot->last == base_ && pending_) {
        pending_ = false;
        applied_ = handed_ = base_.index;
      }
      writes_.pop_front();
    }
    log_.Durable(last_done_);
    // Durable is what the disk has, and no write on its way takes away.
    if (pending_) return;
    durable_ = disk_.last_index();
    for (const Write& write : writes_) {
      if (write.write.truncate_from.has_value()) {
        durable_ = std::min(durable_, *write.write.truncate_from - 1);
      }
      if (write.write.snapshot.has_value()) durable_ = 0;
    }
    // Nor one that is not handed out yet.
    for (uint64_t index = base_.index + 1; index <= durable_; ++index) {
      const auto term = disk_.Term(index);
      const auto ours = entries_.find(index);
      if (!term.ok() || ours == entries_.end() || ours->second.term != *term) {
        durable_ = index - 1;
      }
    }
    durable_ = std::max(durable_, base_.index);
  }

  void Commit() {
    const uint64_t index =
        commit_ + random_->Uniform(last_index() - commit_ + 1);
    ASSERT_TRUE(log_.CommitTo(index).ok());
    ASSERT_EQ(log_.CommitTo(last_index() + 1).code(),
              absl::StatusCode::kInternal);
    commit_ = index;
  }

  void Apply() {
    const std::vector<LogEntry> entries = log_.TakeCommitted();
    const uint64_t end = pending_ ? 0 : std::min(commit_, durable_);
    ASSERT_EQ(entries.size(), end > handed_ ? end - handed_ : 0);
    for (const LogEntry& entry : entries) {
      ASSERT_EQ(entry, entries_.at(++handed_));
    }
    if (random_->Uniform(2) == 0 && handed_ > applied_) {
      applied_ += 1 + random_->Uniform(handed_ - applied_);
      ASSERT_TRUE(log_.AppliedTo(applied_).ok());
    }
    ASSERT_FALSE(log_.AppliedTo(handed_ + 1).ok());
  }

  void Snapshot() {
    const uint64_t index = commit_ + 1 + random_->Uniform(5);
    if (entries_.contains(index) && entries_.at(index).term == term_) return;
    base_ = {term_, index};
    log_.Restore({base_, {}});
    commit_ = durable_ = index;
    entries_.clear();
    pending_ = true;
    ++snapshots_;
  }

  void Compact() {
    const uint64_t index = std::min(applied_, disk_.last_index());
    if (pending_ || index < disk_.first_index()) return;
    disk_.DropThrough(index);
    compacted_ = {*disk_.Term(index), index};
    entries_.erase(entries_.begin(), entries_.upper_bound(index));
    base_ = compacted_;
  }

  void Compare() {
    ASSERT_TRUE(log_.status().ok()) << log_.status();
    ASSERT_EQ(log_.last_index(), last_index());
    ASSERT_EQ(log_.commit(), commit_);
    ASSERT_EQ(log_.applied(), applied_);
    ASSERT_EQ(log_.snapshot_pending(), pending_);
    ASSERT_EQ(log_.durable_index(), durable_);
    ASSERT_EQ(log_.first_index(), base_.index + 1);
    for (uint64_t index = 0; index <= last_index() + 2; ++index) {
      std::optional<uint64_t> term;
      if (index == base_.index) term = base_.term;
      if (entries_.contains(index)) term = entries_.at(index).term;
      ASSERT_EQ(log_.Term(index), term) << index;
      for (uint64_t other : {term.value_or(0), term_}) {
        ASSERT_EQ(log_.Matches({other, index}), term == other);
        ASSERT_EQ(log_.IsUpToDate({other, index}),
                  DumbIsUpToDate(other, index));
        ASSERT_EQ(log_.FindAgreement({other, std::min(index, last_index())}),
                  DumbFindAgreement(other, std::min(index, last_index())));
      }
    }
    const uint64_t first = base_.index + random_->Uniform(4);
    const uint64_t limit =
        random_->Uniform(2) == 0 ? kNoLimit : random_->Uniform(20);
    ASSERT_EQ(log_.Read(first, limit), DumbRead(first, limit));
  }

  bool DumbIsUpToDate(uint64_t term, uint64_t index) const {
    const EntryId last =
        entries_.empty()
            ? base_
            : EntryId{entries_.rbegin()->second.term, last_index()};
    return std::pair(term, index) >= std::pair(last.term, last.index);
  }

  EntryId DumbFindAgreement(uint64_t term, uint64_t index) const {
    for (; index > 0; --index) {
      if (index < base_.index) return {0, index};
      const uint64_t ours =
          index == base_.index ? base_.term : entries_.at(index).term;
      if (ours <= term) return {ours, index};
    }
    return {};
  }

  std::optional<std::vector<LogEntry>> DumbRead(uint64_t first,
                                                uint64_t limit) const {
    std::vector<LogEntry> read;
    if (first > last_index()) return read;
    if (first <= base_.index) return {};
    uint64_t bytes = 0;
    for (uint64_t index = first; index <= last_index(); ++index) {
      bytes += entries_.at(index).payload.size();
      if (!read.empty() && bytes > limit) break;
      read.push_back(entries_.at(index));
    }
    return read;
  }

  const std::unique_ptr<Random> random_;
  MemoryLog disk_;
  RaftLog log_;

  EntryId base_;  // Before the first entry.
  EntryId compacted_;
  std::map<uint64_t, LogEntry> entries_;
  uint64_t term_ = 1;
  uint64_t commit_ = 0;
  uint64_t durable_ = 0;
  uint64_t handed_ = 0;
  uint64_t applied_ = 0;
  bool pending_ = false;
  std::deque<Write> writes_;
  uint64_t last_write_ = 0;
  uint64_t last_done_ = 0;
  uint64_t payloads_ = 0;
  uint64_t snapshots_ = 0;
  uint64_t overwritten_ = 0;
};

TEST(RaftLogTest, IsWhatADumbListIs) {
  uint64_t snapshots = 0;
  uint64_t overwritten = 0;
  uint64_t applied = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    TwinLog twin(seed);
    for (int step = 0; step < 50; ++step) {
      twin.Step();
      if (HasFatalFailure()) {
        FAIL() << "seed " << seed << ", step " << step;
      }
    }
    snapshots += twin.snapshots();
    overwritten += twin.overwritten();
    applied += twin.applied();
  }
  // The cases are not all dull.
  EXPECT_GT(snapshots, 20u);
  EXPECT_GT(overwritten, 100u);
  EXPECT_GT(applied, 300u);
}

TEST(RaftLogTest, ACommittedEntryThatDiffersIsABug) {
  MemoryLog disk(std::vector<uint64_t>{1, 1});
  RaftLog log(disk, 2, 0, 100, false);
  EXPECT_EQ(log.Merge(EntriesOfTerms(2, {2})).code(),
            absl::StatusCode::kInternal);
}

TEST(RaftLogTest, AReadThatLosesARaceWithCompactionFindsNothing) {
  // first_index() is asked before, and Read answers that it is gone.
  class Racing final : public LogView {
   public:
    uint64_t first_index() const override { return 1; }
    uint64_t last_index() const override { return 5; }
    absl::StatusOr<uint64_t> Term(uint64_t) const override { return 1; }
    absl::StatusOr<std::vector<LogEntry>> Read(uint64_t, uint64_t,
                                               uint64_t) const override {
      return absl::OutOfRangeError("gone");
    }
    SnapshotMeta Snapshot() const override { return {}; }
  };
  Racing racing;
  RaftLog log(racing, 5, 0, 100, false);
  EXPECT_FALSE(log.Read(2, 100).has_value());
  EXPECT_TRUE(log.status().ok());
  EXPECT_TRUE(log.HasUnappliedMembership());
  // What is committed must not go before it is applied.
  EXPECT_TRUE(log.TakeCommitted().empty());
  EXPECT_EQ(log.status().code(), absl::StatusCode::kInternal);
}

// Terms up to 2 can be read, and nothing else.
class BrokenBehindTwo final : public LogView {
 public:
  uint64_t first_index() const override { return 1; }
  uint64_t last_index() const override { return 5; }
  absl::StatusOr<uint64_t> Term(uint64_t index) const override {
    if (index > 2) return absl::DataLossError("bit rot");
    return 1;
  }
  absl::StatusOr<std::vector<LogEntry>> Read(uint64_t, uint64_t,
                                             uint64_t) const override {
    return absl::DataLossError("bit rot");
  }
  SnapshotMeta Snapshot() const override { return {}; }
};

TEST(RaftLogTest, AnErrorOfTheDiskIsKeptAndChangesNothing) {
  const BrokenBehindTwo broken;
  RaftLog log(broken, 0, 0, 100, false);
  // What cannot be compared is not taken for different.
  EXPECT_EQ(log.Merge(EntriesOfTerms(2, {1, 2})).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(log.last_index(), 5u);
  EXPECT_FALSE(log.HasUnwritten());
  RaftLog other(broken, 0, 0, 100, false);
  EXPECT_FALSE(other.Read(2, 100).has_value());
  EXPECT_EQ(other.status().code(), absl::StatusCode::kDataLoss);
}

TEST(RaftLogTest, ChangesAreFoundAmongMany) {
  MemoryLog disk(std::vector<uint64_t>(20, 1));
  LogWrite write;
  write.entries = {{21, 1, kMembershipEntry, "change"}};
  disk.Write(write);
  for (uint64_t commit = 0; commit <= 21; ++commit) {
    RaftLog log(disk, commit, 0, 1, false);
    EXPECT_EQ(log.HasUnappliedMembership(), commit == 21);
  }
}

}  // namespace
}  // namespace millrace::raft
