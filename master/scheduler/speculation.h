// Second attempts of slow tasks.
//
//   which  tasks whose one attempt is expected to end later than a new one
//          would: it runs half as long again as is typical of its stage, and
//          has longer to go than a new attempt takes from beginning to end.
//          The one with the longest way to go comes first (LATE, Zaharia et
//          al., OSDI 2008)
//   when   nothing else is left to run: a slot is free after everything that
//          can be granted has been; some of the stage has finished, to
//          compare with
//   where  on another worker, which is not slow itself and where the task has
//          not failed; on another host if there is one
//   how    at most one beside the first, and at most a tenth of the cluster's
//   many   slots for all jobs together; but so many as the largest worker has
//          slots, since a slow worker slows all that is on it
//
// Whichever stands in the log first has won. The other is told to stop, which
// counts as no failure. All this is soft: a new leader finds both attempts in
// the Hello of their workers, and goes on with them.
#ifndef MILLRACE_MASTER_SCHEDULER_SPECULATION_H_
#define MILLRACE_MASTER_SCHEDULER_SPECULATION_H_

#include <optional>

#include "absl/time/time.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {

// Grants what the rules above allow. REQUIRES: everything else that can be
// granted has been.
void Speculate(SoftState& soft);

// What an attempt of the stage (MAP_TASK, REDUCE_TASK) takes. No value: too
// little has finished to compare with.
std::optional<absl::Duration> TypicalTime(const SoftState& soft,
                                          const SoftJob& job,
                                          proto::TaskKind kind);

// The task has its winner: other attempts are told to stop.
void StopBeaten(SoftState& soft, SoftJob& job, const TaskId& task);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_SPECULATION_H_
