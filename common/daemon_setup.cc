#include "common/daemon_setup.h"

#include <malloc.h>

#include "absl/synchronization/mutex.h"

namespace millrace {
namespace {

constexpr int kArenas = 2;

}  // namespace

void SetUpDaemon() {
  mallopt(M_ARENA_MAX, kArenas);
#ifdef NDEBUG
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
}

}  // namespace millrace
