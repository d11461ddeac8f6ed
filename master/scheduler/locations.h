// Tells the workers that have reduces of a job where its map outputs are: all
// of them when the first reduce of the job comes to a stream, and what changes,
// gathered for some milliseconds. Of a job with very many maps that is more
// than a loop can say at once and a master keep: such workers are told by and
// by, one after the other, so that some can begin while others wait.
#ifndef MILLRACE_MASTER_SCHEDULER_LOCATIONS_H_
#define MILLRACE_MASTER_SCHEDULER_LOCATIONS_H_

#include "master/scheduler/soft_state.h"

namespace millrace::master {

// The map has a winner, or its last one is lost.
void MapMoved(SoftState& soft, SoftJob& job, uint32_t map);

// Tells what has moved in jobs whose epoch has risen, before a reduce of the
// new epoch is granted: one that begins with the location of an output that was
// given up reads what another epoch wrote.
void TellRaised(SoftState& soft);

// The worker knows of no location any more: it has another stream, or is lost.
void ForgetLocated(SoftState& soft, SoftWorker& worker);
// ... of that job.
void ForgetLocated(SoftState& soft, SoftWorker& worker, const JobId& job);

// Sends what is due.
void SendLocations(SoftState& soft);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_LOCATIONS_H_
