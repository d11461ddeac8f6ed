// What a worker that starts anew still has.
#ifndef MILLRACE_WORKER_SPOOL_SPOOL_SCAN_H_
#define MILLRACE_WORKER_SPOOL_SPOOL_SCAN_H_

#include <vector>

#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "worker/agent/agent_core.h"
#include "worker/spool/layout.h"

namespace millrace::worker {

// Finds the map outputs in the spool whose index is whole, verified and of the
// job and attempt that their path says, and deletes everything else below the
// spool: unfinished attempts and what is damaged. (The blocks are verified by
// those who read them.) Called before any attempt runs. An error: the spool
// itself cannot be listed.
absl::StatusOr<std::vector<FoundOutput>> ScanSpool(FileSystem& fs,
                                                   const WorkerLayout& layout);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_SPOOL_SCAN_H_
