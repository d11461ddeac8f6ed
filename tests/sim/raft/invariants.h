// What must be true after every event, whatever was done to the group. These
// checkers know nothing of faults: they see what members hold and say, and what
// stands on their disks.
//
//    1  election safety: at most one leader per term, over all time
//    2  a leader only appends to its log
//    3  log matching: equal (index, term), equal entries up to there
//    4  leader completeness: a leader holds all that was committed in earlier
//       terms; by what stands on the disks, nobody can be elected who does not
//    5  state machine safety: all members apply the same entry at each index
//    6  the commit index never falls, and is durable on a quorum by what stands
//       on the disks, as is what a leader takes a member to hold; applied <=
//       commit
//    7  term and vote of a member never go back, crashes included; one vote per
//       term and member
//    8  acknowledged writes survive, reads are linearizable (clients.h)
//    9  a snapshot is the state at its index; equal state at equal index
//   10  at most one change of membership is not applied, none before an entry
//       of the leader's term is committed; adjacent memberships differ in one
//       voter
//   11  nothing leaves a member that is not durable: terms, votes,
//       acknowledgements, and the log that a candidate boasts of
//   12  a member whose disk nobody damaged starts, with all that was durable
//
// 1-10 are those of Raft; 11 and 12 find a breach earlier, where it is made.
#ifndef MILLRACE_TESTS_SIM_RAFT_INVARIANTS_H_
#define MILLRACE_TESTS_SIM_RAFT_INVARIANTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/core/core.h"
#include "raft/core/message.h"
#include "raft/core/types.h"
#include "raft/log/log_store.h"
#include "raft/replicated_log.h"
#include "tests/sim/raft/durable_log.h"
#include "tests/sim/raft/entry_book.h"

namespace millrace::raftsim {

// How often the protocol got to its corners.
struct Reach {
  uint64_t leaders = 0;
  uint64_t cut_off = 0;     // Logs, at a truncation.
  uint64_t begun_anew = 0;  // Logs, behind a leader's snapshot.
  uint64_t snapshots = 0;   // Frozen states.
  uint64_t changes = 0;     // Of membership, committed.
  uint64_t segments = 0;    // Begun by a running process.

  Reach& operator+=(const Reach& other) {
    leaders += other.leaders;
    cut_off += other.cut_off;
    begun_anew += other.begun_anew;
    snapshots += other.snapshots;
    changes += other.changes;
    segments += other.segments;
    return *this;
  }
};

// A member as it sees itself, after an event.
struct MemberView {
  raft::HardState hard_state;
  raft::Role role = raft::Role::kFollower;
  uint64_t applied = 0;
  // Of a leader: the last entry that it takes a member to hold, in the order of
  // their ids.
  std::vector<std::pair<raft::NodeId, uint64_t>> match;
  raft::Membership membership;  // By which it counts votes.
  friend bool operator==(const MemberView&, const MemberView&) = default;
};

// Thread-compatible. Every call keeps the first violation; see violation().
class Invariants {
 public:
  // `durability_rule`: number 11 is checked; off, to see what the others find
  // without it.
  // `empty_state`: hash of a state machine that nothing was applied to.
  Invariants(bool durability_rule, uint64_t empty_state)
      : durability_rule_(durability_rule), empty_state_(empty_state) {}

  // "": none so far. Else number and what happened.
  const std::string& violation() const { return violation_; }
  void Violate(int number, const std::string& what);

  // ---------------------------------------------------------- life of a member

  // A process started on `disk`, recovered `log` and begins with `applied`.
  // `membership`: what it takes for the group at that index.
  void Started(raft::NodeId id, const raft::SimDisk& disk,
               const std::string& directory, const raft::LogStore& log,
               uint64_t applied, const raft::Membership& membership);
  void Stopped(raft::NodeId id);
  // Its disk is gone for good.
  void Lost(raft::NodeId id);

  // -------------------------------------------------------------- every event

  // The core handed out a write; `now` is how the member sees itself since.
  void OnWrite(raft::NodeId id, const raft::LogWrite& write,
               const MemberView& now);
  void OnSend(raft::NodeId id, const raft::Message& message);
  void AfterEvent(raft::NodeId id, const MemberView& view);

  // ------------------------------------------------------------- the state

  // `entry` was given to the member's state machine, whose hash became `hash`.
  void OnApplied(raft::NodeId id, const raft::CommittedEntry& entry,
                 uint64_t hash);
  // The state machine, with hash `hash`, is a snapshot up to `index`: taken or
  // loaded.
  void OnSnapshot(raft::NodeId id, uint64_t index, uint64_t hash);

  // --------------------------------------------------------- for others to ask

  uint64_t commit_index() const { return committed_.size(); }
  const Reach& reach() const { return reach_; }
  // After the last committed change.
  const raft::Membership& membership() const {
    return memberships_.rbegin()->second;
  }
  // Whether a change stands in any member's log that is not committed.
  bool ChangeUnderWay() const;
  // Whether `id` would start with the newest membership: it is committed by
  // what stands on its disk.
  bool KnowsMembership(raft::NodeId id);
  // Whether the members' logs are equal up to the same end, which is committed
  // and applied.
  bool Converged(const std::set<raft::NodeId>& members) const;

 private:
  struct Entry {
    uint64_t term = 0;
    uint64_t chain = 0;
    std::optional<raft::MembershipChange> change;
  };
  struct Member {
    bool alive = false;
    MemberView view;
    // Its log as it was handed out for writing, from base on.
    uint64_t base = 0;
    uint64_t base_term = 0;
    uint64_t base_chain = 0;
    std::vector<Entry> entries;
    // The lowest place where it was cut off by writes that may not be durable
    // yet.
    uint64_t cut_from = UINT64_MAX;
    std::map<uint64_t, raft::NodeId> votes;  // Seen to leave, by term.
    std::unique_ptr<DurableLog> disk;
    uint64_t segments = 0;  // On it when the process started.
    // For good. Until then it counted: a group can do without a minority of its
    // disks, whatever was committed with their help.
    bool lost = false;

    uint64_t last_index() const { return base + entries.size(); }
    const Entry* Find(uint64_t index) const {
      if (index <= base || index > last_index()) return nullptr;
      return &entries[index - base - 1];
    }
    std::optional<uint64_t> ChainOf(uint64_t index) const;
    std::optional<uint64_t> TermOf(uint64_t index) const;
  };
  struct Committed {
    uint64_t term = 0;         // Of the entry.
    uint64_t commit_term = 0;  // In which it was first known to be committed.
    uint64_t chain = 0;
  };

  std::string Name(raft::NodeId id) const;
  void Append(raft::NodeId id, Member& member, const raft::LogEntry& entry);
  void CheckChange(raft::NodeId id, const Member& member,
                   const MemberView& now);
  void CheckLeader(raft::NodeId id, const Member& member);
  void CheckMembership(raft::NodeId id, const MemberView& view);
  void CheckCommit(raft::NodeId id, Member& member, const MemberView& before);
  std::string DescribeDisks(const raft::Membership& group);
  void CheckMatch(raft::NodeId id, const Member& member,
                  const MemberView& before);
  // Of those who lack the entry, one whom the others' disks would elect;
  // kNobody: there is none.
  raft::NodeId ElectableWithout(uint64_t index, uint64_t term,
                                const raft::Membership& group);
  void Commit(raft::NodeId id, const Member& member, uint64_t commit);
  bool DurableOnQuorum(uint64_t index, uint64_t term,
                       const raft::Membership& group);
  // The group as a member that has applied `index` knows it.
  const raft::Membership& MembershipAt(uint64_t index) const {
    return std::prev(memberships_.upper_bound(index))->second;
  }
  DurableLog* DiskOf(raft::NodeId id);

  const bool durability_rule_;
  const uint64_t empty_state_;
  std::string violation_;

  Reach reach_;
  EntryBook book_;
  std::map<raft::NodeId, Member> members_;
  std::map<uint64_t, raft::NodeId> leaders_;  // By term.
  std::vector<Committed> committed_;          // Entry i at i - 1.
  // By the index of the change; 0: nobody.
  std::map<uint64_t, raft::Membership> memberships_ = {{0, {}}};
  std::map<uint64_t, uint64_t>
      payloads_;                         // Hash of what was applied, by index.
  std::map<uint64_t, uint64_t> states_;  // Hash after it.
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_INVARIANTS_H_
