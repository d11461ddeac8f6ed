// How long to wait before a refused request is worth another try: a detail of
// the status, as google.rpc.RetryInfo, so that other tools can read it. Without
// gRPC.
#ifndef MILLRACE_RPC_RETRY_AFTER_H_
#define MILLRACE_RPC_RETRY_AFTER_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "common/strings.h"
#include "proto/messages/status.pb.h"

namespace millrace::rpc {

inline constexpr std::string_view kRetryInfoUrl =
    "type.googleapis.com/google.rpc.RetryInfo";

// `status` is an error; `wait` at least 0 and finite.
inline absl::Status WithRetryAfter(absl::Status status, absl::Duration wait) {
  proto::RetryInfo info;
  const timespec parts = absl::ToTimespec(wait);
  info.mutable_retry_delay()->set_seconds(parts.tv_sec);
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(parts.tv_nsec));
  status.SetPayload(Av(kRetryInfoUrl), absl::Cord(info.SerializeAsString()));
  return status;
}

// None: the peer did not say.
inline std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  const auto payload = status.GetPayload(Av(kRetryInfoUrl));
  proto::RetryInfo info;
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload)) ||
      !info.has_retry_delay()) {
    return std::nullopt;
  }
  return absl::Seconds(info.retry_delay().seconds()) +
         absl::Nanoseconds(info.retry_delay().nanos());
}

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_RETRY_AFTER_H_
