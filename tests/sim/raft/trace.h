// What happened, in order: a hash of all of it, by which two runs are compared,
// and the last events, for whoever has to understand a failure.
#ifndef MILLRACE_TESTS_SIM_RAFT_TRACE_H_
#define MILLRACE_TESTS_SIM_RAFT_TRACE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "tests/sim/event_queue.h"

namespace millrace::raftsim {

// Thread-compatible. About 20 ns per event unless verbose.
class Trace {
 public:
  struct Field {
    const char* name;
    uint64_t value;
  };

  // `queue` tells the time and outlives this. `verbose`: every event is
  // printed to stdout as it happens.
  Trace(const sim::EventQueue& queue, bool verbose)
      : queue_(queue), verbose_(verbose) {}

  // `what` and the names are literals. `machine`: whose event it is; 0: the
  // world's.
  void Note(const char* what, int machine,
            std::initializer_list<Field> fields = {});

  bool verbose() const { return verbose_; }
  // Only shown, not hashed; for what is too long to build unless somebody
  // looks.
  void Say(std::string_view text) const;

  uint64_t hash() const { return hash_; }
  uint64_t events() const { return events_; }
  // The last events, one a line, oldest first.
  std::vector<std::string> Last() const;

 private:
  static constexpr size_t kKept = 300;
  static constexpr size_t kFieldsMax = 6;

  struct Event {
    absl::Duration at;
    const char* what = nullptr;
    int machine = 0;
    size_t fields = 0;
    std::array<Field, kFieldsMax> field;
  };

  static std::string Line(const Event& event);

  const sim::EventQueue& queue_;
  const bool verbose_;
  uint64_t hash_ = 0;
  uint64_t events_ = 0;
  std::array<Event, kKept> ring_;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_TRACE_H_
