#include "rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include "common/status_macros.h"
#include "rpc/address.h"
#include "rpc/grpc_library.h"
#include "rpc/limits.h"

namespace millrace::rpc {
namespace {

int Millis(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> Dial(
    const Credentials& credentials, std::string_view text) {
  StartGrpc();
  MR_ASSIGN_OR_RETURN(const Address address, ParseAddress(text));
  if (address.port == 0) {
    return absl::InvalidArgumentError(
        Av(Cat("cannot connect to ", address.ToString(), ": port 0")));
  }
  MR_ASSIGN_OR_RETURN(const auto channel_credentials,
                      credentials.ForDialling(address));
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(static_cast<int>(kMessageBytesMax));
  args.SetMaxSendMessageSize(static_cast<int>(kMessageBytesMax));
  args.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE,
              static_cast<int>(kReadBytesMax));
  args.SetInt(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(kMetadataBytesMax));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(kKeepaliveInterval));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(kKeepaliveTimeout));
  // Streams are open at all times where it matters; an idle channel need not
  // keep its peer awake.
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  // No limit on pings between data frames: a quiet stream is a normal one.
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, Millis(kReconnectMin));
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, Millis(kReconnectMax));
  // In spite of its name: how long one attempt to connect may take.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, Millis(kConnectTimeout));
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Retries are ours: rpc/call.h.
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(DialTarget(address), channel_credentials,
                                   args);
}

}  // namespace millrace::rpc
