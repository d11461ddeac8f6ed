// BlobService over a BlobStore.
#ifndef MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
#define MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_

#include <memory>

#include "common/thread_pool.h"
#include "master/blobs/blob_store.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// Both arguments outlive the service, which outlives its server. Files are read
// and written on the pool, a chunk at a time, one under way per call.
std::unique_ptr<grpc::Service> MakeBlobService(BlobStore& store,
                                               ThreadPool& pool);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
