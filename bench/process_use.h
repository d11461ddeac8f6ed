#ifndef MILLRACE_BENCH_PROCESS_USE_H_
#define MILLRACE_BENCH_PROCESS_USE_H_

#include "absl/time/time.h"

namespace millrace {

// Of this process.
double ResidentMiB();
// Time that the calling thread has had on a core: what others run meanwhile is
// not in it.
absl::Duration ThreadTime();

}  // namespace millrace

#endif  // MILLRACE_BENCH_PROCESS_USE_H_
