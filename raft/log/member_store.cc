#include "raft/log/member_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/member_directory.h"

namespace millrace::raft {
namespace {

std::string WarningOf(const std::vector<SnapshotStore::Damaged>& damaged,
                      const LogSnapshot& snapshot) {
  if (damaged.empty()) return "";
  return Cat(damaged.front().what, ". This master starts ",
             snapshot.index == 0
                 ? std::string("without a snapshot")
                 : Cat("with the snapshot at entry ", snapshot.index),
             " instead, because its log reaches back that far; check its disk");
}

}  // namespace

absl::StatusOr<MemberStore> OpenMemberStore(const MemberStoreOptions& options,
                                            Disk& disk, Random& random) {
  SegmentLogOptions log_options = options.log;
  MR_RETURN_IF_ERROR(SegmentLog::CheckOptions(log_options));
  MR_ASSIGN_OR_RETURN(
      MemberDirectory directory,
      OpenMemberDirectory(log_options.directory, log_options.cluster,
                          log_options.segment_bytes, disk, random));
  SnapshotStoreOptions snapshot_options;
  snapshot_options.directory = log_options.directory;
  snapshot_options.identity = directory.identity;
  snapshot_options.chunk_bytes = options.snapshot_chunk_bytes;
  snapshot_options.mutant = log_options.mutant;
  MemberStore store;
  MR_ASSIGN_OR_RETURN(store.snapshots,
                      SnapshotStore::Open(snapshot_options, disk));

  const std::vector<SnapshotStore::Damaged> damaged =
      store.snapshots->damaged();
  log_options.snapshot = store.snapshots->newest();
  if (!damaged.empty()) {
    // Whatever it was, the log had come so far, or would have begun anew there.
    log_options.last_index_min = damaged.front().position.index;
  }
  auto log = SegmentLog::Open(log_options, std::move(directory), disk);
  if (absl::IsDataLoss(log.status()) && !damaged.empty()) {
    return Annotate(log.status(),
                    Cat(damaged.front().what,
                        "; and without that snapshot this log is of no use"));
  }
  MR_RETURN_IF_ERROR(log.status());
  store.log = *std::move(log);
  store.warning = WarningOf(damaged, log_options.snapshot);
  if (!store.warning.empty()) LOG(WARNING) << store.warning;
  return store;
}

bool SnapshotDue(const CompactionOptions& options, uint64_t applied,
                 const SnapshotStore& snapshots, const SegmentLog& log) {
  const uint64_t newest = snapshots.newest().index;
  return applied > newest &&
         (applied - newest >= options.snapshot_entries ||
          log.BytesAfter(newest) >= options.snapshot_log_bytes);
}

uint64_t CompactionIndex(const CompactionOptions& options,
                         const SnapshotStore& snapshots,
                         const SegmentLog& log) {
  // Asked for in this order: should a snapshot become the newest in between,
  // the one that is the newest now is then the older one.
  const uint64_t older = snapshots.older_index();
  const uint64_t newest = snapshots.newest().index;
  uint64_t index = newest - std::min(newest, options.tail_entries);
  if (options.reach_older_snapshot) index = std::min(index, older);
  index = std::min(index, log.hard_state().commit);
  // What a log that began anew has left behind is of no use to anybody.
  return std::max(index, log.first_index() - 1);
}

absl::Status CompactLog(const CompactionOptions& options,
                        const SnapshotStore& snapshots, SegmentLog& log) {
  return log.DropThrough(CompactionIndex(options, snapshots, log));
}

}  // namespace millrace::raft
