// Who runs the group: says which machines should be its voters, and changes it
// step by step until they are: who lost the disk goes, who is new becomes a
// learner, then a voter. As an administrator would: asks the leader, waits,
// looks again.
#ifndef MILLRACE_TESTS_SIM_RAFT_OPERATOR_H_
#define MILLRACE_TESTS_SIM_RAFT_OPERATOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "raft/core/membership.h"
#include "tests/sim/raft/machine.h"

namespace millrace::raftsim {

// Thread-compatible.
class Operator {
 public:
  // Both outlive this.
  Operator(std::vector<std::unique_ptr<Machine>>& machines, World& world)
      : machines_(machines), world_(world) {}

  void Start();
  // Machine numbers; at least one.
  void Want(std::set<int> voters) { wanted_ = std::move(voters); }
  const std::set<int>& wanted() const { return wanted_; }
  // Whether the group, as far as it is committed, is what is wanted.
  bool Content() const;
  // No change that it asked for can still happen.
  bool idle() const {
    return !waiting_ &&
           (answered_ || world_.queue->now() > asked_at_ + absl::Seconds(20));
  }
  // Asks for something that nobody needs, at the next occasion.
  void Meddle();
  // No more of that.
  void Settle() { meddling_.reset(); }
  void TransferLeadership();

 private:
  void Look();
  // Of two voters one shall not go, however: the change takes effect where it
  // is applied, and whoever of the two has not heard that it is committed still
  // needs the vote of the other, who no longer stands for election and may have
  // the longer log. See docs/testing.md.
  static bool LeavesOneOfTwo(const raft::Membership& group,
                             const raft::MembershipChange& change);
  Machine* Leader() const;
  std::optional<raft::MembershipChange> NextChange(
      const raft::ReplicatedLog::GroupStatus& status) const;
  void Change(Machine& leader, const raft::MembershipChange& change);
  Machine& machine(int number) const {
    return *machines_[static_cast<size_t>(number - 1)];
  }

  std::vector<std::unique_ptr<Machine>>& machines_;
  World& world_;
  std::set<int> wanted_;
  bool waiting_ = false;
  uint64_t asked_ = 0;
  absl::Duration asked_at_;
  bool answered_ = true;  // The last question.
  std::optional<raft::MembershipChange> meddling_;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_OPERATOR_H_
