// Which cluster a command speaks to.
#ifndef MILLRACE_CLI_CONTEXT_H_
#define MILLRACE_CLI_CONTEXT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/commands.h"
#include "client/cluster_client.h"

namespace millrace::cli {

// The masters, "host:port,...": --cluster, else $MILLRACE_CLUSTER, else the
// context that the last `cluster up` has written. kInvalidArgument: none is
// named.
absl::StatusOr<std::string> FindCluster(const Globals& globals);

// Whether it is the context that names it.
bool UsesContext(const Globals& globals);

// The same, connected. `stop` may be null and outlives the client.
absl::StatusOr<std::unique_ptr<client::ClusterClient>> ConnectToCluster(
    const Globals& globals, client::StopSignal* stop = nullptr);

// The context: a file of the user's, $XDG_CONFIG_HOME/millrace/context.json or
// ~/.config/millrace/context.json.
struct ClusterContext {
  std::string masters;
  std::string directory;  // Of the local cluster; see cluster up.
};
// kNotFound: there is none.
absl::StatusOr<ClusterContext> ReadContext();
absl::Status WriteContext(const ClusterContext& context);
// Removes it if it is about this directory.
absl::Status RemoveContext(const std::string& directory);

// $XDG_STATE_HOME/millrace/cluster or ~/.local/state/millrace/cluster.
// kFailedPrecondition: neither is known.
absl::StatusOr<std::string> DefaultClusterDirectory();

// After a failed call to a cluster: the error, what to try, the exit code.
ExitCode FailCluster(const absl::Status& status, std::string_view command);

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_CONTEXT_H_
