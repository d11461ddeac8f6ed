// Tells a process that is stopped from one that is slow.
#ifndef MILLRACE_SUPERVISOR_STOP_DETECTOR_H_
#define MILLRACE_SUPERVISOR_STOP_DETECTOR_H_

#include <sys/types.h>

#include <cstdint>

namespace millrace::supervisor {

// Looks at another process from time to time, at moments that the caller
// chooses: a machine that stands still lets nobody look, so its pauses are not
// taken for those of the process.
//
// One that is stopped and continued in turns, as throttles do, may be found
// stopped in each look; but its threads have had the processor in between, and
// that counts (/proc/<pid>/task/<tid>/schedstat). A process under a debugger is
// not taken for a stopped one. Thread-compatible; calls no allocator, as
// ProcessTable.
class StopDetector {
 public:
  explicit StopDetector(pid_t pid) : pid_(pid) {}

  // False: this kernel does not count the turns of threads on a processor
  // (schedstat), and every process is one that is not stopped.
  static bool CanTell();

  // In how many looks in a row, this one included, it was stopped (as by
  // SIGSTOP), without having run since the first of them. 0: it is not stopped,
  // or cannot be looked at.
  int Look();

 private:
  const pid_t pid_;
  uint64_t turns_ = 0;  // On a processor, all its threads, at the last look.
  int looks_ = 0;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_STOP_DETECTOR_H_
