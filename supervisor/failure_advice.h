// What a person can try when an attempt, and with it a job, has failed.
#ifndef MILLRACE_SUPERVISOR_FAILURE_ADVICE_H_
#define MILLRACE_SUPERVISOR_FAILURE_ADVICE_H_

#include <string_view>

#include "proto/messages/task.pb.h"

namespace millrace::supervisor {

// Where the job ran: on this machine alone, or on a cluster's workers.
enum class RanOn { kThisMachine, kCluster };

// One clause, without a full stop. "": the failure's message says all that can
// be said.
std::string_view AdviceFor(proto::FailureCause cause, RanOn where);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_FAILURE_ADVICE_H_
