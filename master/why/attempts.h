// What the attempts of a task that are on workers do, and wait for there.
//
// Internal to master/why. Confined to the master loop.
#ifndef MILLRACE_MASTER_WHY_ATTEMPTS_H_
#define MILLRACE_MASTER_WHY_ATTEMPTS_H_

#include "master/why/causes.h"

namespace millrace::master::why {

// An attempt of which nothing has changed for so long stands still.
inline constexpr absl::Duration kStalledAfter = absl::Seconds(5);

// Has a slot, or needs none.
bool Runs(const Attempt& attempt);
bool IsStalled(const Inquiry& inquiry, const Attempt& attempt);

// Of the task's one or two attempts. REQUIRES: it has one. Of a reduce that
// fetches, what is the matter with its holders; not which maps are missing.
void AddAttempts(Inquiry& inquiry, int depth, const SoftJob& job,
                 const TaskId& task);

}  // namespace millrace::master::why

#endif  // MILLRACE_MASTER_WHY_ATTEMPTS_H_
