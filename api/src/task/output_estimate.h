// How much a job's maps will give, from a sample of its input.
#ifndef MILLRACE_API_SRC_TASK_OUTPUT_ESTIMATE_H_
#define MILLRACE_API_SRC_TASK_OUTPUT_ESTIMATE_H_

#include <cstdint>
#include <optional>

#include "api/src/task/attempt.h"
#include "proto/messages/plan.pb.h"
#include "proto/messages/task.pb.h"

namespace millrace::task {

// Below this an estimate could not change much, and is not made.
inline constexpr uint64_t kEstimatedInputBytesMin = 64 << 20;

// Runs the job's mapper and combiner over a thousandth of the planned input,
// 64 to 256 KiB (and the ends of the last records), and over half as much
// again, and sets `*estimate` to the bytes of map output, uncompressed, that
// the whole of it is to be expected to give. The same for the same files,
// whatever the memory, the codec and the machine. It stays unset where records
// are so large that the sample has too few of them.
//
// Twice as much input gives 2^b times as much output: b is 1 for a mapper that
// emits as it reads, less for one that combines, since keys come again (Heaps'
// law), and 0 for one that emits a table of fixed size in its Cleanup. The two
// samples tell b, and so what a split gives.
//
// Whatever ends the sample is the attempt's failure, so that user code that has
// failed is not gone on with in this process. The plan's splits are others
// meanwhile. Writes a map output beside run.plan().plan_path(), and removes it.
//
// REQUIRES: a job with a reduce step, of files.
std::optional<proto::TaskFailed> EstimateMapOutput(
    TaskEnvironment& env, const proto::RunTask& run, proto::Plan& plan,
    std::optional<uint64_t>* estimate);

// What a sample has shown.
struct SampledOutput {
  uint64_t input_bytes = 0;
  uint64_t output_bytes = 0;
};

// The sum of what `maps` equal maps of `input_bytes` in all give, if samples
// gave so much. `combines`: the job has a combiner, so that between two
// samples output grows less than in proportion because keys come again, and not
// because they were taken from other places.
uint64_t Extrapolate(const SampledOutput& half, const SampledOutput& all,
                     bool combines, uint64_t input_bytes, uint64_t maps);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_OUTPUT_ESTIMATE_H_
