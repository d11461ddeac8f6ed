// ClientService: what clients ask of the cluster, answered by the master loop.
#ifndef MILLRACE_MASTER_SERVICE_CLIENT_SERVICE_H_
#define MILLRACE_MASTER_SERVICE_CLIENT_SERVICE_H_

#include <memory>

#include "common/clock.h"
#include "common/thread_pool.h"
#include "master/group/group_keeper.h"
#include "master/service/master_loop.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// All arguments outlive the service, which outlives its server. The loop runs
// until the server is shut down, so that no call waits for ever. Changes of the
// group, which take seconds, run on the pool. The clock is the loop's.
std::unique_ptr<grpc::Service> MakeClientService(MasterLoop& loop,
                                                 GroupKeeper& group,
                                                 Peers& peers, ThreadPool& pool,
                                                 Clock& clock);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_CLIENT_SERVICE_H_
