// What a daemon, a process of many threads that runs for months, asks of the
// system and of the libraries below it.
#ifndef MILLRACE_COMMON_DAEMON_SETUP_H_
#define MILLRACE_COMMON_DAEMON_SETUP_H_

#include <functional>

#include "absl/time/time.h"

namespace millrace {

// Called once from main, before there are threads.
//
// Signals: SIGINT, SIGTERM and SIGHUP are left to AwaitEndSignal() by this
// thread and all that come of it; SIGPIPE is an error of the write.
//
// malloc: SetUpMalloc().
//
// Abseil: the search for locks that are taken in a cycle stays on in builds
// with assertions and is off in others, as the library itself would have it;
// but Debian's is built with assertions, and without this every lock of a
// release, gRPC's included, is entered into one graph of all locks under a lock
// of its own.
void SetUpDaemon();

// One arena: by default there are eight for each processor, and what one thread
// has freed in its own does not serve the others, so that a daemon of thirty
// threads, most of them idle, grows to a multiple of what it uses; and of what
// lies free at the end of any but the first, the C library gives nothing back
// when it is asked.
//
// And up to 16 MiB at its end stay with the process when they are free, until
// AwaitEndSignal() gives them back: by default it is 128 KiB, and a stream of
// messages, read into buffers that live for a moment, takes each of its pages
// from the system anew.
void SetUpMalloc();

// Waits for a signal that asks the daemon to end, and returns its number.
// Meanwhile, each `interval`, calls `housekeeping`, if there is any, and what
// malloc keeps of freed memory goes back to the system: it would keep all that
// lies below the last block in use, so that one large job's memory stayed the
// daemon's for good. No thread can allocate meanwhile, so that where there is
// much to look through this is done more seldom (Pace). One thread at a time.
int AwaitEndSignal(const std::function<void()>& housekeeping = nullptr,
                   absl::Duration interval = absl::Seconds(10));

}  // namespace millrace

#endif  // MILLRACE_COMMON_DAEMON_SETUP_H_
