#include "rpc/call.h"

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "rpc/status.h"

namespace millrace::rpc {

void SetTimeout(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return;
  // Up, so that a wait of less than a millisecond is not one of none.
  const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(
      std::max(timeout, absl::ZeroDuration()), absl::Milliseconds(1)));
  context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                    gpr_time_from_millis(ms, GPR_TIMESPAN)));
}

Caller::Caller(Clock& clock, std::unique_ptr<Random> random, StopSignal& stop)
    : clock_(clock), stop_(stop), random_(std::move(random)) {}

absl::Status Caller::Try(absl::Duration timeout, const Once& once) {
  if (stop_.stopped()) return absl::CancelledError("stopped");
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  const StopSignal::Guard guard(stop_, [&context] { context.TryCancel(); });
  absl::Status status = FromGrpc(once(context));
  if (!status.ok() && stop_.stopped()) return absl::CancelledError("stopped");
  return status;
}

absl::Status Caller::Call(std::string_view what, const CallOptions& options,
                          const Once& once) {
  uint64_t seed;
  {
    const absl::MutexLock lock(&mu_);
    seed = random_->Next64();
  }
  const std::unique_ptr<Random> random = Random::Seeded(seed);
  Backoff backoff(options.backoff, *random);
  const absl::Duration deadline = clock_.Monotonic() + options.total_timeout;
  for (int tries = 1;; ++tries) {
    absl::Duration timeout = options.attempt_timeout;
    if (options.total_timeout > absl::ZeroDuration() &&
        timeout != absl::InfiniteDuration()) {
      timeout = std::min(timeout, deadline - clock_.Monotonic());
    }
    const absl::Status status = Try(timeout, once);
    if (status.ok()) return status;
    if (!IsRetryable(status)) return Annotate(status, what);
    const absl::Duration wait = backoff.Next();
    if (clock_.Monotonic() + wait >= deadline) {
      if (tries == 1) return Annotate(status, what);
      return Annotate(status, Cat(what, ": tried ", tries, " times"));
    }
    if (stop_.WaitFor(wait)) {
      return Annotate(absl::CancelledError("stopped"), what);
    }
  }
}

}  // namespace millrace::rpc
