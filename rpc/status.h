// absl::Status and grpc::Status say the same thing with the same codes. This is
// the only place that turns one into the other.
#ifndef MILLRACE_RPC_STATUS_H_
#define MILLRACE_RPC_STATUS_H_

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

// Whether the outcome is unknown or the peer was not reached: kUnavailable and
// kDeadlineExceeded. Requests are idempotent, so these are tried again.
bool IsRetryable(const absl::Status& status);

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_STATUS_H_
