// When a worker has been silent for too long, or has to hear from the leader:
// moments in an order of their own, so that nobody looks at all workers.
//
// What is heard and said moves such a moment away; that shows when it has come.
// Only what brings one nearer (a stream that opens or ends) is told here.
#ifndef MILLRACE_MASTER_SCHEDULER_SILENCE_H_
#define MILLRACE_MASTER_SCHEDULER_SILENCE_H_

#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {

// When CheckWorkers() has something to do for the worker if nothing is heard or
// said until then; no value: never again.
std::optional<absl::Duration> CheckDueAt(const SoftState& soft,
                                         const SoftWorker& worker);

// The worker is new, or its stream has opened or ended, or it is being lost.
void Watch(SoftState& soft, SoftWorker& worker);
// It goes.
void Unwatch(SoftState& soft, SoftWorker& worker);
// Workers whose moment may have come, by number. They are not watched any more.
std::vector<SoftWorker*> TakeDue(SoftState& soft);

// This loop was not running for a while, so the silence of the workers in that
// time says nothing about them: they get some more.
void ForgiveSilence(SoftState& soft);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_SILENCE_H_
