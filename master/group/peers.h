// The other masters of the group, and the calls to them.
#ifndef MILLRACE_MASTER_GROUP_PEERS_H_
#define MILLRACE_MASTER_GROUP_PEERS_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "master/group/group_view.h"
#include "rpc/credentials.h"

namespace grpc {
class Channel;
class ClientContext;
class Status;
}  // namespace grpc

namespace millrace::master {

// Thread-safe.
class Peers : public GroupView {
 public:
  // Credentials outlive this.
  explicit Peers(const rpc::Credentials& credentials)
      : credentials_(credentials) {}

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

  absl::Mutex mu_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_
      ABSL_GUARDED_BY(mu_);
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_GROUP_PEERS_H_
