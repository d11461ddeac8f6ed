#include "tests/sim/raft/schedule.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace millrace::raftsim {

Schedule::Schedule(std::vector<std::unique_ptr<Machine>>& machines,
                   World& world, Network& network, Operator& op)
    : machines_(machines), world_(world), network_(network), operator_(op) {
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    // These come with others, or by themselves.
    if (fault == Fault::kMailboxFull || fault == Fault::kLeaderCut ||
        fault == Fault::kSnapshotBroken) {
      continue;
    }
    if (world.scenario->has(fault)) faults_.push_back(fault);
  }
}

absl::Duration Schedule::UpTo(absl::Duration most) {
  return absl::Microseconds(static_cast<int64_t>(world_.random->Uniform(
      static_cast<uint64_t>(absl::ToInt64Microseconds(most)) + 1)));
}

Machine& Schedule::Anyone() {
  return *machines_[world_.random->Uniform(machines_.size())];
}

Machine& Schedule::AnyoneThatMatters() {
  if (Chance(40)) {
    for (const auto& machine : machines_) {
      if (machine->running() && machine->member()->serves()) return *machine;
    }
  }
  return Anyone();
}

Step Schedule::AnyStep() {
  return static_cast<Step>(
      world_.random->Uniform(static_cast<uint64_t>(Step::kCount)));
}

void Schedule::Start() {
  if (!faults_.empty()) Next();
}

void Schedule::Next() {
  world_.queue->After(UpTo(2 * world_.scenario->fault_interval), [this] {
    if (stopped_) return;
    Strike(faults_[world_.random->Uniform(faults_.size())]);
    Next();
  });
}

void Schedule::Strike(Fault fault) {
  if (world_.trace->verbose()) {
    world_.trace->Say(std::string("fault: ").append(FaultName(fault)));
  }
  switch (fault) {
    case Fault::kLoss:
    case Fault::kDuplication:
    case Fault::kReordering:
    case Fault::kDelay:
      return ChangeWeather(fault);
    case Fault::kPartition:
    case Fault::kOneWayCut:
    case Fault::kBridge:
      return Part(fault);
    case Fault::kClockRate:
    case Fault::kPause:
    case Fault::kKill:
    case Fault::kPowerCut:
    case Fault::kKillAtCall:
    case Fault::kPowerCutAtCall:
    case Fault::kPowerCutAll:
    case Fault::kStateSlow:
      return StrikeProcess(fault);
    case Fault::kSlowDisk:
    case Fault::kDiskFull:
    case Fault::kIoError:
    case Fault::kSyncDropsPages:
      return StrikeDisk(fault);
    case Fault::kBitRot:
    case Fault::kDiskLost:
      return LoseDisk(fault);
    case Fault::kMembership:
      return ChangeGroup();
    case Fault::kTransfer:
      return TransferAndBack(1 + static_cast<int>(world_.random->Uniform(5)));
    case Fault::kSnapshotBroken:
    case Fault::kLeaderCut:
    case Fault::kMailboxFull:
    case Fault::kCount:
      return;
  }
}

// --------------------------------------------------------------------- network

void Schedule::ChangeWeather(Fault fault) {
  Weather weather;
  const auto millionths = [this](uint64_t most) {
    return static_cast<uint32_t>(1000 + world_.random->Uniform(most));
  };
  // Bad weather rarely is of one kind.
  const auto also = [&](Fault kind) {
    return fault == kind || (world_.scenario->has(kind) && Chance(25));
  };
  if (also(Fault::kLoss)) weather.loss = millionths(300'000);
  if (also(Fault::kDuplication)) weather.duplication = millionths(300'000);
  if (also(Fault::kReordering)) weather.reordering = millionths(500'000);
  if (also(Fault::kDelay)) {
    weather.delay_max =
        absl::Milliseconds(1) +
        UpTo(Chance(20) ? absl::Seconds(2) : absl::Milliseconds(150));
  }
  network_.SetWeather(weather);
  const uint64_t mine = ++weather_;
  world_.queue->After(UpTo(absl::Seconds(8)), [this, mine] {
    if (mine == weather_ && !stopped_) network_.SetWeather(Weather());
  });
}

std::vector<Endpoint> Schedule::Others(int machine) const {
  std::vector<Endpoint> others;
  for (const auto& other : machines_) {
    if (other->number() != machine) others.push_back(other->number());
  }
  return others;
}

void Schedule::CutFor(Fault fault,
                      const std::vector<std::pair<Endpoint, Endpoint>>& links,
                      absl::Duration wait) {
  world_.trace->Note(
      "links are cut", 0,
      {{"kind", static_cast<uint64_t>(fault)}, {"links", links.size()}});
  const Network::Cut cut = network_.Separate(fault, links);
  world_.queue->After(wait, [this, cut] {
    network_.Restore(cut);
    world_.trace->Note("links are whole", 0);
  });
}

void Schedule::Part(Fault fault) {
  const int one = AnyoneThatMatters().number();
  std::vector<std::pair<Endpoint, Endpoint>> links;
  const auto both = [&links](Endpoint a, Endpoint b) {
    links.emplace_back(a, b);
    links.emplace_back(b, a);
  };
  switch (fault) {
    case Fault::kOneWayCut: {
      const bool hears = Chance(50);
      for (Endpoint other : Others(one)) {
        if (!Chance(75)) continue;
        links.emplace_back(hears ? one : other, hears ? other : one);
      }
      break;
    }
    case Fault::kBridge: {
      for (Endpoint a : Others(one)) {
        for (Endpoint b : Others(one)) {
          if (a < b && a % 2 != b % 2) both(a, b);
        }
      }
      // With three, the ends of the bridge are the other two.
      if (links.empty() && Others(one).size() == 2) {
        both(Others(one)[0], Others(one)[1]);
      }
      break;
    }
    default: {
      std::set<Endpoint> side;
      for (const auto& machine : machines_) {
        if (Chance(50)) side.insert(machine->number());
      }
      if (Chance(40)) side = {one};
      for (const auto& a : machines_) {
        for (const auto& b : machines_) {
          if (side.count(a->number()) > side.count(b->number())) {
            both(a->number(), b->number());
          }
        }
      }
      break;
    }
  }
  CutFor(fault, links, UpTo(absl::Seconds(8)));
}

// The classic (Raft paper, figure 8): a leader that has just taken a proposal,
// or has just begun to lead, is cut off, perhaps with one that heard of it.
void Schedule::OnProposal(int machine) {
  if (Chance(20)) CutLeader(machine);
}

void Schedule::OnAppend(int machine, uint64_t term) {
  if (term <= last_term_) return;
  last_term_ = term;
  if (Chance(40)) CutLeader(machine);
}

void Schedule::CutLeader(int machine) {
  if (stopped_ || !world_.scenario->has(Fault::kLeaderCut) ||
      world_.queue->now() < next_leader_cut_) {
    return;
  }
  next_leader_cut_ =
      world_.queue->now() + UpTo(2 * world_.scenario->fault_interval);
  std::vector<Endpoint> others = Others(machine);
  if (others.empty()) return;
  if (Chance(40)) {
    others.erase(others.begin() +
                 static_cast<ptrdiff_t>(world_.random->Uniform(others.size())));
  }
  std::vector<std::pair<Endpoint, Endpoint>> links;
  for (Endpoint other : others) {
    links.emplace_back(machine, other);
    links.emplace_back(other, machine);
  }
  const absl::Duration wait =
      UpTo(absl::Microseconds(Chance(50) ? 2000 : 20'000) +
           world_.scenario->sync_max);
  world_.queue->After(wait, [this, links] {
    if (!stopped_) CutFor(Fault::kLeaderCut, links, UpTo(absl::Seconds(6)));
  });
}

// Back and forth, so that the same members lead again while the disks and the
// network still have to do with what they said last time.
void Schedule::TransferAndBack(int times) {
  if (times == 0 || stopped_) return;
  operator_.TransferLeadership();
  world_.queue->After(UpTo(absl::Milliseconds(400)),
                      [this, times] { TransferAndBack(times - 1); });
}

bool Schedule::BreaksSnapshot() {
  if (stopped_ || !world_.scenario->has(Fault::kSnapshotBroken) || !Chance(4)) {
    return false;
  }
  world_.counts->Add(Fault::kSnapshotBroken);
  return true;
}

// ------------------------------------------------------------------- processes

void Schedule::StrikeProcess(Fault fault) {
  Machine& machine = AnyoneThatMatters();
  const absl::Duration off =
      UpTo(Chance(80) ? absl::Seconds(3) : absl::Seconds(15));
  switch (fault) {
    case Fault::kClockRate:
      if (machine.running()) world_.counts->Add(fault);
      machine.SetClockRate(50 + static_cast<int>(world_.random->Uniform(151)));
      return;
    case Fault::kPause:
      machine.Pause(UpTo(Chance(80) ? absl::Seconds(3) : absl::Seconds(10)));
      return;
    case Fault::kKill:
    case Fault::kPowerCut: {
      const Death death =
          fault == Fault::kKill ? Death::kKill : Death::kPowerCut;
      if (Chance(50)) {
        machine.Kill(fault, death, off);
      } else {
        machine.KillAtStep(fault, death, AnyStep(),
                           1 + static_cast<int>(world_.random->Uniform(4)),
                           Chance(50));
      }
      return;
    }
    case Fault::kKillAtCall:
    case Fault::kPowerCutAtCall:
      machine.KillAtCall(
          fault, fault == Fault::kKillAtCall ? Death::kKill : Death::kPowerCut,
          1 + world_.random->Uniform(12));
      return;
    case Fault::kPowerCutAll:
      for (const auto& each : machines_) {
        each->Kill(fault, Death::kPowerCut, UpTo(absl::Seconds(3)));
      }
      return;
    case Fault::kStateSlow:
      machine.SlowState(UpTo(absl::Seconds(10)));
      return;
    default:
      return;
  }
}

void Schedule::StrikeDisk(Fault fault) {
  Machine& machine = AnyoneThatMatters();
  switch (fault) {
    case Fault::kSlowDisk:
      machine.SlowDisk(UpTo(absl::Seconds(15)));
      return;
    case Fault::kDiskFull:
      if (Chance(60)) {
        machine.FillDisk(UpTo(absl::Seconds(20)));
      } else {
        machine.FailCall(fault, raft::SimFault::kNoSpace,
                         1 + world_.random->Uniform(20));
      }
      return;
    case Fault::kIoError:
      machine.FailCall(fault, raft::SimFault::kIoError,
                       1 + world_.random->Uniform(20));
      return;
    case Fault::kSyncDropsPages:
      machine.FailCall(fault, raft::SimFault::kSyncDropsPages,
                       1 + world_.random->Uniform(20));
      return;
    default:
      return;
  }
}

bool Schedule::CanLoseDisk(const Machine& machine) const {
  // A change that is under way might take effect later and leave too few.
  if (world_.invariants->ChangeUnderWay() || !operator_.idle()) return false;
  size_t voters = 0;
  size_t lost = 0;
  for (const auto& [id, member] : world_.invariants->membership()) {
    if (!member.voter) continue;
    ++voters;
    // One that starts with an older group may need votes of who is gone.
    if (!world_.invariants->KnowsMembership(id)) return false;
    const bool whole = std::any_of(
        machines_.begin(), machines_.end(), [&, id = id](const auto& each) {
          return each->id() == id && !each->damaged() && each.get() != &machine;
        });
    if (!whole) ++lost;
  }
  return 2 * lost < voters;
}

void Schedule::LoseDisk(Fault fault) {
  Machine& machine = Anyone();
  if (machine.id() == raft::kNobody || machine.damaged() ||
      !CanLoseDisk(machine)) {
    return;
  }
  const absl::Duration off = UpTo(absl::Seconds(3));
  if (fault == Fault::kBitRot) {
    machine.Kill(Fault::kPowerCut, Death::kPowerCut, off);
    machine.FlipBit();
    return;
  }
  world_.counts->Add(fault);
  machine.Kill(Fault::kKill, Death::kKill, off);
  machine.LoseDisk();
  machine.Kill(Fault::kKill, Death::kKill, off);  // Plans the next start.
}

void Schedule::ChangeGroup() {
  if (Chance(25)) {
    operator_.Meddle();
    return;
  }
  // Between the founding size and all machines; a majority stays in. Two do not
  // become one again: see docs/testing.md.
  std::set<int> wanted = operator_.wanted();
  const size_t least =
      static_cast<size_t>(std::max(2, world_.scenario->founding_size));
  const int number = Anyone().number();
  if (wanted.count(number) == 0) {
    wanted.insert(number);
  } else if (wanted.size() > least) {
    wanted.erase(number);
  }
  operator_.Want(wanted);
}

}  // namespace millrace::raftsim
