// Task mode: the job binary as a process of a supervisor.
#ifndef MILLRACE_API_SRC_TASK_TASK_MODE_H_
#define MILLRACE_API_SRC_TASK_TASK_MODE_H_

#include <string>

#include "millrace/internal/job_definition.h"

namespace millrace::task {

// argv[1] of a process started in task mode.
inline constexpr char kTaskModeArgument[] = "--millrace-task";

// Serves the supervisor behind the inherited descriptors until it closes the
// socket. `bundle`: the directory whose copies stand in for the input files, or
// empty (api/src/replay/bundle.h). Returns the process's exit status: 0, or 1
// when the descriptors are not those of a supervisor.
int RunTaskMode(const internal::JobDefinition& job, const std::string& bundle);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_TASK_MODE_H_
