#include "rpc/channel_cache.h"

#include <utility>

#include "common/status_macros.h"
#include "rpc/channel.h"

namespace millrace::rpc {

absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelCache::To(
    const std::string& address) {
  const absl::Duration now = clock_.Monotonic();
  const absl::MutexLock lock(&mu_);
  if (const auto found = kept_.find(address); found != kept_.end()) {
    found->second.asked_for = now;
    return found->second.channel;
  }
  MR_ASSIGN_OR_RETURN(auto channel, Dial(credentials_, address));
  const bool full = kept_.size() >= most_;
  std::erase_if(kept_, [&](const auto& entry) {
    const Kept& kept = entry.second;
    return kept.channel.use_count() == 1 &&
           (full || now - kept.asked_for > kIdleMax);
  });
  kept_.emplace(address, Kept{channel, now});
  return channel;
}

size_t ChannelCache::size() const {
  const absl::MutexLock lock(&mu_);
  return kept_.size();
}

}  // namespace millrace::rpc
