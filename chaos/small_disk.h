// Small file systems in memory for the spools of workers, so that one can be
// full, or refuse writes, for real.
//
// They are mounted in a mount namespace that the processes of the cluster share
// and nobody else sees: they go with the last process, whatever becomes of
// whoever mounted them. From outside: /proc/<pid>/root/<path>.
#ifndef MILLRACE_CHAOS_SMALL_DISK_H_
#define MILLRACE_CHAOS_SMALL_DISK_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace millrace::chaos {

// Of each disk. Four have room for two jobs with 700 MB of map outputs each,
// read by reduces on the same disks; with less such jobs cannot end.
inline constexpr uint64_t kSmallDiskBytes = 768 << 20;

// The calling thread and all processes that it starts from now on.
// kPermissionDenied: not allowed here.
absl::Status EnterPrivateMounts();

// REQUIRES: private mounts. The directory exists.
absl::Status MountSmallDisk(const std::string& directory);

// A disk without a free byte: what is there is all that fits.
absl::Status FillDisk(const std::string& directory);
// kUnavailable: somebody has a file open for writing; try again.
absl::Status MakeDiskReadOnly(const std::string& directory);
// Ends both.
absl::Status HealDisk(const std::string& directory);

// What a new file with a few bytes in it meets: ENOSPC, EROFS, 0 (fine), ...
int TryToWrite(const std::string& directory);

}  // namespace millrace::chaos

#endif  // MILLRACE_CHAOS_SMALL_DISK_H_
