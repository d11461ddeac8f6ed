// What failures say of the workers on which they happened: which of them is
// given nothing for a while, by anybody (exclusion.h) or by one job.
#ifndef MILLRACE_MASTER_SCHEDULER_HEALTH_H_
#define MILLRACE_MASTER_SCHEDULER_HEALTH_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {

// Whether the failure tells of the machine on which it happened. A lost map
// output tells of its holder; a store that refuses refuses everybody.
bool TellsOfMachine(proto::FailureCause cause);

// An attempt's failure stands in the log.
void BlameWorker(SoftState& soft, const proto::AttemptFailed& failed);
// The output of a map that the worker held is lost.
void BlameHolder(SoftState& soft, const LostWinner& lost,
                 const std::string& why);
// The task has its winner, there: of its failures elsewhere, it is not at
// fault.
void NoteSuccess(SoftState& soft, SoftJob& job, const TaskId& task,
                 WorkerNumber worker);

// Brings SoftWorker::excluded and its like up to date. Jobs whose time of
// avoiding a worker is over give it tasks again.
void UpdateHealth(SoftState& soft);

// Until when the job gives the worker nothing, while there is another. No
// value: it gives it what it has.
std::optional<absl::Duration> AvoidedUntil(const SoftState& soft,
                                           const SoftJob& job,
                                           WorkerNumber worker);
// Whether there is such a time, which is woken at.
bool AvoidedBy(SoftState& soft, const SoftJob& job, WorkerNumber worker);
// Whether the job could avoid that one, too; it may do so already.
bool CanAvoid(const SoftState& soft, const SoftJob& job, WorkerNumber worker);
// It does from now on.
void Avoid(SoftState& soft, SoftJob& job, WorkerNumber worker,
           const std::string& why);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_HEALTH_H_
