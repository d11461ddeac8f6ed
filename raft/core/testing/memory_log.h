// A log that keeps everything in memory and believes all it is told: what a
// core writes to and reads from in tests.
#ifndef MILLRACE_RAFT_CORE_TESTING_MEMORY_LOG_H_
#define MILLRACE_RAFT_CORE_TESTING_MEMORY_LOG_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/core/core.h"
#include "raft/core/types.h"

namespace millrace::raft {

// Thread-compatible.
class MemoryLog final : public LogView {
 public:
  MemoryLog() = default;
  // Entries of these terms, with indices from 1 on and no payload.
  explicit MemoryLog(const std::vector<uint64_t>& terms);
  // Nothing but a snapshot.
  explicit MemoryLog(const SnapshotMeta& snapshot);

  uint64_t first_index() const override { return base_.index + 1; }
  uint64_t last_index() const override { return base_.index + entries_.size(); }
  absl::StatusOr<uint64_t> Term(uint64_t index) const override;
  absl::StatusOr<std::vector<LogEntry>> Read(uint64_t first, uint64_t end,
                                             uint64_t bytes_max) const override;
  SnapshotMeta Snapshot() const override { return snapshot_; }

  // Carries out the step. Fails the test where it cannot follow what is there.
  void Write(const LogWrite& write);
  // A snapshot of everything up to snapshot.last was taken here.
  void TakeSnapshot(const SnapshotMeta& snapshot) { snapshot_ = snapshot; }
  // Forgets the entries up to `index`.
  void DropThrough(uint64_t index);

  const HardState& hard_state() const { return hard_state_; }
  void set_hard_state(const HardState& state) { hard_state_ = state; }
  const std::vector<LogEntry>& entries() const { return entries_; }
  // What Term and Read say from now on, unless it is OK.
  void FailReads(const absl::Status& error) { error_ = error; }

 private:
  EntryId base_;
  std::vector<LogEntry> entries_;
  SnapshotMeta snapshot_;
  HardState hard_state_;
  absl::Status error_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_CORE_TESTING_MEMORY_LOG_H_
