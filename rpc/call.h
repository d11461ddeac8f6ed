// Calls with a deadline and, where the outcome is unknown, another try.
//
//   proto::PutBlobReply reply;
//   absl::Status status = caller.Call(
//       "find blobs", {}, [&](grpc::ClientContext& context) {
//         return stub->Find(&context, request, &reply);
//       });
//
// Every call of the tree is safe to repeat (see the .proto files), which is
// what makes this the one rule for all of them: kUnavailable and
// kDeadlineExceeded are tried again, nothing else is.
#ifndef MILLRACE_RPC_CALL_H_
#define MILLRACE_RPC_CALL_H_

#include <functional>
#include <memory>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/random.h"
#include "rpc/backoff.h"
#include "rpc/stop_signal.h"

namespace grpc {
class ClientContext;
class Status;
}  // namespace grpc

namespace millrace::rpc {

struct CallOptions {
  // Of one try. Infinite for a stream that may stay open; whoever reads such a
  // stream watches over it himself.
  absl::Duration attempt_timeout = absl::Seconds(5);
  // Of all tries and the waits between them. Zero: one try.
  absl::Duration total_timeout = absl::Seconds(30);
  BackoffOptions backoff;
};

// Sets the deadline of a call that is made without Caller. An infinite timeout
// sets none.
void SetTimeout(grpc::ClientContext& context, absl::Duration timeout);

// Thread-safe.
class Caller {
 public:
  // Clock and signal are borrowed.
  Caller(Clock& clock, std::unique_ptr<Random> random, StopSignal& stop);

  using Once = std::function<grpc::Status(grpc::ClientContext&)>;

  // Blocks. Runs `once` with a fresh context, again and again while it ends
  // retryably (IsRetryable) and time is left. The status has `what` in front.
  // kCancelled: the signal came.
  absl::Status Call(std::string_view what, const CallOptions& options,
                    const Once& once);

 private:
  friend class LeaderChannel;

  // One try, cancelled when the signal comes.
  absl::Status Try(absl::Duration timeout, const Once& once);

  Clock& clock_;
  StopSignal& stop_;
  absl::Mutex mu_;
  const std::unique_ptr<Random> random_ ABSL_PT_GUARDED_BY(mu_);
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_CALL_H_
