// Everything that a member decides beside what raft::Core does: which proposals
// wait, which reads are confirmed, which change of membership is under way,
// what is handed to the sink, when a snapshot is due and what it replaces.
//
// This is the seam between production and simulation. NodeCore has no threads,
// clock, files and sockets; a driver gives it events and carries out effects:
//
//   raft/node/node.cc     with threads, on a real disk
//   tests/sim/raft        in one thread, on simulated disk, network and clock
//
//   NodeEffects        how it is carried out               then
//   ------------------------------------------------------------------------
//   writes             LogWriter::Add in order; Flush,     Done::messages are
//                      whenever it suits. Those that       sent; OnLogDurable
//                      are not IsLazy want it soon
//   send               Transport::Send; a kSnapshot:       OnUnreachable,
//                      SendSnapshot with the bytes of      OnSnapshotSent
//                      the store's newest if that is
//                      the message's
//   deliveries         Deliver(), one after the other      OnDelivered
//   write_snapshot     the FrozenState that came with      OnSnapshotWritten
//                      the sink's answer goes to the
//                      store
//   forget_snapshot    that FrozenState is of no use
//   drop_through       LogWriter::Drop, behind the
//                      writes that were given earlier
//   peers              Transport::SetPeers
//
// Each list is carried out in order; the lists are independent of each other,
// and the driver may take as long as it likes. Nothing of it is durable but
// what LogWriter and the snapshot store make so: a crash at any point is
// recovered by OpenNodeStorage (raft/node/node_storage.h) and a new NodeCore.
//
// Any number of events may be given before TakeEffects, which is where work is
// done: all proposals that came meanwhile share one write.
#ifndef MILLRACE_RAFT_NODE_NODE_CORE_H_
#define MILLRACE_RAFT_NODE_NODE_CORE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/byte_stream.h"
#include "raft/core/core.h"
#include "raft/node/confirmations.h"
#include "raft/node/node_log.h"
#include "raft/node/proposal_gate.h"
#include "raft/node/snapshot_cycle.h"
#include "raft/replicated_log.h"

namespace millrace::raft {

struct NodeCoreOptions {
  // `applied` and `id` are filled in by Create.
  CoreConfig core;
  std::string address;  // See NodeOptions.
  SnapshotPolicy snapshots;
  // Payload in one call of Core::Propose: of one write, mostly.
  uint64_t group_bytes_max = uint64_t{8} << 20;
};

// One call of the sink, or of a callback.
struct Delivery {
  enum class Kind : uint8_t {
    kEntries,
    kSnapshot,
    kSnapshotWanted,
    kLeading,
    kFollowing,
    kAnswer,
  };
  Kind kind = Kind::kEntries;
  uint64_t id = 0;  // 1, 2, ...; for OnDelivered.
  uint64_t term = 0;
  std::vector<CommittedEntry> entries;
  uint64_t released = 0;  // For ProposalGate, of proposals of `term`.
  EntryId last;           // In the snapshot.
  std::unique_ptr<ByteSource> state;
  std::string leader_address;
  std::function<void(absl::Status)> answer;
  absl::Status status;
  // OnDelivered lets something go on; of others it may come late.
  bool urgent = false;
};

struct NodeEffects {
  std::vector<LogWrite> writes;
  std::vector<Message> send;
  std::vector<Delivery> deliveries;
  struct WriteSnapshot {
    EntryId last;
    std::string configuration;  // The membership, encoded.
  };
  std::optional<WriteSnapshot> write_snapshot;
  bool forget_snapshot = false;
  std::optional<uint64_t> drop_through;
  std::optional<std::map<NodeId, std::string>> peers;
};

// Whether nothing waits for the write: it may be put off until the next one,
// but not for longer than a tick or so.
bool IsLazy(const LogWrite& write);

// Carries out one delivery. `taken` is what the sink is to call when it was
// asked for a snapshot.
void Deliver(Delivery delivery, LogSink& sink, ProposalGate& gate,
             const LogSink::SnapshotTaken& taken);

// What a member knows when it starts.
struct NodeStart {
  NodeId self = kNobody;
  HardState hard_state;
  // At the snapshot, or that which the group began with.
  Membership membership;
  // Of the snapshot that the member starts with; null if there is none.
  std::unique_ptr<ByteSource> state;
  uint64_t older_snapshot = 0;  // Index of the one before; 0: none.
};

// Thread-compatible; one thread at a time has it. Events return OK, or what
// the process has to end with.
class NodeCore {
 public:
  using Answer = std::function<void(absl::Status)>;

  // Both references outlive the core.
  static absl::StatusOr<std::unique_ptr<NodeCore>> Create(
      const NodeCoreOptions& options, NodeStart start, NodeLog& log,
      ProposalGate& gate);

  absl::Status Tick();
  // Not a kSnapshot.
  absl::Status OnMessage(Message message);
  void OnUnreachable(NodeId node) { core_->ReportUnreachable(node); }

  // What ProposalGate admitted. Dropped if this member no longer leads `term`.
  void Propose(uint64_t term, std::vector<std::string> payloads);
  // These answer by a Delivery, as ReplicatedLog says.
  void ConfirmLeading(uint64_t term, Answer done);
  void ChangeMembership(const MembershipChange& change, Answer done);
  // Answers at once. kNobody: the voter that is furthest.
  absl::Status TransferLeadership(NodeId to);
  void SetAddress(std::string address) { address_ = std::move(address); }

  // ------------------------------------------------------- effects, reported

  // Every write up to `write_id` has been carried out, in order.
  absl::Status OnLogDurable(uint64_t write_id);
  // The log waits for space, or no longer does.
  void OnLogBlocked(bool blocked);
  // Proposals are refused before it comes to that, or no longer are.
  void OnNearlyFull(bool nearly_full);
  // All up to `delivery_id` were carried out.
  absl::Status OnDelivered(uint64_t delivery_id);
  // The sink has frozen its state, with entries up to `index` applied. Leads to
  // write_snapshot or forget_snapshot.
  void OnSnapshotTaken(uint64_t index) { snapshots_.Taken(index); }
  // Durable, its state of `bytes`. Without: an error, or a newer one is there.
  absl::Status OnSnapshotWritten(std::optional<uint64_t> bytes);
  // A leader's kSnapshot, whose bytes are in the store, durable, its newest.
  absl::Status OnSnapshotReceived(const Message& message,
                                  std::unique_ptr<ByteSource> state);
  void OnSnapshotSent(NodeId node, bool ok) { core_->SnapshotSent(node, ok); }

  absl::StatusOr<NodeEffects> TakeEffects();

  // ------------------------------------------------------------------ looking

  ReplicatedLog::GroupStatus status() const;
  // The same but for membership and progress, at no cost to speak of.
  const SoftState& soft_state() const { return soft_; }
  uint64_t leading() const { return leading_; }
  // Whether this member is the whole group: nobody else needs its attention.
  bool alone() const {
    return membership_.size() == 1 && membership_.contains(self_);
  }
  const Core& core() const { return *core_; }
  // Callbacks that have no answer yet, for the end.
  std::vector<Answer> TakeUnanswered();

 private:
  struct Proposal {
    uint64_t term = 0;
    std::vector<std::string> payloads;
  };
  struct PendingChange {  // Of membership, proposed here.
    uint64_t term = 0;
    Answer done;
  };
  // Applied here, and not known to be committed by enough others: if this
  // member were gone for good, and whoever was removed with it, they might need
  // a vote of those. An entry that follows takes the commit index along.
  struct SettlingChange {
    uint64_t followed_by = 0;  // Index of that entry; 0: to be proposed.
    Answer done;
  };
  struct UnappliedChange {  // Of membership, handed over.
    EntryId id;
    MembershipChange change;
  };
  struct Unreported {  // A delivery of entries.
    uint64_t id = 0;
    uint64_t through = 0;
    uint64_t bytes = 0;
  };
  struct Received {  // A snapshot, from a leader.
    SnapshotMeta meta;
    std::unique_ptr<ByteSource> state;
    uint64_t write_id = 0;  // Of the write that makes the log begin behind it.
  };

  NodeCore(const NodeCoreOptions& options, NodeStart start, NodeLog& log,
           ProposalGate& gate, std::unique_ptr<Core> core);

  absl::Status Pump();
  absl::Status Carry(Ready ready);
  void SendOrHold(Message message);
  void SendHeld();
  bool FollowsClosely(NodeId node) const;
  absl::Status HandOver(std::vector<LogEntry> entries);
  absl::Status ApplyThrough(uint64_t index);
  absl::Status Apply(const UnappliedChange& unapplied);
  bool LeavesTheOtherAlone(const MembershipChange& change) const;
  void FollowUpChanges();
  void SnapshotDurable(Received received);
  // A leader's snapshot is taking the place of the log, and it is not known
  // whether it has.
  bool Installing() const;
  void AdoptStoredSnapshots();
  void SwitchRole(const SoftState& soft);
  void Announce();
  // False: there was nothing to do.
  absl::StatusOr<bool> ProposeQueued();
  void ProposeOwnAddress();
  void HandOverLeadership();
  void TickFullDisk();
  void StandAlone();
  void DropLog();
  absl::Status TakeSnapshots();

  Delivery& Push(Delivery::Kind kind);
  void Reply(Answer done, absl::Status status);
  void Reply(Confirmations::Answers answers);
  bool AloneVoter() const;
  void SetPeers();

  const NodeCoreOptions options_;
  const NodeId self_;
  const uint64_t started_at_;  // The commit index known then.
  NodeLog& log_;
  ProposalGate& gate_;
  const std::unique_ptr<Core> core_;

  NodeEffects effects_;
  uint64_t last_delivery_ = 0;
  std::string address_;
  Membership membership_;  // As applied.
  SoftState soft_;
  uint64_t leading_ = 0;  // The term; 0: none, or not yet.
  uint64_t now_ = 0;      // In ticks.
  bool blocked_ = false;
  bool nearly_full_ = false;
  uint64_t hand_over_at_ = 0;    // While it is nearly full.
  uint64_t hand_over_wait_ = 0;  // In ticks.

  // While it leads, for each other member: the highest commit index in an
  // append to it, and the append that says so if it has not left yet.
  std::map<NodeId, uint64_t> told_commit_;
  std::map<NodeId, Message> held_;

  // Handed over to the sink, or on the way to it; what is reported is applied.
  uint64_t handed_over_;
  uint64_t applied_;
  std::deque<Unreported> unreported_;
  uint64_t unreported_bytes_ = 0;
  std::deque<UnappliedChange> unapplied_;

  std::deque<Proposal> proposals_;
  Confirmations confirmations_;
  std::map<uint64_t, PendingChange> changes_;  // By index.
  std::deque<SettlingChange> settling_;        // Oldest first.
  SnapshotCycle snapshots_;
  uint64_t dropped_through_ = 0;
  std::deque<Received> received_;  // Oldest first.

  // What the sink heard last of who leads.
  struct Announced {
    bool leading = false;
    uint64_t term = 0;
    std::string leader_address;
    friend bool operator==(const Announced&, const Announced&) = default;
  };
  std::optional<Announced> announced_;
  bool stood_alone_ = false;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_NODE_CORE_H_
