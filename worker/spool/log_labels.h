// Which task an attempt's log is of, after the master has forgotten it: an
// empty file beside the log, logs/<job>/<task>-<number>-<uid>, as in
//
//   logs/<job>/m17-0-<uid>    map 17, first attempt; r3 of a reduce; plan0
#ifndef MILLRACE_WORKER_SPOOL_LOG_LABELS_H_
#define MILLRACE_WORKER_SPOOL_LOG_LABELS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "proto/messages/job.pb.h"

namespace millrace::worker {

// The label's file name. REQUIRES: the uid has its 16 bytes.
std::string LogLabel(const proto::AttemptRef& attempt);
// Without job_id. None: it is no label's name.
std::optional<proto::AttemptRef> ParseLogLabel(std::string_view name);

// By task, then number. Looks at no job_id.
bool LogLabelBefore(const proto::AttemptRef& a, const proto::AttemptRef& b);

// The attempts with a label in the directory of a job's logs, by task and
// number; none where there is no such directory.
absl::StatusOr<std::vector<proto::AttemptRef>> ListLogLabels(
    FileSystem& fs, const std::string& directory);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_LOG_LABELS_H_
