// Signal handlers of a job process: they leave behind what it died of.
#ifndef MILLRACE_SUPERVISOR_CRASH_HANDLER_H_
#define MILLRACE_SUPERVISOR_CRASH_HANDLER_H_

#include "supervisor/status_page.h"

namespace millrace::supervisor {

// Called on the main thread, once; `page` lives as long as the process.
//
// SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP: signal, address and stack
// go to the page, from an alternate stack, so that running out of stack is
// reported like any other crash; then the signal takes its default course.
// (Other threads have no alternate stack: their overflow shows as a signal
// without a stack.)
//
// SIGUSR2: the stack of the thread that gets it goes to the page,
// `crash_signal` last, and the thread goes on. A supervisor that waits for it
// sends it to the main thread.
void InstallCrashHandlers(StatusPage* page);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_CRASH_HANDLER_H_
