#include "master/group/peers.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "rpc/call.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace millrace::master {
namespace {

// Masters come and go; beyond this many all channels are made anew.
constexpr size_t kChannelsMax = 32;

}  // namespace

std::string MasterName(raft::NodeId id) {
  return absl::StrCat(absl::Hex(id, absl::kZeroPad16));
}

void Peers::Join(const ClusterId& cluster,
                 std::function<GroupStatus()> status) {
  absl::MutexLock lock(&mu_);
  cluster_ = cluster;
  status_ = std::move(status);
}

void Peers::Leave() {
  absl::MutexLock lock(&mu_);
  cluster_ = ClusterId();
  status_ = nullptr;
}

Peers::GroupStatus Peers::status() const {
  absl::MutexLock lock(&mu_);
  return status_ == nullptr ? GroupStatus() : status_();
}

ClusterId Peers::cluster() const {
  absl::MutexLock lock(&mu_);
  return cluster_;
}

bool Peers::joined() const {
  absl::MutexLock lock(&mu_);
  return status_ != nullptr;
}

std::vector<Peer> Peers::Others() const {
  const GroupStatus group = status();
  std::vector<Peer> others;
  for (const auto& [id, member] : group.membership) {
    if (id == group.self || member.address.empty()) continue;
    others.push_back({id, member.address, member.voter});
  }
  return others;
}

std::optional<Peer> Peers::Find(raft::NodeId id) const {
  for (Peer& peer : Others()) {
    if (peer.id == id) return std::move(peer);
  }
  return std::nullopt;
}

std::vector<std::string> Peers::Addresses() const {
  std::vector<std::string> addresses;
  for (const auto& [id, member] : status().membership) {
    if (!member.address.empty()) addresses.push_back(member.address);
  }
  return addresses;
}

proto::MasterCall Peers::CallTo(raft::NodeId to) const {
  proto::MasterCall call;
  call.set_cluster_id(std::string(cluster().bytes()));
  call.set_from(status().self);
  call.set_to(to);
  return call;
}

absl::Status Peers::CheckCall(const proto::MasterCall& call) const {
  const raft::NodeId self = status().self;
  if (self == raft::kNobody) {
    return absl::FailedPreconditionError("not a member of a group");
  }
  if (call.cluster_id() != cluster().bytes() || call.to() != self) {
    return absl::FailedPreconditionError(
        Av(Cat("the call is for another master; this is ", MasterName(self),
               " of cluster ", cluster().ToShort())));
  }
  return absl::OkStatus();
}

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
