// The one way to make a gRPC channel.
#ifndef MILLRACE_RPC_CHANNEL_H_
#define MILLRACE_RPC_CHANNEL_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "rpc/credentials.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace millrace::rpc {

// Returns a channel to "host:port" at once; it connects when it is first used
// and again whenever the connection breaks. Keepalive pings, message limits and
// reconnection follow rpc/limits.h; proxies of the environment are ignored.
// Each channel has a connection of its own, so that bulk data do not delay
// others.
//   kInvalidArgument     not an address
//   kFailedPrecondition  the credentials refuse that address
// gRPC channels are thread-safe.
absl::StatusOr<std::shared_ptr<grpc::Channel>> Dial(
    const Credentials& credentials, std::string_view address);

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_CHANNEL_H_
