#include "common/daemon_setup.h"

#include <malloc.h>
#include <signal.h>
#include <time.h>

#include "absl/synchronization/mutex.h"
#include "common/clock.h"
#include "common/pace.h"

namespace millrace {
namespace {

constexpr int kArenas = 1;
// Blocks from here on are mapped one by one, and unmapped when they are freed.
// Above the longest that the daemons pass around: a piece of bulk data.
constexpr int kMapFromBytes = 4 << 20;
// What lies free at the end of the arena goes back when it is more than the
// first, all but the second.
constexpr int kTrimFromBytes = 16 << 20;
constexpr int kKeepBytes = 8 << 20;

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    sigaddset(&signals, signal);
  }
  return signals;
}

}  // namespace

void SetUpMalloc() {
  mallopt(M_ARENA_MAX, kArenas);
  mallopt(M_MMAP_THRESHOLD, kMapFromBytes);
  mallopt(M_TRIM_THRESHOLD, kTrimFromBytes);
  mallopt(M_TOP_PAD, kKeepBytes);
}

void SetUpDaemon() {
  const sigset_t signals = EndSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  SetUpMalloc();
#ifdef NDEBUG
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
}

int AwaitEndSignal(const std::function<void()>& housekeeping,
                   absl::Duration interval) {
  const sigset_t signals = EndSignals();
  const timespec wait = absl::ToTimespec(interval);
  Clock& clock = Clock::Real();
  Pace trims;
  while (true) {
    const int number = sigtimedwait(&signals, nullptr, &wait);
    if (number > 0) return number;
    if (housekeeping) housekeeping();
    const absl::Duration begin = clock.Monotonic();
    if (!trims.IsDue(begin)) continue;
    malloc_trim(0);
    trims.Done(begin, clock.Monotonic());
  }
}

}  // namespace millrace
