// A spool on disk, served over a real port. Includes gRPC: for tests and
// measurements alone.
#ifndef MILLRACE_WORKER_SHUFFLE_TESTING_SERVED_SPOOL_H_
#define MILLRACE_WORKER_SHUFFLE_TESTING_SERVED_SPOOL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "proto/services/worker.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "tests/testing/temp_dir.h"
#include "worker/shuffle/output_store.h"
#include "worker/shuffle/server.h"
#include "worker/shuffle/testing/map_outputs.h"

namespace millrace::worker {

class ServedSpool {
 public:
  explicit ServedSpool(const ShuffleServerOptions& options = {})
      : layout_{dir_.path()},
        store_(layout_, live_),
        shuffle_(FileSystem::Posix(), store_, options),
        server_(*rpc::Server::Start(rpc::LoopbackCredentials(), "127.0.0.1:0",
                                    {shuffle_.service()})),
        address_(server_->address().ToString()),
        stub_(proto::ShuffleService::NewStub(
            *rpc::Dial(rpc::LoopbackCredentials(), address()))) {}

  // Also when the server is gone.
  const std::string& address() const { return address_; }
  std::string PathOf(const TestOutput& output) const {
    return MapOutputPath(layout_.Spool(), output.identity.job,
                         output.identity.attempt);
  }
  // Writes the file as it is, or these bytes in its place.
  void Hold(const TestOutput& output) { Hold(output, output.file); }
  void Hold(const TestOutput& output, const std::string& bytes) {
    dir_.Write(
        MapOutputPath("spool", output.identity.job, output.identity.attempt),
        bytes);
  }

  TempDir dir_;
  WorkerLayout layout_;
  LiveAttempts live_;
  SpoolStore store_;
  ShuffleServer shuffle_;
  std::unique_ptr<rpc::Server> server_;
  const std::string address_;
  std::unique_ptr<proto::ShuffleService::Stub> stub_;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_TESTING_SERVED_SPOOL_H_
