// Starting job processes, and knowing which children of this process are ones.
#ifndef MILLRACE_SUPERVISOR_SPAWN_H_
#define MILLRACE_SUPERVISOR_SPAWN_H_

#include <sys/types.h>

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "supervisor/status_page.h"
#include "supervisor/supervisor.h"
#include "supervisor/unique_fd.h"

namespace millrace::supervisor {

struct SpawnedChild {
  pid_t pid = 0;
  UniqueFd process;  // pidfd: readable when the child has ended.
  UniqueFd socket;   // Our end; non-blocking.
  UniqueFd log;      // stdout and stderr, in the order written; non-blocking.
  UniqueFd statm;    // /proc/<pid>/statm; invalid where there is none.
  std::unique_ptr<StatusPageMapping> status;
};

// The child gets stdin from /dev/null, one pipe as stdout and stderr, 3 and 4
// as in child_main.h and no other descriptor; no signal blocked, none ignored;
// a process group of its own. It is in the register below before anybody can
// take it for an orphan.
absl::StatusOr<SpawnedChild> SpawnChild(const ChildOptions& options);

// The register of all supervisors of this process. Thread-safe.
bool IsJobChild(pid_t pid);

// Collects a child that has ended and takes it from the register. nullopt: it
// has not ended. Its status is lost, and 0 is returned, when another part of
// the program has waited for all children.
std::optional<int> ReapJobChild(pid_t pid);

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_SPAWN_H_
