// A member's log as its core sees it: durable entries behind a LogView, those
// that are not durable yet in memory, and how far it is committed and applied.
//
// Errors of the LogView are kept: a question that met one answers as if nothing
// were there, and status() says so. Who changes anything by such an answer
// looks at status() before it lets the outcome leave.
#ifndef MILLRACE_RAFT_CORE_RAFT_LOG_H_
#define MILLRACE_RAFT_CORE_RAFT_LOG_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "raft/core/core.h"
#include "raft/core/types.h"
#include "raft/core/unstable_log.h"

namespace millrace::raft {

// Thread-compatible.
//
// Invariants: applied <= handed to apply <= commit <= last_index; what was
// handed to apply is durable.
class RaftLog {
 public:
  // `view` outlives it. While less than `apply_bytes_max` of payload (at least
  // 1) is handed to apply and not applied, one more entry is handed out,
  // whatever its size.
  RaftLog(const LogView& view, uint64_t commit, uint64_t applied,
          uint64_t apply_bytes_max, bool keep_marks);

  const absl::Status& status() const { return status_; }

  uint64_t first_index() const;
  uint64_t last_index() const { return unstable_.end() - 1; }
  EntryId last() const;
  // The last entry that is durable here.
  uint64_t durable_index() const { return unstable_.first() - 1; }
  uint64_t commit() const { return commit_; }
  uint64_t applied() const { return applied_; }
  // A snapshot came from the leader, and its write is not durable yet.
  bool snapshot_pending() const { return unstable_.snapshot().has_value(); }

  // Of an entry that is held, or of the one before the first. nullopt: not
  // known.
  std::optional<uint64_t> Term(uint64_t index) const;
  bool Matches(const EntryId& id) const { return Term(id.index) == id.term; }
  // Whether a log that ends with `last` may hold all that this one does (Raft
  // paper, 5.4.1).
  bool IsUpToDate(const EntryId& last) const;
  // Where this log may still agree with one that has `other`: the last entry
  // not behind other.index and not of a later term. The term is 0 where it is
  // not known any more.
  EntryId FindAgreement(const EntryId& other) const;

  // Entries from `first` to the end of the log, or fewer: at least one, if
  // there is one, and no more than `bytes_max` of payload. nullopt: they are
  // not in the log any more.
  std::optional<std::vector<LogEntry>> Read(uint64_t first,
                                            uint64_t bytes_max) const {
    return ReadRange(first, unstable_.end(), bytes_max);
  }
  // Whether any entry in (applied, commit] changes the membership.
  bool HasUnappliedMembership() const;
  // The newest durable snapshot. nullopt, and a status: there is none from
  // which the log goes on, although entries are gone.
  std::optional<SnapshotMeta> Snapshot() const;

  // Behind the last one. REQUIRES: entry.index == last_index() + 1.
  void Append(LogEntry entry) { unstable_.Append(std::move(entry)); }
  // Makes the log agree with a leader's that has `entries` behind an entry that
  // matches: cuts it off at the first that differs, if any, and appends the
  // rest. kInternal: a committed entry differs.
  absl::Status Merge(std::vector<LogEntry> entries);
  void TruncateFrom(uint64_t index) { unstable_.TruncateFrom(index); }
  // Never lowers it. kInternal: the log ends before `index`.
  absl::Status CommitTo(uint64_t index);
  // The log begins anew behind it.
  void Restore(const SnapshotMeta& snapshot);

  bool HasUnwritten() const { return unstable_.HasUnwritten(); }
  void HandOut(LogWrite* write) { unstable_.HandOut(write); }
  void Durable(uint64_t write_id);

  bool HasCommitted() const;
  // Entries to be applied now.
  std::vector<LogEntry> TakeCommitted();
  // kInternal: they were not handed out.
  absl::Status AppliedTo(uint64_t index);

 private:
  struct Applying {
    uint64_t last_index = 0;
    uint64_t bytes = 0;
  };

  // As Read, of entries before `end`.
  std::optional<std::vector<LogEntry>> ReadRange(uint64_t first, uint64_t end,
                                                 uint64_t bytes_max) const;
  uint64_t AppliableEnd() const;

  const LogView& view_;
  const uint64_t apply_bytes_max_;
  UnstableLog unstable_;
  uint64_t commit_;
  uint64_t applied_;
  uint64_t applying_;  // Handed to apply.
  std::deque<Applying> applying_batches_;
  uint64_t applying_bytes_ = 0;  // Of all of them.
  mutable absl::Status status_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_RAFT_LOG_H_
