// What a worker that starts anew still has.
#ifndef MILLRACE_WORKER_SPOOL_SPOOL_SCAN_H_
#define MILLRACE_WORKER_SPOOL_SPOOL_SCAN_H_

#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "worker/agent/agent_core.h"
#include "worker/spool/layout.h"

namespace millrace::worker {

// Finds the map outputs in the spool whose index is whole, verified and of the
// job and attempt that their path says, and deletes everything else below the
// spool but the directories of jobs: unfinished attempts and what is damaged.
// (The blocks are verified by those who read them.) Called before any attempt
// runs. An error: the spool itself cannot be listed.
absl::StatusOr<FoundSpool> ScanSpool(FileSystem& fs,
                                     const WorkerLayout& layout);

// Deletes everything below the spool, which need not exist, but the directories
// of jobs, which are empty then: what they held may have been lost in part.
absl::Status EmptySpool(FileSystem& fs, const WorkerLayout& layout);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_SPOOL_SCAN_H_
