#include "bench/process_use.h"

#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace millrace {

double ResidentMiB() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) *
         static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

absl::Duration ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);  // tidy: clock, because no
                                                  // Clock has this one.
  return absl::DurationFromTimespec(time);
}

}  // namespace millrace
