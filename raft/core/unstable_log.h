// The end of the log that is not known to be durable: entries that no write has
// taken yet, and entries of writes that are under way.
//
//   durable ───────► │ ◄──── under way ────► │ ◄──── not written ────► │
//   (the LogView's)  first()                 written_end             end()
//
// Durable is what LogDurable said of the write that carried the entry. When
// entries are cut off, writes under way no longer stand for what comes in their
// place: their marks are cut as well. So when A's entries are overwritten by
// B's and by A's again while the first write is still under way, its completion
// says nothing about the third, although index and term are equal, and entries
// stay here until nothing on its way to the disk can replace them.
#ifndef MILLRACE_RAFT_CORE_UNSTABLE_LOG_H_
#define MILLRACE_RAFT_CORE_UNSTABLE_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "raft/core/core.h"
#include "raft/core/types.h"

namespace millrace::raft {

// Thread-compatible.
class UnstableLog {
 public:
  // Entries up to `durable_index` are on the disk. `keep_marks`: see
  // CoreMutant::accept_aba_ack.
  UnstableLog(uint64_t durable_index, bool keep_marks)
      : first_(durable_index + 1),
        written_end_(durable_index + 1),
        disk_end_(durable_index + 1),
        keep_marks_(keep_marks) {}

  // The first index that is not known to be durable, and the one behind the
  // last entry.
  uint64_t first() const { return first_; }
  uint64_t end() const { return first_ + entries_.size(); }
  // The log begins anew behind it, as soon as its write is durable. While it is
  // here, nothing before first() can be read.
  const std::optional<SnapshotMeta>& snapshot() const { return snapshot_; }

  // REQUIRES: first() <= index < end().
  const LogEntry& at(uint64_t index) const { return entries_[index - first_]; }

  // REQUIRES: entry.index == end().
  void Append(LogEntry entry) { entries_.push_back(std::move(entry)); }
  // Removes the entries from `index` on, durable ones too. REQUIRES: no
  // snapshot, or index > its own; index <= end().
  void TruncateFrom(uint64_t index);
  void Restore(const SnapshotMeta& snapshot);

  // Whether a write would have to carry something.
  bool HasUnwritten() const;
  // Moves it into `write`, whose id is set.
  void HandOut(LogWrite* write);
  // Writes up to `write_id` are durable. Returns the snapshot if it now is.
  std::optional<SnapshotMeta> Durable(uint64_t write_id);

 private:
  // Write `id` and those before it carried the entries before `end`.
  struct Mark {
    uint64_t write_id = 0;
    uint64_t end = 0;
  };

  std::optional<SnapshotMeta> snapshot_;
  uint64_t snapshot_write_id_ = 0;  // 0: not handed out.
  uint64_t first_;
  std::deque<LogEntry> entries_;  // entries_[i] has index first_ + i.
  // Entries before it were handed out. Invariant: first_ <= written_end_.
  uint64_t written_end_;
  // One behind the last entry on the disk once all writes are done.
  uint64_t disk_end_;
  std::optional<uint64_t> truncate_from_;  // To be handed out.
  std::deque<Mark> marks_;
  const bool keep_marks_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_UNSTABLE_LOG_H_
