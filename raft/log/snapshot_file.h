// One snapshot file, read and written. Who keeps several, and when one counts,
// is raft/log/snapshot_store.h.
#ifndef MILLRACE_RAFT_LOG_SNAPSHOT_FILE_H_
#define MILLRACE_RAFT_LOG_SNAPSHOT_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/byte_stream.h"
#include "raft/log/disk.h"
#include "raft/log/log_types.h"
#include "raft/log/mutants.h"
#include "raft/log/snapshot_format.h"

namespace millrace::raft {

// Reads a complete snapshot. As a ByteSource it gives the payload, one chunk
// in memory at a time, and no byte of a chunk before all of it, and that it
// follows the chunk before, is verified. Whoever has read to the end has read
// what was written.
//
// Thread-compatible; good as long as it lives, also when the file has been
// removed since.
class SnapshotReader final : public ByteSource {
 public:
  // Verifies header, trailer, length, and that they are of this member and
  // position. kDataLoss names file and offset, here and below;
  // kFailedPrecondition: of another version. `disk` is used in the call alone.
  static absl::StatusOr<std::unique_ptr<SnapshotReader>> Open(
      Disk& disk, const std::string& path, const LogIdentity& identity,
      const SnapshotPosition& position, const LogMutant& mutant = {});

  const SnapshotFileMeta& meta() const { return meta_; }
  const SnapshotOrigin& origin() const { return origin_; }

  absl::StatusOr<size_t> Read(char* buffer, size_t size) override;

  // Reads what Read has not yet, for its errors.
  absl::Status VerifyRest();

  // Chunk `number` as it stands in the file, verified by itself: what another
  // member's SnapshotInstaller takes. In any order, beside Read.
  // kOutOfRange: there is no such chunk.
  absl::StatusOr<std::string> ReadChunk(uint64_t number);

 private:
  SnapshotReader(std::unique_ptr<DiskFile> file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}

  absl::Status ReadEnds(const LogIdentity& identity,
                        const SnapshotPosition& position);
  absl::Status Damage(uint64_t offset, std::string_view what) const;
  // Fewer bytes only at the end of the file.
  absl::StatusOr<std::string> ReadBytes(uint64_t offset, uint64_t size);
  absl::StatusOr<SnapshotChunk> ReadInto(uint64_t number, std::string* chunk);
  // Takes the next chunk into chunk_.
  absl::Status Advance();

  const std::unique_ptr<DiskFile> file_;
  const std::string path_;
  SnapshotFileMeta meta_;
  SnapshotOrigin origin_;
  LogMutant mutant_;
  uint64_t seed_ = 0;

  absl::Status status_;
  uint64_t next_ = 0;   // Chunk.
  uint64_t chain_ = 0;  // Checksum of the one before it.
  std::string chunk_;
  std::string_view unread_;  // In chunk_.
};

// Writes a snapshot front to back into a file that has no name yet that counts.
// After an error nothing is known of what is in it: it is good for removal
// alone, and no sync is ever tried again. Thread-compatible.
class SnapshotFileWriter {
 public:
  // A new file with `meta`'s header. `disk` is used in the call alone.
  static absl::StatusOr<std::unique_ptr<SnapshotFileWriter>> Create(
      Disk& disk, const std::string& path, const SnapshotFileMeta& meta,
      const LogMutant& mutant = {});

  const std::string& path() const { return path_; }
  uint64_t seed() const { return seed_; }
  uint64_t next_chunk() const { return next_; }
  // Checksum of all so far.
  uint64_t chain() const { return chain_; }

  // `chunk` is sealed, number next_chunk(), its chain chain(); `checksum` its
  // own.
  absl::Status Append(std::string_view chunk, uint64_t checksum);
  // Writes the trailer and makes all of it durable, but for the name.
  absl::Status Finish(const SnapshotFileMeta& meta, const SnapshotOrigin& origin);

 private:
  SnapshotFileWriter(std::unique_ptr<DiskFile> file, std::string path,
                     const LogMutant& mutant)
      : file_(std::move(file)), path_(std::move(path)), mutant_(mutant) {}

  absl::Status Write(std::string_view bytes);
  absl::Status Sync();

  const std::unique_ptr<DiskFile> file_;
  const std::string path_;
  const LogMutant mutant_;
  uint64_t seed_ = 0;
  uint64_t next_ = 0;
  uint64_t chain_ = 0;
  uint64_t end_ = 0;
  uint64_t unsynced_ = 0;  // Bytes.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_SNAPSHOT_FILE_H_
