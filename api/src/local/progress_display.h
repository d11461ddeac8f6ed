// What a person sees while a job runs: one line that is rewritten on a
// terminal, a plain line per change otherwise.
#ifndef MILLRACE_API_SRC_LOCAL_PROGRESS_DISPLAY_H_
#define MILLRACE_API_SRC_LOCAL_PROGRESS_DISPLAY_H_

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/time/time.h"
#include "api/src/local/local_job_core.h"
#include "common/clock.h"

namespace millrace::local {

struct ProgressSnapshot {
  bool planned = false;
  uint64_t input_bytes = 0;
  uint64_t input_bytes_done = 0;
  TaskCounts maps;
  TaskCounts reduces;
  uint64_t failed_attempts = 0;
};

// "map 3/8  reduce 0/10  412 MiB of 1.2 GiB  240 MiB/s  about 4 s left".
// `elapsed` is the time since the maps began.
std::string ProgressLine(const ProgressSnapshot& now, absl::Duration elapsed);

// Confined to one thread.
class ProgressDisplay {
 public:
  // Writes to `out`, each line with "<program>: " in front. `live`: `out` is a
  // terminal that can rewrite a line.
  ProgressDisplay(std::FILE* out, bool live, std::string program, Clock& clock);
  // Leaves no half line behind.
  ~ProgressDisplay() { Clear(); }

  // Shows the snapshot if it is time: at most 5 times a second on a terminal;
  // otherwise when a phase or a tenth of it is done, at most once a second.
  void Update(const ProgressSnapshot& now);
  // Removes the live line, so that something else can be printed.
  void Clear();

 private:
  std::FILE* const out_;
  const bool live_;
  const std::string program_;
  Clock& clock_;
  absl::Duration began_ = absl::InfiniteDuration();
  absl::Duration shown_ = -absl::InfiniteDuration();
  bool line_open_ = false;
  int last_step_ = -1;
};

}  // namespace millrace::local

#endif  // MILLRACE_API_SRC_LOCAL_PROGRESS_DISPLAY_H_
