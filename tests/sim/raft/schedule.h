// What goes wrong, and when: draws faults until it is told to stop. A scenario
// says which ones.
#ifndef MILLRACE_TESTS_SIM_RAFT_SCHEDULE_H_
#define MILLRACE_TESTS_SIM_RAFT_SCHEDULE_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tests/sim/raft/machine.h"
#include "tests/sim/raft/network.h"
#include "tests/sim/raft/operator.h"

namespace millrace::raftsim {

// Thread-compatible.
class Schedule {
 public:
  // All outlive this.
  Schedule(std::vector<std::unique_ptr<Machine>>& machines, World& world,
           Network& network, Operator& op);

  void Start();
  void Stop() { stopped_ = true; }
  // A leader was given a proposal.
  void OnProposal(int machine);
  // It sends entries in `term`.
  void OnAppend(int machine, uint64_t term);
  // Whether a snapshot's piece is lost now.
  bool BreaksSnapshot();

 private:
  void Next();
  void Strike(Fault fault);
  void ChangeWeather(Fault fault);
  void Part(Fault fault);
  void StrikeProcess(Fault fault);
  void StrikeDisk(Fault fault);
  void CutLeader(int machine);
  void TransferAndBack(int times);
  void LoseDisk(Fault fault);
  void ChangeGroup();

  absl::Duration UpTo(absl::Duration most);
  Machine& Anyone();
  // More often than not one that leads.
  Machine& AnyoneThatMatters();
  Step AnyStep();
  // Whether the group can do without one more disk.
  bool CanLoseDisk(const Machine& machine) const;
  std::vector<Endpoint> Others(int machine) const;
  void CutFor(Fault fault,
              const std::vector<std::pair<Endpoint, Endpoint>>& links,
              absl::Duration wait);
  bool Chance(uint64_t percent) {
    return world_.random->Uniform(100) < percent;
  }

  std::vector<std::unique_ptr<Machine>>& machines_;
  World& world_;
  Network& network_;
  Operator& operator_;
  std::vector<Fault> faults_;  // That may be drawn.
  bool stopped_ = false;
  uint64_t weather_ = 0;  // Changes with each change of it.
  absl::Duration next_leader_cut_;
  uint64_t last_term_ = 0;  // In which a leader sent entries.
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_SCHEDULE_H_
