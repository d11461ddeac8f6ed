// Who is in the cluster: streams, Hello, silence and loss.
//
//   stream opened -> Hello -> (WorkerJoined) -> active -> closed -> lost
//                        \-> refused                 \-> silent -> lost
//
// Nobody is lost before the entry WorkerLost is applied; until then a worker
// that comes back has to wait, and then hears that its incarnation has ended.
#ifndef MILLRACE_MASTER_SCHEDULER_MEMBERSHIP_H_
#define MILLRACE_MASTER_SCHEDULER_MEMBERSHIP_H_

#include <string>

#include "master/scheduler/soft_state.h"

namespace millrace::master {

void OnStreamOpened(SoftState& soft, SessionId session);
void OnStreamMessage(SoftState& soft, SessionId session,
                     proto::WorkerMessage message);
void OnStreamClosed(SoftState& soft, SessionId session);

// The own TermStarted is applied: workers of the log get a record each, and
// what streams have said so far is read.
void StartMembership(SoftState& soft);
void RefuseAllStreams(SoftState& soft);

void OnWorkerJoined(SoftState& soft, const proto::WorkerJoined& entry,
                    const ApplyResult& result);
void OnWorkerLost(SoftState& soft, const proto::WorkerLost& entry,
                  const ApplyResult& result);
void OnWorkerDrained(SoftState& soft, const proto::WorkerDrained& entry);

// Declares lost who has been away for too long, and lets the others know that
// this leader is there.
void CheckWorkers(SoftState& soft);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_MEMBERSHIP_H_
