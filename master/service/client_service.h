// ClientService: what clients ask of the cluster, answered by the master loop.
#ifndef MILLRACE_MASTER_SERVICE_CLIENT_SERVICE_H_
#define MILLRACE_MASTER_SERVICE_CLIENT_SERVICE_H_

#include <functional>
#include <memory>

#include "master/blobs/blob_store.h"
#include "master/service/master_loop.h"
#include "proto/messages/client.pb.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// The arguments outlive the service, which outlives its server. The loop runs
// until the server is shut down, so that no call waits for ever.
// `self` says what this master is, beside its role and term; thread-safe.
std::unique_ptr<grpc::Service> MakeClientService(
    MasterLoop& loop, const BlobStore& blobs,
    std::function<proto::MasterStatus()> self);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_CLIENT_SERVICE_H_
