// The reduce side: all records of one partition from all map outputs, as groups
// of equal keys, in bounded memory.
#ifndef MILLRACE_ENGINE_MERGE_GROUPED_READER_H_
#define MILLRACE_ENGINE_MERGE_GROUPED_READER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "engine/format/map_output.h"
#include "engine/format/map_output_reader.h"
#include "engine/format/partition_reader.h"

namespace millrace::engine {

struct MapOutputSource {
  std::string path;
  MapOutputIdentity identity;
  Hash128Value root;  // As the winning attempt reported it.
  // Set: `path` holds a copy of the partition's blocks, among others, and no
  // index. Several sources may share one file; it is opened once.
  std::optional<FetchedPartition> fetched = std::nullopt;
};

struct GroupedReaderOptions {
  FileSystem* fs = nullptr;  // Outlives the reader.
  JobId job;
  AttemptUid attempt;  // Of the reduce attempt: names intermediate runs.
  uint32_t partition = 0;
  uint32_t num_partitions = 1;
  uint64_t memory_bytes = 64 << 20;
  std::string scratch_dir;  // Exists. Runs of a multi-pass merge go here and
                            // are removed by the reader.
  // Codec of intermediate runs.
  Codec codec = Codec::kNone;
  // Length of the part of an encoded key that groups are made by; absent: the
  // whole key. For secondary sort.
  std::function<size_t(std::string_view)> group_prefix;
  // Most runs merged at once, whatever the memory. 2 at the least.
  uint32_t fan_in_max = 512;
  // Called now and then between records of a merge pass that feeds no user
  // code, so that a long pass is not taken for a hang.
  std::function<void()> on_progress;
};

// Reads each map output's partition, merging in several passes when there are
// more runs than fit the memory or fan_in_max. Never materialises a group: one
// key may have more values than fit any memory. Memory: options.memory_bytes
// plus twice the largest record. Thread-compatible.
class GroupedReader {
 public:
  // Opens and verifies every index, and runs all merge passes but the last.
  // kDataLoss, kNotFound: a map output is damaged or gone; `*lost_map` is its
  // position in `sources`. Other errors leave it empty.
  static absl::StatusOr<std::unique_ptr<GroupedReader>> Create(
      const std::vector<MapOutputSource>& sources,
      const GroupedReaderOptions& options, std::optional<size_t>* lost_map);
  virtual ~GroupedReader() = default;

  // Moves to the next group, passing over what is left of the current one.
  // False at the end and on an error.
  virtual bool NextGroup() = 0;
  // Moves to the next value of the group. False at the end of the group and on
  // an error. To be called before the first value(), too.
  virtual bool NextValue() = 0;

  // Of the current value (after NextGroup and before NextValue: of the group's
  // first record). With group_prefix the key changes from value to value. Valid
  // until the next call of NextGroup or NextValue.
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;

  virtual const absl::Status& status() const = 0;
  // Position in `sources` of the map output to blame for status(), if one is.
  virtual std::optional<size_t> lost_map() const = 0;

  // What the indexes promise for this partition, and what has passed so far. At
  // the end they must be equal; the reader checks that itself and says
  // kDataLoss.
  virtual RecordSum fetched() const = 0;
  virtual RecordSum merged() const = 0;
  // Bytes of the map outputs' blocks read.
  virtual uint64_t shuffle_bytes() const = 0;
  // Records written by merge passes before the last.
  virtual uint64_t spilled_records() const = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MERGE_GROUPED_READER_H_
