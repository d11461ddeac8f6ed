// What a worker does with a job's output: makes room for it, checks it, makes
// it visible, deletes what is left over. Each step may hang with its store, so
// each runs on a thread of its own and touches nothing of the agent; each may
// be run again from any point at which it stopped, here or elsewhere.
#ifndef MILLRACE_WORKER_COMMIT_COMMIT_TASK_H_
#define MILLRACE_WORKER_COMMIT_COMMIT_TASK_H_

#include <optional>

#include "common/file_system.h"
#include "proto/messages/worker.pb.h"
#include "worker/agent/events.h"
#include "worker/spool/blob_cache.h"
#include "worker/spool/layout.h"

namespace millrace::worker {

// Makes the job's directory in the spool, the attempt's own one there if it
// needs it, and its place in S if it writes output, empty ones if it begins
// anew; of a planning task, S itself. Failures of a planning task say why the
// output could never be committed (OUTPUT_EXISTS, OUTPUT_FAILED) and are final,
// unless the disk is full or the store away.
AttemptPrepared PrepareDirectories(FileSystem& fs, const WorkerLayout& layout,
                                   const PrepareAttempt& prepare);

// CHECK_TASK: every winner's file is what its attempt reported; then the
// manifest is made and stored at the masters. Changes nothing else.
//   OUTPUT_EXISTS      somebody made the output path; final
//   COMMIT_DATA_LOST   a winner is not what was reported: map_index and map_uid
//                      name its task's index and its attempt, dead_letter which
//                      of a map's files it is
// `readers`: of the files of a job that wants them to be read again, how many
// at the same time; see storage::CheckWinners.
OutputChecked CheckOutput(FileSystem& fs, BlobCache& blobs,
                          const RunCheck& check, int readers);

// PUBLISH_TASK: makes the decided output visible, or finds that it is.
//   OUTPUT_CONFLICT    somebody else made the output path; final
//   COMMIT_DATA_LOST   the store lost a winner; final
OutputPublished PublishOutput(FileSystem& fs, BlobCache& blobs,
                              const RunPublish& publish);

// Deletes what is left of a job: in the spool, and S if an output is named. The
// job's directory in the spool goes last: while S may be there, a worker that
// is started again has to find that there was such a job.
JobDeleted DeleteJobFiles(FileSystem& fs, const WorkerLayout& layout,
                          const DeleteJob& job);

// Uploads the plan of a planning attempt.
PlanStored StorePlan(const WorkerLayout& layout, BlobCache& blobs,
                     const PutPlan& put);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_COMMIT_COMMIT_TASK_H_
