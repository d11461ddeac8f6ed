// The master's ends of the worker streams, as its loop sees them.
//
//   threads of the streams ── listener ──► master loop ── Send / Close ──► them
#ifndef MILLRACE_MASTER_SERVICE_WORKER_STREAMS_H_
#define MILLRACE_MASTER_SERVICE_WORKER_STREAMS_H_

#include <cstdint>
#include <memory>

#include "proto/messages/worker.pb.h"

namespace millrace::master {

// A stream from its opening to its end; never comes again.
using StreamId = uint64_t;

// Called on threads of the streams; for one stream in order: opened, messages,
// closed. The next message of a stream comes only after WorkerStreams::Resume,
// so a slow listener holds up workers instead of piling up what they say.
class WorkerStreamListener {
 public:
  virtual ~WorkerStreamListener() = default;
  virtual void OnStreamOpened(StreamId stream) = 0;
  virtual void OnStreamMessage(StreamId stream,
                               proto::WorkerMessage message) = 0;
  virtual void OnStreamClosed(StreamId stream) = 0;
};

// Thread-safe; every call returns at once. Implementations: gRPC
// (grpc_worker_streams.h), and in memory for tests.
class WorkerStreams {
 public:
  virtual ~WorkerStreams() = default;

  // No-op when the stream has ended. The message may be on its way on other
  // streams, too.
  virtual void Send(StreamId stream,
                    std::shared_ptr<const proto::MasterMessage> message) = 0;
  // Ends the stream once what was sent before is written.
  virtual void Close(StreamId stream) = 0;
  // Lets the stream's next message come.
  virtual void Resume(StreamId stream) = 0;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SERVICE_WORKER_STREAMS_H_
