// What the others say: the server's side of both calls of proto::RaftService.
#ifndef MILLRACE_RAFT_TRANSPORT_RAFT_SERVICE_H_
#define MILLRACE_RAFT_TRANSPORT_RAFT_SERVICE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"
#include "raft/core/types.h"
#include "raft/transport/receiver_door.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::raft {

// Thread-safe. The server that serves it is shut down before it goes.
class RaftServiceHost {
 public:
  // A member has connected, and says that it listens at `address`.
  using OnHello = std::function<void(NodeId from, const std::string& address)>;

  // Both references outlive the host.
  // `confirm_interval`: see GrpcTransportOptions.
  RaftServiceHost(ReceiverDoor& door, Clock& clock,
                  absl::Duration confirm_interval, OnHello on_hello);
  ~RaftServiceHost();

  grpc::Service* service();
  // A snapshot that is being received is let go; what came stays in the store.
  // After that no call of the door is made that would bring another.
  void Stop();

 private:
  class Service;
  const std::unique_ptr<Service> service_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_RAFT_SERVICE_H_
