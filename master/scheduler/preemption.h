// Maps that were lost go before reduces: whoever reads the job waits for them.
//
//   a reduce stands in a queue          the map is granted there; the worker
//                                       runs maps first
//   all slots are taken by reduces,     the youngest reduce of its job is
//   the map has waited for              stopped, which counts as no failure,
//   SchedulerOptions::preempt_after     and the map gets its place
//
// Slots that maps hold become free soon enough, and reduces of other jobs do
// not wait for this map.
#ifndef MILLRACE_MASTER_SCHEDULER_PREEMPTION_H_
#define MILLRACE_MASTER_SCHEDULER_PREEMPTION_H_

#include "master/scheduler/soft_state.h"

namespace millrace::master {

// REQUIRES: free slots have been filled.
void MakeWay(SoftState& soft);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_PREEMPTION_H_
