#include "master/group/group_view.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/strings.h"

namespace millrace::master {

std::string MasterName(raft::NodeId id) {
  return absl::StrCat(absl::Hex(id, absl::kZeroPad16));
}

void GroupView::Join(const ClusterId& cluster,
                     std::function<GroupStatus()> status) {
  absl::MutexLock lock(&mu_);
  cluster_ = cluster;
  status_ = std::move(status);
}

void GroupView::Leave() {
  absl::MutexLock lock(&mu_);
  cluster_ = ClusterId();
  status_ = nullptr;
}

GroupView::GroupStatus GroupView::status() const {
  absl::MutexLock lock(&mu_);
  return status_ == nullptr ? GroupStatus() : status_();
}

ClusterId GroupView::cluster() const {
  absl::MutexLock lock(&mu_);
  return cluster_;
}

std::vector<Peer> GroupView::Others() const {
  const GroupStatus group = status();
  std::vector<Peer> others;
  for (const auto& [id, member] : group.membership) {
    if (id == group.self || member.address.empty()) continue;
    others.push_back({id, member.address, member.voter});
  }
  return others;
}

std::optional<Peer> GroupView::Find(raft::NodeId id) const {
  for (Peer& peer : Others()) {
    if (peer.id == id) return std::move(peer);
  }
  return std::nullopt;
}

std::vector<std::string> GroupView::Addresses() const {
  std::vector<std::string> addresses;
  for (const auto& [id, member] : status().membership) {
    if (!member.address.empty()) addresses.push_back(member.address);
  }
  return addresses;
}

proto::MasterCall GroupView::CallTo(raft::NodeId to) const {
  proto::MasterCall call;
  call.set_cluster_id(std::string(cluster().bytes()));
  call.set_from(status().self);
  call.set_to(to);
  return call;
}

absl::Status GroupView::CheckCall(const proto::MasterCall& call) const {
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

}  // namespace millrace::master
