// When a node's core is ticked.
#ifndef MILLRACE_RAFT_NODE_TICKER_H_
#define MILLRACE_RAFT_NODE_TICKER_H_

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "common/random.h"

namespace millrace::raft {

// Ticks are half to one and a half of `tick` apart, at random. A core counts
// its timeouts in whole ticks: of members whose ticks fall together, one pair
// in ten would stand for election together, split the votes, and be as likely
// to do so again.
//
// Ticks that were missed, by a pause of the process say, are not made up for:
// what the others said meanwhile comes first.
//
// Thread-compatible. Times are of a monotonic clock.
class Ticker {
 public:
  // REQUIRES: tick > 0.
  Ticker(absl::Duration tick, uint64_t seed, absl::Duration now)
      : tick_(tick), random_(Random::Seeded(seed)), next_(now + Length()) {}

  // Whether one is due; then the next one is not before `now`.
  bool Take(absl::Duration now) {
    if (now < next_) return false;
    const absl::Duration length = Length();
    next_ += length;
    if (next_ <= now) next_ = now + length;
    return true;
  }
  absl::Duration next() const { return next_; }

 private:
  absl::Duration Length() {
    constexpr int64_t kParts = 1024;
    return tick_ *
           (kParts / 2 + static_cast<int64_t>(random_->Uniform(kParts))) /
           kParts;
  }

  const absl::Duration tick_;
  const std::unique_ptr<Random> random_;
  absl::Duration next_;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_NODE_TICKER_H_
