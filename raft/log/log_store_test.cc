// The contract of LogStore, for each implementation and each disk.
#include "raft/log/log_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/random.h"
#include "raft/log/segment_log.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"
#include "tests/testing/temp_dir.h"

namespace millrace::raft {
namespace {

class LogStoreTest : public testing::TestWithParam<bool> {
 protected:
  LogStoreTest() {
    options_ = SmallLogOptions();
    options_.segment_bytes = 64 << 10;
    if (GetParam()) options_.directory = temp_ / "log";
    Reopen();
  }

  // What was synced is there afterwards.
  void Reopen() {
    store_.reset();
    Disk& disk = GetParam() ? Disk::Posix() : sim_;
    const auto random = Random::Seeded(1);
    auto log = SegmentLog::Open(options_, disk, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    store_ = *std::move(log);
  }

  absl::Status Append(std::vector<LogEntry> entries,
                      std::optional<HardState> hard = std::nullopt,
                      std::optional<uint64_t> truncate_from = std::nullopt) {
    LogAppend append;
    append.entries = entries;
    append.hard_state = hard;
    append.truncate_from = truncate_from;
    return store_->Append(append);
  }

  std::vector<LogEntry> ReadAll() {
    const auto entries =
        store_->Read(store_->first_index(), store_->last_index() + 1, 1 << 20);
    EXPECT_TRUE(entries.ok()) << entries.status();
    return entries.value_or(std::vector<LogEntry>());
  }

  TempDir temp_;
  SimDisk sim_;
  SegmentLogOptions options_;
  std::unique_ptr<LogStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Stores, LogStoreTest, testing::Bool(),
                         [](const auto& p) {
                           return p.param ? "SegmentLogOnFiles"
                                          : "SegmentLogSimulated";
                         });

TEST_P(LogStoreTest, BeginsEmpty) {
  EXPECT_EQ(store_->hard_state(), HardState());
  EXPECT_EQ(store_->first_index(), 1u);
  EXPECT_EQ(store_->last_index(), 0u);
  EXPECT_EQ(store_->Term(0).value_or(99), 0u);
  EXPECT_TRUE(absl::IsOutOfRange(store_->Term(1).status()));
  EXPECT_TRUE(absl::IsOutOfRange(store_->Read(1, 2, 100).status()));
}

TEST_P(LogStoreTest, KeepsWhatWasSynced) {
  const auto entries = MakeEntries(1, 5, 2, 100);
  ASSERT_TRUE(Append(entries, HardState{3, 77, 4}).ok());
  ASSERT_TRUE(store_->Sync().ok());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(store_->hard_state(), (HardState{3, 77, 4}));
    EXPECT_EQ(store_->last_index(), 5u);
    EXPECT_EQ(store_->Term(0).value_or(99), 0u);
    EXPECT_EQ(store_->Term(5).value_or(99), 2u);
    EXPECT_EQ(ReadAll(), entries);
    Reopen();
  }
}

TEST_P(LogStoreTest, ReadsBeforeTheSync) {
  const auto entries = MakeEntries(1, 3, 1, 10);
  ASSERT_TRUE(Append(entries, HardState{1, 0, 0}).ok());
  EXPECT_EQ(ReadAll(), entries);
  EXPECT_EQ(store_->hard_state().term, 1u);
}

TEST_P(LogStoreTest, ReadsRanges) {
  const auto entries = MakeEntries(1, 20, 1, 100);
  ASSERT_TRUE(Append(entries, HardState{1, 0, 0}).ok());
  for (uint64_t first = 1; first <= 20; ++first) {
    for (uint64_t end = first + 1; end <= 21; ++end) {
      for (const uint64_t bytes : {0, 99, 100, 199, 200, 250, 1'000, 9'000}) {
        const auto got = store_->Read(first, end, bytes);
        ASSERT_TRUE(got.ok()) << got.status();
        ASSERT_FALSE(got->empty());
        ASSERT_LE(got->size(), end - first);
        ASSERT_LE(got->size(), std::max<uint64_t>(bytes / 100, 1));
        // Enough of it to make progress in decent steps.
        if (bytes >= 9'000) {
          ASSERT_EQ(got->size(), end - first);
        }
        for (size_t i = 0; i < got->size(); ++i) {
          ASSERT_EQ((*got)[i], entries[first - 1 + i]);
        }
      }
    }
  }
  EXPECT_TRUE(absl::IsOutOfRange(store_->Read(0, 3, 10).status()));
  EXPECT_TRUE(absl::IsOutOfRange(store_->Read(3, 22, 10).status()));
  EXPECT_TRUE(absl::IsOutOfRange(store_->Read(21, 22, 10).status()));
}

TEST_P(LogStoreTest, TruncatesASuffix) {
  ASSERT_TRUE(Append(MakeEntries(1, 10, 1, 50), HardState{1, 0, 3}).ok());
  for (const uint64_t from : {9, 6, 5}) {
    ASSERT_TRUE(Append({}, std::nullopt, from).ok());
    EXPECT_EQ(store_->last_index(), from - 1);
    EXPECT_EQ(ReadAll(), MakeEntries(1, from - 1, 1, 50));
    EXPECT_TRUE(absl::IsOutOfRange(store_->Read(1, from + 1, 10).status()));
  }
  const auto more = MakeEntries(4, 4, 2, 70);
  ASSERT_TRUE(Append(more, HardState{2, 5, 3}, 4).ok());
  ASSERT_TRUE(store_->Sync().ok());
  Reopen();
  auto expected = MakeEntries(1, 3, 1, 50);
  expected.insert(expected.end(), more.begin(), more.end());
  EXPECT_EQ(ReadAll(), expected);
  EXPECT_EQ(store_->Term(3).value_or(0), 1u);
  EXPECT_EQ(store_->Term(4).value_or(0), 2u);
  EXPECT_EQ(store_->hard_state(), (HardState{2, 5, 3}));
}

TEST_P(LogStoreTest, RulesThatWouldBeBrokenAreKept) {
  const auto entries = MakeEntries(1, 4, 2, 10);
  ASSERT_TRUE(Append(entries, HardState{2, 1, 2}).ok());
  const std::vector<absl::Status> refused = {
      Append({}, HardState{1, 1, 2}),          // Term goes back.
      Append({}, HardState{2, 2, 2}),          // Second vote.
      Append({}, HardState{2, 1, 1}),          // Commit goes back.
      Append({}, HardState{2, 1, 5}),          // Commit behind the end.
      Append({}, std::nullopt, 2),             // Removes committed ones.
      Append({}, std::nullopt, 5),             // Removes nothing.
      Append(MakeEntries(6, 1, 2, 10)),        // A gap.
      Append(MakeEntries(4, 1, 2, 10)),        // Twice.
      Append(MakeEntries(5, 1, 1, 10)),        // Term of entries goes back.
      Append(MakeEntries(5, 1, 3, 10)),        // A term that is not there.
      Append({{5, 2, 0, ""}, {7, 2, 0, ""}}),  // A gap within.
      Append(MakeEntries(3, 1, 2, 10), HardState{2, 1, 4}, 3),
  };
  for (const absl::Status& status : refused) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  }
  EXPECT_EQ(ReadAll(), entries);
  EXPECT_EQ(store_->hard_state(), (HardState{2, 1, 2}));
  ASSERT_TRUE(store_->Sync().ok());
  Reopen();
  EXPECT_EQ(ReadAll(), entries);
}

TEST_P(LogStoreTest, AppendsUpToItsLimit) {
  const uint64_t payload = store_->append_bytes_max() - kLogEntryOverheadBytes;
  ASSERT_TRUE(Append(MakeEntries(1, 1, 1, payload), HardState{1, 2, 1}).ok());
  EXPECT_EQ(Append(MakeEntries(2, 1, 1, payload + 4096)).code(),
            absl::StatusCode::kInvalidArgument);
  // Many small ones, each with its overhead.
  const uint64_t count =
      store_->append_bytes_max() / (kLogEntryOverheadBytes + 10);
  auto entries = MakeEntries(2, count, 1, 10);
  ASSERT_TRUE(Append(entries, HardState{1, 2, count + 1}).ok());
  ASSERT_TRUE(store_->Sync().ok());
  Reopen();
  EXPECT_EQ(store_->last_index(), count + 1);
  EXPECT_EQ(ReadAll().size(), count + 1);
}

TEST_P(LogStoreTest, NothingIsAlsoAnAppend) {
  EXPECT_TRUE(Append({}).ok());
  EXPECT_TRUE(Append({}, HardState()).ok());
  EXPECT_TRUE(store_->Sync().ok());
  EXPECT_TRUE(store_->Sync().ok());
}

// Random lives, compared with a list after every step and every start.
TEST_P(LogStoreTest, IsAList) {
  for (uint64_t seed = 1; seed <= (GetParam() ? 3u : 20u); ++seed) {
    SCOPED_TRACE(seed);
    const auto random = Random::Seeded(seed);
    store_.reset();
    sim_.Remove("/data/id").IgnoreError();
    options_.directory += "x";
    options_.segment_bytes = 8192;
    Reopen();
    ModelLog model;
    for (const LogStep& step : RandomLife(*random, 60)) {
      if (step.kind == LogStep::kSync) {
        ASSERT_TRUE(store_->Sync().ok());
        if (random->Uniform(3) == 0) Reopen();
      }
      if (step.kind != LogStep::kAppend) continue;
      ASSERT_TRUE(Append(step.entries, step.hard, step.truncate_from).ok());
      if (step.truncate_from) model.entries.resize(*step.truncate_from - 1);
      model.entries.insert(model.entries.end(), step.entries.begin(),
                           step.entries.end());
      model.hard = step.hard.value_or(model.hard);
      ASSERT_EQ(store_->hard_state(), model.hard);
      ASSERT_EQ(store_->last_index(), model.last_index());
      if (!model.entries.empty()) {
        ASSERT_EQ(ReadAll(), model.entries);
      }
    }
  }
}

TEST_P(LogStoreTest, ReadersRunBesideTheWriter) {
  constexpr uint64_t kEntries = 200;
  ASSERT_TRUE(Append({}, HardState{1, 0, 0}).ok());
  absl::Mutex mu;
  uint64_t appended = 0;
  std::thread reader([&] {
    for (uint64_t next = 1; next <= kEntries;) {
      const auto more = [&] { return appended >= next; };
      mu.LockWhen(absl::Condition(&more));
      mu.Unlock();
      const uint64_t last = store_->last_index();
      ASSERT_GE(last, next);
      const auto entries = store_->Read(next, last + 1, 2000);
      ASSERT_TRUE(entries.ok()) << entries.status();
      for (const LogEntry& entry : *entries) {
        ASSERT_EQ(entry, MakeEntries(next, 1, 1, 200)[0]);
        ++next;
      }
    }
  });
  for (uint64_t i = 1; i <= kEntries; ++i) {
    EXPECT_TRUE(Append(MakeEntries(i, 1, 1, 200)).ok());
    if (i % 20 == 0) {
      EXPECT_TRUE(store_->Sync().ok());
    }
    absl::MutexLock lock(&mu);
    appended = i;
  }
  reader.join();
}

}  // namespace
}  // namespace millrace::raft
