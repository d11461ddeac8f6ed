// Damage to the snapshots of a member, and to its log beside them: every bit,
// every length, every sector and chunk elsewhere, every file missing or in
// place of another. Either the member starts as it was, or not at all; never
// with a snapshot of other content, never with a shorter log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/logging.h"
#include "common/strings.h"
#include "raft/log/log_format.h"
#include "raft/log/testing/store_trials.h"

namespace millrace::raft {
namespace {

using testing::HasSubstr;

// Whether the log reaches back to the older of the two snapshots, and so the
// newest may be done without.
class MemberStoreDamageTest : public testing::TestWithParam<bool> {
 protected:
  MemberStoreDamageTest() : trials_(SmallStoreOptions(), Life()) {
    EXPECT_EQ(trials_.snapshots().size(), 2u);
    EXPECT_GE(trials_.segments().size(), GetParam() ? 3u : 2u);
    FLAGS_minloglevel = 2;  // A warning at each start would be a flood.
    newest_ = trials_.snapshots().back();
    older_ = trials_.snapshots().front();
    bytes_ = trials_.files().at(newest_);
  }

  ~MemberStoreDamageTest() override { FLAGS_minloglevel = 0; }

  static std::vector<StoreStep> Life() {
    std::vector<StoreStep> life = SmallStoreLife();
    for (StoreStep& step : life) {
      if (step.kind == StoreStep::kCompact) {
        step.compaction.tail_entries = 0;
        step.compaction.reach_older_snapshot = GetParam();
      }
    }
    return life;
  }

  // The newest snapshot reads as `damaged`, and that is noticed.
  void ExpectNoticed(std::string_view damaged) {
    DamageTrials::Start start;
    ASSERT_EQ(trials_.With(newest_, damaged, &start), "");
    ASSERT_EQ(start.refused, !GetParam()) << start.message;
    ASSERT_THAT(start.message, HasSubstr(newest_ + ", offset "));
    if (GetParam()) {
      ASSERT_EQ(start.snapshot, 14u);
      ASSERT_THAT(start.message, HasSubstr("starts with the snapshot at entry "
                                           "14 instead"));
    } else {
      ASSERT_THAT(start.message, HasSubstr("must not vote"));
    }
  }

  // It makes no difference.
  void ExpectUnaffected(const std::function<void(SimDisk&)>& damage) {
    DamageTrials::Start start;
    ASSERT_EQ(trials_.Try(damage, &start), "");
    ASSERT_FALSE(start.refused) << start.message;
    ASSERT_EQ(start.snapshot, 17u);
    ASSERT_EQ(start.message, "");
  }

  const DamageTrials trials_;
  std::string newest_, older_;
  std::string bytes_;  // Of the newest.
};

INSTANTIATE_TEST_SUITE_P(Logs, MemberStoreDamageTest, testing::Bool(),
                         [](const auto& p) {
                           return p.param ? "TheOlderOneServes"
                                          : "TheNewestIsNeeded";
                         });

TEST_P(MemberStoreDamageTest, NoneMeansNoDifference) {
  ExpectUnaffected([](SimDisk&) {});
}

TEST_P(MemberStoreDamageTest, EveryBitOfTheNewest) {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      SCOPED_TRACE(Cat("byte ", i, " bit ", bit));
      std::string damaged = bytes_;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      ExpectNoticed(damaged);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(MemberStoreDamageTest, EveryLengthOfTheNewest) {
  for (size_t size = 0; size < bytes_.size(); ++size) {
    SCOPED_TRACE(size);
    ExpectNoticed(bytes_.substr(0, size));
    if (HasFatalFailure()) return;
  }
  for (const size_t more : {1, 8, 64, 512, 4096}) {
    ExpectNoticed(bytes_ + std::string(more, '\0'));
    ExpectNoticed(bytes_ +
                  bytes_.substr(bytes_.size() - std::min(more, bytes_.size())));
  }
}

TEST_P(MemberStoreDamageTest, EverySectorOfTheNewestLostOrFromElsewhere) {
  for (size_t to = 0; to < bytes_.size(); to += kSectorBytes) {
    std::string damaged = bytes_;
    const size_t n = std::min<size_t>(kSectorBytes, bytes_.size() - to);
    damaged.replace(to, n, n, '\0');
    ExpectNoticed(damaged);
    for (const auto& [path, contents] : trials_.files()) {
      for (size_t from = 0; from < contents.size(); from += kSectorBytes) {
        const std::string sector = contents.substr(from, n);
        damaged = bytes_;
        damaged.replace(to, sector.size(), sector);
        if (damaged == bytes_) continue;
        SCOPED_TRACE(Cat(path, " ", from, " to ", to));
        ExpectNoticed(damaged);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(MemberStoreDamageTest, EveryChunkElsewhere) {
  const std::string twin = TwinOf(bytes_);
  ASSERT_EQ(twin.size(), bytes_.size());
  SnapshotFileMeta meta = *DecodeSnapshotHeader(bytes_);
  const size_t chunk = meta.chunk_bytes + kSnapshotChunkOverheadBytes;
  const size_t begin = meta.header_bytes();
  const size_t end = bytes_.size() - kSnapshotTrailerBytes;
  for (size_t to = begin; to < end; to += chunk) {
    for (size_t from = begin; from < end; from += chunk) {
      SCOPED_TRACE(Cat(from, " to ", to));
      for (const std::string& source :
           {bytes_, twin, trials_.files().at(older_)}) {
        std::string damaged = bytes_;
        // The last one may be shorter.
        const size_t n = std::min(chunk, end - std::max(to, from));
        if (from + n > source.size()) continue;
        damaged.replace(to, n, source.substr(from, n));
        if (damaged == bytes_) continue;
        ExpectNoticed(damaged);
        if (HasFatalFailure()) return;
      }
    }
    // All from here on is the twin's, but for the trailer.
    std::string damaged = bytes_;
    damaged.replace(to, end - to, twin.substr(to, end - to));
    ExpectNoticed(damaged);
    // Chunks in another order, one missing, one twice.
    if (to + 2 * chunk <= end) {
      damaged = bytes_.substr(0, to) + bytes_.substr(to + chunk, chunk) +
                bytes_.substr(to, chunk) + bytes_.substr(to + 2 * chunk);
      ExpectNoticed(damaged);
      ExpectNoticed(bytes_.substr(0, to) + bytes_.substr(to + chunk));
      ExpectNoticed(bytes_.substr(0, to + chunk) + bytes_.substr(to));
    }
    if (HasFatalFailure()) return;
  }
  // Its trailer alone.
  ExpectNoticed(bytes_.substr(0, end) + twin.substr(end));
}

TEST_P(MemberStoreDamageTest, EveryFileInPlaceOfTheNewest) {
  for (const auto& [path, contents] : trials_.files()) {
    if (path == newest_) continue;
    SCOPED_TRACE(path);
    ExpectNoticed(contents);
  }
  ExpectNoticed("");
}

TEST_P(MemberStoreDamageTest, TheNewestMissing) {
  DamageTrials::Start start;
  ASSERT_EQ(trials_.Try(
                [&](SimDisk& disk) { ASSERT_TRUE(disk.Remove(newest_).ok()); },
                &start),
            "");
  EXPECT_EQ(start.refused, !GetParam());
  if (start.refused) {
    EXPECT_THAT(start.message, HasSubstr("(entries up to 14 are in a "
                                         "snapshot)"));
  } else {
    EXPECT_EQ(start.snapshot, 14u);
  }
}

TEST_P(MemberStoreDamageTest, BothMissingOrDamaged) {
  for (const bool remove : {true, false}) {
    DamageTrials::Start start;
    ASSERT_EQ(trials_.Try(
                  [&](SimDisk& disk) {
                    for (const std::string& path : trials_.snapshots()) {
                      if (remove) {
                        ASSERT_TRUE(disk.Remove(path).ok());
                      } else {
                        disk.SetContents(path, "damaged");
                      }
                    }
                  },
                  &start),
              "");
    EXPECT_TRUE(start.refused);
    EXPECT_THAT(start.message, HasSubstr("(entries up to 0 are in a "
                                         "snapshot)"));
  }
}

TEST_P(MemberStoreDamageTest, TheOlderOneDoesNotMatter) {
  const std::string older = trials_.files().at(older_);
  for (size_t i = 0; i < older.size(); ++i) {
    std::string damaged = older;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    ExpectUnaffected([&](SimDisk& disk) { disk.SetContents(older_, damaged); });
    if (HasFatalFailure()) return;
  }
  ExpectUnaffected(
      [&](SimDisk& disk) { ASSERT_TRUE(disk.Remove(older_).ok()); });
}

TEST_P(MemberStoreDamageTest, TheNewestUnderAnotherName) {
  for (const auto& [term, index] :
       {std::pair{4, 17}, {3, 16}, {3, 18}, {3, 99}, {5, 99}}) {
    SCOPED_TRACE(Cat(term, " ", index));
    const std::string name = Cat("/data/snap/", SnapshotName(term, index));
    DamageTrials::Start start;
    const std::string wrong = trials_.Try(
        [&](SimDisk& disk) { ASSERT_TRUE(disk.Rename(newest_, name).ok()); },
        &start);
    ASSERT_EQ(wrong, "");
    // By its name the log had come as far as entry 99, which it has not.
    EXPECT_EQ(start.refused, !GetParam() || index == 99);
    EXPECT_THAT(start.message, HasSubstr("the snapshot was written as "
                                         "00000000000000000003-"));
  }
}

TEST_P(MemberStoreDamageTest, EveryByteOfTheLog) {
  for (const std::string& path : trials_.segments()) {
    const std::string& bytes = trials_.files().at(path);
    const size_t used = bytes.find_last_not_of('\0') + 1;
    for (size_t i = 0; i < used; ++i) {
      SCOPED_TRACE(Cat(path, " byte ", i));
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      DamageTrials::Start start;
      ASSERT_EQ(trials_.With(path, damaged, &start), "");
      ASSERT_TRUE(start.refused);
    }
  }
}

TEST_P(MemberStoreDamageTest, EveryFileOfTheLogMissing) {
  for (const std::string& path : trials_.segments()) {
    SCOPED_TRACE(path);
    DamageTrials::Start start;
    ASSERT_EQ(
        trials_.Try([&](SimDisk& disk) { ASSERT_TRUE(disk.Remove(path).ok()); },
                    &start),
        "");
    // The first one serves the older snapshot alone.
    const bool superfluous = GetParam() && path == trials_.segments().front();
    ASSERT_EQ(start.refused, !superfluous) << start.message;
  }
}

// The log of an earlier day beside the snapshots of today, and the other way
// round.
TEST_P(MemberStoreDamageTest, ALogThatWasPutBack) {
  const std::vector<StoreStep> life = Life();
  int refused = 0;
  for (size_t steps = 1; steps < life.size(); ++steps) {
    const DamageTrials earlier(
        SmallStoreOptions(),
        std::vector<StoreStep>(life.begin(), life.begin() + steps));
    SCOPED_TRACE(steps);
    for (const bool log : {true, false}) {
      // Nobody can tell a log that was put back from one that was never
      // longer, once it reaches the snapshot.
      if (log && earlier.whole().last_index >= 17) continue;
      DamageTrials::Start start;
      const std::string wrong = trials_.Try(
          [&](SimDisk& disk) {
            const auto& gone = log ? trials_.segments() : trials_.snapshots();
            for (const std::string& path : gone) {
              ASSERT_TRUE(disk.Remove(path).ok());
            }
            for (const std::string& path :
                 log ? earlier.segments() : earlier.snapshots()) {
              disk.SetContents(path, earlier.files().at(path));
            }
          },
          &start);
      ASSERT_EQ(wrong, "") << log;
      refused += start.refused ? 1 : 0;
    }
  }
  EXPECT_GT(refused, 20);
}

}  // namespace
}  // namespace millrace::raft
