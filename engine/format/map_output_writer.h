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

// A block length for files that are written, and later merged, in about
// `memory_bytes`: readers need one or two blocks of memory per file, so small
// budgets ask for small blocks, lest every merge be one of few runs. From 4 KiB
// to 256 KiB; 256 KiB from 64 MiB on.
size_t ChooseBlockBytes(uint64_t memory_bytes);

struct MapOutputWriterOptions {
  MapOutputIdentity identity;
  uint32_t num_partitions = 1;
  // A block that does not shrink by a tenth is stored as it is.
  Codec codec = Codec::kNone;
  // Raw bytes that a block does not exceed, 1 MiB at the most. A larger record
  // has a block to itself.
  size_t block_bytes = 256 << 10;
};

// Thread-compatible. Memory: WriterMemoryBytes(), and twice the largest record,
// though nothing for one of more than 1 MiB or without codec: it is written
// from where it lies.
class MapOutputWriter {
 public:
  // About two blocks, a row per partition, and what the codec needs.
  static uint64_t WriterMemoryBytes(const MapOutputWriterOptions& options);

  // Creates the file. Errors: those of FileSystem::Create.
  static absl::StatusOr<std::unique_ptr<MapOutputWriter>> Create(
      FileSystem& fs, const std::string& path,
      const MapOutputWriterOptions& options);
  virtual ~MapOutputWriter() = default;

  // Adds a record. REQUIRES: `partition` does not decrease, nor `key`
  // (bytewise) within a partition; partition < num_partitions. Equal keys keep
  // the order in which they come. kResourceExhausted when the disk is full; the
  // file is then of no use, and every later call has the same answer.
  // kInvalidArgument: the encoded record is longer than 4 GiB - 1.
  virtual absl::Status Append(uint32_t partition, std::string_view key,
                              std::string_view value) = 0;

  // Writes the index and closes the file. Intermediate data is never synced: a
  // power cut costs a re-run. Call once, last.
  virtual absl::StatusOr<MapOutputSummary> Finish() = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_WRITER_H_
