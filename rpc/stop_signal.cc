#include "rpc/stop_signal.h"

#include <utility>

namespace millrace::rpc {

void StopSignal::Stop() {
  const absl::MutexLock lock(&mu_);
  if (stopped_) return;
  stopped_ = true;
  for (const auto& [id, on_stop] : on_stop_) on_stop();
}

bool StopSignal::stopped() const {
  const absl::MutexLock lock(&mu_);
  return stopped_;
}

bool StopSignal::WaitFor(absl::Duration duration) {
  const absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&stopped_), duration);
}

StopSignal::Guard::Guard(StopSignal& signal, std::function<void()> on_stop)
    : signal_(signal) {
  const absl::MutexLock lock(&signal_.mu_);
  id_ = signal_.next_id_++;
  if (signal_.stopped_) {
    on_stop();
  } else {
    signal_.on_stop_.emplace(id_, std::move(on_stop));
  }
}

// Takes the lock, so that a call under way has ended when this returns.
StopSignal::Guard::~Guard() {
  const absl::MutexLock lock(&signal_.mu_);
  signal_.on_stop_.erase(id_);
}

}  // namespace millrace::rpc
