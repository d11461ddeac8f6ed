#include "tests/chaos/jobs/pace.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace millrace::chaosjobs {
namespace {

// Dice with so many sides.
constexpr int kSides = 15;

constexpr std::string_view kPoison = "key7 ";

// As a bug would; a signal that a process sends itself is no fault of a record.
[[gnu::noinline]] void DieOfPoison() {
  *reinterpret_cast<volatile int*>(0xdead0) = 1;
}

}  // namespace

void Pace::Setup(const Context& context, int records, bool map) {
  kind_ = context.arguments().at(0);
  misbehaviour_ = context.arguments().at(1);
  ms_ = std::stoi(context.arguments().at(2));
  records_ = std::max(1, records);
  map_ = map;
  task_ = context.task_index();
  dice_ =
      std::stoi(std::string(context.attempt_uid().substr(0, 6)), nullptr, 16) %
      kSides;
}

void Pace::Step() {
  ++steps_;
  if (steps_ == records_ / 2) {
    const bool crash = (misbehaviour_ == "crash" && dice_ % 3 == 0) ||
                       (misbehaviour_ == "fail" && map_ && task_ == 1);
    if (crash) kill(getpid(), SIGSEGV);
    while (misbehaviour_ == "hang" && dice_ % 5 == 0) pause();
  }
  // A whole millisecond at a time.
  const int due_ms =
      static_cast<int>(int64_t{ms_} * std::min(steps_, records_) / records_);
  if (due_ms > waited_ms_) {
    poll(nullptr, 0, due_ms - waited_ms_);
    waited_ms_ = due_ms;
  }
}

void Pace::Step(std::string_view record) {
  if (misbehaviour_ == "poison" &&
      record.substr(0, kPoison.size()) == kPoison) {
    DieOfPoison();
  }
  Step();
}

}  // namespace millrace::chaosjobs
