// The log of one master on its disk: a directory of its own with
//
//   id                      who this is: cluster and member
//   lock                    held by the process that uses the directory
//   log/<seq>-<first>.seg   segments, all of one size; the last is written
//   log/spare               the next segment, zeroed, before it has a name
//
// Byte layouts are in raft/log/log_format.h and docs/formats.md, the rules of
// reading it back in raft/log/recovery.h.
//
// How it is written, and why a crash at any point can be told from damage:
//   * Records are appended to the last segment; nothing is ever overwritten but
//     zeros. What one Append writes is in one segment.
//   * Sync makes all that was appended durable, and from then on every record
//     carries that mark.
//   * A full segment is left in this order: Sync; the spare gets its header,
//     which holds the checksum that the old segment's end will have; sync;
//     rename to its name; sync the directory; only then the end is written to
//     the old segment and synced. So an end without a successor is a file that
//     was lost; a successor without an end before it is a crash, if the end
//     that is missing is the one that the successor names.
//   * After an error of a write or a sync the log never writes again: what is
//     on the disk is unknown until it is read back. `on_fatal` ends the
//     process.
#ifndef MILLRACE_RAFT_LOG_SEGMENT_LOG_H_
#define MILLRACE_RAFT_LOG_SEGMENT_LOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/ids.h"
#include "common/random.h"
#include "raft/log/disk.h"
#include "raft/log/log_state.h"
#include "raft/log/log_store.h"
#include "raft/log/log_types.h"
#include "raft/log/member_directory.h"
#include "raft/log/mutants.h"
#include "raft/log/recovery.h"

namespace millrace::raft {

struct SegmentLogOptions {
  // Made if it is not there; its parent must be.
  std::string directory;
  // The cluster that it must belong to; a new directory joins it. None: any,
  // and a new directory is the beginning of a new cluster.
  std::optional<ClusterId> cluster;
  // A new directory is one of a member that joins others: it remembers so for
  // ever, and `cluster` must be given. In others it changes nothing.
  bool join = false;
  // Of segments made from now on, in bytes: a multiple of 4096, at least 8192,
  // at most kSegmentBytesMax. Disk space is taken in steps of this; recovery
  // holds one segment in memory.
  uint64_t segment_bytes = uint64_t{64} << 20;
  // Where one record of entries ends and the next begins, in payload bytes: a
  // record is what is read and verified as a whole.
  uint64_t record_bytes_target = uint64_t{1} << 20;
  // If it was installed and the log does not hold its last entry, Open makes
  // the log begin anew behind it: the crash came before Reset.
  LogSnapshot snapshot;
  // See RecoveryOptions.
  uint64_t last_index_min = 0;
  // With less than this free on the file system, beside room for the next
  // segment, NearlyFull() is true.
  uint64_t free_bytes_min = uint64_t{64} << 20;
  // Called with the error of a write or a sync, on the thread that met it, at
  // most once. Empty: end the process with a line on stderr. Others are for
  // tests; when it returns, the log refuses everything.
  std::function<void(const absl::Status&)> on_fatal;
  LogMutant mutant;
};

// Append, Sync, Reset, DropThrough and Close are confined to one thread at a
// time (the log thread); everything else is thread-safe.
class SegmentLog final : public LogStore {
 public:
  // Locks the directory, recovers the log, makes it durable as it was read. The
  // first start in a directory mints the ids from `random`. `disk` outlives
  // the log. Afterwards
  //   first_index() - 1 <= snapshot.index <= commit <= last_index().
  //   kFailedPrecondition  another process uses the directory, or it belongs to
  //                        another cluster; the message says which
  //   kDataLoss            damaged: the message says file, offset, what to do
  //   kInvalidArgument     an option is out of range
  //   others               the disk's
  static absl::StatusOr<std::unique_ptr<SegmentLog>> Open(
      const SegmentLogOptions& options, Disk& disk, Random& random);
  // The same for who has locked the directory already.
  static absl::StatusOr<std::unique_ptr<SegmentLog>> Open(
      const SegmentLogOptions& options, MemberDirectory directory, Disk& disk);
  static absl::Status CheckOptions(const SegmentLogOptions& options);
  ~SegmentLog() override;

  const LogIdentity& identity() const { return directory_.identity; }
  // See SegmentLogOptions::join.
  bool joined() const { return directory_.joined; }
  // Of a torn tail that Open found and removed; for a line in the log.
  uint64_t torn_bytes() const { return torn_bytes_; }

  HardState hard_state() const override;
  uint64_t first_index() const override;
  uint64_t last_index() const override;
  absl::StatusOr<uint64_t> Term(uint64_t index) const override;
  absl::StatusOr<std::vector<LogEntry>> Read(uint64_t first, uint64_t end,
                                             uint64_t bytes_max) const override;

  // The hard state is written in two steps where it must: term and vote before
  // the entries, so that no entry stands in a term that is not there yet, the
  // commit index behind them, so that it never points past the end.
  absl::Status Append(const LogAppend& append) override;
  absl::Status Sync() override;
  uint64_t append_bytes_max() const override;

  // Leaves all entries behind and begins anew after `index`, which a durable
  // snapshot covers. Durable when it returns. kResourceExhausted as Append.
  absl::Status Reset(uint64_t index, uint64_t term);
  // Forgets the records that hold nothing after `index`, which is committed and
  // in a durable snapshot, and removes the segments in which there are no
  // others. Not everything may be gone afterwards, see first_index(); what is
  // in the same segment as what stays is there again after a restart. What
  // could not be removed is tried again by the next call.
  absl::Status DropThrough(uint64_t index);
  // Writes a last mark, so that whatever happens to these bytes from now on is
  // not taken for a crash. Nothing depends on it. No other call after it.
  absl::Status Close();

  // Whether the spare will be needed before long and is not there: the last
  // segment is half full. On the log thread.
  bool WantsSpare() const;
  // Makes the spare if there is none, so that the next full segment does not
  // have to wait for it: seconds, on a busy disk. From any thread, or never.
  // kResourceExhausted: no space; try again later.
  absl::Status PrepareSpare();
  bool has_spare() const;
  // Whether new work should be refused. Asks the file system.
  bool NearlyFull() const;
  // About how many bytes of the log come after entry `index`: what a snapshot
  // at it would save.
  uint64_t BytesAfter(uint64_t index) const;

 private:
  // kTaken: it still has the spare's name, but is about to get its own.
  enum class Spare { kNone, kBeingMade, kReady, kTaken };

  SegmentLog(const SegmentLogOptions& options, Disk& disk,
             MemberDirectory directory, RecoveredLog recovered);

  absl::Status CatchUpWithSnapshot();
  absl::Status ContradictsSnapshot() const;
  // Whether `append` keeps the rules, and the bytes it takes.
  absl::StatusOr<uint64_t> Check(const LogAppend& append) const;
  // Goes on in a new segment.
  absl::Status Roll(uint64_t next_index, uint64_t prev_term,
                    const HardState& hard);
  absl::StatusOr<std::unique_ptr<DiskFile>> TakeSpare();
  // After TakeSpare: `file` is null when it has got its name.
  void ReturnSpare(std::unique_ptr<DiskFile> file);
  // Notes the error, tells on_fatal, returns it.
  absl::Status Fatal(const absl::Status& error);
  absl::Status failure() const;

  const SegmentLogOptions options_;
  Disk& disk_;
  const MemberDirectory directory_;
  const uint64_t torn_bytes_;

  // The last segment; confined to the log thread. Invariant: all before
  // synced_ is durable, all before end_ is written, synced_ <= end_.
  std::unique_ptr<DiskFile> file_;
  std::string path_;
  uint64_t seq_;
  uint64_t segment_bytes_;
  uint64_t seed_;
  uint64_t chain_;
  uint64_t end_;
  uint64_t synced_;

  mutable absl::Mutex mu_;
  LogState state_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, LogSegment> segments_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  Spare spare_ ABSL_GUARDED_BY(mu_) = Spare::kNone;
  std::unique_ptr<DiskFile> spare_file_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_SEGMENT_LOG_H_
