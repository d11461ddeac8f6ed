// Which fault happens when, to whom: a function of the spec, the seed and the
// names of the cluster's processes. Pure.
#ifndef MILLRACE_CHAOS_SCHEDULE_H_
#define MILLRACE_CHAOS_SCHEDULE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "chaos/spec.h"
#include "common/random.h"

namespace millrace::chaos {

struct PlannedFault {
  absl::Duration at;  // Since the beginning.
  FaultKind kind = FaultKind::kKillWorker;
  std::string victim;
  absl::Duration length;
  absl::Duration by;
  // Decides what the schedule cannot know the names of: which file, which bit.
  uint64_t detail = 0;

  friend bool operator==(const PlannedFault&, const PlannedFault&) = default;
};

struct Population {
  std::vector<std::string> masters;
  std::vector<std::string> workers;
};

// Endless but for quiet=. Each kind draws from a stream of its own, so that one
// kind more, or other times of it, leave the others where they are.
// Thread-compatible.
class Schedule {
 public:
  Schedule(const ChaosSpec& spec, uint64_t seed, const Population& population);

  // By time; nullopt: there are no more. Kinds without a victim (of= names
  // nobody in the cluster) have no faults.
  std::optional<PlannedFault> Next();

 private:
  struct Stream {
    FaultRate rate;
    std::vector<std::string> victims;
    std::unique_ptr<Random> random;
    absl::Duration next;
  };

  const absl::Duration quiet_after_;
  std::vector<Stream> streams_;
};

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_SCHEDULE_H_
