// One WatchJob call. Included by the client service alone: it brings gRPC.
#ifndef MILLRACE_MASTER_SERVICE_WATCH_REACTOR_H_
#define MILLRACE_MASTER_SERVICE_WATCH_REACTOR_H_

#include <grpcpp/grpcpp.h>

#include <string>

#include "master/service/master_loop.h"
#include "proto/messages/client.pb.h"

namespace millrace::master {

// Writes each status that the loop reports; of those that come while one is
// being written, the last. Deletes itself when gRPC is done with it and the
// loop will not call it any more.
grpc::ServerWriteReactor<proto::JobStatus>* NewWatchReactor(
    MasterLoop& loop, std::string id_prefix);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_WATCH_REACTOR_H_
