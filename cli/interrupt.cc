#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <thread>

#include "cli/exit_code.h"

namespace millrace::cli {

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
      while (true) {
        int number = 0;
        sigwait(&signals, &number);
        if (number == SIGUSR1) return;
        if (stop.stopped()) _exit(kInterrupted);
        stop.Stop();
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
