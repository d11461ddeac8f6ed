// Identities. Distinct types, so that passing one for another does not compile.
#ifndef MILLRACE_COMMON_IDS_H_
#define MILLRACE_COMMON_IDS_H_

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "common/random.h"
#include "common/strings.h"

namespace millrace {

// 128 random bits. `Tag` makes the type distinct and is never defined.
template <typename Tag>
class Id128 {
 public:
  static constexpr size_t kBytes = 16;

  constexpr Id128() = default;  // All zero: "no id".

  static Id128 Generate(Random& random) {
    Id128 id;
    const uint64_t words[2] = {random.Next64(), random.Next64()};
    std::memcpy(id.bytes_.data(), words, kBytes);
    return id;
  }

  // Accepts exactly 16 raw bytes.
  static std::optional<Id128> FromBytes(std::string_view bytes) {
    if (bytes.size() != kBytes) return std::nullopt;
    Id128 id;
    std::memcpy(id.bytes_.data(), bytes.data(), kBytes);
    return id;
  }

  // Accepts exactly 32 hexadecimal digits.
  static std::optional<Id128> FromHex(std::string_view hex) {
    if (hex.size() != 2 * kBytes) return std::nullopt;
    for (char c : hex) {
      if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
        return std::nullopt;
      }
    }
    return FromBytes(absl::HexStringToBytes(Av(hex)));
  }

  std::string_view bytes() const {
    return {reinterpret_cast<const char*>(bytes_.data()), kBytes};
  }
  std::string ToHex() const { return HexEncode(bytes()); }
  // The first 8 hexadecimal digits: what people read and type.
  std::string ToShort() const { return ToHex().substr(0, 8); }
  bool is_zero() const { return *this == Id128(); }

  friend auto operator<=>(const Id128&, const Id128&) = default;

  // For Abseil's hash tables.
  template <typename H>
  friend H AbslHashValue(H state, const Id128& id) {
    return H::combine(std::move(state), id.bytes_);
  }

 private:
  std::array<uint8_t, kBytes> bytes_{};
};

using JobId = Id128<struct JobIdTag>;
// The uid of one attempt. It is in every path and message of the attempt and
// never comes again.
using AttemptUid = Id128<struct AttemptUidTag>;
// One start of a worker process.
using WorkerIncarnation = Id128<struct WorkerIncarnationTag>;
// Chosen by the client, so that a repeated submit finds the same job.
using RequestId = Id128<struct RequestIdTag>;
using ClusterId = Id128<struct ClusterIdTag>;

}  // namespace millrace

#endif  // MILLRACE_COMMON_IDS_H_
