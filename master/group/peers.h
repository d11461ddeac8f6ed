// The other masters of the group, as the log's membership says now, and the
// calls to them.
#ifndef MILLRACE_MASTER_GROUP_PEERS_H_
#define MILLRACE_MASTER_GROUP_PEERS_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "proto/messages/master.pb.h"
#include "raft/replicated_log.h"
#include "rpc/credentials.h"

namespace grpc {
class Channel;
class ClientContext;
class Status;
}  // namespace grpc

namespace millrace::master {

struct Peer {
  raft::NodeId id = raft::kNobody;
  std::string address;
  bool voter = false;
};

// "16 hexadecimal digits", as people see it.
std::string MasterName(raft::NodeId id);

// Thread-safe.
class Peers {
 public:
  using GroupStatus = raft::ReplicatedLog::GroupStatus;

  // Credentials outlive this.
  explicit Peers(const rpc::Credentials& credentials)
      : credentials_(credentials) {}

  // From here on this master is `self` of `cluster`. `status` is that of its
  // log; called until Leave.
  void Join(const ClusterId& cluster, std::function<GroupStatus()> status);
  // It belongs to nobody: no others, and no call to it is for it.
  void Leave();

  // Without one: kNobody and no members.
  GroupStatus status() const;
  ClusterId cluster() const;
  bool joined() const;
  // With an address, voters and learners; not this one.
  std::vector<Peer> Others() const;
  std::optional<Peer> Find(raft::NodeId id) const;
  // Addresses of all members.
  std::vector<std::string> Addresses() const;

  // What a request to `to` begins with.
  proto::MasterCall CallTo(raft::NodeId to) const;
  // kFailedPrecondition: the request is not for this master.
  absl::Status CheckCall(const proto::MasterCall& call) const;

  // One for each address, kept.
  absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelTo(
      const std::string& address) ABSL_LOCKS_EXCLUDED(mu_);

  // One unary call, waited for. For calls that need no channel of their own.
  using Once = std::function<grpc::Status(
      grpc::ClientContext& context, const std::shared_ptr<grpc::Channel>&)>;
  absl::Status Call(const std::string& address, absl::Duration timeout,
                    const Once& once) ABSL_LOCKS_EXCLUDED(mu_);
  // Calls under way and later ones end soon, with kCancelled.
  void CancelCalls() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const rpc::Credentials& credentials_;

  mutable absl::Mutex mu_;
  ClusterId cluster_ ABSL_GUARDED_BY(mu_);
  std::function<GroupStatus()> status_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_
      ABSL_GUARDED_BY(mu_);
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_PEERS_H_
