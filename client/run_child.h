// Runs another program to its end, without a shell, in bounded time and memory.
#ifndef MILLRACE_CLIENT_RUN_CHILD_H_
#define MILLRACE_CLIENT_RUN_CHILD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace millrace::client {

struct ChildCommand {
  std::string executable;              // A path; not looked up in PATH.
  std::vector<std::string> arguments;  // Without argv[0].
  absl::Duration timeout = absl::Seconds(10);
  size_t stdout_bytes_max = 1 << 20;   // More: killed.
  size_t stderr_bytes_kept = 4 << 10;  // More: read and dropped.
};

struct ChildResult {
  int exit_code = -1;  // -1: ended by a signal.
  int signal = 0;
  bool timed_out = false;
  bool too_long = false;
  std::string out;
  std::string err;

  bool Succeeded() const { return exit_code == 0 && !timed_out && !too_long; }
};

// Blocks. The child has /dev/null as stdin, no descriptor of ours beside stdout
// and stderr, no signal blocked or ignored, and a process group of its own,
// which is killed when it ends or has to end. An error: it could not be
// started.
absl::StatusOr<ChildResult> RunChild(const ChildCommand& command, Clock& clock);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_RUN_CHILD_H_
