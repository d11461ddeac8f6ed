// What a log holds at one moment, without the payloads: hard state, the terms
// of the entries, and where each entry stands. The writer steps it as it writes
// and recovery steps it as it reads, under the same checks, so a log that was
// written is one that can be read.
#ifndef MILLRACE_RAFT_LOG_LOG_STATE_H_
#define MILLRACE_RAFT_LOG_LOG_STATE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "raft/log/log_types.h"

namespace millrace::raft {

// A record that holds entries [first_index, first_index + count), the last of
// them perhaps cut off by a truncation since.
struct EntryExtent {
  uint64_t first_index = 0;
  uint64_t count = 0;
  uint64_t seq = 0;  // Of the segment.
  uint32_t offset = 0;
  uint32_t bytes = 0;  // Of the record.
};

// Thread-compatible. About 32 bytes per record of entries and 16 per term.
//
// Invariants: hard_state().commit <= last_index(); terms of entries do not
// decrease and none is above hard_state().term.
class LogState {
 public:
  // Empty; entries begin behind `base_index`, whose term is `base_term` (0, 0:
  // at the beginning of the log).
  LogState(uint64_t base_index, uint64_t base_term, const HardState& hard);

  const HardState& hard_state() const { return hard_; }
  // Of the first entry that is held, were there one.
  uint64_t first_index() const { return base_index_ + 1; }
  // base index when there is no entry.
  uint64_t last_index() const { return last_index_; }
  // Of any held entry and of the one before the first. nullopt: not known.
  std::optional<uint64_t> TermOf(uint64_t index) const;
  uint64_t last_term() const { return *TermOf(last_index_); }

  // Each says with kInternal which rule the step would break, if one; then
  // nothing has changed.
  absl::Status SetHardState(const HardState& next);
  absl::Status CheckTruncate(uint64_t from) const;
  absl::Status Truncate(uint64_t from);
  // Entries [first, first + terms.size()), in one record.
  absl::Status AddEntries(const EntryExtent& extent,
                          const std::vector<uint64_t>& terms);

  // The last entry not behind `index` that is the last of its record; the base
  // if there is none.
  uint64_t RecordEndUpTo(uint64_t index) const;
  // Forgets the entries up to and including `index`, apart from its term.
  // REQUIRES: index <= commit, and it is the last of its record, or the base.
  void DropThrough(uint64_t index);
  // Starts anew behind a snapshot of everything up to `index`.
  // REQUIRES: term <= hard_state().term.
  void Reset(uint64_t index, uint64_t term);

  // The record that holds entry `index`; null if there is none.
  const EntryExtent* Find(uint64_t index) const;

 private:
  struct TermRun {
    uint64_t first_index = 0;
    uint64_t term = 0;
  };

  HardState hard_;
  uint64_t base_index_;
  uint64_t last_index_;
  // The first run is that of the base; each holds until the next.
  std::vector<TermRun> runs_;
  std::vector<EntryExtent> extents_;  // Consecutive.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_LOG_STATE_H_
