// The only file that includes glog: LOG(INFO), CHECK(), VLOG().
//
// The library was archived upstream in 2025 and its macros share names with
// Abseil's newer logging, so the choice has to stay replaceable in one place.
#ifndef MILLRACE_COMMON_LOGGING_H_
#define MILLRACE_COMMON_LOGGING_H_

#include <glog/logging.h>

namespace millrace {

// Sends logs to stderr at `min_severity` (0 INFO, 1 WARNING, 2 ERROR) and up,
// and to no file. Called once from main before threads start.
void InitLogging(const char* program, int min_severity);

}  // namespace millrace

#endif  // MILLRACE_COMMON_LOGGING_H_
