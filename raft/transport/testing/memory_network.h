// A network in memory for tests: members call each other, through faults that
// the test makes.
#ifndef MILLRACE_RAFT_TRANSPORT_TESTING_MEMORY_NETWORK_H_
#define MILLRACE_RAFT_TRANSPORT_TESTING_MEMORY_NETWORK_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "raft/transport/receiver_door.h"
#include "raft/transport/transport.h"

namespace millrace::raft {

// Thread-safe. Outlives its transports.
class MemoryNetwork {
 public:
  MemoryNetwork();
  ~MemoryNetwork();

  std::unique_ptr<Transport> NewTransport();

  // One way. What is sent there is lost, and the sender hears of it.
  void Cut(NodeId from, NodeId to);
  // From and to everybody.
  void Isolate(NodeId node);
  void HealAll();

  // Decides what is lost, message by message, under the lock; null: nothing.
  // What it loses nobody hears of.
  using Lose = std::function<bool(const Message&)>;
  void SetLose(Lose lose);

  // The next transfer of a snapshot breaks off after so many chunks.
  void BreakNextTransfer(uint64_t after_chunks);
  // Chunks that arrived, and messages.
  uint64_t chunks() const;
  uint64_t messages() const;

 private:
  // Where a member is; shared with the calls in it.
  using EndpointPtr = std::shared_ptr<ReceiverDoor>;
  struct Transfer {
    EndpointPtr from;
    Message message;
    std::unique_ptr<OutgoingSnapshot> bytes;
  };

  void Send(const EndpointPtr& from, Message message);
  // Null: lost; `*heard`: the sender hears of it.
  EndpointPtr Reach(const Message& message, bool* heard);
  void TransferLoop();
  absl::Status CarryOut(Transfer& transfer);

  mutable absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::map<NodeId, EndpointPtr> endpoints_ ABSL_GUARDED_BY(mu_);
  std::set<std::pair<NodeId, NodeId>> cut_ ABSL_GUARDED_BY(mu_);
  std::set<NodeId> isolated_ ABSL_GUARDED_BY(mu_);
  Lose lose_ ABSL_GUARDED_BY(mu_);
  uint64_t break_after_ ABSL_GUARDED_BY(mu_) = UINT64_MAX;
  uint64_t chunks_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t messages_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Transfer> transfers_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_TRANSPORT_TESTING_MEMORY_NETWORK_H_
