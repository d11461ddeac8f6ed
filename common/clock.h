// Time as an argument: cores and edges take a Clock, so that simulation decides
// what time it is. absl::Now() is called in real_clock.cc alone.
#ifndef MILLRACE_COMMON_CLOCK_H_
#define MILLRACE_COMMON_CLOCK_H_

#include "absl/time/time.h"

namespace millrace {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall time, for people: it may jump. Never compared with another machine's.
  virtual absl::Time Now() = 0;

  // Time since an arbitrary fixed point; never goes back. For elapsed time and
  // timeouts.
  virtual absl::Duration Monotonic() = 0;

  // The operating system's clock; lives as long as the process.
  static Clock& Real();
};

// Stands still until told otherwise.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(absl::Time now = absl::UnixEpoch()) : now_(now) {}
  absl::Time Now() override { return now_; }
  absl::Duration Monotonic() override { return now_ - absl::UnixEpoch(); }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Time now_;
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_CLOCK_H_
