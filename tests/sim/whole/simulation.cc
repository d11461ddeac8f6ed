#include "tests/sim/whole/simulation.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/worker.h"

namespace millrace::wholesim {
namespace {

constexpr absl::Duration kLivenessLimit = absl::Minutes(15);
constexpr absl::Duration kTimeMin = absl::Seconds(121);

Scenario Draw(World& world) {
  Scenario scenario;
  scenario.masters = world.Chance(0.2) ? 1 : 3;
  scenario.workers = static_cast<int>(2 + world.Pick(4));
  scenario.jobs = static_cast<int>(1 + world.Pick(9));
  scenario.hosts_shared = world.Chance(0.3);
  scenario.liveness = world.Chance(0.7);
  scenario.faults_end = scenario.liveness ? world.Between(70'000, 110'000)
                                          : world.Between(122'000, 150'000);
  const double intervals_ms[] = {700, 1500, 4000};
  scenario.fault_interval = absl::Milliseconds(intervals_ms[world.Pick(3)]);
  const double shares[] = {0, 0.003, 0.01};
  scenario.op_faults = shares[world.Pick(3)];
  const double delays_ms[] = {2, 8, 8, 60, 300};
  scenario.log_ms = delays_ms[world.Pick(5)];
  if (world.Chance(0.5)) {
    scenario.snapshot_every = 1 + world.Pick(world.Chance(0.5) ? 10 : 100);
  }
  const double share = world.Chance(0.2) ? 1 : 0.5;
  for (size_t i = 0; i < kFaults; ++i) {
    scenario.faults.set(i,
                        world.Chance(share) && !world.options.without.test(i));
  }
  return scenario;
}

}  // namespace

Simulation::Simulation(const SimOptions& options) : world_(options) {}
Simulation::~Simulation() = default;

void Simulation::Begin() {
  CHECK(world_.fs.MakeDirectory(kStore).ok());
  world_.scenario = Draw(world_);
  const Scenario& scenario = world_.scenario;
  world_.result.liveness = scenario.liveness;
  for (int i = 0; i < scenario.jobs; ++i) {
    ClientJob& job =
        world_.jobs.Draw(*world_.random, world_.fs, static_cast<size_t>(i));
    job.spec.set_program_sha256(
        world_.blobs.Add(Cat("the program of ", job.name)));
  }
  world_.masters = std::make_unique<Masters>(world_, scenario.masters);
  for (int i = 0; i < scenario.workers; ++i) {
    const int host = scenario.hosts_shared ? i / 2 : i;
    world_.workers.push_back(
        std::make_unique<Worker>(world_, Cat("w", i), Cat("host", host),
                                 static_cast<uint32_t>(1 + world_.Pick(3))));
    world_.checked_workers.push_back(world_.workers.back().get());
  }
  world_.masters->Start();
  for (const auto& worker : world_.workers) {
    world_.queue.After(world_.Between(0, 2000), [&worker] {
      if (worker->dead()) worker->Start(true);
    });
  }
  for (size_t i = 0; i < world_.jobs.all().size(); ++i) {
    world_.queue.After(world_.Between(0, 60'000),
                       [this, i] { world_.masters->Submit(i); });
    ClientJob& job = world_.jobs.all()[i];
    if (!job.foreign_output || world_.Chance(0.5)) continue;
    world_.queue.After(world_.Between(500, 90'000),
                       [this, &job] { MakeForeign(job); });
  }
  // The others at the worst moment.
  world_.before_publish = [this](const std::string& output) {
    for (ClientJob& job : world_.jobs.all()) {
      if (job.output == output && job.foreign_output) MakeForeign(job);
    }
  };
  world_.queue.After(world_.Between(0, 4000), [this] { Disturb(); });
  if (scenario.liveness) {
    world_.queue.At(scenario.faults_end, [this] { Heal(); });
  }
  world_.on_step = [this](Worker& worker, StepSet step) {
    Ambush(worker, step);
  };
  EverySecond();
}

void Simulation::MakeForeign(ClientJob& job) {
  if (world_.fs.Exists(job.output)) return;
  world_.Note(Cat("somebody makes ", job.output));
  job.foreign_made = true;
  world_.fs.SetContents(Cat(job.output, "/mine"), "keep out");
}

bool Simulation::Finished() {
  if (!world_.scenario.liveness) {
    return world_.queue.now() >= world_.scenario.faults_end;
  }
  if (world_.faults_on || !world_.masters->leading() ||
      world_.queue.now() < kTimeMin) {
    return false;
  }
  for (const ClientJob& job : world_.jobs.all()) {
    if (!job.settled()) return false;
  }
  for (const auto& [index, job] : world_.masters->truth().jobs()) {
    if (!job->ended() || !job->cleaned) return false;
  }
  return std::all_of(world_.workers.begin(), world_.workers.end(),
                     [](const auto& worker) {
                       return worker->welcomed() && worker->Present().empty();
                     });
}

void Simulation::EverySecond() {
  const master::State& truth = world_.masters->truth();
  const sim::Shown shown = world_.masters->shown();
  std::set<std::string> excluded;
  for (const auto& [name, state] : shown.workers) {
    world_.result.excluded += state == "excluded";
    if (state == "excluded" || state == "probation") excluded.insert(name);
  }
  std::swap(world_.excluded, excluded);
  for (const auto& worker : world_.workers) {
    const std::string& name = worker->name();
    if (world_.excluded.contains(name) && !excluded.contains(name)) {
      world_.AtStep(*worker, Only(Step::kExcluded));
    }
  }
  world_.checker.OnSecond(world_.queue.now(), world_.masters->settled(), truth,
                          shown);
  for (const ClientJob& job : world_.jobs.all()) {
    if (job.foreign_made && !world_.fs.Exists(Cat(job.output, "/mine"))) {
      world_.Violate(
          Cat("I7: what somebody else made at ", job.output, " is gone"));
    }
  }
  if (!world_.faults_on) {
    // Drains are lifted, also those that a lost term had swallowed.
    for (const auto& worker : world_.workers) {
      if (truth.IsDraining(worker->name())) {
        world_.masters->Drain(worker->name(), false);
      }
    }
  }
  if (Finished()) finished_ = true;
  world_.queue.After(absl::Seconds(1), [this] { EverySecond(); });
}

SimResult Simulation::Run() {
  Begin();
  const absl::Duration limit = world_.scenario.faults_end + kLivenessLimit;
  while (!world_.violated() && !finished_ && world_.queue.now() < limit) {
    world_.RunNext();
  }
  if (!world_.violated()) JudgeEnd();
  SimResult& result = world_.result;
  result.violation = world_.violation();
  result.virtual_time = world_.queue.now();
  result.events.assign(world_.events.begin(), world_.events.end());
  for (const auto& [index, job] : world_.masters->truth().jobs()) {
    result.succeeded += job->state == proto::SUCCEEDED;
    result.failed += job->state == proto::FAILED;
    result.killed += job->state == proto::KILLED;
  }
  return std::move(result);
}

SimResult Simulate(const SimOptions& options) {
  return Simulation(options).Run();
}

std::string Story(const SimOptions& options, const SimResult& result) {
  std::string story =
      Cat("seed ", options.seed, ": ", result.violation,
          "\nreplay: whole_sim --seed=", options.seed, "\nthe last events:\n");
  for (const std::string& event : result.events) {
    story.append(Cat("  ", event, "\n"));
  }
  return story;
}

}  // namespace millrace::wholesim
