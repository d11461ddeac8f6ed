// Abseil's search for locks that are taken in a cycle.
#ifndef MILLRACE_COMMON_LOCK_CHECKS_H_
#define MILLRACE_COMMON_LOCK_CHECKS_H_

namespace millrace {

// Leaves the search on in builds with assertions and turns it off in others, as
// Abseil itself would: but Debian's library is built with assertions, so that
// without this every lock of a release, those of gRPC included, is entered into
// one graph of all locks under a lock of its own. Called once from main.
void LeaveLockChecksToDebugBuilds();

}  // namespace millrace

#endif  // MILLRACE_COMMON_LOCK_CHECKS_H_
