// The job process's side of the supervisor: what task mode does first.
#ifndef MILLRACE_SUPERVISOR_CHILD_MAIN_H_
#define MILLRACE_SUPERVISOR_CHILD_MAIN_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "supervisor/message_channel.h"
#include "supervisor/status_page.h"

namespace millrace::supervisor {

inline constexpr int kTaskSocketFd = 3;
inline constexpr int kStatusPageFd = 4;

struct ChildSide {
  std::unique_ptr<BlockingChannel> channel;
  StatusPage* status;  // As long as the process is there.
  int watched;         // The socket, where programs leave it alone.
};

// Takes over the inherited descriptors, becomes a subreaper, makes the process
// die with its socket (a thread watches for the hang-up, kills every descendant
// and exits) and with a supervisor that is stopped for longer than the status
// page allows, makes stdout line-buffered, so that what a task printed before
// it crashed is not lost, and installs the crash handler: on SIGSEGV, SIGBUS,
// SIGILL, SIGFPE, SIGABRT and SIGTRAP it writes signal, address and demangled
// stack to the status page from an alternate stack, and lets the signal take
// its course; SIGUSR2 writes the stack of the main thread and goes on (that is
// how a hung task is asked). Called first thing on the main thread, once.
// kFailedPrecondition: descriptors 3 and 4 are not what a supervisor hands
// over.
absl::StatusOr<ChildSide> EnterTaskMode();

// Called by the main thread when there is nothing more to do, before it returns
// from main. Does not return when the supervisor is gone or was stopped for too
// long: then the end is the watch's, which kills every descendant first.
void LeaveTaskMode(const ChildSide& side);

// True: processes that the task started are still there (the process is the
// subreaper of everything below it, so this misses none and costs a system
// call). Collects those that have ended. The task loop asks when a task is
// over, for TaskDone.left_processes and TaskFailed.left_processes.
bool HasLeftProcesses();

// The demangled stack at the last `throw` inside user code on this thread, one
// frame a line; empty if there was none since the last call. Throws are
// recorded only between SetThrowRecording(true), which forgets earlier ones,
// and (false).
std::string TakeThrowStack();
void SetThrowRecording(bool on);

// A function that writes to the status page what is known only in memory, such
// as the key that a combiner has. Called when a signal ends the process and
// user code has thrown, so it is async-signal-safe and reads what may be
// damaged. Null: none. Of the main thread; one at a time.
using CrashNote = void (*)(void* argument);
void SetCrashNote(CrashNote note, void* argument);
void RunCrashNote();

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_CHILD_MAIN_H_
