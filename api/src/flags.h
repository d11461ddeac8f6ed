// The command line of a job program.
#ifndef MILLRACE_API_SRC_FLAGS_H_
#define MILLRACE_API_SRC_FLAGS_H_

#include <string>
#include <vector>

#include "common/job_flags.h"
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

struct JobFlags : JobSettings {
  int slots = 0;
  std::string scratch;  // Empty: below the staging directory.
  std::string keep_logs;
  std::string keep_bundle;
  bool in_process = false;
  bool quiet = false;
  std::vector<std::string> arguments;  // Behind "--".
};

struct ParsedFlags {
  bool run = false;  // False: `exit_code` is what the process ends with.
  // --describe was given, and the program's arguments, if any, are good.
  bool describe = false;
  int exit_code = kExitOk;
  JobFlags flags;
};

// Parses and checks; prints help to stdout and errors to stderr, one line that
// says what is wrong and what to try.
ParsedFlags ParseJobFlags(int argc, char** argv,
                          const internal::JobDefinition& job);

}  // namespace millrace

#endif  // MILLRACE_API_SRC_FLAGS_H_
