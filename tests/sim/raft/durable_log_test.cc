// The checkers' reader against the production recovery: two readers of one
// format, who must agree about what is there when the power goes.
#include "tests/sim/raft/durable_log.h"

#include <gtest/gtest.h>

#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raftsim {
namespace {

using raft::LogRunner;
using raft::ModelLog;
using raft::SimDisk;

uint64_t ChainOf(const ModelLog& log, const EntryBook& book) {
  if (log.entries.empty()) return 0;
  const raft::LogEntry& last = log.entries.back();
  return book.ChainOf(last.index, last.term).value_or(1);
}

TEST(DurableLogTest, AgreesWithRecoveryWhereverThePowerGoes) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    auto random = Random::Seeded(seed);
    const auto life = raft::RandomLife(*random, 60);
    SimDisk whole;
    LogRunner rehearsal(raft::SmallLogOptions(), whole);
    rehearsal.Run(life);
    for (uint64_t call = 8; call <= whole.calls(); call += 3) {
      SimDisk disk;
      EntryBook book;
      DurableLog durable(disk, raft::SmallLogOptions().directory, book);
      disk.CutPowerAfter(call);
      raft::SegmentLogOptions options = raft::SmallLogOptions();
      options.on_fatal = [](const absl::Status&) {};
      LogRunner runner(options, disk);
      if (runner.log() == nullptr) continue;
      runner.Run(life);
      ASSERT_EQ(durable.Refresh(), "") << "seed " << seed << ", call " << call;
      // What nothing can take is what is found when all that can go has gone.
      const auto after = disk.AfterPowerCut(SimDisk::LoseAll);
      const auto recovered =
          raft::Recover(raft::SmallLogOptions(), runner.snapshot(), *after);
      ASSERT_TRUE(recovered.ok()) << recovered.status();
      EXPECT_EQ(durable.hard_state(), recovered->hard)
          << "seed " << seed << ", call " << call;
      EXPECT_EQ(durable.last_index(), recovered->last_index());
      if (!recovered->entries.empty()) {
        EXPECT_EQ(durable.ChainOf(durable.last_index()),
                  ChainOf(*recovered, book));
      }
    }
  }
}

TEST(DurableLogTest, WhatIsWrittenAndNotSyncedDoesNotCount) {
  SimDisk disk;
  EntryBook book;
  DurableLog durable(disk, raft::SmallLogOptions().directory, book);
  LogRunner runner(raft::SmallLogOptions(), disk);
  raft::SegmentLog& log = *runner.log();
  const auto entries = raft::MakeEntries(1, 3, 1, 10);
  raft::LogAppend append;
  append.entries = entries;
  append.hard_state = raft::HardState{1, 7, 0};
  ASSERT_TRUE(log.Append(append).ok());
  ASSERT_EQ(durable.Refresh(), "");
  EXPECT_EQ(durable.last_index(), 0u);
  EXPECT_EQ(durable.hard_state().vote, 0u);
  ASSERT_TRUE(log.Sync().ok());
  ASSERT_EQ(durable.Refresh(), "");
  EXPECT_EQ(durable.last_index(), 3u);
  EXPECT_EQ(durable.hard_state().vote, 7u);
  EXPECT_TRUE(durable.Holds(3, 1));
  EXPECT_FALSE(durable.Holds(4, 1));
}

}  // namespace
}  // namespace millrace::raftsim
