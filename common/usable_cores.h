// How much of the machine's processors this process may use.
#ifndef MILLRACE_COMMON_USABLE_CORES_H_
#define MILLRACE_COMMON_USABLE_CORES_H_

#include "common/file_system.h"

namespace millrace {

// The processors of the affinity mask, or fewer where a cgroup (version 1 or 2,
// its own or one around it) limits the processor time to that of fewer; a part
// of one counts as a whole. At least 1. What cannot be read limits nothing.
int UsableCores();

// The same with `affinity` processors in the mask, and /proc and /sys of `fs`.
int UsableCores(int affinity, FileSystem& fs);

}  // namespace millrace

#endif  // MILLRACE_COMMON_USABLE_CORES_H_
