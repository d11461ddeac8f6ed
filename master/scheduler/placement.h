// Which task goes where: the policy, beside the rules that safety needs.
//
//   free slots  to the job with the fewest running attempts, then the oldest;
//               of one job: plan, maps that were lost, maps that come again,
//               maps in order
//   reduces     are placed when their maps begin to finish, spread evenly; they
//               prepare without a slot and take one when they have their input
//   queues      one map ahead for each busy slot while maps are short and many
//   steals      what waits in a queue while a slot elsewhere has nothing to do
//
// Check and publication take no slot. No input is local to a worker (every
// store is mounted by all), so the place of a map does not matter: see
// docs/design/002-inputs-by-path.md for what host ids are used for.
#ifndef MILLRACE_MASTER_SCHEDULER_PLACEMENT_H_
#define MILLRACE_MASTER_SCHEDULER_PLACEMENT_H_

#include <optional>

#include "absl/time/time.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {

// Whether tasks of the job may be granted: nobody can be running them unknown
// to this leader.
bool GrantsOpen(const SoftState& soft, const SoftJob& job);

// Grants all that can be granted now.
void Place(SoftState& soft);

// Until when the task waits for another worker, because it has failed there:
// InfiniteDuration() as long as there is another that its job does not avoid.
// No value: it may go there. So of the workers that take tasks one always may
// have it.
std::optional<absl::Duration> KeptElsewhereUntil(const SoftState& soft,
                                                 const SoftJob& job,
                                                 const TaskId& task,
                                                 const SoftWorker& worker);
// Whether the task may go there: it avoids workers where it has failed, while
// there are others, and those that its job avoids.
bool Fits(SoftState& soft, SoftJob& job, const TaskId& task,
          const SoftWorker& worker);
// Since when the attempt runs, or could: a reduce is not slow while its maps
// have not won.
absl::Duration RanSince(const SoftJob& job, const Attempt& attempt);

// Maps of the job that wait to be granted; a few too many while tasks wait
// after a failure.
uint32_t UngrantedMaps(const SoftJob& job);
// The reduces of the job may be placed.
bool ReducesDue(const SoftState& soft, SoftJob& job);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_PLACEMENT_H_
