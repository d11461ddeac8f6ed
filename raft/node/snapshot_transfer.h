// Snapshots between the store and the transport.
#ifndef MILLRACE_RAFT_NODE_SNAPSHOT_TRANSFER_H_
#define MILLRACE_RAFT_NODE_SNAPSHOT_TRANSFER_H_

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/byte_stream.h"
#include "raft/core/message.h"
#include "raft/core/types.h"
#include "raft/log/snapshot_store.h"
#include "raft/transport/transport.h"

namespace millrace::raft {

// The store's newest snapshot, to be sent. kNotFound: that is not the one at
// `last`.
absl::StatusOr<std::unique_ptr<OutgoingSnapshot>> OpenOutgoingSnapshot(
    const SnapshotStore& store, const EntryId& last);

// Called when a snapshot is complete and durable with the message that
// announced it, as one of the store's newest, and what is in that.
using OnSnapshotReceived =
    std::function<void(const Message& message, std::unique_ptr<ByteSource>)>;

// See TransportReceiver::ReceiveSnapshot. Of what the store has already, or
// something newer, no chunk is asked for. `store` outlives what is returned.
absl::StatusOr<std::unique_ptr<IncomingSnapshot>> ReceiveSnapshotInto(
    SnapshotStore& store, const Message& message, std::string_view description,
    OnSnapshotReceived on_received);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_SNAPSHOT_TRANSFER_H_
