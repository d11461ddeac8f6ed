// What both map-side buffers share: options, and the result of a map attempt.
#ifndef MILLRACE_ENGINE_MAP_MAP_SIDE_H_
#define MILLRACE_ENGINE_MAP_MAP_SIDE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/file_system.h"
#include "engine/format/map_output.h"

namespace millrace::engine {

// Chooses the partition of an encoded key; see millrace/partitioner.h for the
// contract. An answer outside [0, num_partitions) makes the buffer fail with
// kOutOfRange, naming answer and key.
class KeyPartitioner {
 public:
  virtual ~KeyPartitioner() = default;
  virtual int64_t Partition(std::string_view key, uint32_t num_partitions) = 0;
};

// Folds the encoded values of one key: the combiner, seen from the engine.
class ValueFolder {
 public:
  virtual ~ValueFolder() = default;
  virtual void Start(std::string_view key, std::string_view value) = 0;
  virtual void Add(std::string_view value) = 0;
  // Valid until the next Start or Add.
  virtual std::string_view Result() = 0;
};

struct MapSideOptions {
  FileSystem* fs = nullptr;  // Outlives the buffer, as do the next two.
  KeyPartitioner* partitioner = nullptr;  // Null: HashPartition(Hash64(key)).
  ValueFolder* folder = nullptr;          // Null: no combiner.
  MapOutputIdentity identity;
  uint32_t num_partitions = 1;
  // All memory of the buffer: entries, keys, sort space, write blocks. It
  // spills before it would exceed this; only a single record may, by twice its
  // size.
  uint64_t memory_bytes = 64 << 20;
  Codec codec = Codec::kNone;
  // Spill runs go here and are removed. Made with the first of them, unless it
  // is there; not removed.
  std::string scratch_dir;
  std::string output_path;  // Created by Finish().
  // Spill runs that are open, and merged, at once; 2 at the least. Open files
  // are few by default, whatever the memory.
  uint32_t fan_in_max = 512;
  std::function<void()> on_progress;  // As in GroupedReaderOptions.
};

struct MapSideResult {
  MapOutputSummary output;
  uint64_t emitted_records = 0;
  uint64_t combine_in_records = 0;  // 0 without a combiner.
  RecordSum combine_out;            // Equal to output.total, or it is a bug.
  uint64_t spills = 0;
  uint64_t spilled_records = 0;  // Records written to spill runs.
  // Most memory held at once, of all that grows with the input.
  uint64_t peak_memory_bytes = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_MAP_SIDE_H_
