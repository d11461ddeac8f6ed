// What clients ask for. Answers come when the entry that decides is applied.
#ifndef MILLRACE_MASTER_SCHEDULER_CLIENTS_H_
#define MILLRACE_MASTER_SCHEDULER_CLIENTS_H_

#include "absl/status/status.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {

// Whether a specification can be a job of this cluster.
//   kInvalidArgument    it is wrong and always will be
//   kResourceExhausted  it asks for more than a job may have
absl::Status CheckSpec(const proto::JobSpec& spec,
                       const SchedulerOptions& options);

void OnSubmit(SoftState& soft, const ClientSubmit& submit);
void OnKill(SoftState& soft, const ClientKill& kill);
void OnDrain(SoftState& soft, const ClientDrain& drain);

// JobSubmitted, Cancelled, WorkerDrained: applied or refused.
void AnswerSubmit(SoftState& soft, const proto::JobSubmitted& entry,
                  const ApplyResult& result);
void AnswerKill(SoftState& soft, const ApplyResult& result);
void AnswerDrain(SoftState& soft, const proto::WorkerDrained& entry);
// Nobody here will know what becomes of what was asked.
void AnswerAllNotLeader(SoftState& soft);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_CLIENTS_H_
