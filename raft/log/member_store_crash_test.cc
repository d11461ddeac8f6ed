// Log and snapshots together: power cuts and kills at every call, every call
// failing in every way. See raft/log/testing/store_model.h for what a member
// must have then.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/logging.h"
#include "common/random.h"
#include "raft/log/testing/store_model.h"
#include "raft/log/testing/store_trials.h"

namespace millrace::raft {
namespace {

class MemberStoreCrashTest : public testing::Test {
 protected:
  MemberStoreCrashTest() {
    EXPECT_EQ(TryLife(options_, life_, &calls_), "");
    FLAGS_minloglevel = 2;  // Each failed removal is a warning.
  }
  ~MemberStoreCrashTest() override { FLAGS_minloglevel = 0; }

  const MemberStoreOptions options_ = SmallStoreOptions();
  const std::vector<StoreStep> life_ = SmallStoreLife();
  uint64_t calls_ = 0;
};

TEST_F(MemberStoreCrashTest, EveryCallOfASmallLife) {
  int disks = 0;
  for (uint64_t call = 0; call <= calls_; ++call) {
    ASSERT_EQ(TryCrash(options_, life_, call, CrashOptions(), &disks), "");
  }
  EXPECT_GT(disks, 1000);
}

TEST_F(MemberStoreCrashTest, EveryCallOfEveryStartAfterACrash) {
  for (uint64_t call = 0; call <= calls_; ++call) {
    SimDisk disk;
    disk.CutPowerAfter(call);
    StoreRunner runner(options_, disk);
    runner.Run(life_);
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

TEST_F(MemberStoreCrashTest, RandomLives) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto random = Random::Seeded(seed);
    const std::vector<StoreStep> life = RandomStoreLife(*random, 40);
    uint64_t calls = 0;
    ASSERT_EQ(TryLife(options_, life, &calls), "");
    int disks = 0;
    for (int i = 0; i < 8; ++i) {
      ASSERT_EQ(TryCrash(options_, life, random->Uniform(calls + 1),
                         CrashOptions(), &disks),
                "");
    }
  }
}

// -------------------------------------------------------------------- faults

using MemberStoreFaultTest = MemberStoreCrashTest;

TEST_F(MemberStoreFaultTest, AnIoErrorCostsASnapshotOrStopsTheLog) {
  int fatal = 0, lost = 0;
  for (uint64_t call = 1; call <= calls_; ++call) {
    FaultOutcome outcome;
    ASSERT_EQ(TryFault(options_, life_, call, SimFault::kIoError, &outcome),
              "");
    fatal += outcome.fatal ? 1 : 0;
    lost += outcome.errors.empty() ? 0 : 1;
    EXPECT_FALSE(outcome.fatal && !outcome.errors.empty()) << call;
  }
  EXPECT_GT(fatal, 30);
  EXPECT_GT(lost, 30);
}

TEST_F(MemberStoreFaultTest, AFullDiskCostsTheSnapshotAndNothingElse) {
  int lost = 0;
  for (uint64_t call = 1; call <= calls_; ++call) {
    FaultOutcome outcome;
    ASSERT_EQ(TryFault(options_, life_, call, SimFault::kNoSpace, &outcome),
              "");
    lost += outcome.errors.empty() ? 0 : 1;
    for (const absl::Status& error : outcome.errors) {
      EXPECT_TRUE(absl::IsResourceExhausted(error)) << error;
    }
  }
  EXPECT_GT(lost, 30);
}

TEST_F(MemberStoreFaultTest, AFailedSyncThatDropsPagesIsNeverRetried) {
  for (uint64_t call = 1; call <= calls_; ++call) {
    FaultOutcome outcome;
    ASSERT_EQ(
        TryFault(options_, life_, call, SimFault::kSyncDropsPages, &outcome),
        "");
  }
}

TEST_F(MemberStoreFaultTest, AShortWriteIsContinued) {
  for (uint64_t call = 1; call <= calls_; ++call) {
    FaultOutcome outcome;
    ASSERT_EQ(TryFault(options_, life_, call, SimFault::kShortWrite, &outcome),
              "");
    EXPECT_FALSE(outcome.fatal || !outcome.errors.empty()) << call;
  }
}

// A snapshot is read back before it counts, so a write of its own that went
// astray only costs another attempt. Of the log's it is the next start that
// tells.
TEST_F(MemberStoreFaultTest, AWriteThatGoesAstrayIsNoticed) {
  int refused_starts = 0;
  for (uint64_t call = 1; call <= calls_; ++call) {
    bool refused = false;
    ASSERT_EQ(
        TryStrayWrite(options_, life_, call, SimFault::kLostWrite, 0, &refused),
        "");
    refused_starts += refused ? 1 : 0;
    for (const int64_t shift : {-16, -8, -2, -1, 1, 2, 3, 8}) {
      ASSERT_EQ(TryStrayWrite(options_, life_, call,
                              SimFault::kMisdirectedWrite, shift, &refused),
                "")
          << "by " << shift;
      refused_starts += refused ? 1 : 0;
    }
  }
  EXPECT_GT(refused_starts, 30);
}

// Reading, listing, opening: whatever cannot be looked at is not guessed.
TEST_F(MemberStoreFaultTest, AStartThatCannotLookIsRefusedOrGoesAround) {
  const DamageTrials trials(options_, life_);
  int refused = 0;
  for (uint64_t look = 1;; ++look) {
    bool happened = false;
    const auto disk = trials.disk().AfterProcessDeath();
    disk->FailLook(look);
    const auto random = Random::Seeded(2);
    const auto store = OpenMemberStore(options_, *disk, *random);
    happened = disk->fault_happened();
    if (!happened) {
      EXPECT_TRUE(store.ok()) << store.status();
      break;
    }
    if (!store.ok()) {
      ++refused;
      EXPECT_TRUE(absl::IsDataLoss(store.status())) << store.status();
      continue;
    }
    const auto member = ReadMember(*store);
    ASSERT_TRUE(member.ok()) << member.status();
    EXPECT_EQ(*member, trials.whole());
  }
  EXPECT_GT(refused, 5);
}

}  // namespace
}  // namespace millrace::raft
