// How long the attempts of one stage of a job take, all together and on each
// worker; and how long one that runs has still to go.
//
// Durations are counted in classes that are a tenth apart, so that a million of
// them cost a kilobyte; what comes out is right to five parts in a hundred.
#ifndef MILLRACE_MASTER_SCHEDULER_STAGE_TIMES_H_
#define MILLRACE_MASTER_SCHEDULER_STAGE_TIMES_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/time/time.h"
#include "master/state/worker_table.h"

namespace millrace::master {

// Confined to the master loop.
class StageTimes {
 public:
  // An attempt has won.
  void Add(WorkerNumber worker, absl::Duration took);
  // An attempt was beaten after so long: its worker is no faster than that.
  void AddBeaten(WorkerNumber worker, absl::Duration after);

  uint64_t count() const { return count_; }
  // The median. No value: none has been added.
  std::optional<absl::Duration> Typical() const;
  // Moving average of the worker's own. No value: it has had none.
  std::optional<absl::Duration> On(WorkerNumber worker) const;

 private:
  uint64_t count_ = 0;
  std::vector<uint32_t> classes_;
  absl::btree_map<WorkerNumber, absl::Duration> workers_;
};

// What is known of an attempt that runs.
struct Standing {
  absl::Duration elapsed;    // Since it could have run.
  absl::Duration executing;  // Of it, since it got its slot.
  // What it has done, by the average of the stage: 1 is as much as others have
  // to do. No value: it does not tell.
  std::optional<double> done;
  // What its worker takes for others of the stage.
  std::optional<absl::Duration> worker_takes;
};

// An attempt that takes so much longer than is typical is slow.
inline constexpr double kSlowFactor = 1.5;

// How long it will still take. From its own rate, if it tells; otherwise as
// long as others take, on its worker or anywhere; and what has taken much
// longer than that is expected to take as long again.
absl::Duration TimeLeft(const Standing& standing, absl::Duration typical);
// Whether a new attempt, which takes what is typical, would probably end before
// it.
bool IsStraggler(const Standing& standing, absl::Duration typical);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_STAGE_TIMES_H_
