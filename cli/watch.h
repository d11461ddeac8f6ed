// Waiting for a job with its progress on stderr: what submit, wait and
// status -w have in common.
#ifndef MILLRACE_CLI_WATCH_H_
#define MILLRACE_CLI_WATCH_H_

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "cli/exit_code.h"
#include "client/cluster_client.h"

namespace millrace::cli {

struct WatchOptions {
  std::string_view command;  // For messages.
  absl::Duration timeout = absl::InfiniteDuration();
  bool quiet = false;  // Only errors.
  // Also the status at the end, on stdout.
  bool json = false;
};

// Waits for the end of the job and reports it. kTimeout: it has not ended by
// then. kInterrupted: the user has stopped waiting, and is told how to come
// back. In both cases the job goes on.
ExitCode WatchToEnd(client::ClusterClient& cluster, const std::string& id,
                    const WatchOptions& options);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_WATCH_H_
