// Records that a job was allowed to pass over, and that its replay meets again.
#ifndef MILLRACE_API_SRC_REPLAY_PASSED_OVER_H_
#define MILLRACE_API_SRC_REPLAY_PASSED_OVER_H_

#include <optional>

#include "proto/messages/task.pb.h"

namespace millrace::replay {

// Adds `record`, at which a map ended, to those that its next try passes over.
// False: it ends there for good, for there was no record, the job passes over
// no more than `most`, or the map was told of this one.
bool PassOver(const std::optional<proto::BadRecord>& record, uint32_t most,
              proto::MapTask* map);

}  // namespace millrace::replay

#endif  // MILLRACE_API_SRC_REPLAY_PASSED_OVER_H_
