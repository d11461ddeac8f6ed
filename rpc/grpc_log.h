// What gRPC itself has to say goes where our own log goes, as detail: its
// failures reach us as statuses, and a line of its own for each would only be
// repetition, in a format that nobody expects.
#ifndef MILLRACE_RPC_GRPC_LOG_H_
#define MILLRACE_RPC_GRPC_LOG_H_

namespace millrace::rpc {

// Before the first channel or server; later calls do nothing. Thread-safe.
void RouteGrpcLog();

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_GRPC_LOG_H_
