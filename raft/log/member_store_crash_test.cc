// Log and snapshots together: power cuts and kills at every call, every call
// failing in every way. See raft/log/testing/store_model.h for what a member
// must have then.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/random.h"
#include "raft/log/testing/store_model.h"

namespace millrace::raft {
namespace {

constexpr size_t kCombinationsMax = 64;
constexpr size_t kDrawn = 12;

uint64_t CallsOf(const std::vector<StoreStep>& life) {
  SimDisk disk;
  StoreRunner runner(SmallStoreOptions(), disk);
  runner.Run(life);
  EXPECT_TRUE(runner.status().ok()) << runner.status();
  EXPECT_TRUE(runner.lost().empty()) << runner.lost().front();
  EXPECT_EQ(runner.litter(), "");
  EXPECT_EQ(runner.CheckAndUse(*disk.AfterProcessDeath()), "");
  return disk.calls();
}

// A crash after call number `call`; how many disks were looked at.
int CrashAfter(const std::vector<StoreStep>& life, uint64_t call) {
  SimDisk disk;
  disk.CutPowerAfter(call);
  StoreRunner runner(SmallStoreOptions(), disk);
  runner.Run(life);
  SCOPED_TRACE("crash after call " + disk.last_call());
  int checked = 0;
  ForEachPowerCut(disk, kCombinationsMax, kDrawn, call,
                  [&](std::unique_ptr<SimDisk> after) {
                    if (testing::Test::HasFailure()) return;
                    const std::string wrong = checked++ % 8 == 0
                                                  ? runner.CheckAndUse(*after)
                                                  : runner.Check(*after);
                    EXPECT_EQ(wrong, "") << "disk " << checked;
                  });
  EXPECT_EQ(runner.CheckAndUse(*disk.AfterProcessDeath()), "");
  return checked;
}

TEST(MemberStoreCrashTest, EveryCallOfASmallLife) {
  const std::vector<StoreStep> life = SmallStoreLife();
  const uint64_t calls = CallsOf(life);
  int checked = 0;
  for (uint64_t call = 0; call <= calls; ++call) {
    checked += CrashAfter(life, call);
    if (HasFailure()) return;
  }
  EXPECT_GT(checked, 1000);
}

TEST(MemberStoreCrashTest, EveryCallOfEveryStartAfterACrash) {
  const std::vector<StoreStep> life = SmallStoreLife();
  const uint64_t calls = CallsOf(life);
  for (uint64_t call = 0; call <= calls; ++call) {
    SimDisk disk;
    disk.CutPowerAfter(call);
    StoreRunner runner(SmallStoreOptions(), disk);
    runner.Run(life);
    SCOPED_TRACE("crash after call " + disk.last_call());
    for (uint64_t second = 0;; ++second) {
      const auto after = disk.AfterProcessDeath();
      after->CutPowerAfter(second);
      const bool started = runner.Check(*after).empty();
      SCOPED_TRACE("then after call " + after->last_call());
      ForEachPowerCut(*after, 8, 4, call * 100 + second,
                      [&](std::unique_ptr<SimDisk> twice) {
                        if (HasFailure()) return;
                        EXPECT_EQ(runner.Check(*twice), "");
                      });
      if (HasFailure()) return;
      if (started) break;
    }
  }
}

TEST(MemberStoreCrashTest, RandomLives) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto random = Random::Seeded(seed);
    const std::vector<StoreStep> life = RandomStoreLife(*random, 40);
    const uint64_t calls = CallsOf(life);
    if (HasFailure()) return;
    for (int i = 0; i < 8; ++i) {
      CrashAfter(life, random->Uniform(calls + 1));
      if (HasFailure()) return;
    }
  }
}

// -------------------------------------------------------------------- faults

struct Outcome {
  bool fatal = false;  // The log stopped.
  bool lost = false;   // A snapshot had to be begun again.
  std::vector<absl::Status> errors;
};

// Runs a life in which call number `call` fails.
Outcome Fail(const std::vector<StoreStep>& life, uint64_t call, SimFault fault,
             int64_t shift_sectors = 0) {
  SimDisk disk;
  disk.FailCall(call, fault, shift_sectors);
  StoreRunner runner(SmallStoreOptions(), disk);
  const bool opened = runner.status().ok();
  if (opened) runner.Run(life);
  SCOPED_TRACE("call " + disk.fault_call());
  EXPECT_TRUE(disk.fault_happened());
  EXPECT_EQ(runner.litter(), "");
  // Either the log has stopped for good, or the life went on to its end.
  EXPECT_EQ(runner.status().ok(), opened && !runner.fatal()) << runner.status();
  EXPECT_EQ(runner.CheckAndUse(*disk.AfterProcessDeath()), "");
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const auto random = Random::Seeded(call * 4 + seed);
    const auto after = disk.AfterPowerCut(
        [&](size_t options) { return random->Uniform(options); });
    EXPECT_EQ(runner.CheckAndUse(*after), "") << "seed " << seed;
  }
  return {runner.fatal(), !runner.lost().empty(), runner.lost()};
}

class MemberStoreFaultTest : public testing::Test {
 protected:
  const std::vector<StoreStep> life_ = SmallStoreLife();
  const uint64_t calls_ = CallsOf(life_);
};

TEST_F(MemberStoreFaultTest, AnIoErrorCostsASnapshotOrStopsTheLog) {
  int fatal = 0, lost = 0;
  for (uint64_t call = 1; call <= calls_; ++call) {
    const Outcome outcome = Fail(life_, call, SimFault::kIoError);
    if (HasFailure()) return;
    fatal += outcome.fatal;
    lost += outcome.lost;
    EXPECT_FALSE(outcome.fatal && outcome.lost);
  }
  EXPECT_GT(fatal, 30);
  EXPECT_GT(lost, 30);
}

TEST_F(MemberStoreFaultTest, AFullDiskCostsTheSnapshotAndNothingElse) {
  int lost = 0;
  for (uint64_t call = 1; call <= calls_; ++call) {
    const Outcome outcome = Fail(life_, call, SimFault::kNoSpace);
    if (HasFailure()) return;
    lost += outcome.lost;
    for (const absl::Status& error : outcome.errors) {
      EXPECT_TRUE(absl::IsResourceExhausted(error)) << error;
    }
  }
  EXPECT_GT(lost, 30);
}

TEST_F(MemberStoreFaultTest, AFailedSyncThatDropsPagesIsNeverRetried) {
  for (uint64_t call = 1; call <= calls_; ++call) {
    Fail(life_, call, SimFault::kSyncDropsPages);
    if (HasFailure()) return;
  }
}

TEST_F(MemberStoreFaultTest, AShortWriteIsContinued) {
  for (uint64_t call = 1; call <= calls_; ++call) {
    const Outcome outcome = Fail(life_, call, SimFault::kShortWrite);
    if (HasFailure()) return;
    EXPECT_FALSE(outcome.fatal || outcome.lost);
  }
}

}  // namespace
}  // namespace millrace::raft
