#ifndef MILLRACE_COMMON_PACE_H_
#define MILLRACE_COMMON_PACE_H_

#include <algorithm>

#include "absl/time/time.h"

namespace millrace {

// When to do again what nobody waits for but others are held up by: so seldom
// that it takes a thousandth of the time, however long it takes, and within
// kLongestPause, since what once took long (the process was stopped meanwhile)
// may not the next time. Times are a Clock's monotonic ones. One thread at a
// time.
class Pace {
 public:
  static constexpr int kOnceIn = 1000;
  static constexpr absl::Duration kLongestPause = absl::Minutes(5);

  bool IsDue(absl::Duration now) const { return now >= next_; }

  void Done(absl::Duration from, absl::Duration to) {
    next_ = to + std::min(kOnceIn * (to - from), kLongestPause);
  }

 private:
  absl::Duration next_ = -absl::InfiniteDuration();
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_PACE_H_
