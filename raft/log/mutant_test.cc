// Each rule of log and snapshots that LogMutant can leave out is missed: some
// trial that the code passes fails without it. How many tries it took is
// printed.
#include <gtest/gtest.h>

#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "common/logging.h"
#include "common/random.h"
#include "common/strings.h"
#include "raft/log/log_format.h"
#include "raft/log/testing/store_trials.h"

namespace millrace::raft {
namespace {

constexpr uint64_t kSeeds = 20;

// Tries until something goes wrong; says what, "" if nothing does. Adds to
// `*tries`.
using Search =
    std::function<std::string(const MemberStoreOptions&, int* tries)>;

class MutantTest : public testing::Test {
 protected:
  MutantTest() { FLAGS_minloglevel = 3; }
  ~MutantTest() override { FLAGS_minloglevel = 0; }

  void ExpectCaught(std::string_view what, bool LogMutant::*rule,
                    const Search& search) {
    MemberStoreOptions options = SmallStoreOptions();
    options.log.mutant.*rule = true;
    int tries = 0;
    const std::string wrong = search(options, &tries);
    EXPECT_NE(wrong, "") << "nobody noticed: " << what;
    std::cout << what << ": " << tries << " tries, "
              << wrong.substr(0, wrong.find('\n')) << "\n";
  }

  // Lives of the small kind and drawn ones, by seed.
  static std::vector<StoreStep> LifeOf(uint64_t seed) {
    if (seed == 0) return SmallStoreLife();
    const auto random = Random::Seeded(seed);
    return RandomStoreLife(*random, 40);
  }

  // A life without mishaps is enough.
  static std::string Live(const MemberStoreOptions& options, int* tries) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      uint64_t calls = 0;
      ++*tries;
      std::string wrong = TryLife(options, LifeOf(seed), &calls);
      if (!wrong.empty()) return Cat("seed ", seed, ": ", wrong);
    }
    return "";
  }

  static std::string Crash(const MemberStoreOptions& options, int* tries) {
    CrashOptions crash;
    crash.use_every = 1;
    crash.combinations_max = 16;
    crash.drawn = 4;
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      const std::vector<StoreStep> life = LifeOf(seed);
      SimDisk disk;
      StoreRunner runner(options, disk);
      runner.Run(life);
      for (uint64_t call = 0; call <= disk.calls(); ++call) {
        std::string wrong = TryCrash(options, life, call, crash, tries);
        if (!wrong.empty()) return Cat("seed ", seed, ": ", wrong);
      }
    }
    return "";
  }

  static Search Fault(SimFault fault) {
    return [fault](const MemberStoreOptions& options, int* tries) {
      const std::vector<StoreStep> life = SmallStoreLife();
      uint64_t calls = 0;
      std::string wrong = TryLife(options, life, &calls);
      for (uint64_t call = 1; call <= calls && wrong.empty(); ++call) {
        ++*tries;
        FaultOutcome outcome;
        wrong = TryFault(options, life, call, fault, &outcome);
      }
      return wrong;
    };
  }

  static std::string Stray(const MemberStoreOptions& options, int* tries) {
    const std::vector<StoreStep> life = SmallStoreLife();
    uint64_t calls = 0;
    std::string wrong = TryLife(options, life, &calls);
    for (uint64_t call = 1; call <= calls && wrong.empty(); ++call) {
      ++*tries;
      bool refused = false;
      wrong =
          TryStrayWrite(options, life, call, SimFault::kLostWrite, 0, &refused);
    }
    return wrong;
  }

  // Sectors of the log zeroed, files missing, an earlier log beside later
  // snapshots, segments and chunks of another past, bits of snapshots.
  static std::string Damage(const MemberStoreOptions& options, int* tries) {
    for (const bool reach_older : {true, false}) {
      std::vector<StoreStep> life = SmallStoreLife();
      for (StoreStep& step : life) {
        step.compaction.tail_entries = 0;
        step.compaction.reach_older_snapshot = reach_older;
      }
      const DamageTrials trials(options, life);
      std::string wrong;
      const auto with = [&](const std::string& path, std::string_view bytes) {
        ++*tries;
        if (wrong.empty()) wrong = trials.With(path, bytes);
      };
      for (const auto& [path, bytes] : trials.files()) {
        const bool last = path == trials.segments().back();
        const size_t used = bytes.find_last_not_of('\0') + 1;
        for (size_t at = 0; at < used; at += kSectorBytes) {
          if (last && at + kSectorBytes >= used) continue;
          std::string damaged = bytes;
          const size_t n = std::min<size_t>(kSectorBytes, bytes.size() - at);
          damaged.replace(at, n, n, '\0');
          with(path, damaged);
          damaged = bytes;
          damaged[at + n / 2] = static_cast<char>(~damaged[at + n / 2]);
          with(path, damaged);
        }
        ++*tries;
        if (wrong.empty()) {
          wrong = trials.Try(
              [&path = path](SimDisk& disk) { CHECK(disk.Remove(path).ok()); });
        }
        if (!wrong.empty()) return wrong;
      }
      for (const std::string& path : trials.snapshots()) {
        const std::string& bytes = trials.files().at(path);
        const std::string twin = TwinOf(bytes);
        for (size_t at = 0; at < bytes.size(); at += 96) {
          std::string damaged = bytes;
          const SnapshotFileMeta meta = *DecodeSnapshotHeader(bytes);
          const size_t begin = meta.header_bytes() + at;
          if (begin + 96 > bytes.size() - kSnapshotTrailerBytes) break;
          damaged.replace(begin, 96, twin.substr(begin, 96));
          with(path, damaged);
        }
        if (!wrong.empty()) return wrong;
      }
      wrong = EarlierLog(options, life, trials, tries);
      if (wrong.empty()) wrong = OtherPast(options, life, trials, tries);
      if (!wrong.empty()) return wrong;
    }
    return "";
  }

  static std::string EarlierLog(const MemberStoreOptions& options,
                                const std::vector<StoreStep>& life,
                                const DamageTrials& trials, int* tries) {
    for (size_t steps = 1; steps < life.size(); ++steps) {
      const DamageTrials earlier(
          options, std::vector<StoreStep>(life.begin(), life.begin() + steps));
      if (earlier.whole().last_index >= 17) break;
      ++*tries;
      std::string wrong = trials.Try([&](SimDisk& disk) {
        for (const std::string& path : trials.segments()) {
          CHECK(disk.Remove(path).ok());
        }
        for (const std::string& path : earlier.segments()) {
          disk.SetContents(path, earlier.files().at(path));
        }
      });
      if (!wrong.empty()) return wrong;
    }
    return "";
  }

  // The same member, the same indexes and terms, other entries.
  static std::string OtherPast(const MemberStoreOptions& options,
                               std::vector<StoreStep> life,
                               const DamageTrials& trials, int* tries) {
    for (StoreStep& step : life) {
      for (LogEntry& entry : step.log.entries) entry.kind ^= 64;
    }
    const DamageTrials other(options, life);
    for (const std::string& path : trials.segments()) {
      if (other.files().count(path) == 0) continue;
      ++*tries;
      std::string wrong = trials.With(path, other.files().at(path));
      if (!wrong.empty()) return wrong;
    }
    return "";
  }
};

// What the searches below would report of the code as it is: nothing.
TEST_F(MutantTest, NothingIsWrongWithoutOne) {
  const MemberStoreOptions options = SmallStoreOptions();
  int tries = 0;
  EXPECT_EQ(Live(options, &tries), "");
  EXPECT_EQ(Damage(options, &tries), "");
  EXPECT_EQ(Stray(options, &tries), "");
  EXPECT_EQ(Fault(SimFault::kSyncDropsPages)(options, &tries), "");
}

TEST_F(MutantTest, OfRecovery) {
  ExpectCaught("a bad record in the middle ends the log",
               &LogMutant::drop_bad_middle, Damage);
  ExpectCaught("a torn tail may lie before a mark", &LogMutant::ignore_marks,
               Damage);
  ExpectCaught("a torn tail stays", &LogMutant::keep_torn_tail, Crash);
  ExpectCaught("what looks clean is only synced", &LogMutant::sync_only,
               Fault(SimFault::kSyncDropsPages));
  ExpectCaught("segments need not follow each other", &LogMutant::ignore_chain,
               Damage);
  ExpectCaught("a log may end before its snapshot",
               &LogMutant::end_before_snapshot, Damage);
  ExpectCaught("a log may begin behind its snapshot",
               &LogMutant::begin_anywhere, Damage);
}

TEST_F(MutantTest, OfWritingTheLog) {
  ExpectCaught("a failed sync is tried again", &LogMutant::retry_failed_sync,
               Fault(SimFault::kSyncDropsPages));
  ExpectCaught("a segment is renamed without a directory sync",
               &LogMutant::skip_directory_sync, Crash);
  ExpectCaught("the oldest segment goes first", &LogMutant::drop_oldest_first,
               Crash);
  ExpectCaught("what is committed is dropped, snapshot or not",
               &LogMutant::drop_past_snapshot, Live);
  ExpectCaught("a snapshot is applied over a newer log",
               &LogMutant::snapshot_over_newer_log, Crash);
  ExpectCaught("the log does not begin anew behind a snapshot",
               &LogMutant::forget_to_reset, Crash);
}

TEST_F(MutantTest, OfSnapshots) {
  ExpectCaught("the configuration is not in the snapshot",
               &LogMutant::forget_configuration, Live);
  ExpectCaught("a snapshot is renamed before it is synced",
               &LogMutant::rename_before_sync, Crash);
  ExpectCaught("a failed sync of a snapshot is tried again",
               &LogMutant::retry_failed_snapshot_sync,
               Fault(SimFault::kSyncDropsPages));
  ExpectCaught("a snapshot is renamed without a directory sync",
               &LogMutant::skip_snapshot_directory_sync, Crash);
  ExpectCaught("a snapshot replaces the only other one before it is safe",
               &LogMutant::replace_before_sync, Crash);
  ExpectCaught("a snapshot is not read back", &LogMutant::skip_read_back,
               Stray);
  ExpectCaught("the newest snapshot is not verified",
               &LogMutant::believe_newest, Damage);
  ExpectCaught("chunks are taken as they come", &LogMutant::ignore_chunk_place,
               Live);
  ExpectCaught("chunks need not follow each other",
               &LogMutant::ignore_snapshot_chain, Damage);
  ExpectCaught("an installed snapshot is taken for a local one",
               &LogMutant::installed_as_local, Crash);
}

}  // namespace
}  // namespace millrace::raft
