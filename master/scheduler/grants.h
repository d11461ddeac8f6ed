// The commands that start attempts.
#ifndef MILLRACE_MASTER_SCHEDULER_GRANTS_H_
#define MILLRACE_MASTER_SCHEDULER_GRANTS_H_

#include "master/scheduler/soft_state.h"

namespace millrace::master {

void GrantPlan(SoftState& soft, SoftJob& job, SoftWorker& worker);
// `speculative`: beside the one that runs.
void GrantMap(SoftState& soft, SoftJob& job, uint32_t map, SoftWorker& worker,
              bool speculative = false);
void GrantReduce(SoftState& soft, SoftJob& job, uint32_t partition,
                 SoftWorker& worker, bool speculative = false);
// With everything that the manifest says. REQUIRES: job.complete().
void GrantCheck(SoftState& soft, SoftJob& job, SoftWorker& worker);
// REQUIRES: decided.
void GrantPublish(SoftState& soft, SoftJob& job, SoftWorker& worker);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_GRANTS_H_
