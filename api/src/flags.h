// The command line of a job program.
#ifndef MILLRACE_API_SRC_FLAGS_H_
#define MILLRACE_API_SRC_FLAGS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "millrace/internal/job_definition.h"

namespace millrace {

// Exit codes of programs (design section 10).
enum ExitCode : int {
  kExitOk = 0,
  kExitJobFailed = 1,
  kExitUsage = 2,
  kExitNotFound = 4,
  kExitRefused = 5,
  kExitInterrupted = 130,
};

struct JobFlags {
  std::vector<std::string> inputs;
  std::string output;
  uint32_t reducers = 0;            // 0: from the input's size.
  uint64_t split_bytes = 0;         // 0: from the input's size.
  uint64_t memory_bytes = 0;        // Budget of one attempt.
  uint64_t memory_limit_bytes = 0;  // Resident memory at which it is killed.
  int slots = 0;
  absl::Duration task_timeout;
  int max_attempts = 4;
  uint64_t log_limit_bytes = 0;
  std::string codec = "none";
  std::string scratch;  // Empty: below the staging directory.
  std::string keep_logs;
  uint64_t rows = 0;
  uint32_t sequence_splits = 0;
  uint64_t seed = 0;
  bool in_process = false;
  bool fresh_process = false;
  bool paranoid = false;
  bool quiet = false;
  // Name -> path.
  std::vector<std::pair<std::string, std::string>> side_files;
  std::vector<std::string> arguments;  // Behind "--".
};

struct ParsedFlags {
  bool run = false;       // False: `exit_code` is what the process ends with.
  bool describe = false;  // --describe was given.
  int exit_code = kExitOk;
  JobFlags flags;
};

// Parses and checks; prints help to stdout and errors to stderr, one line that
// says what is wrong and what to try.
ParsedFlags ParseJobFlags(int argc, char** argv,
                          const internal::JobDefinition& job);

}  // namespace millrace

#endif  // MILLRACE_API_SRC_FLAGS_H_
