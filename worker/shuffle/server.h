// Serves this worker's map outputs to other workers, and the logs of its
// attempts to clients. proto/messages/shuffle.proto tells the story.
//
// Bytes go from the page cache to the network in buffers of 1 MiB that are
// neither copied nor parsed on the way. A stream has one write under way and
// one buffer read ahead; files are read by a few threads of their own, never by
// gRPC's.
#ifndef MILLRACE_WORKER_SHUFFLE_SERVER_H_
#define MILLRACE_WORKER_SHUFFLE_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/file_system.h"
#include "common/ids.h"
#include "rpc/limits.h"
#include "worker/shuffle/output_store.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::worker {

struct ShuffleServerOptions {
  // At the limit the answer is RESOURCE_EXHAUSTED: come back later.
  int streams_max = 64;
  int log_streams_max = 16;
  size_t list_bytes = rpc::kPartBytes;  // Of a page of a list of logs.
  size_t buffer_bytes_max = 96 << 20;   // Of all streams.
  // At most rpc::kChunkBytesMax.
  size_t slice_bytes = 1 << 20;
  // Of the indexes that are kept, see IndexCache.
  uint64_t index_rows_max = 400'000;
  int disk_threads = 2;
};

// Thread-safe. Destroyed after the rpc::Server that its service is registered
// with has been shut down.
class ShuffleServer {
 public:
  // Borrows both.
  ShuffleServer(FileSystem& fs, const OutputStore& store,
                const ShuffleServerOptions& options = {});
  ~ShuffleServer();

  // For rpc::Server::Start; lives as long as this.
  grpc::Service* service();

  // Its outputs are gone: what was kept to serve them is not needed any more.
  void ForgetJob(const JobId& job);

 private:
  class Service;
  const std::unique_ptr<Service> service_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_SERVER_H_
