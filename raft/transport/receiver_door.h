// The way from a transport to its receiver: open between Start and Stop, and
// never used after Stop has returned.
#ifndef MILLRACE_RAFT_TRANSPORT_RECEIVER_DOOR_H_
#define MILLRACE_RAFT_TRANSPORT_RECEIVER_DOOR_H_

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "raft/log/log_types.h"
#include "raft/transport/transport.h"

namespace millrace::raft {

// Thread-safe.
class ReceiverDoor {
 public:
  void Open(const LogIdentity& self, TransportReceiver& receiver)
      ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    self_ = self;
    receiver_ = &receiver;
  }
  // Waits for the calls that are under way.
  void Close() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    receiver_ = nullptr;
  }
  // nullopt: the door is closed.
  std::optional<LogIdentity> self() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    return receiver_ == nullptr ? std::nullopt : std::optional(self_);
  }

  // Calls `call(receiver)`, many at a time; kUnavailable: the door is closed.
  template <typename Call>
  absl::Status With(const Call& call) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    if (receiver_ == nullptr) {
      return absl::UnavailableError("this master is starting or stopping");
    }
    return call(*receiver_);
  }

 private:
  mutable absl::Mutex mu_;
  LogIdentity self_ ABSL_GUARDED_BY(mu_);
  TransportReceiver* receiver_ ABSL_GUARDED_BY(mu_) = nullptr;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_RECEIVER_DOOR_H_
