// absl::Status and grpc::Status say the same thing with the same codes. This is
// the only place that turns one into the other.
#ifndef MILLRACE_RPC_STATUS_H_
#define MILLRACE_RPC_STATUS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace grpc {
class Status;
}  // namespace grpc

namespace millrace::rpc {

// Payloads of an absl::Status travel as details (google.rpc.Status, so that
// other tools can read them). Texts above kStatusTextBytesMax are cut, payloads
// above it dropped.
grpc::Status ToGrpc(const absl::Status& status);

// A code that is none becomes kUnknown. A message that was longer than
// kMessageBytesMax is kInvalidArgument, whichever end noticed: it would be too
// long the next time, too.
absl::Status FromGrpc(const grpc::Status& status);

struct NotLeader {
  std::string leader_address;  // Empty: not known.
  uint64_t term = 0;
  // All masters of the group; empty: not known.
  std::vector<std::string> masters = {};
};

// kFailedPrecondition with the detail that LeaderChannel follows: what a master
// answers that does not lead. `why`: in place of the usual text.
absl::Status NotLeaderError(const NotLeader& not_leader,
                            std::string_view why = "");
// Null: the status is something else.
std::optional<NotLeader> AsNotLeader(const absl::Status& status);

// Whether the outcome is unknown or the peer was not reached: kUnavailable and
// kDeadlineExceeded. Requests are idempotent, so these are tried again.
bool IsRetryable(const absl::Status& status);

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_STATUS_H_
