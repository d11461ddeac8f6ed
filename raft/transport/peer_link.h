// The stream to one other member: opened when there is something to say, broken
// off when it does not answer, opened again after a pause.
//
//              Send, pause is over           connected, Hello written
//   ┌────────┐ ───────────────► ┌────────────┐ ────────► ┌──────┐
//   │ closed │                  │ connecting │           │ open │
//   └────────┘ ◄─────────────── └────────────┘           └──────┘
//        ▲        failed                                     │
//        └───────────────────────────────────────────────────┘
//                failed, silent for too long, Close
//
// What is sent while it is closed is lost; while it is connecting it waits.
#ifndef MILLRACE_RAFT_TRANSPORT_PEER_LINK_H_
#define MILLRACE_RAFT_TRANSPORT_PEER_LINK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/random.h"
#include "raft/core/message.h"
#include "raft/log/log_types.h"
#include "raft/transport/grpc_transport.h"
#include "raft/transport/wire.h"
#include "rpc/backoff.h"
#include "rpc/credentials.h"

namespace millrace::raft {

// Thread-safe. Shared by the transport, the calls in it, and its stream.
class PeerLink : public std::enable_shared_from_this<PeerLink> {
 public:
  // What the links of one transport share; outlives them and their streams.
  struct Shared {
    const rpc::Credentials& credentials;
    Clock& clock;
    GrpcTransportOptions options;
    // The link wants Connect() to be called, on a thread that may take a while.
    std::function<void(std::shared_ptr<PeerLink>)> wants_connection;
    // Messages to the member were lost. Without the link's lock.
    std::function<void(NodeId)> lost;
    // A stream begins (+1), is gone for good (-1).
    std::function<void(int)> streams_changed;
  };

  PeerLink(Shared& shared, NodeId node, std::string address, uint64_t seed);
  ~PeerLink();

  std::string address() const ABSL_LOCKS_EXCLUDED(mu_);
  // A stream to another address is given up.
  void SetAddress(const std::string& address) ABSL_LOCKS_EXCLUDED(mu_);
  // The member is there: it was heard. No pause, should there be one.
  void Heard() ABSL_LOCKS_EXCLUDED(mu_);

  void Send(Message message) ABSL_LOCKS_EXCLUDED(mu_);

  void Connect(const LogIdentity& self, const std::string& own_address)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Breaks off a stream on which nothing is confirmed. To be called some times
  // in each silence_timeout.
  void CheckSilence() ABSL_LOCKS_EXCLUDED(mu_);
  // For good.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class Stream;

  // Of the present stream; others are ignored.
  void OnReceived(Stream* stream) ABSL_LOCKS_EXCLUDED(mu_);
  void OnWritten(Stream* stream) ABSL_LOCKS_EXCLUDED(mu_);
  void OnEnded(Stream* stream, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mu_);

  void WriteLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The stream ends, and no longer counts as the present one.
  void DropStreamLocked(bool cancel) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PauseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Shared& shared_;
  const NodeId node_;
  const std::unique_ptr<Random> random_;

  mutable absl::Mutex mu_;
  std::string address_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;      // For good.
  bool connecting_ ABSL_GUARDED_BY(mu_) = false;  // Connect() will be called.
  rpc::Backoff backoff_ ABSL_GUARDED_BY(mu_);
  absl::Duration not_before_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  FrameQueue queue_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<Stream> stream_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  // When the oldest frame was written that no RaftReceived has come after.
  absl::Duration unanswered_since_ ABSL_GUARDED_BY(mu_) =
      absl::InfiniteDuration();
  std::string last_error_ ABSL_GUARDED_BY(mu_);  // That was logged.
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_PEER_LINK_H_
