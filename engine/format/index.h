// The index at the end of a map output file.
//
//   index   0   8  magic "MRINDEX1"
//           8  16  job
//          24  16  attempt
//          40   4  map index
//          44   4  run
//          48   4  partitions
//          52   4  block bytes: raw length that only a block with a single
//                  record exceeds
//          56   4  codec that blocks may have beside "none"
//          60   4  zero
//          64  16  root
//          80  48  per partition: offset 8, bytes 8, records 8, hash 8, digest
//          8,
//                  blocks 4, raw bytes of the largest block 4
//   trailer 0   8  offset of the index
//           8   8  bytes of the index
//          16   8  checksum: XXH3-64 of the index and the 16 bytes above
//          24   8  magic "MRMAPEND"
//
// The partitions tile the file from its first byte to the index, so every byte
// of the file is under a checksum.
#ifndef MILLRACE_ENGINE_FORMAT_INDEX_H_
#define MILLRACE_ENGINE_FORMAT_INDEX_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "engine/format/map_output.h"

namespace millrace::engine {

// XXH3-128 over (records, digest) of each partition, 8 bytes each.
Hash128Value RootOf(const std::vector<PartitionEntry>& partitions);

// Whether a row of an index is possible in itself.
bool IsPlausible(const PartitionEntry& entry);

// Index and trailer, to stand at offset `index_offset`.
std::string EncodeIndex(const MapOutputIdentity& identity,
                        const MapOutputSummary& summary, uint64_t index_offset);

// Length of index and trailer together.
size_t IndexBytes(uint32_t num_partitions);

// Verifies `bytes`, the index and trailer that stand at `index_offset` of a map
// output file and end it: everything that ReadIndex verifies. For an index that
// came from elsewhere than the file. kDataLoss, with `path` in front.
absl::StatusOr<MapOutputSummary> ParseIndex(
    std::string_view bytes, uint64_t index_offset, const std::string& path,
    const MapOutputIdentity& identity, uint32_t num_partitions,
    const std::optional<Hash128Value>& root);

// What a file of unknown origin says of itself.
struct InspectedMapOutput {
  MapOutputIdentity identity;
  MapOutputSummary summary;
};
// Reads and verifies the index of a file of which nothing is known: everything
// that ReadIndex verifies, against the identity and the number of partitions
// that the index itself names. For a worker that finds its outputs again.
absl::StatusOr<InspectedMapOutput> InspectMapOutput(ReadFile& file,
                                                    const std::string& path);

// Reads and verifies the index of an open file, with one read. Errors are
// kDataLoss or those of ReadAt, with `path` in front. Takes no more memory than
// the file is long.
absl::StatusOr<MapOutputSummary> ReadIndex(
    ReadFile& file, const std::string& path, const MapOutputIdentity& identity,
    uint32_t num_partitions, const std::optional<Hash128Value>& root);

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_INDEX_H_
