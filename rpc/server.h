// The one way to start a gRPC server.
//
//   MR_ASSIGN_OR_RETURN(std::unique_ptr<rpc::Server> server,
//                       rpc::Server::Start(credentials, "127.0.0.1:0",
//                                          {&client_service, &blob_service}));
//   Announce(server->address());
#ifndef MILLRACE_RPC_SERVER_H_
#define MILLRACE_RPC_SERVER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "rpc/address.h"
#include "rpc/credentials.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace millrace::rpc {

// Thread-safe.
class Server {
 public:
  // Listens on `listen`, "host:port"; port 0 takes a free one. The services are
  // borrowed and must outlive the server; at least one. They are called from
  // gRPC's threads as soon as (and before) Start returns.
  //   kAlreadyExists       the port is in use
  //   kPermissionDenied, kInvalidArgument, kUnavailable   it cannot be bound
  //   kFailedPrecondition  the credentials refuse that address
  // Every error is one line that names the address.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const Credentials& credentials, std::string_view listen,
      const std::vector<grpc::Service*>& services);

  // Shuts down without grace.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // What clients dial: the host of `listen` and the port that was bound.
  const Address& address() const { return address_; }

  // Takes no new calls; cancels those that are still open after `grace`;
  // returns when no handler runs any more. A reactor of a stream that does not
  // end by itself hears OnCancel() after `grace`; it must finish then. May be
  // called again, and from several threads.
  void Shutdown(absl::Duration grace);

 private:
  struct Impl;
  Server(Address address, std::unique_ptr<Impl> impl);

  const Address address_;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_SERVER_H_
