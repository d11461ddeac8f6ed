#include "millrace/partitioner.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "common/hash.h"
#include "common/strings.h"

namespace millrace {

int HashPartitioner::Partition(std::string_view key, int num_partitions) const {
  return static_cast<int>(
      HashPartition(Hash64(key), static_cast<uint32_t>(num_partitions)));
}

RangePartitioner::RangePartitioner(std::vector<std::string> split_keys)
    : split_keys_(std::move(split_keys)) {}

absl::StatusOr<std::unique_ptr<RangePartitioner>> RangePartitioner::Create(
    std::vector<std::string> split_keys) {
  for (size_t i = 1; i < split_keys.size(); ++i) {
    if (split_keys[i - 1] >= split_keys[i]) {
      return absl::InvalidArgumentError(Cat(
          "range partitioner: split key ", i, " (\"", Printable(split_keys[i]),
          "\") is not larger than the one before (\"",
          Printable(split_keys[i - 1]), "\")"));
    }
  }
  return std::unique_ptr<RangePartitioner>(
      new RangePartitioner(std::move(split_keys)));
}

int RangePartitioner::Partition(std::string_view key, int) const {
  // Partition i + 1 begins with split_keys_[i].
  return static_cast<int>(
      std::upper_bound(
          split_keys_.begin(), split_keys_.end(), key,
          [](std::string_view a, std::string_view b) { return a < b; }) -
      split_keys_.begin());
}

}  // namespace millrace
