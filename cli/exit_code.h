// What the programs' exit codes mean: part of the command line's contract.
#ifndef MILLRACE_CLI_EXIT_CODE_H_
#define MILLRACE_CLI_EXIT_CODE_H_

#include "absl/status/status.h"

namespace millrace::cli {

enum ExitCode : int {
  kOk = 0,
  kFailed = 1,       // The job failed; the output is damaged.
  kUsage = 2,        // The command line is wrong.
  kUnreachable = 3,  // No master answers.
  kNotFound = 4,     // What the command line names is not there.
  kRefused = 5,      // It is there, and may not be used.
  kKilled = 6,       // The job was killed.
  kTimeout = 124,    // As of timeout(1).
  kInterrupted = 130,
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

// Of a call to a cluster.
inline ExitCode ClusterExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kUnreachable;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
      return kRefused;
    case absl::StatusCode::kCancelled:
      return kInterrupted;
    default:
      return ExitCodeOf(status);
  }
}

}  // namespace millrace::cli

#endif  // MILLRACE_CLI_EXIT_CODE_H_
