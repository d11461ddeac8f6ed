#include "rpc/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "common/strings.h"

namespace millrace::rpc {
namespace {

// A name of DNS has at most so many.
constexpr size_t kHostBytesMax = 253;

bool IsV6Literal(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool IsV4Literal(const std::string& host) {
  in_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

bool IsName(std::string_view host) {
  if (host.empty() || host.size() > kHostBytesMax) return false;
  bool digits_alone = true;
  for (char c : host) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' &&
        c != '.' && c != '_') {
      return false;
    }
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c)) && c != '.') {
      digits_alone = false;
    }
  }
  return !digits_alone;  // "127.1": resolvers disagree about what it is.
}

}  // namespace

std::string Address::ToString() const {
  if (host.find(':') != std::string::npos) return Cat("[", host, "]:", port);
  return Cat(host, ":", port);
}

absl::StatusOr<Address> ParseAddress(std::string_view text) {
  const auto wrong = [&] {
    return absl::InvalidArgumentError(
        Av(Cat("not an address: \"", Printable(text),
               "\"; expected host:port, such as 127.0.0.1:7000")));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);

  Address address;
  // SimpleAtoi also takes signs and white space.
  for (char c : port) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return wrong();
  }
  uint32_t number;
  if (!absl::SimpleAtoi(Av(port), &number) || number > 65535) return wrong();
  address.port = static_cast<uint16_t>(number);

  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    address.host = host.substr(1, host.size() - 2);
    if (!IsV6Literal(address.host)) return wrong();
    return address;
  }
  address.host = host;
  if (address.host == "localhost") address.host = "127.0.0.1";
  if (!IsV4Literal(address.host) && !IsName(address.host)) return wrong();
  return address;
}

bool IsLoopback(const Address& address) {
  in_addr v4;
  if (inet_pton(AF_INET, address.host.c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == 127;
  }
  in6_addr v6;
  if (inet_pton(AF_INET6, address.host.c_str(), &v6) == 1) {
    return std::memcmp(&v6, &in6addr_loopback, sizeof(v6)) == 0;
  }
  return false;
}

std::string DialTarget(const Address& address) {
  if (IsV4Literal(address.host)) return Cat("ipv4:", address.ToString());
  if (IsV6Literal(address.host)) return Cat("ipv6:", address.ToString());
  return Cat("dns:///", address.ToString());
}

}  // namespace millrace::rpc
