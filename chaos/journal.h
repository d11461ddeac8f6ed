// What was done to whom, with which effect: a line each in the log, for people,
// and in DIR/chaos.jsonl:
//
//   {"at":12.345,"kind":"kill-worker","victim":"worker-2","for":1.52,
//    "effect":true,"what":"pid 4711 ended, started again as pid 4714"}
//
// `at` are seconds since the faults began, when the fault did. A process that
// ends unasked has the kind "ended-by-itself". Every start of chaos begins with
// a line {"seed":7,"spec":"..."}.
#ifndef MILLRACE_CHAOS_JOURNAL_H_
#define MILLRACE_CHAOS_JOURNAL_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "chaos/nemesis.h"
#include "supervisor/unique_fd.h"

namespace millrace::chaos {

// Thread-compatible.
class Journal {
 public:
  absl::Status Open(const std::string& directory);

  void Begin(std::string_view spec, uint64_t seed);
  void Add(absl::Duration at, std::string_view kind, std::string_view victim,
           absl::Duration length, const Effect& effect);

 private:
  void Write(const std::string& line);

  supervisor::UniqueFd file_;
};

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_JOURNAL_H_
