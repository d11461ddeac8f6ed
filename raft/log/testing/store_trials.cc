#include "raft/log/testing/store_trials.h"

#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/random.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

template <typename... Args>
std::string Text(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// Prefixes what is wrong, if anything is.
std::string In(std::string_view where, const std::string& wrong) {
  return wrong.empty() ? "" : Cat(where, ": ", wrong);
}

}  // namespace

std::string TryLife(const MemberStoreOptions& options,
                    const std::vector<StoreStep>& life, uint64_t* calls) {
  SimDisk disk;
  StoreRunner runner(options, disk);
  runner.Run(life);
  *calls = disk.calls();
  if (!runner.status().ok()) return Text(runner.status());
  if (!runner.lost().empty()) return Text(runner.lost().front());
  if (!runner.litter().empty()) return runner.litter();
  return runner.CheckAndUse(*disk.AfterProcessDeath());
}

std::string TryCrash(const MemberStoreOptions& options,
                     const std::vector<StoreStep>& life, uint64_t call,
                     const CrashOptions& crash, int* disks) {
  SimDisk disk;
  disk.CutPowerAfter(call);
  StoreRunner runner(options, disk);
  runner.Run(life);
  std::string wrong;
  size_t n = 0;
  ForEachPowerCut(disk, crash.combinations_max, crash.drawn, call,
                  [&](std::unique_ptr<SimDisk> after) {
                    if (!wrong.empty()) return;
                    ++*disks;
                    wrong = n++ % crash.use_every == 0
                                ? runner.CheckAndUse(*after)
                                : runner.Check(*after);
                  });
  if (wrong.empty()) wrong = runner.CheckAndUse(*disk.AfterProcessDeath());
  return In("crash after call " + disk.last_call(), wrong);
}

std::string TryFault(const MemberStoreOptions& options,
                     const std::vector<StoreStep>& life, uint64_t call,
                     SimFault fault, FaultOutcome* outcome) {
  SimDisk disk;
  disk.FailCall(call, fault);
  StoreRunner runner(options, disk);
  const bool opened = runner.status().ok();
  if (opened) runner.Run(life);
  outcome->fatal = runner.fatal();
  outcome->errors = runner.lost();
  const std::string where = "failure of call " + disk.fault_call();
  if (!disk.fault_happened()) return "there is no such call";
  if (!runner.litter().empty()) return In(where, runner.litter());
  // Either the log has stopped for good, or the life went on to its end.
  if (runner.status().ok() != (opened && !runner.fatal())) {
    return In(where, Text("it ends with ", runner.status()));
  }
  std::string wrong = runner.CheckAndUse(*disk.AfterProcessDeath());
  for (uint64_t seed = 0; seed < 4 && wrong.empty(); ++seed) {
    const auto random = Random::Seeded(call * 4 + seed);
    wrong = runner.CheckAndUse(*disk.AfterPowerCut(
        [&](size_t choices) { return random->Uniform(choices); }));
  }
  return In(where, wrong);
}

std::string TryStrayWrite(const MemberStoreOptions& options,
                          const std::vector<StoreStep>& life, uint64_t call,
                          SimFault fault, int64_t shift_sectors,
                          bool* refused) {
  SimDisk disk;
  disk.FailCall(call, fault, shift_sectors);
  StoreRunner runner(options, disk);
  *refused = !runner.status().ok();
  if (*refused) return "";  // It was noticed at once.
  runner.Run(life);
  const std::string where = "stray call " + disk.fault_call();
  if (!runner.status().ok() || !runner.litter().empty()) {
    return In(where, Text(runner.status(), runner.litter()));
  }
  if (const absl::Status closed = runner.store().log->Close(); !closed.ok()) {
    return In(where, Text(closed));
  }
  const MemberState whole = runner.Newest();
  const auto after = disk.AfterPowerCut(SimDisk::LoseAll);
  const auto random = Random::Seeded(2);
  const auto store = OpenMemberStore(options, *after, *random);
  *refused = absl::IsDataLoss(store.status());
  // What becomes of a snapshot is known before it counts.
  if (*refused && !absl::StrContains(disk.fault_call(), "/snap/")) return "";
  if (!store.ok()) return In(where, Text(store.status()));
  if (!store->warning.empty()) return In(where, store->warning);
  const auto member = ReadMember(*store);
  if (!member.ok()) return In(where, Text(member.status()));
  if (*member == whole) return "";
  return In(where, Text("it has ", *member, " instead of ", whole));
}

// -------------------------------------------------------------------- damage

DamageTrials::DamageTrials(const MemberStoreOptions& options,
                           const std::vector<StoreStep>& life)
    : options_(options), disk_(std::make_unique<SimDisk>()) {
  {
    StoreRunner runner(options, *disk_);
    runner.Run(life);
    CHECK(runner.status().ok()) << runner.status();
    CHECK(runner.store().log->Close().ok());
    whole_ = runner.Newest();
  }
  disk_ = disk_->AfterProcessDeath();
  for (const std::string& name : disk_->Names("/data/log")) {
    if (!absl::EndsWith(name, ".seg")) continue;
    segments_.push_back(JoinPath("/data/log", name));
  }
  for (const std::string& name : disk_->Names("/data/snap")) {
    snapshots_.push_back(JoinPath("/data/snap", name));
  }
  for (const std::vector<std::string>& paths : {segments_, snapshots_}) {
    for (const std::string& path : paths) files_[path] = disk_->Contents(path);
  }
}

std::string DamageTrials::Try(const std::function<void(SimDisk&)>& damage,
                              Start* start) const {
  Start ignored;
  if (start == nullptr) start = &ignored;
  const auto disk = disk_->AfterProcessDeath();
  damage(*disk);
  const auto random = Random::Seeded(2);
  const auto store = OpenMemberStore(options_, *disk, *random);
  start->refused = !store.ok();
  if (!store.ok()) {
    start->message = std::string(store.status().message());
    if (!absl::IsDataLoss(store.status())) return Text(store.status());
    if (!absl::StrContains(start->message, ", offset ") ||
        !absl::StrContains(start->message, "/data/")) {
      return Cat("the refusal does not say where: ", start->message);
    }
    return "";
  }
  start->message = store->warning;
  start->snapshot = store->snapshots->newest().index;
  const auto member = ReadMember(*store);
  if (!member.ok()) return Text("it cannot be read: ", member.status());
  if (*member == whole_) return "";
  return Text("it has ", *member, " instead of ", whole_);
}

std::string DamageTrials::With(const std::string& path, std::string_view bytes,
                               Start* start) const {
  return Try([&](SimDisk& disk) { disk.SetContents(path, bytes); }, start);
}

std::string TwinOf(const std::string& bytes) {
  SnapshotFileMeta meta = *DecodeSnapshotHeader(bytes);
  SnapshotOrigin origin;
  const uint64_t seed = SnapshotSeed(bytes, meta);
  const auto trailer =
      std::string_view(bytes).substr(bytes.size() - kSnapshotTrailerBytes);
  CHECK(DecodeSnapshotTrailer(trailer, seed, &meta, &origin).ok());
  std::string twin = bytes.substr(0, meta.header_bytes());
  meta.checksum = seed;
  for (uint64_t n = 0; n < meta.chunks(); ++n) {
    std::string chunk = BeginSnapshotChunk(meta.chunk_bytes);
    chunk += bytes.substr(meta.ChunkOffset(n) + kSnapshotChunkHeadBytes,
                          meta.ChunkLength(n));
    chunk.back() = static_cast<char>(~chunk.back());
    meta.checksum = SealSnapshotChunk(seed, n, meta.checksum, &chunk);
    twin += chunk;
  }
  return twin + EncodeSnapshotTrailer(meta, seed, origin);
}

}  // namespace millrace::raft
