// From the job's definition and the plan to what the engine is given.
#ifndef MILLRACE_API_SRC_TASK_PARTITIONING_H_
#define MILLRACE_API_SRC_TASK_PARTITIONING_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "api/src/task/engine_ports.h"
#include "common/hash.h"
#include "millrace/internal/job_definition.h"
#include "proto/messages/plan.pb.h"

namespace millrace::task {

// Null when the engine's own hash of the whole key does: no user partitioner,
// no total order, no grouping by a prefix. kInvalidArgument: the plan's split
// keys are not strictly increasing.
absl::StatusOr<std::unique_ptr<PartitionerAdapter>> MakePartitioner(
    const internal::JobDefinition& job, const proto::Plan& plan);

// A map output's root as 16 bytes: low, then high, little endian.
std::string RootBytes(const Hash128Value& root);
std::optional<Hash128Value> ParseRoot(std::string_view bytes);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_PARTITIONING_H_
