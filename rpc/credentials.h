// Who may speak to whom. Every channel and every server of the tree asks one
// Credentials object, made by main(), so that nothing can be dialled or served
// past it.
//
// Without TLS only loopback is allowed: anybody on the network could otherwise
// submit a program to run here. Credentials from certificates are another
// implementation of this interface; nothing else in the tree changes.
#ifndef MILLRACE_RPC_CREDENTIALS_H_
#define MILLRACE_RPC_CREDENTIALS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "rpc/address.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace millrace::rpc {

// Thread-safe. Outlives every channel and server that is made from it.
class Credentials {
 public:
  virtual ~Credentials() = default;

  // kFailedPrecondition: speaking to (or listening on) that address would be
  // insecure; the message says what to configure.
  virtual absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ForDialling(
      const Address& address) const = 0;
  virtual absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ForServing(
      const Address& address) const = 0;
};

// No encryption, no certificates, loopback alone. Lives as long as the process.
const Credentials& LoopbackCredentials();

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_CREDENTIALS_H_
