// How the fetcher reaches the holder of a map output: over gRPC, or in the
// memory of a test.
#ifndef MILLRACE_WORKER_SHUFFLE_FETCH_TRANSPORT_H_
#define MILLRACE_WORKER_SHUFFLE_FETCH_TRANSPORT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "proto/messages/shuffle.pb.h"

namespace millrace::worker {

// One call. Confined to one thread but for Cancel().
class FetchStream {
 public:
  virtual ~FetchStream() = default;

  // Blocks. False: the stream has ended, Finish() says how.
  virtual bool Read(proto::FetchSlice* slice) = 0;

  // After Read() was false, or after Cancel(); once. OK: the holder has said
  // all. kResourceExhausted is the holder's own word
  // (proto/services/worker.proto); the rest means that it was not reached.
  virtual absl::Status Finish() = 0;

  // Thread-safe. Makes Read() return false soon.
  virtual void Cancel() = 0;
};

// Thread-safe.
class FetchTransport {
 public:
  virtual ~FetchTransport() = default;

  // Returns at once; errors come from Read() and Finish().
  virtual std::unique_ptr<FetchStream> Open(
      const std::string& address, const proto::FetchRequest& request) = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_FETCH_TRANSPORT_H_
