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

// Runs the job's mapper and combiner over a thousandth of the planned input, a
// mebibyte at most, and returns how many bytes of map output, uncompressed, the
// whole of it is to be expected to give. The same for the same listing of the
// same files, whatever the memory and the codec of the job.
//
// Without a combiner that is in proportion. With one, n records of text give
// about n^b distinct keys (Heaps' law), b between 0 and 1: two samples, one
// twice as large as the other, tell b, and so what a split gives.
//
// Nothing where the sample does not come to its end, whatever the reason: the
// map of that record will say it better. A crash, a hang and a lack of memory
// end the attempt, so that the next one must do without an estimate.
//
// Writes a map output beside run.plan().plan_path(), and removes it.
//
// REQUIRES: a job with a reduce step, of files.
std::optional<uint64_t> EstimateMapOutput(TaskEnvironment& env,
                                          const proto::RunTask& run,
                                          const proto::Plan& plan);

// What the sample has shown.
struct SampledOutput {
  uint64_t input_bytes = 0;
  uint64_t output_bytes = 0;
};

// The sum of what `maps` equal maps of `input_bytes` in all give, if a map of
// `half` and one of `all`, which contains it, gave so much.
uint64_t Extrapolate(const SampledOutput& half, const SampledOutput& all,
                     uint64_t input_bytes, uint64_t maps);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_OUTPUT_ESTIMATE_H_
