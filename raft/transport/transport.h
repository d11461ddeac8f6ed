// How members reach each other. Best effort: what is sent may be lost, or may
// come twice; Raft repairs it. Implementations: gRPC
// (raft/transport/grpc_transport.h), in memory for tests
// (raft/transport/testing/memory_network.h), and the simulation's.
//
// Members are known by their ids. Where a member is reached comes from the
// membership (SetPeers) or, while that says nothing, from what the member said
// of itself when it connected: a new member answers a leader whose address its
// own log does not hold yet.
//
// Nothing that was meant for another cluster or another member is ever handed
// to the receiver: a member that lost its disk comes back with another id at
// the same address, and must not be taken for its predecessor.
#ifndef MILLRACE_RAFT_TRANSPORT_TRANSPORT_H_
#define MILLRACE_RAFT_TRANSPORT_TRANSPORT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/core/message.h"
#include "raft/core/types.h"
#include "raft/log/log_types.h"

namespace millrace::raft {

// The bytes that go with a kSnapshot message, on their way out: a description
// and chunks of at most kTransportChunkBytesMax. Confined to one thread.
class OutgoingSnapshot {
 public:
  virtual ~OutgoingSnapshot() = default;
  virtual const std::string& description() const = 0;
  virtual uint64_t chunks() const = 0;
  // Verified. REQUIRES: number < chunks().
  virtual absl::StatusOr<std::string> ReadChunk(uint64_t number) = 0;
};

// The same on their way in. Confined to one thread, which may block in it. What
// has been appended when it is destroyed may be gone on with later.
class IncomingSnapshot {
 public:
  virtual ~IncomingSnapshot() = default;
  // What to send first: the chunks before have come in an earlier try.
  virtual uint64_t next_chunk() const = 0;
  // Whether no chunk is missing.
  virtual bool complete() const = 0;
  // kDataLoss: not the next chunk of this snapshot; the transfer is over.
  virtual absl::Status Append(uint64_t number, std::string_view chunk) = 0;
  // Verifies the whole, makes it durable, and hands the message that announced
  // it to the node. Called once, after the last chunk.
  virtual absl::Status Commit() = 0;
};

inline constexpr uint64_t kTransportChunkBytesMax = uint64_t{3} << 20;

// The node. Called on the transport's threads, several at a time; every call
// returns at once, but for those of IncomingSnapshot.
class TransportReceiver {
 public:
  virtual ~TransportReceiver() = default;

  // `message` is for this member. Dropped when too much is waiting.
  virtual void OnMessage(Message message) = 0;
  // Messages to `node` were lost, or will be.
  virtual void OnUnreachable(NodeId node) = 0;
  // What became of SendSnapshot; at least once after the last call. OK: the
  // other has it.
  virtual void OnSnapshotSent(NodeId node, const absl::Status& status) = 0;
  // `message` is a kSnapshot; its bytes are about to come.
  //   kResourceExhausted   one is already on its way, or no space; again later
  //   kFailedPrecondition  not wanted
  //   kDataLoss            the description is none, or not the message's
  virtual absl::StatusOr<std::unique_ptr<IncomingSnapshot>> ReceiveSnapshot(
      const Message& message, std::string_view description) = 0;
};

// Thread-safe.
class Transport {
 public:
  virtual ~Transport() = default;

  // From here on messages to `self` go to `receiver`, which outlives Stop().
  // Those that came before were refused. Once.
  virtual void Start(const LogIdentity& self, TransportReceiver& receiver) = 0;
  // No call of the receiver is under way or comes afterwards. Once.
  virtual void Stop() = 0;

  // What this member says of itself when it connects to others.
  virtual void SetAddress(std::string address) = 0;
  // The other members of the group: messages go to them alone, and to members
  // that connected to this one while it knows no others.
  virtual void SetPeers(std::map<NodeId, std::string> addresses) = 0;

  // Returns at once. Not a kSnapshot. Messages to one member arrive in the
  // order of the calls, if they arrive.
  virtual void Send(Message message) = 0;
  // A kSnapshot, which travels with `bytes` on a channel of its own, one at a
  // time. Returns at once.
  virtual void SendSnapshot(Message message,
                            std::unique_ptr<OutgoingSnapshot> bytes) = 0;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_TRANSPORT_H_
