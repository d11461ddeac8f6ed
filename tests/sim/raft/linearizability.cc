#include "tests/sim/raft/linearizability.h"

#include <algorithm>
#include <unordered_set>

#include "common/logging.h"

namespace millrace::raftsim {
namespace {

// Two independent hashes of a number; a set of operations is the exclusive or
// of theirs, so that adding and removing one is a step.
struct Hash128 {
  uint64_t a = 0;
  uint64_t b = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
  Hash128& operator^=(const Hash128& o) {
    a ^= o.a;
    b ^= o.b;
    return *this;
  }
};

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

Hash128 HashOf(uint64_t number) {
  return {Mix(number), Mix(~number ^ 0x5851f42d4c957f2du)};
}

struct HashHash {
  size_t operator()(const Hash128& h) const { return h.a; }
};

class Search {
 public:
  Search(const std::vector<Operation>& history,
         const Specification& specification)
      : history_(history), specification_(specification) {
    struct Moment {
      uint64_t time;
      size_t event;
    };
    std::vector<Moment> moments;
    for (size_t i = 0; i < history.size(); ++i) {
      moments.push_back({history[i].called, CallOf(i)});
      if (history[i].answered == Operation::kNever) continue;
      CHECK_LT(history[i].called, history[i].answered);
      moments.push_back({history[i].answered, AnswerOf(i)});
      ++open_;
    }
    std::sort(moments.begin(), moments.end(),
              [](const Moment& x, const Moment& y) { return x.time < y.time; });
    next_.resize(2 * history.size() + 1);
    previous_.resize(2 * history.size() + 1);
    size_t last = head();
    for (const Moment& moment : moments) {
      next_[last] = moment.event;
      previous_[moment.event] = last;
      last = moment.event;
    }
    next_[last] = kEnd;
  }

  LinearizabilityResult Run(uint64_t steps_max) {
    size_t event = next_[head()];
    while (open_ > 0) {
      if (++result_.steps > steps_max) {
        result_.verdict = Verdict::kGaveUp;
        return result_;
      }
      // An answer comes before the end, since some operation is open.
      CHECK_NE(event, kEnd);
      if (IsCall(event) && Place(event / 2)) {
        event = next_[head()];
        continue;
      }
      if (IsCall(event)) {
        event = next_[event];
        continue;
      }
      // What has been answered here must be placed before this moment.
      if (placed_.size() >= longest_) {
        longest_ = placed_.size();
        result_.stuck_at = event / 2;
      }
      if (placed_.empty()) {
        result_.verdict = Verdict::kNotLinearizable;
        return result_;
      }
      event = next_[CallOf(TakeBack())];
    }
    return result_;
  }

 private:
  struct Placed {
    size_t operation;
    uint64_t state_before;
  };

  static constexpr size_t kEnd = SIZE_MAX;
  static size_t CallOf(size_t operation) { return 2 * operation; }
  static size_t AnswerOf(size_t operation) { return 2 * operation + 1; }
  static bool IsCall(size_t event) { return event % 2 == 0; }
  size_t head() const { return 2 * history_.size(); }
  bool Known(size_t operation) const {
    return history_[operation].answered != Operation::kNever;
  }

  // As the next one in the order, unless its answer would be wrong there or
  // the same operations have led to the same state before.
  bool Place(size_t operation) {
    uint64_t state = state_;
    if (!specification_(history_[operation], &state)) return false;
    Hash128 configuration = set_;
    configuration ^= HashOf(operation);
    Hash128 key = configuration;
    key ^= HashOf(Mix(state) | 1);
    key.b += state;
    if (!seen_.insert(key).second) return false;
    placed_.push_back({operation, state_});
    state_ = state;
    set_ = configuration;
    Unlink(CallOf(operation));
    if (Known(operation)) {
      Unlink(AnswerOf(operation));
      --open_;
    }
    return true;
  }

  size_t TakeBack() {
    const Placed last = placed_.back();
    placed_.pop_back();
    state_ = last.state_before;
    set_ ^= HashOf(last.operation);
    if (Known(last.operation)) {
      Relink(AnswerOf(last.operation));
      ++open_;
    }
    Relink(CallOf(last.operation));
    return last.operation;
  }

  void Unlink(size_t event) {
    next_[previous_[event]] = next_[event];
    if (next_[event] != kEnd) previous_[next_[event]] = previous_[event];
  }
  // In the opposite order of Unlink.
  void Relink(size_t event) {
    next_[previous_[event]] = event;
    if (next_[event] != kEnd) previous_[next_[event]] = event;
  }

  const std::vector<Operation>& history_;
  const Specification& specification_;
  LinearizabilityResult result_;
  // Calls and answers in order of time, without those of placed operations.
  std::vector<size_t> next_;
  std::vector<size_t> previous_;
  size_t open_ = 0;  // Operations with an answer that are not placed.
  std::vector<Placed> placed_;
  uint64_t state_ = 0;
  Hash128 set_;  // Of what is placed.
  std::unordered_set<Hash128, HashHash> seen_;
  size_t longest_ = 0;
};

}  // namespace

LinearizabilityResult CheckLinearizable(const std::vector<Operation>& history,
                                        const Specification& specification,
                                        uint64_t steps_max) {
  return Search(history, specification).Run(steps_max);
}

}  // namespace millrace::raftsim
