// BlobService over a BlobStore.
#ifndef MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
#define MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_

#include <memory>

#include "common/clock.h"
#include "common/thread_pool.h"
#include "master/blobs/blob_store.h"
#include "master/service/blob_uploads.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// The arguments outlive the service, which outlives its server. Files are read
// and written on the pool, a chunk at a time, one under way per call. Of those
// who put the same blob at the same time one is read, the others wait
// (master/service/blob_uploads.h).
std::unique_ptr<grpc::Service> MakeBlobService(
    BlobStore& store, ThreadPool& pool, Clock& clock,
    absl::Duration patience = BlobUploads::kPatience);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
