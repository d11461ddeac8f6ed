// What people read about the end of a task process: one line.
#ifndef MILLRACE_SUPERVISOR_EXIT_MESSAGE_H_
#define MILLRACE_SUPERVISOR_EXIT_MESSAGE_H_

#include <optional>
#include <string>

#include "proto/messages/task.pb.h"
#include "supervisor/status_page.h"

namespace millrace::supervisor {

// Where the task is, to be appended to a message; empty when that is not known:
//
//   ", in map, /data/x.txt offset 1234 (record 17)"     records count from one
//   ", in reduce, key \"word\" (group 3), value 1"         the value it has
//   ", in combine, key \"word\", value 2"                 when runs are merged
//   ", in combine, key \"word\", emitted record 512"      before they are
//   written
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
// EXITED, SPAWN_FAILED for an exit before it was ready, or WORKER_LOST when it
// ended for a supervisor that was stopped.
ExitVerdict JudgeExit(int wait_status, ExitMoment moment,
                      const StatusPage& page);

// Whether the process ended by its own doing: a fatal signal that it raised, or
// an exit. False: somebody killed it, or it ended for its supervisor's sake.
bool EndedByItself(int wait_status, const StatusPage& page);

// The input record that the user's map had when it failed with `cause`. Nothing
// when it was not in the map, or when what it was in is not the record's doing:
// combiner and partitioner work on what earlier records have emitted. Texts are
// cut to what a job's masters keep.
std::optional<proto::BadRecord> RecordAtFault(const StatusPage& page,
                                              proto::FailureCause cause,
                                              const std::string& message,
                                              const std::string& stack);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_EXIT_MESSAGE_H_
