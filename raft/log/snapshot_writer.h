// The two ways in which a snapshot comes to a SnapshotStore: taken here, or
// sent by a leader.
#ifndef MILLRACE_RAFT_LOG_SNAPSHOT_WRITER_H_
#define MILLRACE_RAFT_LOG_SNAPSHOT_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/byte_stream.h"
#include "raft/log/snapshot_file.h"
#include "raft/log/snapshot_format.h"

namespace millrace::raft {

class SnapshotStore;

// Takes the state of this member as a stream. Destroyed before Finish has
// succeeded, it leaves nothing behind. Thread-compatible.
class SnapshotWriter final : public ByteSink {
 public:
  ~SnapshotWriter() override;

  // Writes chunk by chunk. After an error (kResourceExhausted: no space) the
  // snapshot is lost and its file gone.
  absl::Status Append(std::string_view bytes) override;
  // Everything is there: makes it the newest snapshot, durably. kAborted: a
  // newer one came from the leader meanwhile. kDataLoss: what was read back is
  // not what was written. On an error there is no such snapshot. At most once.
  absl::Status Finish();

 private:
  friend class SnapshotStore;
  SnapshotWriter(SnapshotStore& store, SnapshotFileMeta meta,
                 std::unique_ptr<SnapshotFileWriter> file);

  absl::Status WriteChunk();
  absl::Status Fail(const absl::Status& status);

  SnapshotStore& store_;
  SnapshotFileMeta meta_;
  std::unique_ptr<SnapshotFileWriter> file_;  // Null: finished or failed.
  absl::Status status_;
  std::string chunk_;  // Head and payload so far.
};

// Takes a snapshot from a leader, chunk by chunk, in order. Destroyed before it
// is finished, it leaves what has come to the next installer of the same
// snapshot. Thread-compatible.
class SnapshotInstaller {
 public:
  ~SnapshotInstaller();
  SnapshotInstaller(const SnapshotInstaller&) = delete;
  SnapshotInstaller& operator=(const SnapshotInstaller&) = delete;

  const SnapshotFileMeta& meta() const { return meta_; }
  // Number of the chunk that is to come; meta().chunks(): all are there.
  uint64_t next_chunk() const { return next_; }

  // `chunk` as SnapshotReader::ReadChunk(number) gave it. One that is there
  // already is ignored.
  //   kOutOfRange         chunks before it are missing; nothing happened
  //   kDataLoss           it is not what was sent; send it again. If it is
  //   sound
  //                       but does not follow the others, the transfer is over
  //   kResourceExhausted  no space; the transfer is over
  // When the transfer is over, what had come is gone, and so it says each time.
  absl::Status Append(uint64_t number, std::string_view chunk);
  // All chunks are there: makes it the newest snapshot, durably; the log must
  // begin anew behind it if it does not hold its last entry
  // (SegmentLog::Reset). kOutOfRange: chunks are missing. On any other error
  // there is no such snapshot, and the transfer is over.
  absl::Status Finish();

 private:
  friend class SnapshotStore;
  SnapshotInstaller(SnapshotStore& store, SnapshotFileMeta meta,
                    std::unique_ptr<SnapshotFileWriter> file);

  absl::Status Fail(const absl::Status& status);

  SnapshotStore& store_;
  const SnapshotFileMeta meta_;
  std::unique_ptr<SnapshotFileWriter> file_;  // Null: finished or failed.
  uint64_t next_;
  absl::Status status_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_SNAPSHOT_WRITER_H_
