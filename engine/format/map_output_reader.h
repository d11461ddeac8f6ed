// Reads one partition of a map output file, believing nothing.
#ifndef MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_READER_H_
#define MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "engine/format/map_output.h"

namespace millrace::engine {

// The verified index of one file. Immutable, thread-safe; readers of several
// partitions share it.
class MapOutputFile {
 public:
  // Opens the file and verifies its index: magic, version, lengths, checksum,
  // identity, that the partitions tile the file, and (when `root` is given)
  // that the root is the one reported by the attempt. kNotFound: no such file.
  // kDataLoss: anything else does not agree.
  static absl::StatusOr<std::shared_ptr<const MapOutputFile>> Open(
      FileSystem& fs, const std::string& path,
      const MapOutputIdentity& identity, uint32_t num_partitions,
      const std::optional<Hash128Value>& root);

  const MapOutputSummary& summary() const { return summary_; }
  const MapOutputIdentity& identity() const { return identity_; }
  const std::string& path() const { return path_; }
  ReadFile& file() const { return *file_; }

 private:
  MapOutputFile() = default;

  std::string path_;
  MapOutputIdentity identity_;
  MapOutputSummary summary_;
  std::unique_ptr<ReadFile> file_;
};

// A stream of records in key order. The views stay valid until the next call of
// Next(). Thread-compatible.
//
// LevelDB's contract: Next() returns false at the end and on an error; status()
// tells which.
class RecordStream {
 public:
  virtual ~RecordStream() = default;
  virtual bool Next() = 0;
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual const absl::Status& status() const = 0;
};

// Records of one partition in file order. No byte of a block is handed out
// before its checksum, identity, block number and lengths have been verified;
// at the end the count, sum and digest must equal the index's. Errors:
// kDataLoss with file, partition, block and what was wrong. Memory: one stored
// and one raw block; with `read_bytes` larger than a stored block that much is
// read, and held, at once instead.
std::unique_ptr<RecordStream> ReadPartition(
    std::shared_ptr<const MapOutputFile> file, uint32_t partition,
    size_t read_bytes = 0);

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_READER_H_
