// Tells calls, and waits between them, to end early: the process shuts down or
// the user has interrupted.
#ifndef MILLRACE_RPC_STOP_SIGNAL_H_
#define MILLRACE_RPC_STOP_SIGNAL_H_

#include <cstdint>
#include <functional>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace millrace::rpc {

// Thread-safe. Not for signal handlers.
class StopSignal {
 public:
  virtual ~StopSignal() = default;

  // For ever: calls under way are cancelled, later ones are not begun.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);
  bool stopped() const ABSL_LOCKS_EXCLUDED(mu_);

  // Waits; true: it was stopped before or meanwhile. Virtual, so that a test's
  // waits take no time.
  virtual bool WaitFor(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mu_);

  // Runs `on_stop` at Stop(), or here if it has been stopped; it must be quick
  // and must not call this object. When the guard is gone it does not run.
  class Guard {
   public:
    Guard(StopSignal& signal, std::function<void()> on_stop);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    StopSignal& signal_;
    uint64_t id_;
  };

 private:
  mutable absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, std::function<void()>> on_stop_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_STOP_SIGNAL_H_
