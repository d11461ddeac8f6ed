// The stream to the leading master, as the agent sees it: opened, broken and
// opened again by the implementation, which finds the leader.
#ifndef MILLRACE_WORKER_MASTER_LINK_H_
#define MILLRACE_WORKER_MASTER_LINK_H_

#include <cstdint>

#include "absl/status/status.h"
#include "proto/messages/worker.pb.h"

namespace millrace::worker {

// Every stream has a number that never comes again, so that nothing meant for
// one stream goes out on the next before its Hello, and nothing that came on an
// old one is taken for an answer on the new.
using StreamId = uint64_t;

// Thread-safe.
class MasterLink {
 public:
  // Called on threads of the link, one call at a time; returns at once.
  class Observer {
   public:
    virtual ~Observer() = default;
    // A stream is open; nothing has been sent on it. It is closed before the
    // next one opens.
    virtual void OnOpened(StreamId stream) = 0;
    virtual void OnMessage(StreamId stream, proto::MasterMessage message) = 0;
    virtual void OnClosed(StreamId stream, const absl::Status& status) = 0;
  };

  // Ends the stream; no callback runs after that.
  virtual ~MasterLink() = default;

  // Starts looking for the leader; callbacks come from now on. Streams are
  // opened for ever, with backoff. A message Refused is passed on like any
  // other; the link then ends the stream, and after NOT_LEADER tries the
  // leader that it names before the other masters. Call once. `observer`
  // outlives the link.
  virtual void Start(Observer& observer) = 0;

  // Queues a message. Dropped if `stream` is not open (any more): its end is
  // announced by OnClosed, and everything that matters is repeated in the next
  // Hello.
  virtual void Send(StreamId stream, proto::WorkerMessage message) = 0;

  // Ends this stream, if it is the one that is open; OnClosed follows, and
  // another one is looked for. What is queued may be lost.
  virtual void Close(StreamId stream) = 0;
};

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_MASTER_LINK_H_
