#include "rpc/leader_channel.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "rpc/not_leader.h"
#include "rpc/status.h"

namespace millrace::rpc {
namespace {

// Masters come and go with membership changes; beyond this many the channels
// that hints have led to are forgotten.
constexpr size_t kChannelsMax = 16;

}  // namespace

LeaderChannel::LeaderChannel(const Credentials& credentials,
                             std::vector<std::string> masters, Clock& clock,
                             std::unique_ptr<Random> random, StopSignal& stop)
    : clock_(clock),
      stop_(stop),
      caller_(clock, Random::Seeded(random->Next64()), stop),
      finder_(std::move(masters), BackoffOptions(), std::move(random)),
      channels_(credentials, clock, kChannelsMax) {}

void LeaderChannel::Attempt::Progress() { progress_(); }

absl::Status LeaderChannel::Call(std::string_view what,
                                 const CallOptions& options, const Once& once) {
  const bool one_round = options.total_timeout <= absl::ZeroDuration();
  absl::Duration deadline = clock_.Monotonic() + options.total_timeout;
  for (;;) {
    const std::string address = finder_.Current();
    absl::StatusOr<std::shared_ptr<grpc::Channel>> channel =
        channels_.To(address);
    absl::Status status = channel.status();
    std::string hint;
    if (channel.ok()) {
      absl::Duration timeout = options.attempt_timeout;
      if (!one_round && timeout != absl::InfiniteDuration()) {
        timeout = std::min(timeout, deadline - clock_.Monotonic());
      }
      status = caller_.Try(timeout, [&](grpc::ClientContext& context) {
        Attempt attempt(context, *channel, address, [&] {
          deadline = clock_.Monotonic() + options.total_timeout;
          finder_.Leads(address);
        });
        return once(attempt);
      });
      const std::optional<NotLeader> not_leader = AsNotLeader(status);
      if (not_leader.has_value()) {
        finder_.Learn(not_leader->masters);
        hint = not_leader->leader_address;
      } else if (!IsRetryable(status)) {
        // Whatever it says, it says it as the leader.
        if (!absl::IsCancelled(status)) finder_.Leads(address);
        return Annotate(status, what);
      }
    } else if (finder_.IsInitial(address)) {
      return Annotate(status, what);  // What others say may be wrong.
    }
    const absl::Duration wait = finder_.Failed(address, hint);
    const bool out_of_time = one_round ? wait > absl::ZeroDuration()
                                       : clock_.Monotonic() + wait >= deadline;
    if (out_of_time) {
      return absl::UnavailableError(
          Av(Cat(what, ": no leading master at ",
                 absl::StrJoin(finder_.masters(), ", "), "; the last tried, ",
                 address, ", says: ", ToStd(status.message()))));
    }
    if (stop_.WaitFor(wait)) {
      return Annotate(absl::CancelledError("stopped"), what);
    }
  }
}

absl::Status LeaderChannel::CallOne(std::string_view what,
                                    const std::string& address,
                                    const CallOptions& options,
                                    const Once& once) {
  MR_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                      channels_.To(address));
  return caller_.Call(what, options, [&](grpc::ClientContext& context) {
    Attempt attempt(context, channel, address, [] {});
    return once(attempt);
  });
}

}  // namespace millrace::rpc
