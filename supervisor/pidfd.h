// Process descriptors. (glibc 2.36 declares these functions without C linkage,
// so they are called by number.)
#ifndef MILLRACE_SUPERVISOR_PIDFD_H_
#define MILLRACE_SUPERVISOR_PIDFD_H_

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace millrace::supervisor {

// A close-on-exec descriptor of the process, readable when it has ended; -1
// with errno set.
inline int PidfdOpen(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

inline int PidfdSendSignal(int pidfd, int signal_number) {
  return static_cast<int>(
      syscall(SYS_pidfd_send_signal, pidfd, signal_number, nullptr, 0));
}

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_PIDFD_H_
