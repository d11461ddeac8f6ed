// The input of a reduce when nobody has it any more: every map runs again.
#ifndef MILLRACE_API_SRC_REPLAY_MAKE_INPUT_H_
#define MILLRACE_API_SRC_REPLAY_MAKE_INPUT_H_

#include <functional>

#include "absl/status/statusor.h"
#include "api/src/replay/bundle.h"
#include "common/clock.h"
#include "common/file_system.h"

namespace millrace::replay {

// Runs the maps of the bundle's plan, `slots` at a time in processes of the
// bundle's program, on the job's input files, and keeps the partition of the
// bundle's reduce. Costs the map phase of the job, and room for `slots` map
// outputs beside the partition. `on_done` is told how many maps are done, of
// how many. The message of the bundle changes; save it. False: the maps gave
// other records than in the job, so that this is not the input that its reduce
// had.
//   kAborted  a map failed, or the input has changed: the message says which
absl::StatusOr<bool> RemakeMapOutputs(
    FileSystem& fs, Clock& clock, int slots,
    const std::function<void(uint32_t done, uint32_t total)>& on_done,
    Bundle* bundle);

}  // namespace millrace::replay

#endif  // MILLRACE_API_SRC_REPLAY_MAKE_INPUT_H_
