// Why no worker takes a task: who is there, who takes nothing and why, who has
// the slots.
//
// Internal to master/why. Confined to the master loop.
#ifndef MILLRACE_MASTER_WHY_WORKERS_H_
#define MILLRACE_MASTER_WHY_WORKERS_H_

#include "master/why/causes.h"

namespace millrace::master::why {

// Why the worker is granted nothing: one of WORKERS_*. WHY_CODE_UNSPECIFIED:
// SoftWorker::eligible().
proto::WhyCode HindranceOf(const SoftWorker& worker);

// Has a slot of its worker, as far as the leader knows: a map from the moment
// in which it is first in the queue, a reduce when its worker says so.
bool HasSlot(const Attempt& attempt);

// It has no connection, or nothing was heard of it for some heartbeats.
bool IsAway(const Inquiry& inquiry, const SoftWorker& worker);
// That it is. REQUIRES: IsAway().
void AddAway(Inquiry& inquiry, int depth, const SoftWorker& worker);

// The new leader grants nothing of the jobs that are older than its term yet.
void AddLeaderWaits(Inquiry& inquiry, int depth);

// What keeps the task, which may be granted and is not, from every worker.
// REQUIRES: the task waits for nothing but that.
void AddCapacity(Inquiry& inquiry, int depth, const SoftJob& job,
                 const TaskId& task);

// Whose attempts have the slots of this worker, or of all that take tasks if it
// is null. `self`: who asks.
void AddSlotHolders(Inquiry& inquiry, int depth, const SoftWorker* worker,
                    const JobId& self);

}  // namespace millrace::master::why

#endif  // MILLRACE_MASTER_WHY_WORKERS_H_
