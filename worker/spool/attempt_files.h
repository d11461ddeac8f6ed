// What one attempt has in the spool (worker/spool/layout.h), as a whole.
#ifndef MILLRACE_WORKER_SPOOL_ATTEMPT_FILES_H_
#define MILLRACE_WORKER_SPOOL_ATTEMPT_FILES_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "common/file_system.h"
#include "common/ids.h"

namespace millrace::worker {

// OK when nothing is there any more.
absl::Status RemoveAttemptFiles(FileSystem& fs, std::string_view spool,
                                const JobId& job, const AttemptUid& uid);

// Bytes of the map output and of the files in the scratch directory. What is
// gone in the meantime has none.
uint64_t AttemptFileBytes(FileSystem& fs, std::string_view spool,
                          const JobId& job, const AttemptUid& uid);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_ATTEMPT_FILES_H_
