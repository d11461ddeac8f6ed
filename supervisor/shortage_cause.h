// What a shortage is called where attempts fail.
#ifndef MILLRACE_SUPERVISOR_SHORTAGE_CAUSE_H_
#define MILLRACE_SUPERVISOR_SHORTAGE_CAUSE_H_

#include "absl/status/status.h"
#include "common/errno_status.h"
#include "proto/messages/task.pb.h"

namespace millrace::supervisor {

// The cause of a status that says that something has run out, `otherwise` for
// all others.
inline proto::FailureCause CauseOf(const absl::Status& status,
                                   proto::FailureCause otherwise) {
  switch (ShortageOf(status)) {
    case Shortage::kSpace:
      return proto::DISK_FULL;
    case Shortage::kDescriptors:
      return proto::NO_DESCRIPTORS;
    case Shortage::kMemory:
      return proto::NO_MEMORY;
    case Shortage::kNone:
      break;
  }
  return otherwise;
}

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_SHORTAGE_CAUSE_H_
