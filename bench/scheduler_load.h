#ifndef MILLRACE_BENCH_SCHEDULER_LOAD_H_
#define MILLRACE_BENCH_SCHEDULER_LOAD_H_

// A leader under load: the real scheduler core and the real replicated state,
// with simulated workers that answer as real ones do, on a simulated clock. All
// jobs run to their end. The time that counts is that of the master's loop, on
// its core: of each entry that is applied and each step of the core.
//
//   workers ──hello, outcomes, progress, heartbeats──► Step ──► effects
//      ▲                                                ▲          │
//      └──────── grants, locations, kills, drops ───────┼──────────┤
//                    State::Apply ◄── log, late ◄───────┘ proposals┘
//
// One thread. The same options give the same events.

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/random.h"
#include "master/scheduler/scheduler_core.h"
#include "master/state/state.h"

namespace millrace::master {

struct LoadOptions {
  uint32_t workers = 10'000;
  uint32_t slots = 4;  // Of each worker.
  uint32_t jobs = 1;
  uint32_t maps = 1'000'000;  // Of all jobs together, as are the reduces.
  uint32_t reduces = 100;
  // What a task takes, by half of it more or less.
  absl::Duration map_time = absl::Seconds(2);
  absl::Duration reduce_time = absl::Seconds(2);
  // Of a million attempts: such that fail by their program's fault, once each,
  // and such that take ten times as long.
  uint32_t failures_ppm = 500;
  uint32_t stragglers_ppm = 100;
  // Workers that die, all at once, when half of the maps have won. What they
  // had is done again.
  uint32_t lost = 0;
  absl::Duration log_time =
      absl::Milliseconds(2);  // Until an entry is applied.
  absl::Duration heartbeat_interval = absl::Seconds(1);
  // The core's indexes are compared with a look at everything each so many
  // turns; 0: never, as it takes longer than all else.
  uint64_t turns_per_check = 0;
  uint64_t seed = 1;
};

// Durations by classes that are a hundredth part apart.
class Durations {
 public:
  void Add(absl::Duration took);
  uint64_t count() const { return count_; }
  absl::Duration total() const { return total_; }
  absl::Duration most() const { return most_; }
  // At most so long, of so large a share of them.
  absl::Duration Of(double share) const;

 private:
  static constexpr int kPerOctave = 64;
  uint64_t count_ = 0;
  absl::Duration total_;
  absl::Duration most_;
  std::array<uint64_t, 40 * kPerOctave> classes_{};
};

struct LoadResult {
  uint64_t grants = 0;
  uint64_t speculative = 0;  // Of them.
  uint64_t entries = 0;      // Applied.
  uint64_t locations = 0;    // Of map outputs that readers were told.
  // Time on a core, which other processes do not make longer but by what they
  // take of its caches: in State::Apply, in SchedulerCore::Step.
  absl::Duration apply;
  absl::Duration step;
  // A turn of the loop: one step, with the entry before it if that is its
  // event.
  Durations turns;
  std::map<std::string, Durations> turns_by_kind;
  absl::Duration joining;    // All turns until every worker was welcome.
  absl::Duration simulated;  // From the first submit to the last clean-up.
  double grown_mib = 0;      // Resident memory at most, beyond before.
  // What the bench took for all that, the simulation included: time on a core,
  // and time that passed, joining included.
  absl::Duration cpu;
  absl::Duration elapsed;
};

class SchedulerLoad {
 public:
  explicit SchedulerLoad(const LoadOptions& options);
  ~SchedulerLoad();

  LoadResult Run();

 private:
  struct SimAttempt;
  struct SimWorker;
  struct SimJob {
    uint32_t maps = 0;
    uint32_t reduces = 0;
  };
  // What happens next, to a worker unless it says otherwise.
  enum class What {
    kOpen,       // It connects.
    kBeat,       // It says that it lives, and how far its attempts are.
    kEnds,       // An attempt of it does.
    kDropped,    // It has nothing of a job any more.
    kCommitted,  // The log's next entry is.
    kDie,        // It is gone, and all that it held.
    kTick,       // The core wants to be woken.
  };
  struct Item {
    absl::Duration when;
    uint64_t order = 0;
    What what = What::kTick;
    uint32_t worker = 0;
    uint64_t attempt = 0;  // By its number here; of kDropped: a job.

    friend bool operator<(const Item& a, const Item& b) {
      return a.when != b.when ? a.when > b.when : a.order > b.order;
    }
  };

  void At(absl::Duration when, What what, uint32_t worker = 0,
          uint64_t attempt = 0);
  void RunNext();
  // Until it has.
  void RunUntil(const std::function<bool()>& condition);

  void Feed(Event event, const char* kind,
            absl::Duration before = absl::ZeroDuration());
  void Carry(Effect& effect);
  void ApplyNext();

  void Open(SimWorker& worker);
  void Beat(SimWorker& worker);
  void Say(SimWorker& worker, proto::Update update, const char* kind);
  void OnMessage(SimWorker& worker, const proto::MasterMessage& message);
  void OnGrant(SimWorker& worker, const proto::Grant& grant);
  void OnLocations(SimWorker& worker, const proto::Locations& locations);
  void OnDrop(SimWorker& worker, const std::string& job);
  void Die(SimWorker& worker);
  void FillSlots(SimWorker& worker);
  void End(SimWorker& worker, uint64_t number);
  void Forget(SimWorker& worker, uint64_t number);
  absl::Duration About(absl::Duration time);

  const LoadOptions options_;
  const std::unique_ptr<Random> random_;
  const std::unique_ptr<Random> ids_;  // The core's.
  State state_;
  SchedulerCore core_;
  LoadResult result_;

  absl::Duration now_ = absl::Seconds(1000);
  std::priority_queue<Item> queue_;
  uint64_t next_order_ = 0;
  absl::Duration tick_at_ = absl::InfiniteDuration();
  std::deque<std::string> log_;  // Entries, encoded: proposed, not applied.

  std::vector<std::unique_ptr<SimWorker>> workers_;    // By session, less one.
  std::map<std::string, SimJob> jobs_;                 // By id.
  std::set<std::pair<std::string, uint32_t>> failed_;  // Maps, once each.
  uint64_t next_attempt_ = 1;
  uint32_t welcome_ = 0;
  uint32_t submitted_ = 0;
  uint32_t maps_won_ = 0;
  uint32_t cleaned_ = 0;
};

}  // namespace millrace::master

#endif  // MILLRACE_BENCH_SCHEDULER_LOAD_H_
