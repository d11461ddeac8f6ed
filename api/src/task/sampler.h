// Split keys for a total order: where the key space is cut so that the
// partitions get about equally many records.
#ifndef MILLRACE_API_SRC_TASK_SAMPLER_H_
#define MILLRACE_API_SRC_TASK_SAMPLER_H_

#include <string>
#include <vector>

#include "api/src/task/attempt.h"
#include "proto/messages/plan.pb.h"
#include "proto/messages/task.pb.h"

namespace millrace::task {

// Runs the job's mapper over a sample of the planned input (ranges spread
// evenly over all bytes, the same for the same listing, 8 MiB in all) and sets
// plan.split_keys to num_partitions - 1 strictly increasing encoded keys. An
// input with fewer distinct keys than that leaves the last partitions empty.
// Nothing on success. The plan's splits are others meanwhile.
std::optional<proto::TaskFailed> SampleSplitKeys(TaskEnvironment& env,
                                                 const proto::RunTask& run,
                                                 proto::Plan& plan);

// `count` keys that cut the sorted `keys` into equal shares, made strictly
// increasing: a key that repeats gives way to its successor in the byte order.
std::vector<std::string> ChooseSplitKeys(std::vector<std::string> keys,
                                         uint32_t count);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_SAMPLER_H_
