#include "raft/core/unstable_log.h"

#include <algorithm>

namespace millrace::raft {

void UnstableLog::TruncateFrom(uint64_t index) {
  if (index < first_) {
    entries_.clear();
    first_ = index;
  } else {
    entries_.erase(entries_.begin() + (index - first_), entries_.end());
  }
  written_end_ = std::min(written_end_, index);
  if (index < disk_end_) {
    truncate_from_ = std::min(index, truncate_from_.value_or(index));
    disk_end_ = index;
  }
  if (keep_marks_) return;
  for (Mark& mark : marks_) mark.end = std::min(mark.end, index);
}

void UnstableLog::Restore(const SnapshotMeta& snapshot) {
  snapshot_ = snapshot;
  snapshot_write_id_ = 0;
  entries_.clear();
  first_ = written_end_ = disk_end_ = snapshot.last.index + 1;
  truncate_from_.reset();
  for (Mark& mark : marks_) mark.end = std::min(mark.end, first_);
}

bool UnstableLog::HasUnwritten() const {
  return written_end_ < end() || truncate_from_.has_value() ||
         (snapshot_.has_value() && snapshot_write_id_ == 0);
}

void UnstableLog::HandOut(LogWrite* write) {
  if (snapshot_.has_value() && snapshot_write_id_ == 0) {
    write->snapshot = snapshot_;
    snapshot_write_id_ = write->id;
  }
  write->truncate_from = truncate_from_;
  truncate_from_.reset();
  write->entries.assign(entries_.begin() + (written_end_ - first_),
                        entries_.end());
  written_end_ = disk_end_ = end();
  marks_.push_back({write->id, end()});
}

std::optional<SnapshotMeta> UnstableLog::Durable(uint64_t write_id) {
  uint64_t durable_end = first_;
  while (!marks_.empty() && marks_.front().write_id <= write_id) {
    durable_end = std::max(durable_end, marks_.front().end);
    marks_.pop_front();
  }
  durable_end = std::min(durable_end, written_end_);
  entries_.erase(entries_.begin(), entries_.begin() + (durable_end - first_));
  first_ = durable_end;

  if (snapshot_write_id_ == 0 || snapshot_write_id_ > write_id) return {};
  snapshot_write_id_ = 0;
  std::optional<SnapshotMeta> durable = std::move(snapshot_);
  snapshot_.reset();
  return durable;
}

}  // namespace millrace::raft
