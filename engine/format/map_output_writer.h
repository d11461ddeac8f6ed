// Writes one map output file or spill run, strictly front to back.
#ifndef MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_WRITER_H_
#define MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "engine/format/map_output.h"

namespace millrace::engine {

struct MapOutputWriterOptions {
  MapOutputIdentity identity;
  uint32_t num_partitions = 1;
  // A block that does not shrink by a tenth is stored as it is.
  Codec codec = Codec::kNone;
  // Raw bytes at which a block is closed. A larger record has a block to itself.
  size_t block_bytes = 256 << 10;
};

// Thread-compatible. Memory: about two blocks, and twice the largest record.
class MapOutputWriter {
 public:
  // Creates the file. Errors: those of FileSystem::Create.
  static absl::StatusOr<std::unique_ptr<MapOutputWriter>> Create(
      FileSystem& fs, const std::string& path,
      const MapOutputWriterOptions& options);
  virtual ~MapOutputWriter() = default;

  // Adds a record. REQUIRES: `partition` does not decrease, nor `key` (bytewise)
  // within a partition; partition < num_partitions. Equal keys keep the order in
  // which they come.
  // kResourceExhausted when the disk is full; the file is then of no use.
  virtual absl::Status Append(uint32_t partition, std::string_view key,
                              std::string_view value) = 0;

  // Writes the index and closes the file. Intermediate data is never synced: a
  // power cut costs a re-run. Call once, last.
  virtual absl::StatusOr<MapOutputSummary> Finish() = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_WRITER_H_
