// Sends snapshots to other members, one at a time, each over a connection of
// its own, no faster than it may, and goes on where a try broke off.
#ifndef MILLRACE_RAFT_TRANSPORT_SNAPSHOT_SENDER_H_
#define MILLRACE_RAFT_TRANSPORT_SNAPSHOT_SENDER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/random.h"
#include "raft/transport/grpc_transport.h"
#include "raft/transport/receiver_door.h"
#include "rpc/credentials.h"
#include "rpc/stop_signal.h"

namespace grpc {
class ClientContext;
}  // namespace grpc

namespace millrace::raft {

// Thread-safe.
class SnapshotSender {
 public:
  // Where a member is; empty: it is no longer to be reached.
  using AddressOf = std::function<std::string(NodeId)>;

  // References outlive the sender.
  SnapshotSender(const rpc::Credentials& credentials, Clock& clock,
                 std::unique_ptr<Random> random,
                 const GrpcTransportOptions& options, ReceiverDoor& door,
                 AddressOf address_of,
                 std::function<std::string()> own_address);
  ~SnapshotSender();

  // A second one to the same member takes the place of the first if that has
  // not begun.
  void Send(Message message, std::unique_ptr<OutgoingSnapshot> bytes);
  // Breaks off a transfer that does not move. To be called now and then.
  void CheckSilence();
  // Ends what is under way; its outcome is not reported.
  void Stop();

 private:
  struct Job {
    Message message;
    std::unique_ptr<OutgoingSnapshot> bytes;
  };

  void Loop();
  absl::Status Transfer(Job& job);
  // One try. Adds the chunks that were taken to `*taken`.
  absl::Status TryOnce(Job& job, const std::string& address, uint64_t* taken);
  void Moved() ABSL_LOCKS_EXCLUDED(mu_);
  // False: it is time to stop.
  bool Begin(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mu_);

  const rpc::Credentials& credentials_;
  Clock& clock_;
  const std::unique_ptr<Random> random_;
  const GrpcTransportOptions options_;
  ReceiverDoor& door_;
  const AddressOf address_of_;
  const std::function<std::string()> own_address_;
  rpc::StopSignal stop_;

  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mu_);  // At most one for each member.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
  absl::Duration moved_ ABSL_GUARDED_BY(mu_);
  bool silent_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_SNAPSHOT_SENDER_H_
