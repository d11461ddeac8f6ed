#include "tests/sim/whole/world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "common/hash.h"
#include "common/strings.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/worker.h"

namespace millrace::wholesim {
namespace {

constexpr size_t kEventsKept = 150;
constexpr int kSuspendedMax = 3;

}  // namespace

absl::Duration NodeClock::Until(absl::Duration local,
                                absl::Duration now) const {
  if (local == absl::InfiniteDuration()) return local;
  const absl::Duration wait = (local - Local(now)) / rate;
  // Rounded up, so that it has come when the time has.
  return std::max(absl::ZeroDuration(), wait + absl::Nanoseconds(10));
}

World::World(const SimOptions& sim_options)
    : options(sim_options),
      random(Random::Seeded(sim_options.seed)),
      checker(checked_workers) {}

World::~World() = default;

absl::Duration World::Between(double low_ms, double high_ms) {
  const uint64_t span = static_cast<uint64_t>((high_ms - low_ms) * 1000) + 1;
  return absl::Microseconds(
      static_cast<int64_t>(low_ms * 1000 + random->Uniform(span)));
}

void World::Hit(Fault fault, StepSet met) {
  Note(Cat("fault: ", FaultName(fault)));
  result.coverage.Hit(fault, met);
}

void World::Note(const std::string& what) {
  std::string line = Cat(absl::ToInt64Microseconds(queue.now()), " us: ", what);
  result.trace_hash = Hash64Seeded(line, result.trace_hash);
  if (options.verbose) std::printf("%s\n", line.c_str());
  events.push_back(std::move(line));
  if (events.size() > kEventsKept) events.pop_front();
}

void World::Violate(const std::string& what) {
  if (!violated()) Note(Cat("violation: ", what));
  checker.Violate(what);
}

void World::RunNext() {
  ++result.event_count;
  queue.RunNext();
  // I7: an output is not there, or complete.
  for (ClientJob& job : jobs.all()) {
    if (job.output_seen || job.foreign_made || !fs.Exists(job.output)) continue;
    job.output_seen = true;
    const std::string wrong = jobs.Judge(fs, job);
    if (!wrong.empty()) {
      Violate(Cat("I7: the output of ", job.name, " appears: ", wrong));
      continue;
    }
    ++result.compared;
    Note(Cat("the output of ", job.name, " is there"));
  }
}

void World::Suspend(absl::Duration time) {
  if (suspended_ == kSuspendedMax) return;
  ++suspended_;
  const absl::Duration until = queue.now() + time;
  bool due = false;
  queue.At(until, [&due] { due = true; });
  while (!due && !violated()) RunNext();
  // The event that would have said so refers to this call.
  while (!due) queue.RunNext();
  --suspended_;
}

Worker* World::FindAddress(const std::string& address) const {
  for (const auto& worker : workers) {
    if (!worker->dead() && worker->address() == address) return worker.get();
  }
  return nullptr;
}

}  // namespace millrace::wholesim
