// A machine: a disk that outlives processes, a process at most, a clock that is
// its own, and all that can go wrong with them.
#ifndef MILLRACE_TESTS_SIM_RAFT_MACHINE_H_
#define MILLRACE_TESTS_SIM_RAFT_MACHINE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/random.h"
#include "raft/log/testing/sim_disk.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/raft/faults.h"
#include "tests/sim/raft/host.h"
#include "tests/sim/raft/invariants.h"
#include "tests/sim/raft/member.h"
#include "tests/sim/raft/mutant_disk.h"
#include "tests/sim/raft/options.h"
#include "tests/sim/raft/subject.h"
#include "tests/sim/raft/trace.h"

namespace millrace::raftsim {

// What machines share. All pointers outlive them.
struct World {
  sim::EventQueue* queue = nullptr;
  Random* random = nullptr;
  Trace* trace = nullptr;
  FaultCounts* counts = nullptr;
  Invariants* invariants = nullptr;
  const Workload* workload = nullptr;
  const Scenario* scenario = nullptr;
  Mutant mutant;
  ClusterId cluster;
  // On the way to another member.
  std::function<void(int from, raft::Message)> send;
  std::function<void(int from, SnapshotPiece)> send_piece;
  uint64_t events = 0;  // Of processes.
};

enum class Death : uint8_t {
  kKill,      // The process alone; what it wrote is in the cache of the system.
  kPowerCut,  // What was not synced is kept or lost sector by sector.
};

class Machine final : private Host {
 public:
  Machine(int number, World& world);
  ~Machine() override;

  int number() const { return number_; }
  // Of its disk: the newest member that it was or is; kNobody: none yet.
  raft::NodeId id() const { return id_; }
  // Null: the process is not running.
  Member* member() { return member_.get(); }
  bool running() const { return member_ != nullptr; }
  // For good.
  bool off() const { return off_; }
  bool paused() const { return paused_; }
  // What its process says now leaves it.
  bool speaks() const { return running() && alive(); }
  // Its member refused to start, since the disk is damaged.
  bool refused() const { return refused_; }
  // A bit of its disk has changed since the disk was new.
  bool damaged() const { return damaged_; }
  // And nobody has found out what that did.
  bool suspect() const { return suspect_; }

  // ---------------------------------------------------------------- its life

  // `found`: of a new disk: founds the group.
  void Boot(bool found);
  void Kill(Fault fault, Death death, absl::Duration off_for);
  // Kills it when its process has made `calls` more calls of the disk.
  void KillAtCall(Fault fault, Death death, uint64_t calls);
  // Kills it at the `count`-th event of that kind from now, before or after it.
  void KillAtStep(Fault fault, Death death, Step step, int count, bool before);
  void Pause(absl::Duration wait);
  void SetClockRate(int percent) { clock_rate_ = percent; }
  void SlowDisk(absl::Duration wait) { slow_disk_until_ = now() + wait; }
  void SlowState(absl::Duration wait) { slow_state_until_ = now() + wait; }
  void FillDisk(absl::Duration wait);
  // The `calls`-th call from now fails.
  void FailCall(Fault fault, raft::SimFault how, uint64_t calls);
  // A bit of its log changes. REQUIRES: !running().
  bool FlipBit();
  // An empty disk takes the place of its disk. REQUIRES: !running().
  void LoseDisk();
  // From here on no faults of its own; boots it if it is off, unless `off`.
  void Heal(bool off);
  // Takes no part any more.
  void TurnOff();

  // ------------------------------------------------------------- from outside

  // Something reaches the process; dropped when there is none, or no room.
  void Receive(Step step, std::function<void(Member&)> what);

 private:
  struct Trigger {
    Fault fault;
    Death death;
    Step step;
    int count;
    bool before;
  };

  // Host.
  int machine() const override { return number_; }
  Random& random() override { return *world_.random; }
  Trace& trace() override { return *world_.trace; }
  absl::Duration now() const override { return world_.queue->now(); }
  void Count(Fault fault) override;
  absl::Duration SyncTime() override;
  absl::Duration ApplyTime() override;
  void After(absl::Duration wait, Step step,
             std::function<void()> what) override;
  void Send(raft::Message message) override;
  void Send(SnapshotPiece piece) override;
  void Die(const absl::Status& why) override;
  bool alive() const override;

  absl::Duration UpTo(absl::Duration most);
  // One event of the process.
  void Run(Step step, const std::function<void()>& what);
  bool Triggered(Step step, bool before);
  void EndEvent();
  void End(Death death);
  void BootAfter(absl::Duration wait);
  void TickLater();
  void Resume();
  void CheckStart(const absl::Status& status);

  const int number_;
  World& world_;
  raft::NodeId id_ = raft::kNobody;
  std::unique_ptr<raft::SimDisk> disk_;
  std::unique_ptr<MutantDisk> mutant_disk_;
  std::unique_ptr<Random> ids_;  // For the ids of a new disk.
  std::unique_ptr<Member> member_;
  uint64_t life_ = 0;   // Changes with each start and end of a process.
  uint64_t boots_ = 0;  // Planned ones; the newest counts.
  bool off_ = false;    // For good.
  bool healed_ = false;
  bool founder_ = false;

  bool in_event_ = false;
  std::optional<absl::Status> dying_;
  bool disk_faulty_ = false;  // An error of it was arranged for this process.
  std::optional<std::pair<Fault, Death>> call_kill_;
  uint64_t call_kill_at_ = 0;
  std::optional<Fault> call_fault_;
  std::optional<Trigger> trigger_;
  bool damaged_ = false;
  bool suspect_ = false;
  bool refused_ = false;

  int clock_rate_ = 100;  // Percent.
  absl::Duration slow_disk_until_;
  absl::Duration slow_state_until_;
  uint64_t full_disks_ = 0;
  bool full_counted_ = false;
  bool disk_full_ = false;
  bool paused_ = false;
  bool pause_counted_ = false;
  uint64_t pauses_ = 0;
  std::deque<std::pair<Step, std::function<void()>>> waiting_;
  size_t waiting_messages_ = 0;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_MACHINE_H_
