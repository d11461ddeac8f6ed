// Snapshots on their way between members, piece by piece: the simulation's
// stand-in for the part of a transport that carries them. It stops and waits
// after every piece, so that each can be lost, and goes on where it stopped.
#ifndef MILLRACE_TESTS_SIM_RAFT_SNAPSHOT_TRAFFIC_H_
#define MILLRACE_TESTS_SIM_RAFT_SNAPSHOT_TRAFFIC_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "raft/core/message.h"
#include "raft/log/snapshot_store.h"
#include "raft/node/snapshot_transfer.h"
#include "raft/transport/transport.h"
#include "tests/sim/raft/host.h"

namespace millrace::raftsim {

// Of one process. Thread-compatible.
class SnapshotTraffic {
 public:
  // What a transport tells the node.
  struct Node {
    std::function<void(raft::NodeId to, bool ok)> sent;
    raft::OnSnapshotReceived received;
  };

  // Both references outlive this.
  SnapshotTraffic(raft::SnapshotStore& store, Host& host, Node node)
      : store_(store), host_(host), node_(std::move(node)) {}

  // A kSnapshot: sends the newest snapshot with it.
  void Send(const raft::Message& message);
  void OnPiece(const SnapshotPiece& piece);

 private:
  struct Outgoing {
    raft::NodeId to = raft::kNobody;
    std::unique_ptr<raft::OutgoingSnapshot> bytes;
    uint64_t progress = 0;
  };
  struct Incoming {
    uint64_t transfer = 0;
    std::unique_ptr<raft::IncomingSnapshot> bytes;
    uint64_t progress = 0;
  };

  void SendChunk(uint64_t transfer, uint64_t number);
  void EndSending(uint64_t transfer, bool ok);
  void GiveUpSending(uint64_t transfer);
  void Begin(const SnapshotPiece& piece);
  void Take(const SnapshotPiece& piece);
  void GoOn(const SnapshotPiece& piece, absl::Status status);
  void GiveUpReceiving(raft::NodeId from);
  void Say(SnapshotPiece::Kind kind, const SnapshotPiece& to, uint64_t number);

  raft::SnapshotStore& store_;
  Host& host_;
  const Node node_;
  uint64_t next_transfer_ = 1;
  std::map<uint64_t, Outgoing> outgoing_;
  std::map<raft::NodeId, Incoming> incoming_;  // By sender.
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_SNAPSHOT_TRAFFIC_H_
