// Damage to a log that recovery_test.cc does not make: sectors that read as
// they did at an earlier time, writes that went to another place while the log
// went on, calls that only look and fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/file_system.h"
#include "common/random.h"
#include "common/strings.h"
#include "raft/log/log_format.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {
namespace {

using testing::HasSubstr;

constexpr char kLog[] = "/data/log";

std::map<std::string, std::string> Segments(const SimDisk& disk) {
  std::map<std::string, std::string> segments;
  for (const std::string& name : disk.Names(kLog)) {
    if (!absl::EndsWith(name, ".seg")) continue;
    const std::string path = JoinPath(kLog, name);
    segments[path] = disk.Contents(path);
  }
  return segments;
}

class LogDamageTest : public testing::Test {
 protected:
  const std::vector<LogStep> life_ = SmallLife(false);
};

// A write that the disk lost, of a sector that had been written before: the
// beginning of the sector is right, its end is missing.
void TryStaleSectors(const std::vector<LogStep>& life, int* stale) {
  SimDisk disk;
  LogRunner runner(SmallLogOptions(), disk);
  // By path and offset.
  std::map<std::pair<std::string, size_t>, std::set<std::string>> versions;
  for (const LogStep& step : life) {
    runner.Run({step});
    ASSERT_TRUE(runner.status().ok()) << runner.status();
    for (const auto& [path, bytes] : Segments(disk)) {
      for (size_t at = 0; at < bytes.size(); at += kSectorBytes) {
        versions[{path, at}].insert(bytes.substr(at, kSectorBytes));
      }
    }
  }
  ASSERT_TRUE(runner.log()->Close().ok());
  const ModelLog whole = runner.possible().back();
  const auto segments = Segments(disk);
  for (const auto& [place, contents] : versions) {
    const auto& [path, at] = place;
    const std::string& bytes = segments.at(path);
    const size_t used = bytes.find_last_not_of('\0') + 1;
    for (const std::string& content : contents) {
      if (bytes.compare(at, kSectorBytes, content) == 0) continue;
      SCOPED_TRACE(Cat(path, " sector at ", at));
      const auto after = disk.AfterProcessDeath();
      std::string damaged = bytes;
      damaged.replace(at, kSectorBytes, content);
      after->SetContents(path, damaged);
      const auto log = Recover(SmallLogOptions(), LogSnapshot(), *after);
      ++*stale;
      if (log.ok()) {
        // The sector that holds the last mark may hold the end of the last
        // group too; nobody can tell then.
        if (path == segments.rbegin()->first && at + kSectorBytes >= used) {
          continue;
        }
        ASSERT_EQ(*log, whole);
      } else {
        ASSERT_TRUE(absl::IsDataLoss(log.status())) << log.status();
        ASSERT_THAT(std::string(log.status().message()),
                    HasSubstr(path + ", offset "));
      }
    }
  }
}

TEST_F(LogDamageTest, EverySectorAsItWasAtEveryEarlierTime) {
  int stale = 0;
  TryStaleSectors(life_, &stale);
  for (uint64_t seed = 1; seed <= 10 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    const auto random = Random::Seeded(seed);
    TryStaleSectors(RandomLife(*random, 40), &stale);
  }
  EXPECT_GT(stale, 200);
}

TEST_F(LogDamageTest, EveryWriteElsewhereOrNowhere) {
  uint64_t calls = 0;
  {
    SimDisk disk;
    LogRunner runner(SmallLogOptions(), disk);
    runner.Run(life_);
    calls = disk.calls();
  }
  int refused = 0;
  for (uint64_t call = 1; call <= calls; ++call) {
    // 0: nowhere.
    for (int64_t shift = -16; shift <= 16; ++shift) {
      SCOPED_TRACE(Cat("call ", call, " by ", shift));
      SimDisk disk;
      disk.FailCall(
          call, shift == 0 ? SimFault::kLostWrite : SimFault::kMisdirectedWrite,
          shift);
      LogRunner runner(SmallLogOptions(), disk);
      if (!runner.status().ok()) continue;  // Noticed at once.
      runner.Run(life_);
      ASSERT_TRUE(runner.status().ok()) << runner.status();
      ASSERT_TRUE(runner.log()->Close().ok());
      const auto after = disk.AfterPowerCut(SimDisk::LoseAll);
      const auto log = Recover(SmallLogOptions(), LogSnapshot(), *after);
      if (log.ok()) {
        ASSERT_EQ(*log, runner.possible().back());
      } else {
        ASSERT_TRUE(absl::IsDataLoss(log.status())) << log.status();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 200);
}

// The last group before a crash has no mark behind it, but a record that stands
// where it does not belong says that it was written.
TEST_F(LogDamageTest, TheLastGroupElsewhereInItsSegment) {
  for (const int64_t shift : {1, 2, 3, 4}) {
    SCOPED_TRACE(shift);
    SimDisk disk;
    LogRunner runner(SmallLogOptions(), disk);
    LogAppend append;
    append.hard_state = HardState{1, 7, 0};
    ASSERT_TRUE(runner.log()->Append(append).ok());
    ASSERT_TRUE(runner.log()->Sync().ok());
    const auto entries = MakeEntries(1, 2, 1, 100);
    append.entries = entries;
    disk.FailCall(disk.calls() + 1, SimFault::kMisdirectedWrite, shift);
    ASSERT_TRUE(runner.log()->Append(append).ok());
    ASSERT_TRUE(runner.log()->Sync().ok());
    const auto after = disk.AfterPowerCut(SimDisk::LoseAll);
    const auto log = Recover(SmallLogOptions(), LogSnapshot(), *after);
    ASSERT_TRUE(absl::IsDataLoss(log.status())) << log.status();
    EXPECT_THAT(std::string(log.status().message()),
                HasSubstr("there is the record that was written at 4160"));
  }
}

TEST_F(LogDamageTest, EveryLookThatFails) {
  SimDisk disk;
  LogRunner runner(SmallLogOptions(), disk);
  runner.Run(life_);
  int refused = 0;
  for (uint64_t look = 1;; ++look) {
    const auto after = disk.AfterProcessDeath();
    after->FailLook(look);
    const auto log = Recover(SmallLogOptions(), LogSnapshot(), *after);
    if (!after->fault_happened()) {
      ASSERT_TRUE(log.ok()) << log.status();
      break;
    }
    if (log.ok()) {
      ASSERT_EQ(*log, runner.possible().back());
    } else {
      ASSERT_TRUE(absl::IsDataLoss(log.status())) << log.status();
      ++refused;
    }
    // Nothing has changed by it.
    const auto again = Recover(SmallLogOptions(), LogSnapshot(), *after);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(*again, runner.possible().back());
  }
  EXPECT_GT(refused, 10);
}

TEST_F(LogDamageTest, TheSpareIsNeverBelieved) {
  SimDisk disk;
  LogRunner runner(SmallLogOptions(), disk);
  runner.Run(life_);
  const auto segments = Segments(disk);
  std::vector<std::string> contents = {"", "half", std::string(8192, 'x')};
  for (const auto& [path, bytes] : segments) contents.push_back(bytes);
  for (const std::string& content : contents) {
    const auto after = disk.AfterProcessDeath();
    after->SetContents(JoinPath(kLog, "spare"), content);
    const auto random = Random::Seeded(1);
    auto log = SegmentLog::Open(SmallLogOptions(), *after, *random);
    ASSERT_TRUE(log.ok()) << log.status();
    ASSERT_EQ(*ReadModel(**log), runner.possible().back());
    ASSERT_TRUE((*log)->PrepareSpare().ok());
    ASSERT_EQ(after->Contents(JoinPath(kLog, "spare")),
              std::string(8192, '\0'));
  }
}

}  // namespace
}  // namespace millrace::raft
