// One process of a member, without threads: the production log, snapshots and
// node logic with a server on top. It carries out the effects of NodeCore as
// raft/node/node.cc and raft/node/workers.cc do, one event after the other.
#ifndef MILLRACE_TESTS_SIM_RAFT_MEMBER_H_
#define MILLRACE_TESTS_SIM_RAFT_MEMBER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/log/testing/sim_disk.h"
#include "raft/node/log_writer.h"
#include "raft/node/node_core.h"
#include "raft/node/node_storage.h"
#include "raft/node/proposal_gate.h"
#include "tests/sim/raft/host.h"
#include "tests/sim/raft/invariants.h"
#include "tests/sim/raft/options.h"
#include "tests/sim/raft/server.h"
#include "tests/sim/raft/snapshot_traffic.h"
#include "tests/sim/raft/subject.h"

namespace millrace::raftsim {

struct MemberOptions {
  const Scenario* scenario = nullptr;  // Outlives the member.
  Mutant mutant;
  ClusterId cluster;
  bool join = false;  // Of a new disk: else it founds the group.
};

// Thread-compatible.
class Member final : private ServerLog {
 public:
  // Recovers what is on `disk`. All references outlive the member. `sim_disk`
  // is the one below `disk`, for the checkers; `random` gives the ids of a new
  // disk.
  static absl::StatusOr<std::unique_ptr<Member>> Start(
      const MemberOptions& options, std::unique_ptr<Subject> subject,
      raft::Disk& disk, const raft::SimDisk& sim_disk, Random& random,
      Host& host, Invariants& invariants);
  ~Member() override;

  raft::NodeId id() const { return id_; }

  // ------------------------------------------------------------------- events

  void Tick();
  void OnMessage(raft::Message message);
  void OnUnreachable(raft::NodeId node);
  void OnPiece(const SnapshotPiece& piece) { traffic_->OnPiece(piece); }
  void Ask(const Request& request, Server::ReplyTo reply) {
    server_->Ask(request, std::move(reply));
  }
  void ChangeMembership(const raft::MembershipChange& change,
                        std::function<void(absl::Status)> done);
  absl::Status TransferLeadership(raft::NodeId to);

  // ------------------------------------------------------------------ looking

  // False: more events come before the node carries anything out, and between
  // them there is nothing to see.
  bool settled() const { return !pumping_; }
  MemberView view() const;
  bool serves() const { return server_->leading(); }
  raft::ReplicatedLog::GroupStatus status() const { return core_->status(); }

 private:
  Member(const MemberOptions& options, Host& host, Invariants& invariants);

  absl::Status Propose(uint64_t term,
                       std::vector<std::string> payloads) override;
  void ConfirmLeading(uint64_t term,
                      std::function<void(absl::Status)> done) override;

  // -------------------------------------------------------- the node's thread
  // Before an event: what was reported and could wait until now.
  void Feed();
  // After it. The process ends with what is not OK.
  void After(const absl::Status& status);
  void Pump();
  void CarryOut(raft::NodeEffects effects);
  void SendAll(std::vector<raft::Message> messages);

  // --------------------------------------------------------- the log's thread
  void ScheduleFlush();
  void Flush(absl::Duration rest);
  void Durable(raft::LogWriter::Done done);
  void DropSegments();
  void PrepareSpare();

  // ------------------------------------- the threads for the sink, snapshots
  void ScheduleDelivery();
  void DeliverNext();
  void WriteSnapshot(const raft::NodeEffects::WriteSnapshot& what);

  const MemberOptions options_;
  Host& host_;
  Invariants& invariants_;
  raft::NodeId id_ = raft::kNobody;

  raft::NodeStorage storage_;
  std::unique_ptr<raft::ProposalGate> gate_;
  std::unique_ptr<raft::LogWriter> writer_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<raft::NodeCore> core_;
  std::unique_ptr<SnapshotTraffic> traffic_;

  bool pumping_ = false;  // It will, soon.
  std::optional<uint64_t> delivered_;

  std::deque<raft::LogWrite> writes_;  // Not given to writer_ yet.
  bool flushing_ = false;              // The log's thread is busy, or will be.
  bool blocked_ = false;               // The disk is full.
  bool nearly_full_ = false;
  std::optional<uint64_t> drop_through_;

  bool delivering_ = false;
  std::deque<raft::Delivery> deliveries_;
  raft::FrozenState frozen_;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_MEMBER_H_
