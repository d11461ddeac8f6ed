// BlobService over a BlobStore.
#ifndef MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
#define MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/thread_pool.h"
#include "master/blobs/blob_store.h"
#include "master/service/blob_uploads.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// What the service asks of the group of masters. Both call back once, on any
// thread, maybe before they return.
struct BlobGroup {
  using Done = std::function<void(const absl::Status&)>;
  // OK: this master leads, as far as it knows.
  std::function<void(Done)> leading;
  // OK: so many masters hold the blob that it will not be lost. kAborted: that
  // is not known, since this master leads no longer.
  std::function<void(const std::string& sha256, Done)> held;
};

// The arguments outlive the service, which outlives its server. Files are read
// and written on the pool, a chunk at a time, one under way per call. Of those
// who put the same blob at the same time one is read, the others wait
// (master/service/blob_uploads.h). A put is answered when the group holds it.
std::unique_ptr<grpc::Service> MakeBlobService(
    BlobStore& store, ThreadPool& pool, Clock& clock, BlobGroup group,
    absl::Duration patience = BlobUploads::kPatience);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_BLOB_SERVICE_H_
