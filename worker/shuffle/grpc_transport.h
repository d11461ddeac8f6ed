// Transfers over gRPC: one connection to each holder, reads that block.
#ifndef MILLRACE_WORKER_SHUFFLE_GRPC_TRANSPORT_H_
#define MILLRACE_WORKER_SHUFFLE_GRPC_TRANSPORT_H_

#include <memory>

#include "rpc/credentials.h"
#include "worker/shuffle/fetch_transport.h"

namespace millrace::worker {

// Credentials are borrowed.
std::unique_ptr<FetchTransport> MakeGrpcTransport(
    const rpc::Credentials& credentials);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_GRPC_TRANSPORT_H_
