// MasterService: what the masters of a group ask of each other.
#ifndef MILLRACE_MASTER_SERVICE_MASTER_SERVICE_H_
#define MILLRACE_MASTER_SERVICE_MASTER_SERVICE_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "common/thread_pool.h"
#include "master/blobs/blob_store.h"
#include "master/group/blob_fetcher.h"
#include "master/group/peers.h"
#include "master/service/master_loop.h"
#include "proto/messages/client.pb.h"
#include "proto/messages/master.pb.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

struct MasterServiceParts {
  MasterLoop& loop;
  Peers& peers;
  BlobStore& blobs;
  BlobFetcher& fetcher;
  ThreadPool& pool;  // For what may take seconds.
  // What this master says of itself; thread-safe.
  std::function<proto::MasterStatus()> self;
  // Makes this master one of the group's, durably. Called on the pool.
  std::function<absl::StatusOr<proto::AdoptReply>(const proto::AdoptRequest&)>
      adopt;
};

// The parts outlive the service, which outlives its server.
std::unique_ptr<grpc::Service> MakeMasterService(MasterServiceParts parts);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_MASTER_SERVICE_H_
