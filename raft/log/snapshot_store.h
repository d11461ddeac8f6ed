// The snapshots of one master on its disk:
//
//   snap/<term>-<index>.snap   complete ones; the two newest are kept
//   snap/<n>.tmp               one that is being written
//
// The byte layout is in raft/log/snapshot_format.h and docs/formats.md.
//
// A snapshot counts from the moment that its name is durable, and by then so is
// everything in it: temporary file; chunks; sync; all of it read back and
// verified; rename; sync of the directory. Only then the list here changes, the
// log may be shortened, and an older one goes. So there is nothing to repair
// after a crash, and a snapshot that could not be written costs nothing but the
// attempt: no error of this class is a reason to stop (that of a dying disk is
// the log's to find).
//
// A temporary file is never taken up again by a later process. What stands in
// the page cache of one whose sync had failed looks as good as what is on the
// disk, and only the descriptor that wrote it is told. Within a process a
// transfer that broke off goes on at the chunk that it had reached.
#ifndef MILLRACE_RAFT_LOG_SNAPSHOT_STORE_H_
#define MILLRACE_RAFT_LOG_SNAPSHOT_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "raft/log/disk.h"
#include "raft/log/log_types.h"
#include "raft/log/mutants.h"
#include "raft/log/snapshot_file.h"
#include "raft/log/snapshot_format.h"
#include "raft/log/snapshot_writer.h"

namespace millrace::raft {

struct SnapshotStoreOptions {
  std::string directory;  // The member's; it is there.
  LogIdentity identity;
  // Payload of a chunk in snapshots that are taken here, at most
  // kSnapshotChunkBytesMax.
  uint64_t chunk_bytes = kSnapshotChunkBytes;
  LogMutant mutant;
};

// Thread-safe. The disk is never touched under the lock.
class SnapshotStore {
 public:
  // A file that is not as it was written.
  struct Damaged {
    SnapshotPosition position;  // By its name.
    std::string path;
    std::string what;  // File, offset, what is wrong.
  };

  // Removes temporary files; verifies the newest snapshot as a whole, and as
  // long as they turn out to be damaged (see damaged()), the ones before it. To
  // be called by who holds the directory's lock. `disk` outlives the store.
  //   kDataLoss            a name that no snapshot gets; damage as such is not
  //                        an error here
  //   kFailedPrecondition  a snapshot is of another version
  //   kInvalidArgument     an option is out of range
  //   others               the disk's
  static absl::StatusOr<std::unique_ptr<SnapshotStore>> Open(
      const SnapshotStoreOptions& options, Disk& disk);
  ~SnapshotStore();

  // What the log may rely on; index 0 when there is none.
  LogSnapshot newest() const;
  // Index of the one before; 0 when there is none.
  uint64_t older_index() const;
  // Newer than newest() by their names, found by Open, newest first. They stay
  // until a newer one is complete.
  std::vector<Damaged> damaged() const;

  // For reading the newest, or sending it. kNotFound: there is none. kDataLoss
  // now or when it is read: it was damaged since; whoever leads can take a new
  // one.
  absl::StatusOr<std::unique_ptr<SnapshotReader>> OpenNewest() const;

  // Begins a snapshot of all entries up to `index`, of term `term`; the members
  // at that point are `configuration`. One at a time. The writer must not
  // outlive the store.
  // REQUIRES: these entries are applied, and durable in this member's log.
  //   kAborted             newest() covers it
  //   kFailedPrecondition  another is being written
  //   kInvalidArgument     the configuration is too long
  //   kResourceExhausted   no space
  absl::StatusOr<std::unique_ptr<SnapshotWriter>> Create(
      uint64_t index, uint64_t term, std::string configuration);

  // Begins to take over a snapshot from a leader, or goes on where the last
  // transfer of the very same one broke off; one of another is given up. The
  // installer must not outlive the store.
  //   kAborted             newest() covers it
  //   kFailedPrecondition  another transfer is under way, or the snapshot is of
  //                        another cluster or version
  //   kDataLoss            `description` is not one
  //   kResourceExhausted   no space
  absl::StatusOr<std::unique_ptr<SnapshotInstaller>> Install(
      std::string_view description);
  // Removes what a transfer that broke off has left.
  void GiveUpTransfer();

 private:
  friend class SnapshotWriter;
  friend class SnapshotInstaller;

  struct Stored {
    SnapshotPosition position;
    bool installed = false;
  };

  SnapshotStore(const SnapshotStoreOptions& options, Disk& disk);

  absl::Status Load();
  std::string PathOf(const SnapshotPosition& position) const;
  std::string TakeTemporaryPath() ABSL_LOCKS_EXCLUDED(mu_);
  // The file at `temporary`, finished, becomes the newest snapshot. On an error
  // it is gone.
  absl::Status Publish(const std::string& temporary, const SnapshotFileMeta& meta,
                       bool installed);
  absl::Status PublishSteps(const std::string& temporary,
                            const SnapshotFileMeta& meta, bool installed);
  absl::Status ReadBack(const std::string& temporary, const SnapshotFileMeta& meta);
  // Its name is durable. Removes what it supersedes.
  void Count(const Stored& stored);
  void RemoveOrRemember(const std::string& path);
  void Discard(std::unique_ptr<SnapshotFileWriter> file);

  const SnapshotStoreOptions options_;
  Disk& disk_;
  const std::string snap_;

  mutable absl::Mutex mu_;
  // By index; the last one counts.
  std::vector<Stored> stored_ ABSL_GUARDED_BY(mu_);
  std::vector<Damaged> damaged_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> superseded_ ABSL_GUARDED_BY(mu_);  // To be removed.
  uint64_t next_temporary_ ABSL_GUARDED_BY(mu_) = 1;
  // Publishing is for one at a time, and waits.
  bool publishing_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool installing_ ABSL_GUARDED_BY(mu_) = false;
  // What a transfer that broke off has left: null, or of partial_meta_.
  std::unique_ptr<SnapshotFileWriter> partial_ ABSL_GUARDED_BY(mu_);
  SnapshotFileMeta partial_meta_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_SNAPSHOT_STORE_H_
