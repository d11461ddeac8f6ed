#include "raft/log/testing/store_model.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/encoding.h"

namespace millrace::raft {
namespace {

std::string RandomBytes(uint64_t seed, size_t bytes) {
  const auto random = Random::Seeded(seed);
  std::string out(bytes, '\0');
  for (char& c : out) c = static_cast<char>(1 + random->Uniform(255));
  return out;
}

template <typename... Args>
std::string Text(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

}  // namespace

// --------------------------------------------------------------------- state

uint64_t NextState(uint64_t state, const LogEntry& entry) {
  std::string bytes;
  Put(bytes, state);
  Put(bytes, entry.index);
  Put(bytes, entry.term);
  Put(bytes, entry.kind);
  bytes += entry.payload;
  return Hash64(bytes);
}

uint64_t LeaderState(uint64_t index, uint64_t term) {
  return Hash64(Cat("leader ", index, " ", term));
}

std::string StateBytes(uint64_t state) {
  std::string bytes;
  Put(bytes, state);
  return bytes + RandomBytes(state, 32 + state % 360);
}

std::string StateConfiguration(uint64_t state) {
  return Cat("members at state ", state);
}

absl::StatusOr<uint64_t> ReadState(SnapshotReader& reader) {
  std::string bytes;
  char buffer[100];
  for (;;) {
    MR_ASSIGN_OR_RETURN(const size_t n, reader.Read(buffer, sizeof buffer));
    if (n == 0) break;
    bytes.append(buffer, n);
  }
  if (bytes.size() < 8) return absl::InternalError("no state in a snapshot");
  const auto state = Get<uint64_t>(bytes, 0);
  if (bytes != StateBytes(state)) {
    return absl::InternalError(Av(Cat("the snapshot at ", reader.meta().index,
                                      " has a state that nobody ever had")));
  }
  if (reader.meta().configuration != StateConfiguration(state)) {
    return absl::InternalError(
        Av(Cat("the snapshot at ", reader.meta().index, " has the members '",
               reader.meta().configuration, "'")));
  }
  return state;
}

std::ostream& operator<<(std::ostream& out, const MemberState& member) {
  return out << "term " << member.hard.term << " vote " << member.hard.vote
             << " commit " << member.hard.commit << " last "
             << member.last_index << " state " << member.state;
}

absl::StatusOr<MemberState> ReadMember(const MemberStore& store) {
  MemberState member;
  uint64_t index = 0;
  if (store.snapshots->newest().index > 0) {
    MR_ASSIGN_OR_RETURN(const auto reader, store.snapshots->OpenNewest());
    MR_ASSIGN_OR_RETURN(member.state, ReadState(*reader));
    index = reader->meta().index;
  }
  const SegmentLog& log = *store.log;
  member.hard = log.hard_state();
  member.last_index = log.last_index();
  if (log.first_index() > index + 1 || index > member.hard.commit ||
      member.hard.commit > member.last_index) {
    return absl::InternalError(
        Av(Cat("a log from entry ", log.first_index(), " to ",
               member.last_index, ", ", member.hard.commit,
               " of them committed, goes with a snapshot at ", index)));
  }
  while (index < member.last_index) {
    MR_ASSIGN_OR_RETURN(const std::vector<LogEntry> entries,
                        log.Read(index + 1, member.last_index + 1, 1 << 20));
    for (const LogEntry& entry : entries) {
      member.state = NextState(member.state, entry);
      ++index;
    }
  }
  return member;
}

SentSnapshot MakeSent(const ClusterId& cluster, uint64_t index, uint64_t term,
                      uint64_t state, uint64_t chunk_bytes) {
  SnapshotFileMeta meta;
  meta.cluster = cluster;
  meta.index = index;
  meta.term = term;
  meta.configuration = StateConfiguration(state);
  meta.chunk_bytes = chunk_bytes;
  const std::string header = EncodeSnapshotHeader(meta);
  const uint64_t seed = SnapshotSeed(header, meta);
  const std::string bytes = StateBytes(state);
  meta.bytes = bytes.size();
  meta.checksum = seed;
  SentSnapshot sent;
  for (uint64_t n = 0; n < meta.chunks(); ++n) {
    std::string chunk = BeginSnapshotChunk(chunk_bytes);
    chunk += bytes.substr(n * chunk_bytes, chunk_bytes);
    meta.checksum = SealSnapshotChunk(seed, n, meta.checksum, &chunk);
    sent.chunks.push_back(std::move(chunk));
  }
  sent.description = EncodeSnapshotDescription(meta);
  return sent;
}

// ---------------------------------------------------------------------- life

MemberStoreOptions SmallStoreOptions() {
  MemberStoreOptions options;
  options.log = SmallLogOptions();
  options.snapshot_chunk_bytes = 64;
  return options;
}

namespace {

StoreStep Log(LogStep step) {
  return {StoreStep::kLog, std::move(step), 0, 0, {}};
}

StoreStep Entries(std::vector<LogEntry> entries, std::optional<HardState> hard,
                  std::optional<uint64_t> truncate_from = std::nullopt) {
  LogStep step;
  step.kind = LogStep::kAppend;
  step.entries = std::move(entries);
  step.hard = hard;
  step.truncate_from = truncate_from;
  return Log(std::move(step));
}

StoreStep Sync() { return Log(LogStep()); }

StoreStep Snapshot() { return {StoreStep::kSnapshot, {}, 0, 0, {}}; }

StoreStep Install(uint64_t index, uint64_t term) {
  return {StoreStep::kInstall, {}, index, term, {}};
}

StoreStep Compact(uint64_t tail, bool reach_older) {
  CompactionOptions options;
  options.tail_entries = tail;
  options.reach_older_snapshot = reach_older;
  return {StoreStep::kCompact, {}, 0, 0, options};
}

}  // namespace

std::vector<StoreStep> SmallStoreLife() {
  return {
      Entries(MakeEntries(1, 4, 1, 300), HardState{1, 7, 3}),
      Sync(),
      Snapshot(),  // 3
      Entries(MakeEntries(5, 3, 1, 900), HardState{1, 7, 6}),
      Sync(),
      Snapshot(),  // 6
      Compact(0, true),
      Entries(MakeEntries(8, 3, 2, 900), HardState{2, 8, 8}),
      // The commit index is not synced yet when the snapshot is taken.
      Sync(),
      Entries({}, HardState{2, 8, 9}),
      Snapshot(),  // 9, and 3 goes.
      Compact(1, true),
      // What is not committed gives way to a snapshot from the leader.
      Entries(MakeEntries(11, 2, 2, 500), HardState{3, 0, 9}),
      Sync(),
      Install(12, 3),
      Entries(MakeEntries(13, 3, 3, 700), HardState{3, 0, 13}),
      Sync(),
      Compact(0, true),
      // A leader sends one, but the log comes as far by itself.
      Install(14, 3),
      Entries(MakeEntries(16, 2, 3, 800), HardState{4, 2, 17}),
      Sync(),
      Snapshot(),  // 17
      Compact(0, false),
      Entries(MakeEntries(18, 1, 4, 100), HardState{4, 2, 17}),
      Sync(),
  };
}

std::vector<StoreStep> RandomStoreLife(Random& random, size_t steps) {
  std::vector<StoreStep> life;
  HardState hard{1, 7, 0};
  life.push_back(Entries({}, hard));
  uint64_t last = 0, base = 0;
  while (life.size() < steps) {
    switch (random.Uniform(8)) {
      case 0:
        life.push_back(Snapshot());
        break;
      case 1:
        life.push_back(Compact(random.Uniform(4), random.Uniform(2) == 0));
        break;
      case 2: {
        if (random.Uniform(3) > 0) break;
        hard.term += 1;
        hard.vote = 0;
        life.push_back(Entries({}, hard));
        life.push_back(Sync());
        last = base = hard.commit = last + 1 + random.Uniform(3);
        life.push_back(Install(last, hard.term));
        break;
      }
      case 3:
        life.push_back(Sync());
        break;
      default: {
        std::optional<uint64_t> from;
        if (random.Uniform(5) == 0 && last > hard.commit) {
          from = hard.commit + 1 + random.Uniform(last - hard.commit);
          last = *from - 1;
          ++hard.term;
          hard.vote = 0;
        }
        const size_t count = 1 + random.Uniform(3);
        auto entries =
            MakeEntries(last + 1, count, hard.term, random.Uniform(900));
        last += count;
        hard.commit += random.Uniform(last - hard.commit + 1);
        life.push_back(Entries(std::move(entries), hard, from));
      }
    }
  }
  life.push_back(Sync());
  return life;
}

// -------------------------------------------------------------------- runner

StoreRunner::StoreRunner(const MemberStoreOptions& options, SimDisk& disk)
    : options_(options), disk_(disk) {
  MemberStoreOptions observed = options;
  observed.log.on_fatal = [this](const absl::Status&) { fatal_ = true; };
  const auto random = Random::Seeded(1);
  auto store = OpenMemberStore(observed, disk, *random);
  status_ = store.status();
  if (!store.ok()) return;
  store_ = *std::move(store);
  runner_.emplace(options_.log, *store_.log);
}

void StoreRunner::Run(const std::vector<StoreStep>& steps) {
  for (const StoreStep& step : steps) {
    if (!status_.ok()) return;
    absl::Status status = Take(step);
    if (!status.ok() && step.kind != StoreStep::kLog && !fatal_ &&
        disk_.has_power()) {
      LookForLitter(status);
      lost_.push_back(status);
      status = Take(step);
    }
    if (step.kind != StoreStep::kLog) LookForLitter(status);
    status_ = status;
  }
}

absl::Status StoreRunner::Take(const StoreStep& step) {
  switch (step.kind) {
    case StoreStep::kLog:
      runner_->Run({step.log});
      return runner_->status();
    case StoreStep::kSnapshot:
      return TakeSnapshot();
    case StoreStep::kInstall:
      return Install(step.index, step.term);
    case StoreStep::kCompact:
      return CompactLog(step.compaction, *store_.snapshots, *store_.log);
  }
  return absl::OkStatus();
}

uint64_t StoreRunner::StateAt(const ModelLog& log, uint64_t index) const {
  uint64_t state = base_states_.at(log.base_index);
  for (const LogEntry& entry : log.entries) {
    if (entry.index <= index) state = NextState(state, entry);
  }
  return state;
}

absl::Status StoreRunner::TakeSnapshot() {
  const ModelLog& log = runner_->possible().back();
  // What is not durable here cannot be applied here.
  uint64_t index = log.hard.commit;
  for (const ModelLog& possible : runner_->possible()) {
    index = std::min(index, possible.last_index());
  }
  if (index <= snapshot_) return absl::OkStatus();
  const uint64_t term = index == log.base_index
                            ? 0  // Installed, so it is the newest anyway.
                            : log.entries[index - log.base_index - 1].term;
  const uint64_t state = StateAt(log, index);
  MR_ASSIGN_OR_RETURN(
      const auto writer,
      store_.snapshots->Create(index, term, StateConfiguration(state)));
  std::string_view bytes;
  const std::string all = StateBytes(state);
  for (bytes = all; !bytes.empty();) {
    const size_t n = std::min<size_t>(bytes.size(), 1 + bytes.size() / 2);
    MR_RETURN_IF_ERROR(writer->Append(bytes.substr(0, n)));
    bytes.remove_prefix(n);
  }
  MR_RETURN_IF_ERROR(writer->Finish());
  snapshot_ = index;
  return absl::OkStatus();
}

absl::Status StoreRunner::Install(uint64_t index, uint64_t term) {
  const ModelLog log = runner_->possible().back();
  if (index <= snapshot_ && pending_.base_index != index) {
    return absl::OkStatus();
  }
  const bool held = index > log.base_index && index <= log.last_index() &&
                    log.entries[index - log.base_index - 1].term == term;
  const uint64_t state = held ? StateAt(log, index) : LeaderState(index, term);
  if (!held) {
    base_states_[index] = state;
    pending_ = log;
    pending_.base_index = pending_.hard.commit = index;
    pending_.entries.clear();
  }
  if (index > snapshot_) {
    MR_RETURN_IF_ERROR(
        Transfer(MakeSent(store_.log->identity().cluster, index, term, state,
                          options_.snapshot_chunk_bytes)));
    snapshot_ = index;
  }
  if (held) return absl::OkStatus();
  LogStep reset;
  reset.kind = LogStep::kReset;
  reset.index = index;
  reset.term = term;
  runner_->Run({reset});
  if (runner_->status().ok()) pending_ = ModelLog();
  return runner_->status();
}

absl::Status StoreRunner::Transfer(const SentSnapshot& sent) {
  const size_t half = sent.chunks.size() / 2;
  {
    MR_ASSIGN_OR_RETURN(const auto first,
                        store_.snapshots->Install(sent.description));
    for (uint64_t n = first->next_chunk(); n < half; ++n) {
      MR_RETURN_IF_ERROR(first->Append(n, sent.chunks[n]));
    }
  }
  // The line broke; the next one begins where the first one ended, or a chunk
  // before that, or with a chunk that is damaged, or one that is too far on.
  MR_ASSIGN_OR_RETURN(const auto second,
                      store_.snapshots->Install(sent.description));
  if (second->next_chunk() != half) {
    return absl::InternalError("a transfer did not go on where it had ended");
  }
  if (half > 0) {
    MR_RETURN_IF_ERROR(second->Append(half - 1, sent.chunks[half - 1]));
  }
  if (half + 1 < sent.chunks.size() &&
      !options_.log.mutant.ignore_chunk_place) {
    std::string damaged = sent.chunks[half];
    damaged[damaged.size() / 2] =
        static_cast<char>(~damaged[damaged.size() / 2]);
    if (!absl::IsDataLoss(second->Append(half, damaged)) ||
        !absl::IsOutOfRange(second->Append(half + 1, sent.chunks[half + 1])) ||
        second->next_chunk() != half) {
      return absl::InternalError("a chunk was taken that must not be");
    }
  }
  for (uint64_t n = second->next_chunk(); n < sent.chunks.size(); ++n) {
    MR_RETURN_IF_ERROR(second->Append(n, sent.chunks[n]));
  }
  return second->Finish();
}

void StoreRunner::LookForLitter(const absl::Status& status) {
  if (!litter_.empty() || !disk_.has_power()) return;
  size_t snapshots = 0;
  std::string names;
  bool temporary = false;
  for (const std::string& name : disk_.Names("/data/snap")) {
    names += " " + name;
    if (absl::EndsWith(name, ".snap")) {
      ++snapshots;
    } else {
      temporary = true;
    }
  }
  // What could not be removed stays for a while.
  if (absl::StrContains(disk_.fault_call(), " remove ")) return;
  if (temporary || snapshots > 2) {
    litter_ = Text("after ", disk_.last_call(), " (", status, "):", names);
  }
}

MemberState StoreRunner::Newest() const {
  const ModelLog& log = runner_->possible().back();
  return {log.hard, log.last_index(), StateAt(log, log.last_index())};
}

// ------------------------------------------------------------------ checking

std::string StoreRunner::Check(SimDisk& disk) const {
  return CheckOpened(disk, nullptr);
}

std::string StoreRunner::CheckOpened(SimDisk& disk, MemberState* found) const {
  const auto random = Random::Seeded(2);
  auto store = OpenMemberStore(options_, disk, *random);
  if (!store.ok()) return Text("it does not start: ", store.status());
  const uint64_t newest = store->snapshots->newest().index;
  if (newest < snapshot_) {
    return Text("it starts with a snapshot at ", newest, ", but had one at ",
                snapshot_);
  }
  if (!store->warning.empty()) return Text("it warns: ", store->warning);
  for (const std::string& name : disk.Names("/data/snap")) {
    if (!absl::EndsWith(name, ".snap")) return Text("it keeps ", name);
  }
  const absl::StatusOr<MemberState> member = ReadMember(*store);
  if (!member.ok()) return Text("it cannot be read: ", member.status());
  if (found != nullptr) *found = *member;
  std::vector<ModelLog> possible = {ModelLog()};
  if (runner_.has_value()) possible = runner_->possible();
  // The crash may have come before Reset.
  if (pending_.base_index > 0) possible.push_back(pending_);
  std::string all;
  for (const ModelLog& log : possible) {
    MemberState expected = {log.hard, log.last_index(),
                            StateAt(log, log.last_index())};
    expected.hard.commit = std::max(expected.hard.commit, newest);
    if (*member == expected) return "";
    all += Text("\n  possible: ", expected);
  }
  return Text("it has ", *member, ", snapshot at ", newest, all);
}

std::string StoreRunner::CheckAndUse(SimDisk& disk) const {
  MemberState member;
  if (std::string wrong = CheckOpened(disk, &member); !wrong.empty()) {
    return wrong;
  }
  // What was read is durable now, whatever the power does.
  auto cut = disk.AfterPowerCut(SimDisk::LoseAll);
  MemberState again;
  std::string wrong = CheckOpened(*cut, &again);
  if (!wrong.empty()) return "after a second crash " + wrong;
  if (!(again == member)) {
    return Text("first it has ", member, ", then ", again);
  }
  const auto random = Random::Seeded(3);
  auto store = OpenMemberStore(options_, *cut, *random);
  if (!store.ok()) return Text("the third time ", store.status());
  const uint64_t term = member.hard.term + 1;
  const auto entries = MakeEntries(member.last_index + 1, 2, term, 700);
  LogAppend append;
  append.entries = entries;
  append.hard_state = HardState{term, 5, entries.back().index};
  absl::Status status = store->log->Append(append);
  if (status.ok()) status = store->log->Sync();
  member.hard = *append.hard_state;
  for (const LogEntry& entry : entries) {
    member.state = NextState(member.state, entry);
    member.last_index = entry.index;
  }
  if (status.ok()) {
    auto writer = store->snapshots->Create(member.last_index, term,
                                           StateConfiguration(member.state));
    status = writer.status();
    if (status.ok()) status = (*writer)->Append(StateBytes(member.state));
    if (status.ok()) status = (*writer)->Finish();
  }
  CompactionOptions compaction;
  compaction.tail_entries = 0;
  if (status.ok()) {
    status = CompactLog(compaction, *store->snapshots, *store->log);
  }
  if (!status.ok()) return Text("it cannot be used: ", status);
  *store = MemberStore();
  cut = cut->AfterPowerCut(SimDisk::LoseAll);
  auto used = OpenMemberStore(options_, *cut, *random);
  if (!used.ok()) return Text("once used it does not start: ", used.status());
  const absl::StatusOr<MemberState> after = ReadMember(*used);
  if (!after.ok()) return Text("once used ", after.status());
  if (!(*after == member)) {
    return Text("once used it has ", *after, " instead of ", member);
  }
  return "";
}

}  // namespace millrace::raft
