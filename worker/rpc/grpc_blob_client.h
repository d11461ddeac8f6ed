// Blobs from and to the masters over gRPC.
#ifndef MILLRACE_WORKER_RPC_GRPC_BLOB_CLIENT_H_
#define MILLRACE_WORKER_RPC_GRPC_BLOB_CLIENT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/file_system.h"
#include "common/random.h"
#include "rpc/credentials.h"
#include "worker/blob_client.h"

namespace millrace::worker {

struct BlobClientOptions {
  // Of one stream; what came until then stays, and the next one goes on.
  absl::Duration stream_timeout = absl::Seconds(30);
  // Without a byte, before a transfer is given up.
  absl::Duration total_timeout = absl::Seconds(60);
};

class GrpcBlobClient : public BlobClient {
 public:
  // These are all masters, as one of them says.
  virtual void Learn(const std::vector<std::string>& masters) = 0;
};

// All references are borrowed. A transfer has a chunk in memory. The bytes of
// Get are hashed as they come: what does not match is fetched anew, and is
// kDataLoss when no master has better. REQUIRES: masters is not empty.
std::unique_ptr<GrpcBlobClient> MakeBlobClient(
    const rpc::Credentials& credentials, std::vector<std::string> masters,
    Clock& clock, FileSystem& fs, std::unique_ptr<Random> random,
    const BlobClientOptions& options = {});

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_RPC_GRPC_BLOB_CLIENT_H_
