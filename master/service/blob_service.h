// BlobService over a BlobStore.
#ifndef MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
#define MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_

#include <memory>

#include "common/thread_pool.h"
#include "master/blobs/blob_store.h"
#include "master/group/blob_holders.h"
#include "master/service/master_loop.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// The arguments outlive the service, which outlives its server. Files are read
// and written on the pool, a chunk at a time, one under way per call. A put is
// answered when a majority of the masters hold the blob.
std::unique_ptr<grpc::Service> MakeBlobService(BlobStore& store,
                                               ThreadPool& pool,
                                               MasterLoop& loop,
                                               BlobHolders& holders);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
