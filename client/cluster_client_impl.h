// The inside of a ClusterClient, for the files of its calls: cluster_client.cc
// (jobs, workers, logs) and cluster_masters.cc.
#ifndef MILLRACE_CLIENT_CLUSTER_CLIENT_IMPL_H_
#define MILLRACE_CLIENT_CLUSTER_CLIENT_IMPL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/cluster_client.h"
#include "common/status_macros.h"
#include "proto/services/cluster.grpc.pb.h"
#include "rpc/call.h"
#include "rpc/credentials.h"
#include "rpc/leader_channel.h"
#include "rpc/stop_signal.h"

namespace millrace::client {

using Attempt = rpc::LeaderChannel::Attempt;

// Thread-safe.
struct ClusterClient::Impl {
  Impl(const ClientOptions& client_options, std::vector<std::string> masters)
      : options(client_options),
        stop(client_options.stop != nullptr ? *client_options.stop
                                            : never_stopped),
        leader(rpc::LoopbackCredentials(), std::move(masters), *options.clock,
               Random::Entropy(), stop),
        caller(*options.clock, Random::Entropy(), stop) {}

  rpc::CallOptions Usual() const {
    rpc::CallOptions call;
    call.attempt_timeout = options.attempt_timeout;
    call.total_timeout = options.patience;
    return call;
  }

  // A master that shuts down cancels its calls. That is no wish of ours:
  // another one will answer.
  grpc::Status AsSeenHere(grpc::Status status) {
    if (status.error_code() != grpc::StatusCode::CANCELLED || stop.stopped()) {
      return status;
    }
    return grpc::Status(
        grpc::StatusCode::UNAVAILABLE,
        "cancelled by the other side: " + status.error_message());
  }

  // One unary call of a service to the leader.
  template <typename Stub, typename Request, typename Reply>
  absl::Status Ask(std::string_view what,
                   grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                const Request&, Reply*),
                   std::unique_ptr<Stub> (*new_stub)(
                       const std::shared_ptr<grpc::ChannelInterface>&,
                       const grpc::StubOptions&),
                   const Request& request, Reply* reply) {
    return leader.Call(what, Usual(), [&](Attempt& attempt) {
      reply->Clear();
      const std::unique_ptr<Stub> stub = new_stub(attempt.channel, {});
      return AsSeenHere(
          (stub.get()->*method)(&attempt.context, request, reply));
    });
  }

  template <typename Request, typename Reply>
  absl::Status AskClient(std::string_view what,
                         grpc::Status (proto::ClientService::Stub::*method)(
                             grpc::ClientContext*, const Request&, Reply*),
                         const Request& request, Reply* reply) {
    return Ask(what, method, &proto::ClientService::NewStub, request, reply);
  }

  struct Missing {
    std::vector<std::string> sha256;
    bool says_when_wanted = false;  // See proto::FindBlobsReply.
  };
  absl::StatusOr<Missing> MissingBlobs(const PreparedJob& job) {
    proto::FindBlobsRequest request;
    for (const auto& [sha256, path] : job.blobs) request.add_sha256(sha256);
    proto::FindBlobsReply reply;
    MR_RETURN_IF_ERROR(Ask("look for the job's files",
                           &proto::BlobService::Stub::Find,
                           &proto::BlobService::NewStub, request, &reply));
    Missing missing;
    missing.says_when_wanted = reply.says_when_wanted();
    for (const std::string& sha256 : reply.missing()) {
      if (!job.blobs.contains(sha256)) {
        return absl::InternalError(
            "the cluster misses a blob that nobody asked for");
      }
      missing.sha256.push_back(sha256);
    }
    return missing;
  }

  // Returns how many bytes were sent. `wait` says that the master says when it
  // wants them.
  absl::StatusOr<uint64_t> PutBlob(FileSystem& fs, const std::string& sha256,
                                   const std::string& path, bool wait);

  const ClientOptions options;
  rpc::StopSignal never_stopped;
  rpc::StopSignal& stop;
  rpc::LeaderChannel leader;
  rpc::Caller caller;
};

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_CLUSTER_CLIENT_IMPL_H_
