// What a map output file is, as far as its users must know. The bytes are
// described in docs/formats.md.
//
// A map output file holds the sorted records of one map attempt, partition
// after partition, in checksummed blocks, and ends with an index. A spill run
// is the same format, so that there is one writer, one reader and one set of
// checks.
#ifndef MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_H_
#define MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_H_

#include <cstdint>
#include <vector>

#include "common/hash.h"
#include "common/ids.h"
#include "engine/format/ledger.h"

namespace millrace::engine {

enum class Codec : uint8_t { kNone = 0, kLz4 = 1, kZstd = 2 };

// Bound into the checksum of every block and of the index: right bytes from the
// wrong place are an error too.
struct MapOutputIdentity {
  JobId job;
  uint32_t map_index = 0;
  AttemptUid attempt;
  // 0 for the map output itself, 1, 2, ... for spill runs and merged runs of
  // the same attempt, which must not be mistaken for one another either.
  uint32_t run = 0;
};

// One row of the index.
struct PartitionEntry {
  uint64_t offset = 0;  // Of the first block.
  uint64_t bytes = 0;   // Of all blocks, headers included; 0 without records.
  uint32_t blocks = 0;
  // Raw length of the largest block: with it a reader knows before it starts
  // what memory it will take.
  uint32_t largest_block_bytes = 0;
  RecordSum sum;  // Count and order-independent hash.
  // Order-sensitive XXH3-64 over the canonical record stream, before
  // compression: independent of block and spill layout.
  uint64_t digest = 0;
};

struct MapOutputSummary {
  uint64_t file_bytes = 0;
  // Only a block with a single record is longer than this when raw.
  uint32_t block_bytes = 0;
  // What blocks may be compressed with; each may be stored as it is.
  Codec codec = Codec::kNone;
  std::vector<PartitionEntry> partitions;
  RecordSum total;
  // XXH3-128 over the partitions' digests and record counts: two attempts of a
  // task with equal roots wrote the same records in the same order.
  Hash128Value root;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_MAP_OUTPUT_H_
