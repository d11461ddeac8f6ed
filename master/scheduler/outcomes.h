// What attempts came to: from a worker's report to an entry of the log, from
// the applied entry to an acknowledgement and to what is runnable now.
//
// A report is checked twice. Here, against the state as it is, only to spare
// the log entries that would be refused; and when its entry is applied, which
// alone decides.
#ifndef MILLRACE_MASTER_SCHEDULER_OUTCOMES_H_
#define MILLRACE_MASTER_SCHEDULER_OUTCOMES_H_

#include "master/scheduler/soft_state.h"

namespace millrace::master {

// A worker reports; it may have done so before.
void OnOutcome(SoftState& soft, SoftWorker& worker,
               proto::AttemptOutcome outcome);

// The attempt came to nothing, and the log does not know it: its task is
// runnable again.
// `uid` by value: it may be the attempt's own, which goes with it.
void ForgetAttempt(SoftState& soft, AttemptUid uid);

// An entry about an attempt, a winner or a job as a whole was applied or
// refused. Called while this master leads.
void OnTaskEntry(SoftState& soft, const proto::LogEntry& entry,
                 const ApplyResult& result);
// What a planning or checking attempt has put is gone: it has failed.
void OnBlobLost(SoftState& soft, const BlobLost& lost);
// Winners that an entry took away, whatever it was.
void OnWinnersLost(SoftState& soft, const ApplyResult& result);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_OUTCOMES_H_
