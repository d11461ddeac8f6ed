// The master's ends of the worker streams.
//
//   gRPC threads ── Listener ──► master loop ── Send / Close ──► gRPC threads
#ifndef MILLRACE_MASTER_SERVICE_WORKER_STREAMS_H_
#define MILLRACE_MASTER_SERVICE_WORKER_STREAMS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/messages/worker.pb.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::master {

// A stream from its opening to its end; never comes again.
using StreamId = uint64_t;

// Called on gRPC's threads; for one stream in order: opened, messages, closed.
// The next message of a stream comes only after WorkerStreams::Resume, so a
// slow listener holds up workers instead of piling up what they say.
class WorkerStreamListener {
 public:
  virtual ~WorkerStreamListener() = default;
  virtual void OnStreamOpened(StreamId stream) = 0;
  virtual void OnStreamMessage(StreamId stream,
                               proto::WorkerMessage message) = 0;
  virtual void OnStreamClosed(StreamId stream) = 0;
};

// Thread-safe.
class WorkerStreams {
 public:
  // `listener` outlives this object and the server that serves service().
  explicit WorkerStreams(WorkerStreamListener& listener);
  ~WorkerStreams();

  // proto::WorkerService; lives as long as this object.
  grpc::Service* service();

  // No-op when the stream has ended. A stream whose peer does not read is ended
  // when kQueueBytesMax are waiting for it. The message may be on its way on
  // other streams, too.
  void Send(StreamId stream,
            std::shared_ptr<const proto::MasterMessage> message);
  // Ends the stream once what was sent before is written.
  void Close(StreamId stream);
  // Lets the stream's next message come.
  void Resume(StreamId stream);

  static constexpr uint64_t kQueueBytesMax = 256 << 20;

 private:
  class Stream;
  class Service;

  std::shared_ptr<Stream> Find(StreamId stream) ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<Stream> Add() ABSL_LOCKS_EXCLUDED(mu_);
  void Forget(StreamId stream) ABSL_LOCKS_EXCLUDED(mu_);

  WorkerStreamListener& listener_;
  const std::unique_ptr<Service> service_;

  absl::Mutex mu_;
  StreamId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  // Shared with the calls in Send, Close and Resume; each reactor also holds
  // itself until gRPC is done with it.
  std::map<StreamId, std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_WORKER_STREAMS_H_
