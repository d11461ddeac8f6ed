// Placing keys in partitions, with the checks that user code makes necessary.
#ifndef MILLRACE_ENGINE_MAP_PARTITION_H_
#define MILLRACE_ENGINE_MAP_PARTITION_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/hash.h"
#include "common/strings.h"
#include "engine/map/map_side.h"
#include "engine/map/sort.h"

namespace millrace::engine {

// kInvalidArgument: no partitions at all, or more than a sort index can tell
// apart.
inline absl::Status CheckPartitionCount(const MapSideOptions& options) {
  if (options.num_partitions >= 1 && options.num_partitions <= kPartitionsMax) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(Av(Cat(
      options.num_partitions, " partitions: must be 1 to ", kPartitionsMax)));
}

// Thread-compatible.
class KeyPlacer {
 public:
  explicit KeyPlacer(const MapSideOptions& options)
      : partitioner_(options.partitioner),
        num_partitions_(options.num_partitions) {}

  // Do hashes decide, and not a partitioner of the job's?
  bool by_hash() const { return partitioner_ == nullptr; }

  // REQUIRES: by_hash().
  uint32_t PartitionOfHash(uint64_t key_hash) const {
    return HashPartition(key_hash, num_partitions_);
  }

  // Asks the partitioner. kOutOfRange: it says nonsense.
  absl::StatusOr<uint32_t> PartitionOfKey(std::string_view key) const {
    const int64_t answer = partitioner_->Partition(key, num_partitions_);
    if (answer >= 0 && answer < int64_t{num_partitions_}) {
      return static_cast<uint32_t>(answer);
    }
    return absl::OutOfRangeError(
        Av(Cat("the partitioner put key \"", Printable(key), "\" in partition ",
               answer, " of ", num_partitions_)));
  }

 private:
  KeyPartitioner* const partitioner_;
  const uint32_t num_partitions_;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_PARTITION_H_
