#include "supervisor/stop_detector.h"

#include <unistd.h>

#include <optional>

#include "supervisor/process_tree.h"

namespace millrace::supervisor {
namespace {

constexpr char kStopped = 'T';  // 't' under a debugger.

}  // namespace

bool StopDetector::CanTell() { return TurnsOf(getpid()) > 0; }

int StopDetector::Look() {
  const std::optional<ProcessEntry> process = ReadProcess(pid_);
  const bool stopped = process.has_value() && process->state == kStopped;
  const uint64_t turns = stopped ? TurnsOf(pid_) : 0;
  if (turns == 0 || turns != turns_) looks_ = 0;
  turns_ = turns;
  return turns == 0 ? 0 : ++looks_;
}

}  // namespace millrace::supervisor
