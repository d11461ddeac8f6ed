#include "raft/node/node_log.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raft {

NodeLog::NodeLog(const LogStore& store, SnapshotMeta snapshot,
                 uint64_t cache_bytes_max)
    : store_(store),
      cache_bytes_max_(cache_bytes_max),
      snapshot_(std::move(snapshot)) {}

uint64_t NodeLog::first_index() const {
  return std::max(store_.first_index(), forgotten_);
}

uint64_t NodeLog::last_index() const { return store_.last_index(); }

absl::StatusOr<uint64_t> NodeLog::Term(uint64_t index) const {
  if (index == snapshot_.last.index) return snapshot_.last.term;
  if (index + 1 < first_index()) {
    return absl::OutOfRangeError(
        Av(Cat("entry ", index, " is no longer in the log")));
  }
  return store_.Term(index);
}

absl::StatusOr<std::vector<LogEntry>> NodeLog::Read(uint64_t first,
                                                    uint64_t end,
                                                    uint64_t bytes_max) const {
  if (first < first_index() || first >= end) {
    return absl::OutOfRangeError(
        Av(Cat("entry ", first, " is no longer in the log")));
  }
  {
    absl::MutexLock lock(&mu_);
    if (!cache_.empty() && first >= cache_.front().index &&
        end <= cache_.back().index + 1) {
      std::vector<LogEntry> entries;
      uint64_t bytes = 0;
      const uint64_t base = cache_.front().index;
      for (uint64_t i = first; i < end; ++i) {
        const LogEntry& entry = cache_[i - base];
        bytes += entry.payload.size();
        if (!entries.empty() &&
            (bytes > bytes_max || entries.size() == kReadEntriesMax)) {
          break;
        }
        entries.push_back(entry);
      }
      return entries;
    }
  }
  // From there to the cache, or to the end.
  return store_.Read(first, std::min(end, first + kReadEntriesMax), bytes_max);
}

void NodeLog::SetSnapshot(SnapshotMeta snapshot) {
  CHECK_GE(snapshot.last.index, snapshot_.last.index);
  snapshot_ = std::move(snapshot);
}

void NodeLog::Forget(uint64_t index) {
  forgotten_ = std::max(forgotten_, index);
  absl::MutexLock lock(&mu_);
  while (!cache_.empty() && cache_.front().index < index) PopOldest();
}

void NodeLog::Appended(std::vector<LogEntry> entries) {
  absl::MutexLock lock(&mu_);
  for (LogEntry& entry : entries) {
    CHECK(cache_.empty() || entry.index == cache_.back().index + 1);
    cache_bytes_ += entry.payload.size() + kLogEntryOverheadBytes;
    cache_.push_back(std::move(entry));
  }
  while (cache_bytes_ > cache_bytes_max_) PopOldest();
}

void NodeLog::PopOldest() {
  cache_bytes_ -= cache_.front().payload.size() + kLogEntryOverheadBytes;
  cache_.pop_front();
}

void NodeLog::Truncated(uint64_t from) {
  absl::MutexLock lock(&mu_);
  while (!cache_.empty() && cache_.back().index >= from) {
    cache_bytes_ -= cache_.back().payload.size() + kLogEntryOverheadBytes;
    cache_.pop_back();
  }
}

void NodeLog::BegunAnew() {
  absl::MutexLock lock(&mu_);
  cache_.clear();
  cache_bytes_ = 0;
}

}  // namespace millrace::raft
