// Daemons of a local cluster: started detached, known again by later processes,
// stopped with everything below them.
#ifndef MILLRACE_CLIENT_LOCAL_DAEMON_PROCESS_H_
#define MILLRACE_CLIENT_LOCAL_DAEMON_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace millrace::client {

// A process, told from every later one that gets its number: numbers come
// again, but not with the same start time within one boot of the machine.
struct ProcessIdentity {
  pid_t pid = 0;
  uint64_t start_ticks = 0;  // Field 22 of /proc/<pid>/stat.

  friend bool operator==(const ProcessIdentity&,
                         const ProcessIdentity&) = default;
};

// Names the present boot of this machine; "" where the kernel does not tell.
std::string BootId();

// One that has ended and waits to be collected does not run.
bool IsRunning(const ProcessIdentity& process);

// Starts a program in a session of its own, stdout and stderr appended to the
// file `log`, which is created. `environment`: "NAME=value", over ours.
absl::StatusOr<ProcessIdentity> StartDaemon(
    const std::string& executable, const std::vector<std::string>& arguments,
    const std::string& log, const std::vector<std::string>& environment = {});

// SIGTERM to all of them that still are what their identities say; SIGKILL to
// those that have not ended after `grace`; then SIGKILL to what they had
// started and left behind. Returns when all have ended. Other processes are
// never touched. kPermissionDenied, kDeadlineExceeded: one could not be
// stopped; the message names it.
absl::Status StopDaemons(const std::vector<ProcessIdentity>& processes,
                         absl::Duration grace, Clock& clock);

// Waits at most `duration`, less when one of them ends meanwhile.
void WaitForEndOfAny(const std::vector<ProcessIdentity>& processes,
                     absl::Duration duration);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_LOCAL_DAEMON_PROCESS_H_
