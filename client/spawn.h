// Starting programs of this machine: a job program that is to describe itself,
// the daemons of a local cluster.
#ifndef MILLRACE_CLIENT_SPAWN_H_
#define MILLRACE_CLIENT_SPAWN_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace::client {

struct SpawnCommand {
  std::string executable;                     // A path; not looked up in PATH.
  std::vector<std::string> arguments;         // Without argv[0].
  std::vector<std::string> environment = {};  // "NAME=value", over ours.
  int stdout_fd = -1;
  int stderr_fd = -1;
  // A session of its own: no signal of our terminal reaches it, and it may
  // outlive us. Otherwise a process group of its own.
  bool detached = false;
};

// The child has /dev/null as stdin, the two descriptors as stdout and stderr
// and no other, and no signal blocked or ignored. Never forks without exec.
absl::StatusOr<pid_t> Spawn(const SpawnCommand& command);

}  // namespace millrace::client

#endif  // MILLRACE_CLIENT_SPAWN_H_
