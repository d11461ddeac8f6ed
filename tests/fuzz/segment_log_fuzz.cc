// Recovery of a master's log: any bytes, any records under right checksums,
// logs with damage, logs after a power cut. Whatever comes back must be what
// the log was at some time, and no less than what was acknowledged where
// nothing but a crash happened; a refusal says kDataLoss.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/file_system.h"
#include "common/logging.h"
#include "common/random.h"
#include "raft/log/log_format.h"
#include "raft/log/testing/log_model.h"
#include "raft/log/testing/sim_disk.h"

namespace millrace::raft {
namespace {

constexpr char kLog[] = "/data/log";

bool Among(const std::vector<ModelLog>& logs, const ModelLog& log) {
  return std::any_of(logs.begin(), logs.end(), [&log](const ModelLog& other) {
    return SameLog(other, log);
  });
}

// Opens what is on the disk. A log that opens can be used, opens again the
// same, and does not depend on what is not synced.
absl::StatusOr<ModelLog> RecoverAndUse(const LogSnapshot& snapshot,
                                       SimDisk& disk) {
  const auto log = Recover(SmallLogOptions(), snapshot, disk);
  if (!log.ok()) {
    CHECK(absl::IsDataLoss(log.status())) << log.status();
    return log.status();
  }
  const auto cut = disk.AfterPowerCut(SimDisk::LoseAll);
  const auto again = Recover(SmallLogOptions(), snapshot, *cut);
  CHECK(again.ok()) << again.status();
  CHECK(*again == *log) << *again << "\n" << *log;
  if (log->hard.term > UINT64_MAX / 2 || log->last_index() > UINT64_MAX / 2) {
    return log;
  }
  SegmentLogOptions options = SmallLogOptions();
  options.snapshot = snapshot;
  const auto random = Random::Seeded(3);
  auto used = SegmentLog::Open(options, *cut, *random);
  CHECK(used.ok()) << used.status();
  const auto entries =
      MakeEntries(log->last_index() + 1, 1, log->hard.term + 1, 1000);
  LogAppend append;
  append.entries = entries;
  append.hard_state = HardState{log->hard.term + 1, 5, log->hard.commit};
  CHECK((*used)->Append(append).ok());
  CHECK((*used)->Sync().ok());
  used->reset();
  const auto after = Recover(SmallLogOptions(), snapshot, *cut);
  CHECK(after.ok()) << after.status();
  CHECK_EQ(after->last_index(), log->last_index() + 1);
  return log;
}

// A disk with an empty log; where its segment is, and the segment's seed.
struct EmptyLog {
  SimDisk disk;
  std::string path = JoinPath(kLog, SegmentName(1, 1));
  std::string header;
  EmptyLog() {
    CHECK(Recover(SmallLogOptions(), LogSnapshot(), disk).ok());
    header = disk.Contents(path).substr(0, kSegmentHeaderBytes);
  }
};

void FuzzAnyBytes(FuzzedDataProvider& data) {
  EmptyLog log;
  const bool id = data.ConsumeBool();
  std::string bytes = data.ConsumeBool() ? log.header : "";
  bytes += data.ConsumeRemainingBytesAsString();
  if (bytes.size() < 8192) bytes.resize(8192);
  log.disk.SetContents(id ? "/data/id" : log.path, bytes);
  RecoverAndUse(LogSnapshot(), log.disk).IgnoreError();
}

void FuzzRecords(FuzzedDataProvider& data) {
  EmptyLog log;
  std::string bytes = log.header;
  const uint64_t seed = SegmentChecksum(bytes);
  uint64_t chain = seed;
  while (data.remaining_bytes() > 0) {
    const auto offset = static_cast<uint32_t>(bytes.size());
    const auto mark = data.ConsumeBool() ? offset : uint32_t{4096};
    RecordBuilder builder(seed, offset, mark, chain);
    const auto number = [&data] {
      return data.ConsumeBool() ? data.ConsumeIntegralInRange<uint64_t>(0, 9)
                                : data.ConsumeIntegral<uint64_t>();
    };
    switch (data.ConsumeIntegralInRange(0, 3)) {
      case 0:
        builder.HardStateRecord({number(), number(), number()});
        break;
      case 1:
        builder.TruncateRecord(number());
        break;
      case 2:
        builder.SegmentEndRecord(number(), number());
        break;
      default: {
        std::vector<LogEntry> entries(data.ConsumeIntegralInRange(1, 3));
        for (LogEntry& entry : entries) {
          entry.index = number();
          entry.term = number();
          entry.payload = data.ConsumeRandomLengthString(40);
        }
        builder.EntriesRecord(entries);
      }
    }
    if (bytes.size() + builder.bytes().size() > 8192) break;
    bytes += builder.bytes();
    chain = builder.chain();
  }
  bytes.resize(8192);
  log.disk.SetContents(log.path, bytes);
  LogSnapshot snapshot;
  RecoverAndUse(snapshot, log.disk).IgnoreError();
}

void FuzzDamage(FuzzedDataProvider& data) {
  const auto random = Random::Seeded(data.ConsumeIntegral<uint64_t>());
  SimDisk disk;
  bool zeros = false;  // A sector may read as it did before it was written.
  ModelLog whole;
  std::vector<ModelLog> history;
  {
    LogRunner runner(SmallLogOptions(), disk);
    runner.Run(RandomLife(*random, data.ConsumeIntegralInRange(1, 40)));
    CHECK(runner.status().ok()) << runner.status();
    if (data.ConsumeBool()) CHECK(runner.log()->Close().ok());
    history = runner.history();
    whole = history.back();
  }
  std::vector<std::string> names = disk.Names(kLog);
  std::erase(names, "spare");
  const auto any_path = [&] {
    return JoinPath(
        kLog, names[data.ConsumeIntegralInRange<size_t>(0, names.size() - 1)]);
  };
  for (int i = data.ConsumeIntegralInRange(1, 4); i > 0; --i) {
    const std::string path = any_path();
    std::string bytes = disk.Contents(path);
    if (bytes.empty()) continue;
    const auto at = data.ConsumeIntegralInRange<size_t>(0, bytes.size() - 1);
    switch (data.ConsumeIntegralInRange(0, 4)) {
      case 0: {  // A sector of some place.
        const std::string from = disk.Contents(any_path());
        const auto sector = data.ConsumeIntegralInRange<size_t>(
            0, from.empty() ? 0 : (from.size() - 1) / kSectorBytes);
        const std::string moved =
            from.substr(sector * kSectorBytes, kSectorBytes);
        zeros = zeros || moved.find('\0') != std::string::npos;
        bytes.replace(at / kSectorBytes * kSectorBytes, moved.size(), moved);
        break;
      }
      case 1:  // A sector that was never written.
        bytes.replace(at / kSectorBytes * kSectorBytes, kSectorBytes,
                      kSectorBytes, '\0');
        zeros = true;
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes[at] = data.ConsumeIntegral<char>();
        zeros = zeros || bytes[at] == 0;
        break;
      default:
        bytes[at] = static_cast<char>(bytes[at] ^
                                      (1 << data.ConsumeIntegralInRange(0, 7)));
        zeros = zeros || bytes[at] == 0;
    }
    disk.SetContents(path, bytes);
  }
  const auto log = RecoverAndUse(LogSnapshot(), disk);
  if (!log.ok()) return;
  CHECK(Among(history, *log)) << *log;
  if (!zeros) CHECK(SameLog(*log, whole)) << *log << "\n" << whole;
}

void FuzzCrash(FuzzedDataProvider& data) {
  const auto random = Random::Seeded(data.ConsumeIntegral<uint64_t>());
  const std::vector<LogStep> life =
      data.ConsumeBool() ? SmallLife(true) : RandomLife(*random, 30);
  SimDisk disk;
  disk.CutPowerAfter(data.ConsumeIntegralInRange<uint64_t>(0, 120));
  LogRunner runner(SmallLogOptions(), disk);
  runner.Run(life);
  const auto choose = [&data](size_t options) {
    return data.ConsumeIntegralInRange<size_t>(0, options - 1);
  };
  auto after = data.ConsumeBool() ? disk.AfterPowerCut(choose)
                                  : disk.AfterProcessDeath();
  // The first recoveries are cut off as well.
  for (int i = data.ConsumeIntegralInRange(0, 3); i > 0; --i) {
    after->CutPowerAfter(data.ConsumeIntegralInRange<uint64_t>(0, 12));
    Recover(SmallLogOptions(), runner.snapshot(), *after)
        .status()
        .IgnoreError();
    after = after->AfterPowerCut(choose);
  }
  const auto log = RecoverAndUse(runner.snapshot(), *after);
  CHECK(log.ok()) << log.status();
  CHECK(Among(runner.possible(), *log)) << *log;
}

}  // namespace
}  // namespace millrace::raft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  switch (data.ConsumeIntegralInRange(0, 3)) {
    case 0:
      millrace::raft::FuzzAnyBytes(data);
      break;
    case 1:
      millrace::raft::FuzzRecords(data);
      break;
    case 2:
      millrace::raft::FuzzDamage(data);
      break;
    default:
      millrace::raft::FuzzCrash(data);
  }
  return 0;
}
