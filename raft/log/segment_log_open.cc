// Opening a SegmentLog: recovery, and agreement with the newest snapshot.
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/log_format.h"
#include "raft/log/segment_log.h"

namespace millrace::raft {

absl::Status SegmentLog::CheckOptions(const SegmentLogOptions& options) {
  if (options.directory.empty()) {
    return absl::InvalidArgumentError("the log's directory has no name");
  }
  if (options.segment_bytes % kSegmentHeaderBytes != 0 ||
      options.segment_bytes < 2 * kSegmentHeaderBytes ||
      options.segment_bytes > kSegmentBytesMax) {
    return absl::InvalidArgumentError(
        Av(Cat("a log segment of ", options.segment_bytes,
               " bytes: it takes a multiple of ", kSegmentHeaderBytes,
               ", at least twice that, at most ", kSegmentBytesMax)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SegmentLog>> SegmentLog::Open(
    const SegmentLogOptions& options, Disk& disk, Random& random) {
  MR_RETURN_IF_ERROR(CheckOptions(options));
  MR_ASSIGN_OR_RETURN(MemberDirectory directory,
                      OpenMemberDirectory(options.directory, options.cluster,
                                          options.join, options.segment_bytes,
                                          disk, random));
  return Open(options, std::move(directory), disk);
}

absl::StatusOr<std::unique_ptr<SegmentLog>> SegmentLog::Open(
    const SegmentLogOptions& options, MemberDirectory directory, Disk& disk) {
  MR_RETURN_IF_ERROR(CheckOptions(options));
  RecoveryOptions recovery;
  recovery.directory = options.directory;
  recovery.identity = directory.identity;
  recovery.snapshot = options.snapshot;
  recovery.last_index_min = options.last_index_min;
  recovery.mutant = options.mutant;
  MR_ASSIGN_OR_RETURN(RecoveredLog recovered, RecoverLog(recovery, disk));
  std::unique_ptr<SegmentLog> log(new SegmentLog(
      options, disk, std::move(directory), std::move(recovered)));
  MR_RETURN_IF_ERROR(log->CatchUpWithSnapshot());
  return log;
}

absl::Status SegmentLog::CatchUpWithSnapshot() {
  const LogSnapshot& snapshot = options_.snapshot;
  if (snapshot.index == 0) return absl::OkStatus();
  const absl::StatusOr<uint64_t> term = Term(snapshot.index);
  const HardState hard = hard_state();
  LogAppend append;
  if (term.ok() && *term == snapshot.term &&
      !(snapshot.installed && options_.mutant.snapshot_over_newer_log)) {
    if (hard.commit >= snapshot.index) return absl::OkStatus();
    // What a snapshot holds was committed, also where that had not yet been
    // written down.
    append.hard_state = HardState{hard.term, hard.vote, snapshot.index};
    MR_RETURN_IF_ERROR(Append(append));
    return Sync();
  }
  if (options_.mutant.forget_to_reset) return absl::OkStatus();
  if (!snapshot.installed || snapshot.index < hard.commit ||
      (term.ok() && snapshot.index == hard.commit)) {
    return ContradictsSnapshot();
  }
  if (hard.term < snapshot.term) {
    // The leader that sent it had this term; here no vote was cast in it.
    append.hard_state = HardState{snapshot.term, 0, hard.commit};
    MR_RETURN_IF_ERROR(Append(append));
  }
  return Reset(snapshot.index, snapshot.term);
}

absl::Status SegmentLog::ContradictsSnapshot() const {
  const LogSnapshot& snapshot = options_.snapshot;
  absl::MutexLock lock(&mu_);
  std::string path = LogDirectory(options_.directory);
  uint64_t offset = 0;
  if (const EntryExtent* extent = state_.Find(snapshot.index)) {
    path = segments_.at(extent->seq).path;
    offset = extent->offset;
  }
  return DamagedLog(
      options_.directory, path, offset,
      Cat("entry ", snapshot.index, " is of term ",
          state_.TermOf(snapshot.index).value_or(0), " in the log and of term ",
          snapshot.term, " in the snapshot"));
}

SegmentLog::SegmentLog(const SegmentLogOptions& options, Disk& disk,
                       MemberDirectory directory, RecoveredLog recovered)
    : options_(options),
      disk_(disk),
      directory_(std::move(directory)),
      torn_bytes_(recovered.torn_bytes),
      file_(std::move(recovered.file)),
      path_(recovered.segments.rbegin()->second.path),
      seq_(recovered.segments.rbegin()->first),
      segment_bytes_(recovered.segment_bytes),
      seed_(recovered.seed),
      chain_(recovered.chain),
      end_(recovered.end),
      synced_(recovered.end),
      state_(std::move(recovered.state)),
      segments_(std::move(recovered.segments)) {}

}  // namespace millrace::raft
