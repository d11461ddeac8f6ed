// How long to wait before the next try.
#ifndef MILLRACE_RPC_BACKOFF_H_
#define MILLRACE_RPC_BACKOFF_H_

#include "absl/time/time.h"
#include "common/random.h"

namespace millrace::rpc {

struct BackoffOptions {
  absl::Duration initial = absl::Milliseconds(50);
  absl::Duration max = absl::Seconds(2);
  double factor = 2.0;
};

// Exponential with a cap, and jitter, so that those who failed together do not
// come back together: each wait is uniform in [half, whole) of its step.
// Thread-compatible.
class Backoff {
 public:
  // `random` is used at every call of Next() and must outlive this.
  Backoff(const BackoffOptions& options, Random& random)
      : options_(options), random_(random), step_(options.initial) {}

  absl::Duration Next() {
    const absl::Duration step = step_;
    Skip();
    const double part =
        static_cast<double>(random_.Uniform(1 << 20)) / (1 << 20);
    return step * (0.5 + part / 2);
  }
  // As if a wait had passed.
  void Skip() {
    step_ = step_ * options_.factor;
    if (step_ > options_.max) step_ = options_.max;
  }
  // After a success.
  void Reset() { step_ = options_.initial; }

 private:
  const BackoffOptions options_;
  Random& random_;
  absl::Duration step_;  // Of the next wait, before jitter.
};

}  // namespace millrace::rpc

#endif  // MILLRACE_RPC_BACKOFF_H_
