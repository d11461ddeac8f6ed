// Blobs of the masters: programs, plans, side files, manifests, by SHA-256.
#ifndef MILLRACE_WORKER_BLOB_CLIENT_H_
#define MILLRACE_WORKER_BLOB_CLIENT_H_

#include <string>

#include "absl/status/status.h"

namespace millrace::worker {

// Thread-safe; calls block and are made on threads of the caller.
class BlobClient {
 public:
  virtual ~BlobClient() = default;

  // Writes the blob named by `sha256` (32 bytes) to a new file at `path`,
  // asking one master after the other and going on where a broken transfer
  // stopped. The caller verifies the bytes before they get a name that means
  // anything.
  //   kNotFound           no master has it
  //   kUnavailable        none could be asked, after retries
  //   kResourceExhausted  the disk here is full
  //   kCancelled          Shutdown was called
  // After an error there may be a file at `path`.
  virtual absl::Status Get(const std::string& sha256,
                           const std::string& path) = 0;

  // Stores the file at `path`, whose hash is `sha256`, at the masters; returns
  // when it is as durable there as the log. Repeating it is harmless. Errors as
  // above.
  virtual absl::Status Put(const std::string& sha256,
                           const std::string& path) = 0;

  // Makes calls in progress and later ones return kCancelled soon.
  virtual void Shutdown() = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_BLOB_CLIENT_H_
