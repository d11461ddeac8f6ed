// The file cluster.json of a local cluster's directory.
#ifndef MILLRACE_CLIENT_LOCAL_CLUSTER_RECORD_H_
#define MILLRACE_CLIENT_LOCAL_CLUSTER_RECORD_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/local/local_cluster.h"

namespace millrace::client {

std::string SerializeCluster(const LocalCluster& cluster,
                             const std::string& boot_id);
// kDataLoss: it is not what SerializeCluster writes. Whether the processes run
// is looked up; none does when the machine has been booted since.
absl::StatusOr<LocalCluster> ParseCluster(std::string_view json,
                                          const std::string& directory,
                                          const std::string& boot_id);

// Replaces DIR/cluster.json at once.
absl::Status WriteClusterRecord(const LocalCluster& cluster);
absl::StatusOr<LocalCluster> ReadClusterRecord(const std::string& directory);
absl::Status RemoveClusterRecord(const std::string& directory);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_LOCAL_CLUSTER_RECORD_H_
