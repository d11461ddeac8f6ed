// Which fault comes when, and how it is done.
#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/simulation.h"
#include "tests/sim/whole/worker.h"

namespace millrace::wholesim {
namespace {

// Those that come at a time of their own. All others befall operations, as they
// are made: worker.cc, processes.cc, shuffle.cc and masters.cc have them.
constexpr Fault kEvents[] = {
    Fault::kWorkerKilled,    Fault::kWorkerPaused,  Fault::kHostRestarted,
    Fault::kWorkerSlow,      Fault::kStreamBroken,  Fault::kStreamHalfOpen,
    Fault::kFetchCut,        Fault::kDiskFull,      Fault::kOutputFlipped,
    Fault::kOutputCut,       Fault::kOutputDeleted, Fault::kStoreAway,
    Fault::kClockJump,       Fault::kClockRate,     Fault::kMasterKilled,
    Fault::kLeaderDeposed,   Fault::kMasterStalled, Fault::kLogSlow,
    Fault::kInputChanged,    Fault::kClientKills,   Fault::kWorkerDrained,
    Fault::kMessagesDelayed, Fault::kLinkCut,       Fault::kLinkOneWay,
};
constexpr double kRateMin = 0.97;
constexpr double kRateMax = 1.03;

}  // namespace

StepSet Simulation::AllSteps() const {
  StepSet steps;
  for (const auto& worker : world_.workers) steps |= worker->Steps();
  for (const ClientJob& job : world_.jobs.all()) {
    if (job.submitted && !job.settled()) steps |= Only(Step::kSubmit);
  }
  return steps;
}

Worker& Simulation::AnyWorker() {
  // By a step that somebody is at, so that short ones are met too.
  const Step step = static_cast<Step>(world_.Pick(kSteps));
  std::vector<Worker*> at;
  for (const auto& worker : world_.workers) {
    if (worker->Steps().test(static_cast<size_t>(step))) {
      at.push_back(worker.get());
    }
  }
  if (!at.empty()) return *at[world_.Pick(at.size())];
  return *world_.workers[world_.Pick(world_.workers.size())];
}

void Simulation::Disturb() {
  if (!world_.faults_on) return;
  const double mean =
      absl::ToDoubleMilliseconds(world_.scenario.fault_interval);
  world_.queue.After(world_.Between(1, 2 * mean), [this] { Disturb(); });
  if (world_.Chance(0.5)) {
    // Steps that are short are met by those who wait for them.
    const Fault fault = kEvents[world_.Pick(std::size(kEvents))];
    if (world_.May(fault)) {
      trap_ = Trap{fault, Only(static_cast<Step>(world_.Pick(kSteps)))};
    }
    return;
  }
  // Some of those drawn have nothing to act on.
  for (int tries = 0; tries < 4; ++tries) {
    const Fault fault = kEvents[world_.Pick(std::size(kEvents))];
    if (world_.May(fault) && Inject(fault)) return;
  }
}

void Simulation::Ambush(Worker& worker, StepSet step) {
  if (!trap_.has_value() || (trap_->step & step).none()) return;
  if (!world_.faults_on) return;
  const Trap trap = *std::exchange(trap_, std::nullopt);
  world_.queue.After(world_.Between(0, world_.Chance(0.5) ? 5 : 60),
                     [this, trap, &worker] {
                       if (world_.faults_on) {
                         InjectAt(trap.fault, worker, trap.step);
                       }
                     });
}

bool Simulation::InjectAt(Fault fault, Worker& worker, StepSet step) {
  switch (fault) {
    case Fault::kInputChanged:
    case Fault::kClientKills: {
      const std::optional<JobId> id = worker.JobAt(step);
      for (ClientJob& job : world_.jobs.all()) {
        if (!id.has_value() || job.id != id) continue;
        return fault == Fault::kClientKills ? KillJob(job) : ChangeInput(job);
      }
      return false;
    }
    case Fault::kOutputFlipped:
    case Fault::kOutputCut:
    case Fault::kOutputDeleted:
      return InjectIntoOutput(fault, worker);
    case Fault::kMasterKilled:
    case Fault::kLeaderDeposed:
    case Fault::kMasterStalled:
    case Fault::kLogSlow:
      return InjectIntoMasters(fault);
    default:
      return InjectIntoWorker(fault, worker);
  }
}

bool Simulation::Inject(Fault fault) {
  ClientJob& job = world_.jobs.all()[world_.Pick(world_.jobs.all().size())];
  switch (fault) {
    case Fault::kMasterKilled:
    case Fault::kLeaderDeposed:
    case Fault::kMasterStalled:
    case Fault::kLogSlow:
      return InjectIntoMasters(fault);
    case Fault::kOutputFlipped:
    case Fault::kOutputCut:
    case Fault::kOutputDeleted:
      return InjectIntoOutput(fault, AnyWorker());
    case Fault::kInputChanged:
      return ChangeInput(job);
    case Fault::kClientKills:
      return KillJob(job);
    default:
      return InjectIntoWorker(fault, AnyWorker());
  }
}

bool Simulation::InjectIntoMasters(Fault fault) {
  const StepSet steps = AllSteps();
  bool done = false;
  switch (fault) {
    case Fault::kMasterKilled:
      done =
          world_.masters->KillOne(world_.Chance(0.7), world_.Between(50, 8000));
      break;
    case Fault::kLeaderDeposed:
      done = world_.masters->Depose(world_.Between(200, 12'000));
      break;
    case Fault::kMasterStalled:
      done = world_.masters->StallLeader(
          world_.Between(100, world_.Chance(0.3) ? 14'000 : 1500));
      break;
    default:
      world_.masters->SlowLog(world_.queue.now() + world_.Between(500, 6000));
      done = true;
      break;
  }
  if (done) world_.Hit(fault, steps);
  return done;
}

bool Simulation::InjectIntoWorker(Fault fault, Worker& worker) {
  if (worker.dead()) return false;
  const StepSet steps = worker.Steps();
  const auto after = [&](absl::Duration wait, std::function<void()> what) {
    world_.queue.After(wait, std::move(what));
  };
  switch (fault) {
    case Fault::kWorkerKilled:
    case Fault::kHostRestarted: {
      const bool keep = fault == Fault::kWorkerKilled;
      world_.masters->Break(worker, world_.Between(0, 20));
      worker.Die();
      after(world_.Between(20, world_.Chance(0.5) ? 1500 : 15'000),
            [&worker, keep] {
              if (worker.dead()) worker.Start(keep);
            });
      break;
    }
    case Fault::kWorkerPaused:
      if (worker.paused()) return false;
      worker.Pause(world_.Chance(0.6));
      after(world_.Between(100, world_.Chance(0.5) ? 2000 : 25'000),
            [&worker, life = worker.life()] {
              if (worker.life() == life && worker.paused()) worker.Resume();
            });
      break;
    case Fault::kWorkerSlow:
      worker.SetSlow(true);
      after(world_.Between(1000, 20'000), [&worker] { worker.SetSlow(false); });
      break;
    case Fault::kStreamBroken:
    case Fault::kStreamHalfOpen:
      if (!world_.masters->HasStream(worker)) return false;
      world_.masters->Break(worker, fault == Fault::kStreamBroken
                                        ? world_.Between(0, 50)
                                        : world_.Between(1000, 20'000));
      break;
    case Fault::kMessagesDelayed:
      if (!world_.masters->HasStream(worker)) return false;
      world_.masters->Delay(worker, world_.Between(50, 4000),
                            world_.queue.now() + world_.Between(500, 10'000));
      break;
    case Fault::kLinkCut:
    case Fault::kLinkOneWay: {
      if (!world_.masters->HasStream(worker)) return false;
      const bool both = fault == Fault::kLinkCut;
      const bool to_masters = both || world_.Chance(0.5);
      world_.masters->CutLink(
          worker,
          world_.queue.now() +
              world_.Between(500, world_.Chance(0.5) ? 4000 : 25'000),
          to_masters, both || !to_masters);
      break;
    }
    case Fault::kFetchCut: {
      // Counts when somebody tries to pass.
      const Worker& other = *world_.workers[world_.Pick(world_.workers.size())];
      if (&other == &worker) return false;
      const auto link = std::make_pair(worker.name(), other.name());
      world_.cut.insert(link);
      after(world_.Between(500, 30'000),
            [this, link] { world_.cut.erase(link); });
      return true;
    }
    case Fault::kDiskFull:  // Counts when it refuses a write.
      worker.SetDiskFull(true);
      after(world_.Between(500, 10'000),
            [&worker] { worker.SetDiskFull(false); });
      return true;
    case Fault::kStoreAway:
      worker.SetStoreAway(true);
      after(world_.Between(100, 8000),
            [&worker] { worker.SetStoreAway(false); });
      return true;
    case Fault::kClockJump:
      if (world_.Chance(0.3)) {
        world_.masters->JumpClocks(world_.Between(500, 30'000));
        world_.Hit(fault, AllSteps() & ~Only(Step::kSubmit));
        return true;
      }
      worker.JumpClock(world_.Between(500, 86'400'000));
      break;
    case Fault::kClockRate:
      world_.masters->SetClockRates(kRateMin, kRateMax);
      worker.SetClockRate(kRateMin +
                          (kRateMax - kRateMin) *
                              static_cast<double>(world_.Pick(1000)) / 1000);
      break;
    case Fault::kWorkerDrained:
      world_.masters->Drain(worker.name(), true);
      after(world_.Between(500, 20'000),
            [this, &worker] { world_.masters->Drain(worker.name(), false); });
      break;
    default:
      return false;
  }
  world_.Hit(fault, steps);
  return true;
}

bool Simulation::InjectIntoOutput(Fault fault, Worker& worker) {
  const std::string path = worker.AnyOutput();
  if (path.empty()) return false;
  const std::string bytes = world_.fs.Contents(path);
  switch (fault) {
    case Fault::kOutputFlipped:
      world_.fs.FlipBit(path, world_.Pick(bytes.size() * 8));
      break;
    case Fault::kOutputCut:
      world_.fs.SetContents(path, bytes.substr(0, world_.Pick(bytes.size())));
      break;
    default:
      world_.fs.RemoveTree(path).IgnoreError();
      break;
  }
  world_.Note(Cat(FaultName(fault), ": ", path));
  // Whoever is at one of these may be the one to find it.
  StepSet steps = Only(Step::kMapHeld);
  const StepSet all = AllSteps();
  for (Step step : {Step::kMapDone, Step::kFetch, Step::kReduceRun}) {
    if (all.test(static_cast<size_t>(step))) steps |= Only(step);
  }
  world_.Hit(fault, steps);
  return true;
}

bool Simulation::ChangeInput(ClientJob& job) {
  if (!job.id.has_value() || job.input_changed) return false;
  const master::Job* truth = world_.masters->truth().FindJob(*job.id);
  // What is changed before it is planned is simply another input.
  if (truth == nullptr || !truth->planned || truth->ended()) return false;
  StepSet steps;
  for (const auto& worker : world_.workers) steps |= worker->Steps(&*job.id);
  steps &= Only(Step::kMapPrepare) | Only(Step::kMapRun);
  if (steps.none() || !world_.Chance(0.2)) return false;
  const auto& [path, bytes] = job.inputs[world_.Pick(job.inputs.size())];
  if (bytes.empty()) return false;
  job.input_changed = true;
  std::string changed = bytes;
  for (char& c : changed) {
    if (c >= '0' && c <= '9') c = c == '9' ? '0' : static_cast<char>(c + 1);
  }
  if (world_.options.mutant.edge.hide_input_changes) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      const int differ = bytes[i] ^ changed[i];
      for (uint64_t bit = 0; bit < 8; ++bit) {
        if ((differ >> bit) & 1) world_.fs.FlipBit(path, 8 * i + bit);
      }
    }
  } else {
    world_.fs.SetContents(path, changed);
  }
  world_.Hit(Fault::kInputChanged, steps);
  return true;
}

bool Simulation::KillJob(ClientJob& job) {
  if (!job.id.has_value() || !world_.Chance(0.2)) return false;
  world_.masters->Kill(job);
  return true;
}

void Simulation::Heal() {
  world_.Note("the faults stop");
  world_.faults_on = false;
  world_.cut.clear();
  world_.masters->Heal();
  for (const auto& worker : world_.workers) {
    worker->SetSlow(false);
    worker->SetDiskFull(false);
    worker->SetStoreAway(false);
    if (worker->dead()) worker->Start(true);
    if (worker->paused()) worker->Resume();
  }
}

}  // namespace millrace::wholesim
