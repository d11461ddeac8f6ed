#include "common/lock_checks.h"

#include "absl/synchronization/mutex.h"

namespace millrace {

void LeaveLockChecksToDebugBuilds() {
#ifdef NDEBUG
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
}

}  // namespace millrace
