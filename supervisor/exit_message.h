// What people read about the end of a task process: one line.
#ifndef MILLRACE_SUPERVISOR_EXIT_MESSAGE_H_
#define MILLRACE_SUPERVISOR_EXIT_MESSAGE_H_

#include <string>

#include "proto/messages/task.pb.h"
#include "supervisor/status_page.h"

namespace millrace::supervisor {

// Where the task is, to be appended to a message; empty when that is not known:
//
//   ", in map, /data/x.txt offset 1234 (record 17)"     records count from one
//   ", in reduce, key \"word\" (record 3)"
std::string PositionSuffix(const StatusPage& page);

// "signal 11 (Segmentation fault)".
std::string SignalText(int signal_number);

// What a child was doing when it ended of itself.
enum class ExitMoment { kBeforeReady, kInTask, kBetweenTasks };

struct ExitVerdict {
  proto::FailureCause cause = proto::FAILURE_CAUSE_UNSPECIFIED;
  std::string message;
};

// Of a child that nobody killed; `wait_status` as from waitpid. CRASHED,
// EXITED, or SPAWN_FAILED for an exit before it was ready.
ExitVerdict JudgeExit(int wait_status, ExitMoment moment,
                      const StatusPage& page);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_EXIT_MESSAGE_H_
