// A worker's directory: whose it is, and that nobody else uses it.
#ifndef MILLRACE_WORKER_SPOOL_WORKER_DIRECTORY_H_
#define MILLRACE_WORKER_SPOOL_WORKER_DIRECTORY_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/random.h"
#include "supervisor/unique_fd.h"
#include "worker/spool/layout.h"

namespace millrace::worker {

struct WorkerDirectoryOptions {
  std::string path;  // Created if need be; its parent exists.
  // What the operator wants the worker to be called; empty: as it was called
  // before, else the host's name and four random digits.
  std::string name;
  std::string host_name;
  // Changes when the host starts; see BootId().
  std::string boot_id;
};

// Holds the lock as long as it lives. Thread-compatible.
class WorkerDirectory {
 public:
  // Makes what is missing. What lies in the spool goes, but for the directories
  // of jobs, if the host has been started since: it was never synced, so a
  // power cut may have left holes that look like data.
  //   kFailedPrecondition  another worker uses the directory; or programs
  //                        cannot be executed there
  //   kDataLoss            its identity cannot be read
  //   others               of the file system, with the path
  static absl::StatusOr<std::unique_ptr<WorkerDirectory>> Open(
      FileSystem& fs, const WorkerDirectoryOptions& options, Random& random);

  const WorkerLayout& layout() const { return layout_; }
  const std::string& name() const { return name_; }
  // Zero: has never been in a cluster.
  const ClusterId& cluster() const { return cluster_; }

  // It belongs to this cluster from now on.
  absl::Status JoinCluster(const ClusterId& cluster);

 private:
  WorkerDirectory(FileSystem& fs, WorkerLayout layout)
      : fs_(fs), layout_(std::move(layout)) {}
  absl::Status TakeLock();
  absl::Status ReadId();
  absl::Status WriteId();
  absl::Status PrepareSpool(const std::string& boot_id);

  FileSystem& fs_;
  const WorkerLayout layout_;
  supervisor::UniqueFd lock_;
  std::string name_;
  ClusterId cluster_;
};

// The kernel's random id of this start of the host.
absl::StatusOr<std::string> BootId(FileSystem& fs);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SPOOL_WORKER_DIRECTORY_H_
