// Limits and intervals that both ends of a connection must agree on, in one
// place.
#ifndef MILLRACE_RPC_LIMITS_H_
#define MILLRACE_RPC_LIMITS_H_

#include <cstddef>

#include "absl/time/time.h"

namespace millrace::rpc {

// Longest message, sent or received. What is longer is refused before memory is
// taken for it; bulk data travel in pieces of kChunkBytesMax.
inline constexpr size_t kMessageBytesMax = 4 << 20;
inline constexpr size_t kChunkBytesMax = 1 << 20;
// A list without a bound of its own goes in parts (rpc/parts.h): one is full
// when it has so much. A last member of up to 1 MiB still fits, and others.
inline constexpr size_t kPartBytes = 1 << 20;
// Of a Hello, all parts together: some four million map outputs.
inline constexpr size_t kHelloBytesMax = 256 << 20;

// Most that is read from a connection at once. Each keeps buffers for as much
// as it has lately read at once, idle or not: by default up to 4 MiB.
inline constexpr size_t kReadBytesMax = 256 << 10;

// Longest text of a status that crosses the wire; the rest is cut off.
inline constexpr size_t kStatusTextBytesMax = 4 << 10;
// Of all headers and trailers of a call: a status text of bytes that are no
// text becomes three times as long, and details stand beside it.
inline constexpr size_t kMetadataBytesMax = 64 << 10;

// A peer that answers no ping for kKeepaliveTimeout is gone. This notices cut
// cables and hosts; a process that hangs is noticed by heartbeats.
inline constexpr absl::Duration kKeepaliveInterval = absl::Seconds(10);
inline constexpr absl::Duration kKeepaliveTimeout = absl::Seconds(10);
// Pings that come faster are an attack; must be well below kKeepaliveInterval,
// or the server hangs up on its own clients with "too_many_pings".
inline constexpr absl::Duration kPingIntervalMin = absl::Seconds(5);

// From the acceptance of a connection to the end of its handshake, the caller's
// settings included; who takes longer is hung up on and costs a descriptor no
// more.
inline constexpr absl::Duration kHandshakeTimeout = absl::Seconds(5);

// Between attempts to connect, doubling.
inline constexpr absl::Duration kReconnectMin = absl::Milliseconds(100);
inline constexpr absl::Duration kReconnectMax = absl::Seconds(1);
// For one attempt to connect.
inline constexpr absl::Duration kConnectTimeout = absl::Seconds(5);

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_LIMITS_H_
