#include "rpc/server.h"

#include <arpa/inet.h>
#include <grpc/support/time.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/errno_status.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "rpc/grpc_library.h"
#include "rpc/limits.h"

namespace millrace::rpc {
namespace {

int Millis(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

// gRPC says only that binding failed. Trying the same by hand tells why.
absl::Status WhyNotBound(const Address& address) {
  const std::string what = Cat("cannot listen on ", address.ToString());
  sockaddr_storage storage = {};
  socklen_t length = 0;
  if (auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
      inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    length = sizeof(*v4);
  } else if (auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
             inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    length = sizeof(*v6);
  } else {
    return absl::UnavailableError(Av(Cat(what,
                                         ": the name has no address of "
                                         "this machine, or the port is "
                                         "in use")));
  }
  const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Annotate(ErrnoStatus(errno, "make", "a socket"), what);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  int error = 0;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&storage), length) != 0 ||
      listen(fd, 1) != 0) {
    error = errno;
  }
  close(fd);
  switch (error) {
    case 0:
      return absl::UnavailableError(
          Av(Cat(what, ": it failed once, for a reason that is gone now")));
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          Av(Cat(what, ": the port is in use; another process listens there")));
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError(
          Av(Cat(what, ": this machine does not have that address")));
    default:
      return ErrnoStatus(error, "listen on", address.ToString());
  }
}

}  // namespace

struct Server::Impl {
  std::unique_ptr<grpc::Server> server;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const Credentials& credentials, std::string_view listen,
    const std::vector<grpc::Service*>& services) {
  // gRPC's answer to this would be about completion queues.
  CHECK(!services.empty());
  StartGrpc();
  MR_ASSIGN_OR_RETURN(Address address, ParseAddress(listen));
  MR_ASSIGN_OR_RETURN(const auto server_credentials,
                      credentials.ForServing(address));
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMessageBytesMax));
  builder.SetMaxSendMessageSize(static_cast<int>(kMessageBytesMax));
  builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE,
                             static_cast<int>(kReadBytesMax));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE,
                             static_cast<int>(kMetadataBytesMax));
  // Two servers on one port would each get some of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             Millis(kHandshakeTimeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                             Millis(kKeepaliveInterval));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             Millis(kKeepaliveTimeout));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      Millis(kPingIntervalMin));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  int port = 0;
  builder.AddListeningPort(address.ToString(), server_credentials, &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  auto impl = std::make_unique<Impl>();
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr || port <= 0) return WhyNotBound(address);
  address.port = static_cast<uint16_t>(port);
  return std::unique_ptr<Server>(
      new Server(std::move(address), std::move(impl)));
}

Server::Server(Address address, std::unique_ptr<Impl> impl)
    : address_(std::move(address)), impl_(std::move(impl)) {}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

void Server::Shutdown(absl::Duration grace) {
  impl_->server->Shutdown(gpr_time_add(
      gpr_now(GPR_CLOCK_MONOTONIC),
      gpr_time_from_millis(absl::ToInt64Milliseconds(grace), GPR_TIMESPAN)));
}

}  // namespace millrace::rpc
