#include "rpc/credentials.h"

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <string_view>

#include "common/strings.h"

namespace millrace::rpc {
namespace {

absl::Status RefuseOffLoopback(std::string_view verb, const Address& address) {
  if (IsLoopback(address)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      Av(Cat("refusing to ", verb, " ", address.ToString(),
             ": off loopback (127.0.0.0/8, ::1) every connection needs TLS, "
             "and no certificate is configured")));
}

class Loopback final : public Credentials {
 public:
  absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ForDialling(
      const Address& address) const override {
    if (absl::Status s = RefuseOffLoopback("connect to", address); !s.ok()) {
      return s;
    }
    return grpc::InsecureChannelCredentials();
  }
  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ForServing(
      const Address& address) const override {
    if (absl::Status s = RefuseOffLoopback("listen on", address); !s.ok()) {
      return s;
    }
    return grpc::InsecureServerCredentials();
  }
};

}  // namespace

const Credentials& LoopbackCredentials() {
  static const Loopback credentials;
  return credentials;
}

}  // namespace millrace::rpc
