// Which reduce task gets which key.
//
// Without a word from the job, keys are spread by hash: partition
// (high 32 bits of XXH3-64(encoded key)) * num_partitions / 2^32. That function
// is fixed for ever: see HashPartitioner below. A job brings its own with
// Job(...).Partition<MyPartitioner>(), or asks for parts in total key order
// with .TotalOrder().
#ifndef MILLRACE_PARTITIONER_H_
#define MILLRACE_PARTITIONER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

// Chooses the reduce task that receives each intermediate record: partition p
// of every map output is read by reduce task p and by nobody else.
//
// Invariants every implementation keeps:
//   * Stable. The answer depends on the key and the partition count alone: not
//     on the process, the machine or the attempt. A map task may run again
//     after its first output was half fetched; if the second attempt placed a
//     key elsewhere, that key would reach two reducers and the result would be
//     wrong without any error. absl::Hash (seeded per process) and std::hash
//     (differs between standard libraries) are therefore not usable here.
//   * Total. Every byte string has a partition, the empty one included.
//
// Thread-safe: one instance serves all map threads of a task process.
class Partitioner {
 public:
  virtual ~Partitioner() = default;

  // Returns a partition in [0, num_partitions). `key` is the encoded key (see
  // millrace/codec.h; KeyCodec<T>::Decode gives the typed one) and is valid
  // during the call only. Of a Grouped<Group, Order> key it is the group part
  // alone, so that records that belong to one group cannot be torn apart. Runs
  // once per record that leaves a map task, so it neither allocates nor locks.
  // A result out of range fails the attempt with kInvalidArgument and names the
  // partitioner.
  // REQUIRES: num_partitions >= 1.
  virtual int Partition(std::string_view key, int num_partitions) const = 0;
};

// The partitioner of jobs that name none; here so that another partitioner can
// fall back on it. Version 1, never to change: partitions of one job are
// computed by different machines and compared between versions.
class HashPartitioner final : public Partitioner {
 public:
  int Partition(std::string_view key, int num_partitions) const override;
};

// Splits the key space at fixed keys, so that the outputs of partitions 0, 1,
// 2, ... read one after another are in total key order.
class RangePartitioner final : public Partitioner {
 public:
  // `split_keys[i]` is the smallest key of partition i + 1.
  // kInvalidArgument: the keys are not strictly increasing.
  static absl::StatusOr<std::unique_ptr<RangePartitioner>> Create(
      std::vector<std::string> split_keys);

  // REQUIRES: num_partitions == split_keys.size() + 1.
  int Partition(std::string_view key, int num_partitions) const override;

 private:
  explicit RangePartitioner(std::vector<std::string> split_keys);

  const std::vector<std::string> split_keys_;  // Strictly increasing.
};

}  // namespace millrace

#endif  // MILLRACE_PARTITIONER_H_
