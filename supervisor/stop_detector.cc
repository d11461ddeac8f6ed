#include "supervisor/stop_detector.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "common/strings.h"
#include "supervisor/process_tree.h"

namespace millrace::supervisor {
namespace {

constexpr char kStopped = 'T';  // 't' under a debugger.

// How often threads of the process have had a processor; 0: not to be told. The
// third number of schedstat, as the kernel's scheduler/sched-stats says.
uint64_t TurnsOf(pid_t pid) {
  uint64_t turns = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator
           thread(Cat("/proc/", pid, "/task"), error),
       end;
       !error && thread != end; thread.increment(error)) {
    std::ifstream file(thread->path() / "schedstat");
    uint64_t ran_ns = 0;
    uint64_t waited_ns = 0;
    uint64_t of_thread = 0;
    if (file >> ran_ns >> waited_ns >> of_thread) turns += of_thread;
  }
  return turns;
}

}  // namespace

int StopDetector::Look() {
  const std::optional<ProcessEntry> process = ReadProcess(pid_);
  const bool stopped = process.has_value() && process->state == kStopped;
  const uint64_t turns = stopped ? TurnsOf(pid_) : 0;
  if (turns == 0 || turns != turns_) looks_ = 0;
  turns_ = turns;
  return turns == 0 ? 0 : ++looks_;
}

}  // namespace millrace::supervisor
