// Runs job processes and keeps them in hand: starts them in task mode, talks to
// them, bounds their logs, memory and silence, and kills them with every
// descendant. Used by the local run and by the worker, so that user code meets
// the same surroundings in both.
//
// Life of a child:
//
//   Start -> kReady -> Run -> kDone -> Run ... -> Stop -> kExited
//                       \-> kFailed -> Stop or Kill -> kExited
//                       \-> kExited (crash, exit, limit, Kill)
//
//   * Started with posix_spawn, never by fork without exec, in a process group
//     of its own, with its stdin at /dev/null, stdout and stderr in one pipe to
//     the supervisor (so that their order is kept), the task socket as
//     descriptor 3 and the status page as 4, and nothing else inherited.
//   * Each child is a subreaper (set in its first steps, see child_main.h) and
//     so is the supervisor: whatever a job process leaves behind, even with
//     setsid, becomes the child's or the supervisor's child and is killed. (Out
//     of reach: a chain of processes each of which ends as soon as it has
//     started the next one in a session of its own. That takes a cgroup: where
//     there is one for each child, nothing in it survives the child.)
//   * A child whose socket closes kills what it started and ends, so a dead
//     supervisor leaves no job process behind; nor does one that is stopped for
//     longer than ChildOptions::stop_limit.
//   * Nothing is waited for by polling, except a limit on memory, the time
//     since the last progress, and the answer of a hung task.
//
// Orphans. When a child dies, what it had started becomes the child of this
// process, beside other children that the embedding program may have. Taken for
// orphans, and killed with all below them, are children of this process that
// are in another process group than this process, are no job process of any
// supervisor here, and did not exist when the supervisor was created. So: an
// embedding program that starts children of its own in process groups of their
// own does so before it creates a supervisor, or from another process.
//
// Confined to one thread. Create makes the calling process a subreaper.
#ifndef MILLRACE_SUPERVISOR_SUPERVISOR_H_
#define MILLRACE_SUPERVISOR_SUPERVISOR_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/messages/task.pb.h"
#include "supervisor/memory_cgroups.h"
#include "supervisor/status_page.h"

namespace millrace::supervisor {

struct ChildOptions {
  std::string executable;                // Path to exec.
  std::vector<std::string> arguments;    // argv[1..].
  std::vector<std::string> environment;  // "NAME=value", added to ours.
  // Memory, of the child or of it and its descendants together, at which it is
  // killed while a task runs; 0: no limit. Kept by the kernel where the
  // supervisor has cgroups. Else resident memory is watched by polling every
  // 25 ms (with descendants: every 250), so it may be exceeded for a moment.
  uint64_t memory_limit_bytes = 0;
  // Processes, the child and its descendants together, above which it is killed
  // while a task runs. They are counted at most four times a second (without
  // cgroups less often on a machine of thousands), where there is a limit of
  // memory.
  size_t processes_max = 1000;
  // Bytes on stdout and stderr together, per task, at which the child is
  // killed; 0: no limit.
  uint64_t log_bytes_max = 0;
  // A task without progress for so long is killed; zero: no limit.
  absl::Duration task_timeout = absl::ZeroDuration();
  // A task that has not ended after so long is killed; zero: no limit. Of both,
  // only time in which the supervisor could look counts.
  absl::Duration task_time_limit = absl::ZeroDuration();
  // When this process has been stopped (SIGSTOP) for so long, or an eighth
  // longer, the child ends by itself, with all that it started: by then others
  // do its work again. It is found ended, by WORKER_LOST, when this process
  // goes on. Zero: it waits, as is right for a program that is stopped and
  // continued at a terminal.
  absl::Duration stop_limit = absl::ZeroDuration();
  // A process that has not said that it is ready for so long is killed.
  absl::Duration start_timeout = absl::Seconds(60);
  // How much of the log is kept in memory, from its head and from its tail.
  size_t log_head_bytes = 256 << 10;
  size_t log_tail_bytes = 256 << 10;
  // If set, gets every byte of the log as it arrives, from within Run, Stop,
  // Wait and the destructor; must not call the supervisor.
  std::function<void(std::string_view)> log_sink;
};

using ChildId = uint64_t;  // Never comes again.

// What is known of a child that ended.
struct ChildExit {
  // FAILURE_CAUSE_UNSPECIFIED: it was told to go (Stop) and went. SPAWN_FAILED:
  // it ended, or was ended, without ever having been ready. PROGRAM_INVALID: it
  // speaks another version of the task protocol. A child may also end between
  // two tasks; then was_running_task is false.
  proto::FailureCause cause = proto::FAILURE_CAUSE_UNSPECIFIED;
  std::string message;  // One line: signal or exit status, limit, position.
  std::string stack;    // Of a crash, or taken before a kill; may be empty.
  int exit_status = 0;  // As from waitpid.
  bool was_running_task = false;
  uint64_t descendants_killed = 0;
};

struct ChildEvent {
  enum class Kind { kReady, kDone, kFailed, kExited };
  ChildId child = 0;
  Kind kind = Kind::kReady;
  proto::Ready ready;
  proto::TaskDone done;
  proto::TaskFailed failed;  // The message has the position added.
  ChildExit exit;
  // Of kFailed and kExited: the map's input record at which its code crashed,
  // threw or ended the process. Not set when anything else was at fault.
  std::optional<proto::BadRecord> bad_record;
};

// What a live child is doing, for progress displays.
struct ChildProgress {
  pid_t pid = 0;
  uint64_t records = 0;
  uint64_t input_bytes = 0;
  TaskPhase phase = TaskPhase::kIdle;
  uint64_t resident_bytes = 0;
};

class Supervisor {
 public:
  // `clock` outlives the supervisor, and so do `cgroups`, of which each child
  // with a limit on memory gets one; null: memory is watched.
  static absl::StatusOr<std::unique_ptr<Supervisor>> Create(
      Clock& clock, MemoryCgroups* cgroups = nullptr);
  // Kills what is left.
  virtual ~Supervisor() = default;

  // Starts a process and sends it `configure`, with protocol_version filled in.
  // The kReady event comes later; a
  // program that speaks another protocol version gives kExited instead.
  virtual absl::StatusOr<ChildId> Start(const ChildOptions& options,
                                        const proto::Configure& configure) = 0;

  // Gives an idle child a task. The task's log starts empty.
  // kFailedPrecondition: the child is not idle: not yet ready, running a task,
  // has reported a failure (the next attempt gets a fresh process), or has
  // ended (it may have, without the caller having seen kExited yet).
  virtual absl::Status Run(ChildId child, const proto::RunTask& task) = 0;

  // Kills the child and every descendant; its kExited event carries `cause` and
  // `message`. With `take_stack` the child is first asked for the stack it is
  // in (a hung task). No-op for an unknown child.
  virtual void Kill(ChildId child, proto::FailureCause cause,
                    const std::string& message, bool take_stack) = 0;

  // Lets an idle child go: closes its socket and kills it if it has not ended
  // within a second. A child that runs a task is killed. No-op for an unknown
  // one.
  virtual void Stop(ChildId child) = 0;

  // Waits until something has happened or `timeout` has passed, and returns it;
  // nothing, too, when a signal handler ran.
  // Events of one child come in their order. An event kDone or kFailed comes
  // only after every process the task left behind has been killed.
  virtual absl::StatusOr<std::vector<ChildEvent>> Wait(
      absl::Duration timeout) = 0;

  virtual ChildProgress Progress(ChildId child) = 0;
  // The log of the child's present or last task: head, a line that says how
  // much is missing, tail. Also of the children that ended since the last Wait.
  virtual std::string Log(ChildId child) = 0;
  // A descriptor that is readable when Wait has something to do; Wait(zero)
  // then does it, and may have no event to show for it.
  virtual int wake_fd() const = 0;
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_SUPERVISOR_H_
