// All that a member keeps on its disk, opened together: whose directory it is,
// the snapshots, the log behind them.
//
//   <data>/id, lock     raft/log/member_directory.h
//   <data>/snap/...     raft/log/snapshot_store.h
//   <data>/log/...      raft/log/segment_log.h
//
// Which snapshot the member starts with, and whether it may start at all:
//
//   newest snapshot       log                         start
//   none                  from entry 1                from nothing
//   taken here            reaches back to it and      with it
//                         holds its last entry
//   taken here            anything else               refused
//   from a leader         holds its last entry        with it and the log
//   from a leader         does not (the crash came    with it; the log begins
//                         before Reset)               anew behind it
//   damaged               reaches back to the one     with that one, and a
//                         before it (or to entry 1)   warning
//                         and past the damaged one
//   damaged               anything else               refused
//
// So a member never starts with a state that has a gap to its log, nor with
// less than it has ever had.
#ifndef MILLRACE_RAFT_LOG_MEMBER_STORE_H_
#define MILLRACE_RAFT_LOG_MEMBER_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/random.h"
#include "raft/log/disk.h"
#include "raft/log/segment_log.h"
#include "raft/log/snapshot_store.h"

namespace millrace::raft {

struct MemberStoreOptions {
  // `snapshot` and `last_index_min` in it are found here.
  SegmentLogOptions log;
  uint64_t snapshot_chunk_bytes = kSnapshotChunkBytes;
};

struct MemberStore {
  // Holds the lock of the directory, so it must outlive `snapshots`.
  std::unique_ptr<SegmentLog> log;
  std::unique_ptr<SnapshotStore> snapshots;
  // A line for the operator, also logged; empty: all is well.
  std::string warning;
};

// Errors are those of SegmentLog::Open and SnapshotStore::Open. `disk` outlives
// the store.
absl::StatusOr<MemberStore> OpenMemberStore(const MemberStoreOptions& options,
                                            Disk& disk, Random& random);

// -------------------------------------------------------------- compaction

// When a snapshot is taken, and what of the log stays behind it.
struct CompactionOptions {
  // A snapshot is due when the newest one is so far behind in entries, or when
  // so much of the log would be read again at a start.
  uint64_t snapshot_entries = 100'000;
  uint64_t snapshot_log_bytes = uint64_t{256} << 20;
  // Entries that stay behind the newest snapshot, so that a member that was
  // away for a short while needs no snapshot. Whole segments go, so that it is
  // mostly more.
  uint64_t tail_entries = 10'000;
  // The log reaches back to the snapshot before the newest one (to its
  // beginning while there is but one), so that the member survives damage to
  // the newest. Costs the log between the two.
  bool reach_older_snapshot = true;
};

// `applied`: index of the last entry in the state.
bool SnapshotDue(const CompactionOptions& options, uint64_t applied,
                 const SnapshotStore& snapshots, const SegmentLog& log);

// The entry up to which the log may be dropped: no snapshot, installed or taken
// here, that is in use needs it. Never past the newest.
uint64_t CompactionIndex(const CompactionOptions& options,
                         const SnapshotStore& snapshots, const SegmentLog& log);

// Drops the segments that hold nothing behind CompactionIndex. To be called on
// the log thread once a snapshot has become the newest. Errors are
// SegmentLog::DropThrough's.
absl::Status CompactLog(const CompactionOptions& options,
                        const SnapshotStore& snapshots, SegmentLog& log);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_MEMBER_STORE_H_
