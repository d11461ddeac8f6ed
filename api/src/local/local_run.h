// A whole job on this machine, from the flags to the exit code.
#ifndef MILLRACE_API_SRC_LOCAL_LOCAL_RUN_H_
#define MILLRACE_API_SRC_LOCAL_LOCAL_RUN_H_

#include <string>

#include "api/src/flags.h"
#include "millrace/internal/job_definition.h"

namespace millrace::local {

// Runs the job and returns the process's exit code (flags.h). Prints progress,
// summary and errors to stderr. On success the output directory is there,
// complete; on any failure it is not, and nothing else is left behind either.
// `program` is argv[0]. Call once per process, from its only thread.
int RunLocally(const std::string& program, const internal::JobDefinition& job,
               const JobFlags& flags);

}  // namespace millrace::local

#endif  // MILLRACE_API_SRC_LOCAL_LOCAL_RUN_H_
