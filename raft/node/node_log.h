// The log as the core reads it: the segment log, the newest entries from memory
// (a follower that keeps up, and whoever applies, never reads the disk), and
// the snapshot that the log begins behind.
#ifndef MILLRACE_RAFT_NODE_NODE_LOG_H_
#define MILLRACE_RAFT_NODE_NODE_LOG_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "raft/core/core.h"
#include "raft/core/types.h"
#include "raft/log/log_store.h"

namespace millrace::raft {

// The core's calls and those of NodeCore are confined to who has the node's
// turn, those of LogWriter to who writes the log.
class NodeLog final : public LogView {
 public:
  // Read returns no more, so that entries without payload are bounded as well.
  static constexpr size_t kReadEntriesMax = 16'384;

  // `store` outlives this. Up to `cache_bytes_max` of payload are kept in
  // memory.
  NodeLog(const LogStore& store, SnapshotMeta snapshot,
          uint64_t cache_bytes_max);

  uint64_t first_index() const override;
  uint64_t last_index() const override;
  absl::StatusOr<uint64_t> Term(uint64_t index) const override;
  absl::StatusOr<std::vector<LogEntry>> Read(uint64_t first, uint64_t end,
                                             uint64_t bytes_max) const override;
  SnapshotMeta Snapshot() const override { return snapshot_; }

  // ------------------------------------------------------------ for NodeCore

  // A newer snapshot is durable.
  void SetSnapshot(SnapshotMeta snapshot);
  // Entries before `index` are about to be dropped: from here on they are not
  // there, whatever the store still has.
  void Forget(uint64_t index);

  // ----------------------------------------------------------- for LogWriter

  void Appended(std::vector<LogEntry> entries);
  void Truncated(uint64_t from);
  void BegunAnew();

 private:
  void PopOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const LogStore& store_;
  const uint64_t cache_bytes_max_;

  SnapshotMeta snapshot_;
  uint64_t forgotten_ = 0;  // Entries before this are not there.

  mutable absl::Mutex mu_;
  // Consecutive; the last is the last of the log as it was written.
  std::deque<LogEntry> cache_ ABSL_GUARDED_BY(mu_);
  uint64_t cache_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_NODE_LOG_H_
