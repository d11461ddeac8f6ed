// Power cuts and kills at every call that a log makes, with every combination
// of what the disk kept where there are few, and many drawn ones where not.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {
namespace {

constexpr size_t kCombinationsMax = 256;
constexpr uint64_t kDrawn = 24;

// Index in `possible` of the log that was recovered; nullopt if it is none.
std::optional<size_t> Which(const std::vector<ModelLog>& possible,
                            const ModelLog& log) {
  for (size_t i = 0; i < possible.size(); ++i) {
    if (SameLog(possible[i], log)) return i;
  }
  return std::nullopt;
}

std::string Describe(const std::vector<ModelLog>& possible) {
  std::ostringstream out;
  for (const ModelLog& log : possible) out << "\n  possible: " << log;
  return out.str();
}

class Crash {
 public:
  explicit Crash(std::vector<LogStep> life) : life_(std::move(life)) {
    SimDisk disk;
    LogRunner runner(options_, disk);
    runner.Run(life_);
    EXPECT_TRUE(runner.status().ok()) << runner.status();
    calls_ = disk.calls();
  }

  uint64_t calls() const { return calls_; }

  // The log on `disk` is one of `possible`, and from then on stays what it is.
  void CheckRecovery(SimDisk& disk, const LogRunner& runner,
                     bool recover_twice) {
    const auto log = Recover(options_, runner.snapshot(), disk);
    ASSERT_TRUE(log.ok()) << log.status();
    const auto which = Which(runner.possible(), *log);
    ASSERT_TRUE(which.has_value()) << *log << Describe(runner.possible());
    ++checked_;
    if (!recover_twice) return;
    // What was read is durable now, whatever the power does.
    const auto cut = disk.AfterPowerCut(SimDisk::LoseAll);
    const auto again = Recover(options_, runner.snapshot(), *cut);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(*again, *log);
  }

  // Goes on writing after recovery, and crashes again.
  void CheckGoesOn(SimDisk& disk, const LogRunner& before, uint64_t seed) {
    SegmentLogOptions options = options_;
    options.snapshot = before.snapshot();
    const auto random = Random::Seeded(seed);
    auto log = SegmentLog::Open(options, disk, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    auto expected = ReadModel(**log);
    ASSERT_TRUE(expected.ok()) << expected.status();
    for (int i = 0; i < 6; ++i) {
      const auto entries =
          MakeEntries(expected->last_index() + 1, 2,
                      std::max<uint64_t>(expected->hard.term, 1) + 1, 400);
      LogAppend append;
      append.entries = entries;
      append.hard_state =
          HardState{entries.front().term, 3, expected->hard.commit};
      ASSERT_TRUE((*log)->Append(append).ok());
      ASSERT_TRUE((*log)->Sync().ok());
      expected->hard = *append.hard_state;
      expected->entries.insert(expected->entries.end(), entries.begin(),
                               entries.end());
    }
    log->reset();
    const auto cut = disk.AfterPowerCut(SimDisk::LoseAll);
    const auto after = Recover(options_, before.snapshot(), *cut);
    ASSERT_TRUE(after.ok()) << after.status();
    ASSERT_TRUE(SameLog(*after, *expected)) << *after << "\n" << *expected;
  }

  // Everything for a power cut and for a kill after call number `call`.
  void CrashAfter(uint64_t call) {
    SimDisk disk;
    disk.CutPowerAfter(call);
    LogRunner runner(options_, disk);
    runner.Run(life_);
    SCOPED_TRACE("crash after call " + disk.last_call());
    uint64_t n = 0;
    ForEachPowerCut(disk, kCombinationsMax, kDrawn, call,
                    [&](std::unique_ptr<SimDisk> after) {
                      if (testing::Test::HasFatalFailure()) return;
                      CheckRecovery(*after, runner, n++ % 8 == 0);
                    });
    if (testing::Test::HasFatalFailure()) return;
    CheckRecovery(*disk.AfterProcessDeath(), runner, true);
    if (testing::Test::HasFatalFailure()) return;
    CheckGoesOn(*disk.AfterPowerCut(SimDisk::KeepAll), runner, call);
    if (testing::Test::HasFatalFailure()) return;
    CheckGoesOn(*disk.AfterPowerCut(SimDisk::LoseAll), runner, call);
    if (testing::Test::HasFatalFailure()) return;
    CheckGoesOn(*disk.AfterProcessDeath(), runner, call);
  }

  // A crash, and then another one after each call of the recovery from it.
  // `choose`: what the first one, a power cut, left; null for a kill.
  void CrashInRecovery(uint64_t call, const SimDisk::Choose& choose) {
    SimDisk disk;
    disk.CutPowerAfter(call);
    LogRunner runner(options_, disk);
    runner.Run(life_);
    SCOPED_TRACE("crash after call " + disk.last_call());
    SegmentLogOptions options = options_;
    options.snapshot = runner.snapshot();
    for (uint64_t second = 0;; ++second) {
      const auto after =
          choose ? disk.AfterPowerCut(choose) : disk.AfterProcessDeath();
      after->CutPowerAfter(second);
      const bool recovered = Recover(options_, runner.snapshot(), *after).ok();
      SCOPED_TRACE("then after call " + after->last_call());
      ForEachPowerCut(*after, kCombinationsMax, kDrawn, call * 100 + second,
                      [&](std::unique_ptr<SimDisk> twice) {
                        if (testing::Test::HasFatalFailure()) return;
                        CheckRecovery(*twice, runner, false);
                      });
      if (recovered || testing::Test::HasFatalFailure()) return;
    }
  }

  uint64_t checked() const { return checked_; }

 private:
  const SegmentLogOptions options_ = SmallLogOptions();
  const std::vector<LogStep> life_;
  uint64_t calls_ = 0;
  uint64_t checked_ = 0;
};

TEST(SegmentLogCrashTest, EveryCallOfASmallLife) {
  Crash crash(SmallLife(false));
  for (uint64_t call = 0; call <= crash.calls(); ++call) {
    crash.CrashAfter(call);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(crash.checked(), 1000u);
}

TEST(SegmentLogCrashTest, EveryCallOfALifeWithSnapshots) {
  Crash crash(SmallLife(true));
  for (uint64_t call = 0; call <= crash.calls(); ++call) {
    crash.CrashAfter(call);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SegmentLogCrashTest, EveryCallOfEveryRecovery) {
  Crash crash(SmallLife(true));
  for (uint64_t call = 0; call <= crash.calls(); ++call) {
    crash.CrashInRecovery(call, nullptr);
    if (testing::Test::HasFatalFailure()) return;
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const auto random = Random::Seeded(call * 10 + seed);
      // The same answers in each round, so that the rounds continue each other.
      std::vector<uint64_t> words(64);
      for (uint64_t& word : words) word = random->Next64();
      size_t asked = 0;
      const auto choose = [&](size_t options) {
        return words[asked++ % words.size()] % options;
      };
      crash.CrashInRecovery(call, choose);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(SegmentLogCrashTest, RandomLives) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto random = Random::Seeded(seed);
    Crash crash(RandomLife(*random, 40));
    for (int i = 0; i < 12; ++i) {
      crash.CrashAfter(random->Uniform(crash.calls() + 1));
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace millrace::raft
