// The entry point of a job's program.
#ifndef MILLRACE_MAIN_H_
#define MILLRACE_MAIN_H_

#include "millrace/internal/job_definition.h"

namespace millrace {

// Runs the job and returns the program's exit code:
//
//   int main(int argc, char** argv) {
//     return millrace::Main(argc, argv,
//                           millrace::Job("grep").Map<FindLines>());
//   }
//
// `job` is what the chain of millrace/job.h makes. The command line decides
// what "runs" means: here with one process per core (the default),
// `--in-process` in one thread for a debugger, `--describe` for tools, or as
// one task of a run that another process supervises. `--help` lists the flags;
// what stands behind
// "--" is the program's own and reaches user code as Context::arguments().
//
// Call it first and last in main(): code before it runs in every task process,
// too.
int Main(int argc, char** argv, internal::JobDefinition job);

}  // namespace millrace

#endif  // MILLRACE_MAIN_H_
