#include "master/group/peers.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <utility>

#include "common/status_macros.h"
#include "rpc/call.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// Masters come and go; beyond this many all channels are made anew.
constexpr size_t kChannelsMax = 32;

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> Peers::ChannelTo(
    const std::string& address) {
  absl::MutexLock lock(&mu_);
  if (const auto found = channels_.find(address); found != channels_.end()) {
    return found->second;
  }
  MR_ASSIGN_OR_RETURN(auto channel, rpc::Dial(credentials_, address));
  if (channels_.size() >= kChannelsMax) channels_.clear();
  return channels_[address] = std::move(channel);
}

absl::Status Peers::Call(const std::string& address, absl::Duration timeout,
                         const Once& once) {
  MR_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel,
                      ChannelTo(address));
  grpc::ClientContext context;
  rpc::SetTimeout(context, timeout);
  {
    absl::MutexLock lock(&mu_);
    if (cancelled_) return absl::CancelledError("this master is stopping");
    calls_.insert(&context);
  }
  const absl::Status status = rpc::FromGrpc(once(context, channel));
  absl::MutexLock lock(&mu_);
  calls_.erase(&context);
  return status;
}

void Peers::CancelCalls() {
  absl::MutexLock lock(&mu_);
  cancelled_ = true;
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

}  // namespace millrace::master
