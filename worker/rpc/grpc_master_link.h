// The worker stream over gRPC.
#ifndef MILLRACE_WORKER_RPC_GRPC_MASTER_LINK_H_
#define MILLRACE_WORKER_RPC_GRPC_MASTER_LINK_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "rpc/backoff.h"
#include "rpc/credentials.h"
#include "rpc/limits.h"
#include "worker/master_link.h"

namespace millrace::worker {

struct MasterLinkOptions {
  // Of messages that wait to be sent. Beyond it the stream ends, since the
  // leader does not keep up: the Hello of the next one says everything again.
  size_t queue_messages_max = 4096;
  // A whole Hello has to fit.
  size_t queue_bytes_max = rpc::kHelloBytesMax + (32 << 20);
  // A master that stands still is not waited for: the leader declares a worker
  // lost that has been away for longer than this and one more try.
  absl::Duration connect_timeout = absl::Seconds(1);
  // Short: as long as there is no leader, nothing is granted, and it is over
  // when the new one has heard the last of its workers.
  rpc::BackoffOptions backoff = {absl::Milliseconds(50),
                                 absl::Milliseconds(300), 2.0};
  // Told the addresses of all masters when one names them; on a thread of the
  // link. May be null.
  std::function<void(const std::vector<std::string>&)> on_masters = nullptr;
};

// Credentials are borrowed. Two threads: one reads and reports, one writes.
// REQUIRES: masters is not empty.
std::unique_ptr<MasterLink> MakeMasterLink(
    const rpc::Credentials& credentials, std::vector<std::string> masters,
    std::unique_ptr<Random> random, const MasterLinkOptions& options = {});

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_RPC_GRPC_MASTER_LINK_H_
