#include "raft/core/testing/memory_log.h"

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raft {

MemoryLog::MemoryLog(const std::vector<uint64_t>& terms) {
  for (const uint64_t term : terms) {
    entries_.push_back({last_index() + 1, term, kNormalEntry, ""});
  }
}

MemoryLog::MemoryLog(const SnapshotMeta& snapshot)
    : base_(snapshot.last), snapshot_(snapshot) {}

absl::StatusOr<uint64_t> MemoryLog::Term(uint64_t index) const {
  if (!error_.ok()) return error_;
  if (index == base_.index) return base_.term;
  if (index < base_.index || index > last_index()) {
    return absl::OutOfRangeError(Av(Cat("memory log: no entry ", index)));
  }
  return entries_[index - first_index()].term;
}

absl::StatusOr<std::vector<LogEntry>> MemoryLog::Read(
    uint64_t first, uint64_t end, uint64_t bytes_max) const {
  if (!error_.ok()) return error_;
  if (first < first_index() || end > last_index() + 1 || first >= end) {
    return absl::OutOfRangeError(
        Av(Cat("memory log: no entries ", first, " to ", end)));
  }
  std::vector<LogEntry> entries;
  uint64_t bytes = 0;
  for (uint64_t index = first; index < end; ++index) {
    const LogEntry& entry = entries_[index - first_index()];
    bytes += entry.payload.size();
    if (!entries.empty() && bytes > bytes_max) break;
    entries.push_back(entry);
  }
  return entries;
}

void MemoryLog::Write(const LogWrite& write) {
  if (write.snapshot.has_value()) {
    snapshot_ = *write.snapshot;
    base_ = snapshot_.last;
    entries_.clear();
  }
  if (write.truncate_from.has_value()) {
    CHECK_GE(*write.truncate_from, first_index());
    CHECK_LE(*write.truncate_from, last_index());
    entries_.resize(*write.truncate_from - first_index());
  }
  for (const LogEntry& entry : write.entries) {
    CHECK_EQ(entry.index, last_index() + 1);
    entries_.push_back(entry);
  }
  if (write.hard_state.has_value()) hard_state_ = *write.hard_state;
  CHECK_LE(hard_state_.commit, last_index());
}

void MemoryLog::DropThrough(uint64_t index) {
  CHECK_GE(index, base_.index);
  CHECK_LE(index, last_index());
  const EntryId base{*Term(index), index};
  entries_.erase(entries_.begin(),
                 entries_.begin() + static_cast<int64_t>(index - base_.index));
  base_ = base;
}

}  // namespace millrace::raft
