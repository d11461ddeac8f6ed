#include "common/daemon_setup.h"

#include <malloc.h>
#include <signal.h>
#include <time.h>

#include "absl/synchronization/mutex.h"

namespace millrace {
namespace {

constexpr int kArenas = 2;

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  return signals;
}

}  // namespace

void SetUpDaemon() {
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  mallopt(M_ARENA_MAX, kArenas);
#ifdef NDEBUG
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
}

int AwaitEndSignal(absl::Duration give_back) {
  const sigset_t signals = EndSignals();
  const timespec interval = absl::ToTimespec(give_back);
  while (true) {
    const int number = sigtimedwait(&signals, nullptr, &interval);
    if (number > 0) return number;
    malloc_trim(0);  // Nobody has asked.
  }
}

}  // namespace millrace
