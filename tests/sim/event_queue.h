// Simulated time: things happen when it reaches them, in the order of their
// times, and of their making where those are equal. One seed, one history.
#ifndef MILLRACE_TESTS_SIM_EVENT_QUEUE_H_
#define MILLRACE_TESTS_SIM_EVENT_QUEUE_H_

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace millrace::sim {

class EventQueue {
 public:
  absl::Duration now() const { return now_; }

  // REQUIRES: when >= now().
  void At(absl::Duration when, std::function<void()> what) {
    heap_.push({when, next_++, std::move(what)});
  }
  void After(absl::Duration wait, std::function<void()> what) {
    At(now_ + wait, std::move(what));
  }

  bool empty() const { return heap_.empty(); }
  // Time moves on to the next thing, which then happens. REQUIRES: !empty().
  void RunNext() {
    // The function is moved out before it runs, since it may add others.
    Item item = std::move(const_cast<Item&>(heap_.top()));
    heap_.pop();
    now_ = item.when;
    item.what();
  }

 private:
  struct Item {
    absl::Duration when;
    uint64_t order;
    std::function<void()> what;
    friend bool operator<(const Item& a, const Item& b) {
      return a.when != b.when ? a.when > b.when : a.order > b.order;
    }
  };

  absl::Duration now_;
  uint64_t next_ = 0;
  std::priority_queue<Item> heap_;
};

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_EVENT_QUEUE_H_
