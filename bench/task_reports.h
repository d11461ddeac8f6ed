#ifndef MILLRACE_BENCH_TASK_REPORTS_H_
#define MILLRACE_BENCH_TASK_REPORTS_H_

// What the attempts of a large job report when they are done, as real ones do
// by and large: for benches of the master.

#include <cstdint>

#include "common/random.h"
#include "proto/messages/task.pb.h"

namespace millrace::master {

// Of a map with 16 counters.
proto::TaskDone MapReport(uint64_t records, uint32_t map, Random& random);

}  // namespace millrace::master

#endif  // MILLRACE_BENCH_TASK_REPORTS_H_
