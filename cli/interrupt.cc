#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <thread>

#include "absl/time/time.h"
#include "cli/exit_code.h"
#include "common/clock.h"

namespace millrace::cli {
namespace {

// Who sends a signal to a process and to its group, as timeout(1) does, means
// one interrupt, not two.
constexpr absl::Duration kOneInterrupt = absl::Seconds(1);

}  // namespace

// Waits for the signals in a thread of its own, so that no handler runs in the
// middle of anything. SIGUSR1, sent by the destructor to the thread alone, ends
// it.
struct Interrupt::Watcher {
  explicit Watcher(client::StopSignal& stop) {
    sigemptyset(&signals);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
      sigaddset(&signals, number);
    }
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    thread = std::thread([this, &stop] {
      absl::Duration first = absl::InfiniteDuration();
      while (true) {
        int number = 0;
        sigwait(&signals, &number);
        if (number == SIGUSR1) return;
        const absl::Duration now = Clock::Real().Monotonic();
        if (first == absl::InfiniteDuration()) {
          first = now;
          stop.Stop();
        } else if (now - first >= kOneInterrupt) {
          _exit(kInterrupted);
        }
      }
    });
  }

  ~Watcher() {
    pthread_kill(thread.native_handle(), SIGUSR1);
    thread.join();
    // One that came in the last moment does what it always does.
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  sigset_t signals;
  sigset_t before;
  std::thread thread;
};

Interrupt::Interrupt() : watcher_(std::make_unique<Watcher>(signal_)) {}

Interrupt::~Interrupt() = default;

}  // namespace millrace::cli
