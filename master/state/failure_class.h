// Whose fault a failed attempt is.
#ifndef MILLRACE_MASTER_STATE_FAILURE_CLASS_H_
#define MILLRACE_MASTER_STATE_FAILURE_CLASS_H_

#include "proto/messages/task.pb.h"

namespace millrace::master {

// True: nobody's code's fault, another worker or another moment may do better;
// limited by kInfrastructureFailuresMax. False: counts against the job's
// max_attempts.
inline bool IsInfrastructure(proto::FailureCause cause) {
  switch (cause) {
    case proto::DISK_FULL:
    case proto::NO_DESCRIPTORS:
    case proto::NO_MEMORY:
    case proto::MAP_OUTPUT_LOST:
    case proto::SPAWN_FAILED:
    case proto::WORKER_LOST:
    case proto::COMMIT_DATA_LOST:  // Of a check: a part file has gone bad.
    case proto::INFRASTRUCTURE:
    case proto::BLOB_UNAVAILABLE:
    case proto::CANCELLED:
      return true;
    default:
      return false;
  }
}

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_FAILURE_CLASS_H_
