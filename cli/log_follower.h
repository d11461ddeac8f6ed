// The logs of a job's attempts as they grow.
#ifndef MILLRACE_CLI_LOG_FOLLOWER_H_
#define MILLRACE_CLI_LOG_FOLLOWER_H_

#include <cstdio>
#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/cluster_client.h"

namespace millrace::cli {

// Prints whole lines of several sources, each with its name in front, never one
// inside another. Thread-safe.
class LineMixer {
 public:
  // `out` outlives this.
  explicit LineMixer(std::FILE* out) : out_(out) {}

  // Prints the lines that `data` completes. False: printing has failed.
  bool Add(const std::string& name, std::string_view data)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The source ends; what it has begun is printed as a line.
  void End(const std::string& name) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool PrintLocked(const std::string& name, std::string_view line)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::FILE* const out_;
  absl::Mutex mu_;
  std::map<std::string, std::string> begun_ ABSL_GUARDED_BY(mu_);
};

// Prints the logs of all attempts that run, those that start later too, from
// their beginning, to stdout until the job ends. Of `task` alone if it is not
// null. kCancelled: `stop`, which is the client's, came.
absl::Status FollowLogs(client::ClusterClient& cluster,
                        const std::string& id_prefix,
                        const proto::TaskName* task, client::StopSignal& stop);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_LOG_FOLLOWER_H_
