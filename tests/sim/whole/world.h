// What all parts of a simulated cluster share: time, chance, disks, the book of
// faults, the jobs, and the one place where violations are told.
#ifndef MILLRACE_TESTS_SIM_WHOLE_WORLD_H_
#define MILLRACE_TESTS_SIM_WHOLE_WORLD_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "tests/sim/checker.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/whole/jobs.h"
#include "tests/sim/whole/master_blobs.h"
#include "tests/sim/whole/options.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::wholesim {

class Masters;
class Worker;

// The time of one machine. Monotonic, but with a rate of its own, and it may
// leap forward.
struct NodeClock {
  absl::Duration offset = absl::Seconds(1000);
  double rate = 1;

  absl::Duration Local(absl::Duration now) const { return offset + now * rate; }
  // How long until it shows `local`; never negative.
  absl::Duration Until(absl::Duration local, absl::Duration now) const;
};

// Confined to the thread of the simulation.
class World {
 public:
  explicit World(const SimOptions& options);
  ~World();

  bool Chance(double p) { return random->Uniform(1'000'000) < p * 1'000'000; }
  absl::Duration Between(double low_ms, double high_ms);
  uint64_t Pick(uint64_t bound) { return random->Uniform(bound); }

  // A worker has come to a step, maybe once more.
  void AtStep(Worker& worker, StepSet step) {
    if (on_step) on_step(worker, step);
  }
  // Faults are allowed now, and the seed has this one.
  bool May(Fault fault) const { return faults_on && scenario.has(fault); }
  void Hit(Fault fault, StepSet met);
  void Note(const std::string& what);
  void Violate(const std::string& what);
  bool violated() const { return !violation().empty(); }
  const std::string& violation() const { return checker.violation(); }

  // Runs the next event, and looks at what must hold after each.
  void RunNext();
  // An operation in the middle of which time passes: others come first. What
  // has begun before goes on afterwards. Not deeper than a few levels.
  void Suspend(absl::Duration time);

  Worker* FindAddress(const std::string& address) const;

  const SimOptions options;
  Scenario scenario;
  const std::unique_ptr<Random> random;
  sim::EventQueue queue;
  MemoryFileSystem fs;  // All disks and the store; paths tell them apart.
  MasterBlobs blobs;
  Jobs jobs;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<sim::CheckedWorker*> checked_workers;  // The same.
  std::unique_ptr<Masters> masters;
  std::set<std::pair<std::string, std::string>> cut;  // Who cannot reach whom.
  // Of each map, what its last finished attempt gave.
  std::map<std::pair<JobId, uint32_t>, std::string> roots;
  // Workers that the leader gives nothing, or one task at a time.
  std::set<std::string> excluded;
  sim::Checker checker;
  SimResult result;
  bool faults_on = true;
  std::function<void(Worker&, StepSet)> on_step;
  // An output is about to get its name.
  std::function<void(const std::string& output)> before_publish;
  std::deque<std::string> events;

 private:
  int suspended_ = 0;
};

// Where the jobs' inputs and outputs are.
inline constexpr char kStore[] = "/store";

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_WORLD_H_
