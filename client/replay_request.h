// From a job of a cluster to a directory in which one of its tasks can be run
// again.
#ifndef MILLRACE_CLIENT_REPLAY_REQUEST_H_
#define MILLRACE_CLIENT_REPLAY_REQUEST_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "client/cluster_client.h"
#include "common/file_system.h"
#include "common/random.h"
#include "proto/messages/job.pb.h"
#include "proto/messages/replay.pb.h"

namespace millrace::client {

// The bundle of an attempt of a map or reduce, without its input: as the job's
// failure names it, if that was this task, else a new one (`random` makes its
// uid).
proto::ReplayBundle MakeBundle(const proto::GetJobReply& job,
                               const proto::TaskName& task, Random& random);

// Makes `directory` and puts there what the cluster has: program, plan, side
// files, and the message of the bundle, last. The job's program takes the input
// in (--millrace-replay DIR --prepare). Errors of the calls, of the files, and
//   kAlreadyExists       something is at `directory`
//   kFailedPrecondition  the job has no plan yet; the task is no map or reduce
absl::Status FetchBundle(ClusterClient& cluster, FileSystem& fs,
                         std::string_view id_prefix,
                         const proto::TaskName& task,
                         const std::string& directory);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_REPLAY_REQUEST_H_
