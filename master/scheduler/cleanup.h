// What is left of jobs that have ended, and of those that are to be forgotten.
//
//   ended ──DropJob──► every worker that may keep something says dropped_jobs
//         ──DropJob(remove_staging)──► one worker, last, so that nobody writes
//                                      there any more
//         ──► Cleaned ──► (older than the newest N) Evicted
#ifndef MILLRACE_MASTER_SCHEDULER_CLEANUP_H_
#define MILLRACE_MASTER_SCHEDULER_CLEANUP_H_

#include "master/scheduler/soft_state.h"

namespace millrace::master {

// Jobs of earlier terms that are not clean yet.
void StartCleanup(SoftState& soft);
void OnJobEnded(SoftState& soft, const JobId& id);
// A Hello says of which jobs the worker keeps anything.
void ReadPresentJobs(SoftState& soft, SoftWorker& worker,
                     const proto::Hello& hello);
void OnDropped(SoftState& soft, SoftWorker& worker, const JobId& job);
// Only files of it are left there: the slots of its attempts are free.
void OnStopped(SoftState& soft, SoftWorker& worker, const JobId& job);
void OnWorkerGone(SoftState& soft, WorkerNumber number);
void OnCleaned(SoftState& soft, const JobId& job);
void OnEvicted(SoftState& soft, const JobId& job);

// Asks for the last step where it can be asked for, and evicts.
void Clean(SoftState& soft);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_CLEANUP_H_
