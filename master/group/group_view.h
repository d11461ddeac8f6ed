// Who the masters of the group are, as the log's membership says now. Without
// gRPC; group/peers.h has the calls to them.
#ifndef MILLRACE_MASTER_GROUP_GROUP_VIEW_H_
#define MILLRACE_MASTER_GROUP_GROUP_VIEW_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/ids.h"
#include "proto/messages/master.pb.h"
#include "raft/replicated_log.h"

namespace millrace::master {

struct Peer {
  raft::NodeId id = raft::kNobody;
  std::string address;
  bool voter = false;
};

// "16 hexadecimal digits", as people see it.
std::string MasterName(raft::NodeId id);

// Thread-safe.
class GroupView {
 public:
  using GroupStatus = raft::ReplicatedLog::GroupStatus;

  // From here on this master is `self` of `cluster`. `status` is that of its
  // log; called until Leave.
  void Join(const ClusterId& cluster, std::function<GroupStatus()> status)
      ABSL_LOCKS_EXCLUDED(mu_);
  // It belongs to nobody: no others, and no call to it is for it.
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);

  // Without one: kNobody and no members.
  GroupStatus status() const ABSL_LOCKS_EXCLUDED(mu_);
  ClusterId cluster() const ABSL_LOCKS_EXCLUDED(mu_);
  // With an address, voters and learners; not this one.
  std::vector<Peer> Others() const;
  std::optional<Peer> Find(raft::NodeId id) const;
  // Addresses of all members.
  std::vector<std::string> Addresses() const;

  // What a request to `to` begins with.
  proto::MasterCall CallTo(raft::NodeId to) const;
  // kFailedPrecondition: the request is not for this master.
  absl::Status CheckCall(const proto::MasterCall& call) const;

 private:
  mutable absl::Mutex mu_;
  ClusterId cluster_ ABSL_GUARDED_BY(mu_);
  std::function<GroupStatus()> status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_GROUP_VIEW_H_
