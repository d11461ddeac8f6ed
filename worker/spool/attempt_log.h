// What attempts printed, kept for people: one file for each that printed
// anything, of bounded size, readable while it grows and for a while after the
// job.
#ifndef MILLRACE_WORKER_SPOOL_ATTEMPT_LOG_H_
#define MILLRACE_WORKER_SPOOL_ATTEMPT_LOG_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "common/file_system.h"
#include "common/ids.h"
#include "proto/messages/job.pb.h"
#include "supervisor/bounded_log.h"
#include "worker/spool/layout.h"
#include "worker/spool/live_attempts.h"

namespace millrace::worker {

// The first `head_bytes` go to the file as they come; of the rest the last
// `tail_bytes` are added at the end, behind a line that says how much is
// missing. Nothing fails: what cannot be written is lost, and the attempt goes
// on. Thread-compatible.
class AttemptLog {
 public:
  // Nothing is made before there is text: most tasks are silent, and two files
  // of each would cost more than a small task does.
  AttemptLog(FileSystem& fs, const WorkerLayout& layout, const JobId& job,
             const AttemptUid& attempt, size_t head_bytes, size_t tail_bytes);
  ~AttemptLog();
  AttemptLog(const AttemptLog&) = delete;
  AttemptLog& operator=(const AttemptLog&) = delete;

  // The task that the attempt, known by its uid so far, is of: from here on it
  // is found by that (worker/spool/log_labels.h).
  void Label(const proto::TaskName& task, uint32_t number);
  void Append(std::string_view text);

 private:
  void Open();
  void MakeLabel();

  FileSystem& fs_;
  const std::string directory_;
  const std::string path_;
  proto::AttemptRef attempt_;  // Its task: once that is known.
  bool opened_ = false;        // Or could not be.
  std::unique_ptr<WriteFile> file_;
  size_t head_left_;
  supervisor::BoundedLog tail_;
};

// Removes the logs of jobs that are over, the oldest first, until no more than
// `jobs_max` and `bytes_max` are left of them. Those in `keep` stay.
void TrimLogs(FileSystem& fs, const WorkerLayout& layout,
              const std::set<JobId>& keep, size_t jobs_max, uint64_t bytes_max);

// Of the jobs in `running`: removes the logs of attempts that have ended, the
// oldest first, until no more than `bytes_max` are left of all of them. What a
// failed attempt printed last is in its failure, too.
void TrimRunningLogs(FileSystem& fs, const WorkerLayout& layout,
                     const std::set<JobId>& running, const LiveAttempts& live,
                     uint64_t bytes_max);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_ATTEMPT_LOG_H_
