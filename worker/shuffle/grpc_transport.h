// Transfers over gRPC: one connection to each holder, reads that block.
#ifndef MILLRACE_WORKER_SHUFFLE_GRPC_TRANSPORT_H_
#define MILLRACE_WORKER_SHUFFLE_GRPC_TRANSPORT_H_

#include <memory>

#include "common/clock.h"
#include "rpc/credentials.h"
#include "worker/shuffle/fetch_transport.h"

namespace millrace::worker {

// Credentials and clock are borrowed.
std::unique_ptr<FetchTransport> MakeGrpcTransport(
    const rpc::Credentials& credentials, Clock& clock);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_GRPC_TRANSPORT_H_
