// The transport over gRPC: one stream per direction and member for messages,
// another connection for snapshots, so that bulk data do not delay heartbeats.
// The protocol's story is in proto/messages/raft.proto.
//
//   GrpcTransport transport(credentials, Clock::Real(), Random::Entropy(), {});
//   OpenNode(options, disk, clock, random, transport, sink);
//   rpc::Server::Start(credentials, listen, {transport.service(), ...});
//   node->SetAddress(server->address().ToString());
//   ...
//   server.Shutdown(); node.reset();      then the transport may go
#ifndef MILLRACE_RAFT_TRANSPORT_GRPC_TRANSPORT_H_
#define MILLRACE_RAFT_TRANSPORT_GRPC_TRANSPORT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/random.h"
#include "raft/transport/transport.h"
#include "rpc/backoff.h"
#include "rpc/credentials.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::raft {

struct GrpcTransportOptions {
  // Waiting to be written to one member, in messages and bytes; what comes
  // beyond is dropped. One message is taken whatever its size.
  size_t queue_messages_max = 4096;
  uint64_t queue_bytes_max = uint64_t{32} << 20;
  // Of snapshots that go out, bytes per second.
  uint64_t snapshot_bytes_per_second = uint64_t{64} << 20;
  // How often the other side of a stream is told that it works, at most.
  absl::Duration confirm_interval = absl::Milliseconds(500);
  // A member that confirms nothing for so long is connected to anew. Several
  // times the other's confirm_interval, and what a frame of 1 MiB takes.
  absl::Duration silence_timeout = absl::Seconds(3);
  // Between tries to connect.
  rpc::BackoffOptions backoff{absl::Milliseconds(50), absl::Seconds(1), 2.0};
  // A snapshot whose receiver says nothing for so long has failed.
  absl::Duration snapshot_timeout = absl::Seconds(30);
};

class GrpcTransport final : public Transport {
 public:
  // Credentials and clock outlive the transport.
  GrpcTransport(const rpc::Credentials& credentials, Clock& clock,
                std::unique_ptr<Random> random,
                const GrpcTransportOptions& options);
  // The server that serves service() has been shut down.
  ~GrpcTransport() override;

  // proto::RaftService; lives as long as this object.
  grpc::Service* service();

  void Start(const LogIdentity& self, TransportReceiver& receiver) override;
  void Stop() override;
  void SetAddress(std::string address) override;
  void SetPeers(std::map<NodeId, std::string> addresses) override;
  void Send(Message message) override;
  void SendSnapshot(Message message,
                    std::unique_ptr<OutgoingSnapshot> bytes) override;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_GRPC_TRANSPORT_H_
