#include "api/src/task/partitioning.h"

#include <cstring>
#include <vector>

#include "common/status_macros.h"
#include "millrace/partitioner.h"

namespace millrace::task {

absl::StatusOr<std::unique_ptr<PartitionerAdapter>> MakePartitioner(
    const internal::JobDefinition& job, const proto::Plan& plan) {
  std::unique_ptr<Partitioner> partitioner;
  if (job.total_order) {
    std::vector<std::string> keys(plan.split_keys().begin(),
                                  plan.split_keys().end());
    MR_ASSIGN_OR_RETURN(partitioner, RangePartitioner::Create(std::move(keys)));
  } else if (job.make_partitioner != nullptr) {
    partitioner = job.make_partitioner();
  } else if (job.group_prefix == nullptr) {
    return std::unique_ptr<PartitionerAdapter>();
  }
  return std::make_unique<PartitionerAdapter>(std::move(partitioner),
                                              job.group_prefix);
}

std::string RootBytes(const Hash128Value& root) {
  const uint64_t words[2] = {root.low, root.high};
  return std::string(reinterpret_cast<const char*>(words), sizeof words);
}

std::optional<Hash128Value> ParseRoot(std::string_view bytes) {
  uint64_t words[2];
  if (bytes.size() != sizeof words) return std::nullopt;
  std::memcpy(words, bytes.data(), sizeof words);
  return Hash128Value{words[0], words[1]};
}

}  // namespace millrace::task
