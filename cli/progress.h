// What a person sees while a job of a cluster runs: one line that is rewritten
// on a terminal, a plain line per change otherwise.
#ifndef MILLRACE_CLI_PROGRESS_H_
#define MILLRACE_CLI_PROGRESS_H_

#include <cstdint>
#include <cstdio>
#include <deque>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/messages/client.pb.h"

namespace millrace::cli {

// Whether lines on this descriptor can be rewritten: it is a terminal that can,
// and NO_COLOR is not set.
bool IsLiveTerminal(int fd);

// Input bytes per second over the last seconds, from what is seen here: a
// watcher may come late and leave early. Thread-compatible.
class RateMeter {
 public:
  void Add(absl::Duration time, uint64_t bytes);
  // nullopt: too little has been seen.
  std::optional<double> BytesPerSecond() const;

 private:
  struct Sample {
    absl::Duration time;
    uint64_t bytes;
  };
  std::deque<Sample> samples_;  // Oldest first, of the last kWindow.
};

// "map 3/8  412 MiB of 1.2 GiB  shuffle 1.0 MiB of 3.0 GiB  reduce 0/10  240
// MiB/s  maps done in about 4 s", without a newline.
std::string ProgressLine(const proto::JobStatus& status,
                         std::optional<double> bytes_per_second);

// Confined to one thread.
class ProgressDisplay {
 public:
  // Writes to `out`, each line with "<prefix>: " in front. `live`: `out` is a
  // terminal that can rewrite a line.
  ProgressDisplay(std::FILE* out, bool live, std::string prefix, Clock& clock);
  // Leaves no half line behind.
  ~ProgressDisplay() { Clear(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  // Shows the status if it is time: at most 5 times a second on a terminal;
  // otherwise when the state or a tenth of a phase has changed, at most once a
  // second and not in the first one, except for what the job waits for. Not of
  // a job that has ended.
  void Update(const proto::JobStatus& status);
  // Removes the live line, so that something else can be printed.
  void Clear();

 private:
  void ShowLive(const std::string& line);
  void ShowPlain(const proto::JobStatus& status, const std::string& line,
                 absl::Duration time);

  std::FILE* const out_;
  const bool live_;
  const std::string prefix_;
  Clock& clock_;
  RateMeter rate_;
  absl::Duration began_ = absl::InfiniteDuration();
  absl::Duration shown_ = -absl::InfiniteDuration();
  bool line_open_ = false;
  std::string last_step_;  // What a plain line is about.
};

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_PROGRESS_H_
