// Records on which the mapper of a job crashes and which the job may pass over.
//
//   worker -- BadRecordMet --> leader -- RecordPassedOver --> the log
//   worker <-- PassOver ------ leader <-- applied, or known -----+
//
// The log counts each record once, whoever meets it; so the number holds for
// all attempts of the job, and outlives workers and leaders.
#ifndef MILLRACE_MASTER_SCHEDULER_BAD_RECORDS_H_
#define MILLRACE_MASTER_SCHEDULER_BAD_RECORDS_H_

#include "master/scheduler/soft_state.h"

namespace millrace::master {

// An attempt waits to be told whether it may go on without a record.
void OnBadRecord(SoftState& soft, SoftWorker& worker,
                 const proto::BadRecordMet& met);

// The entry was applied or refused.
void OnRecordPassedOver(SoftState& soft, const proto::RecordPassedOver& entry,
                        const ApplyResult& result);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_BAD_RECORDS_H_
