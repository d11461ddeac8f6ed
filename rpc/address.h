// Where a process listens or is reached: "host:port".
#ifndef MILLRACE_RPC_ADDRESS_H_
#define MILLRACE_RPC_ADDRESS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace::rpc {

struct Address {
  std::string host;  // A name or a literal; IPv6 literals without brackets.
  uint16_t port = 0;

  // "host:port", "[v6]:port".
  std::string ToString() const;

  friend bool operator==(const Address&, const Address&) = default;
};

// Accepts "host:port", "[v6]:port" and "localhost:port", which becomes
// 127.0.0.1 so that no resolver has a say in what is loopback. Port 0 is legal
// for listening alone. kInvalidArgument: anything else, with what was expected.
absl::StatusOr<Address> ParseAddress(std::string_view text);

// Whether the host is a literal of 127.0.0.0/8 or ::1. A name never is: what it
// resolves to may change between the check and the use.
bool IsLoopback(const Address& address);

// What gRPC is to dial: a literal goes past the resolver, a name through it.
std::string DialTarget(const Address& address);

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_ADDRESS_H_
