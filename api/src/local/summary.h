// What a local run says at its end.
#ifndef MILLRACE_API_SRC_LOCAL_SUMMARY_H_
#define MILLRACE_API_SRC_LOCAL_SUMMARY_H_

#include <string>

#include "absl/time/time.h"
#include "api/src/flags.h"
#include "api/src/local/local_job.h"
#include "storage/commit/manifest.h"

namespace millrace::local {

// Several lines with a final newline: what was read and written, how fast, what
// sizes were chosen, and the counters.
std::string SuccessSummary(const LocalJob& job, const JobFlags& flags,
                           const JobPaths& paths, absl::Duration elapsed);

// One line without a newline: what failed, where, why, what to try.
std::string FailureLine(const JobFailure& failure, int max_attempts);
// The stack and the end of the attempt's log, indented, or "".
std::string FailureDetails(const JobFailure& failure);

}  // namespace millrace::local

#endif  // MILLRACE_API_SRC_LOCAL_SUMMARY_H_
