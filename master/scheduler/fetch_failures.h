// What becomes of a report that a map output could not be fetched.
#ifndef MILLRACE_MASTER_SCHEDULER_FETCH_FAILURES_H_
#define MILLRACE_MASTER_SCHEDULER_FETCH_FAILURES_H_

#include <string>

#include "master/scheduler/soft_state.h"

namespace millrace::master {

// `worker` reports; fetch_evidence.h says what counts.
void OnFetchFailure(SoftState& soft, SoftWorker& worker,
                    const proto::FetchFailure& failure);

// The output of the map's winner `uid` is lost, once.
void ProposeMapLost(SoftState& soft, SoftJob& job, uint32_t map,
                    const AttemptUid& uid, const std::string& message);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_FETCH_FAILURES_H_
