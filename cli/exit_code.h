// What the programs' exit codes mean: part of the command line's contract.
#ifndef MILLRACE_CLI_EXIT_CODE_H_
#define MILLRACE_CLI_EXIT_CODE_H_

#include "absl/status/status.h"

namespace millrace::cli {

enum ExitCode : int {
  kOk = 0,
  kFailed = 1,    // The thing asked about is bad: a damaged output.
  kUsage = 2,     // The command line is wrong.
  kNotFound = 4,  // What the command line names is not there.
  kRefused = 5,   // It is there, and may not be used.
};

inline ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kOk;
    case absl::StatusCode::kNotFound:
      return kNotFound;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kAlreadyExists:
      return kRefused;
    default:
      return kFailed;
  }
}

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_EXIT_CODE_H_
