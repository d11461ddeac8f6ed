// A group of members in one process, each with a simulated disk of its own.
#ifndef MILLRACE_RAFT_NODE_TESTING_NODE_GROUP_H_
#define MILLRACE_RAFT_NODE_TESTING_NODE_GROUP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "raft/log/testing/sim_disk.h"
#include "raft/node/node.h"
#include "raft/node/testing/list_sink.h"
#include "raft/transport/transport.h"

namespace millrace::raft {

// What stands between the members; outlives the group.
class TestWire {
 public:
  virtual ~TestWire() = default;
  // Of member `number`, at each of its starts.
  virtual std::unique_ptr<Transport> NewTransport(int number) = 0;
  // Where that is reached.
  virtual std::string AddressOf(int number) = 0;
  // The node is there; where it is reached from now on is for it to say.
  virtual void Started(int number, Node& node) = 0;
  // Before the node goes.
  virtual void Stopping(int number) = 0;
};

// The operations are for one thread. Members are numbered 0, 1, 2, ...; 0
// founds the group.
class NodeGroup {
 public:
  // `options`: everything but directory, cluster and join.
  NodeGroup(TestWire& wire, NodeOptions options);
  ~NodeGroup();

  // Starts members until there are `count`, and makes all of them voters.
  void Grow(int count);
  // Starts a new member, which belongs to the cluster but not to the group.
  // Returns its number.
  int StartNew();
  void AddLearner(int number);
  // Waits until the member has what its leader had at the call.
  void Promote(int number);
  absl::Status Change(MembershipChange::Kind kind, int number);
  absl::Status ChangeId(MembershipChange::Kind kind, NodeId node,
                        const std::string& address);

  void Stop(int number);
  // As after a power cut that lost all that was not synced.
  void Crash(int number);
  void Restart(int number);
  // Restart with nothing on the disk: a new member.
  void Wipe(int number);

  Node& node(int number) { return *members_.at(number)->node; }
  ListSink& sink(int number) { return *members_.at(number)->sink; }
  SimDisk& disk(int number) { return *members_.at(number)->disk; }
  NodeId id(int number) const { return members_.at(number)->id; }
  bool running(int number) const {
    return members_.at(number)->node != nullptr;
  }
  int size() const { return static_cast<int>(members_.size()); }
  // Of errors that would have ended the process of a member.
  int fatal_errors(int number) const { return members_.at(number)->fatal; }

  // The member that leads the highest term and whose leadership is confirmed
  // now; waits for one. `except`: not that one.
  int WaitForLeader(int except = -1);
  // Proposes through whoever leads, again and again until it is certain that it
  // is committed; it may be committed more than once.
  void Commit(const std::string& payload, int except = -1);
  // Until all that run have the same payloads, `last` the last of them.
  void WaitForAll(const std::string& last);
  absl::Status Confirm(int number, uint64_t term);

 private:
  struct Member {
    std::unique_ptr<SimDisk> disk = std::make_unique<SimDisk>();
    std::unique_ptr<ListSink> sink;
    std::unique_ptr<Transport> transport;
    std::unique_ptr<Node> node;
    NodeId id = kNobody;
    uint64_t starts = 0;
    std::atomic<int> fatal = 0;
    std::atomic<bool> power_cut = false;  // Then they are no failure.
  };

  void Open(int number);

  TestWire& wire_;
  const NodeOptions options_;
  std::optional<ClusterId> cluster_;
  std::map<int, std::unique_ptr<Member>> members_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_TESTING_NODE_GROUP_H_
