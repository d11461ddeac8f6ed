#include "chaos/small_disk.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "common/errno_status.h"
#include "common/strings.h"
#include "supervisor/unique_fd.h"

namespace millrace::chaos {
namespace {

// How often the disk may grow between the look and the change.
constexpr int kTries = 20;
constexpr size_t kProbeBytes = 8192;

absl::Status Remount(const std::string& directory, unsigned long flags,
                     uint64_t bytes, int* error = nullptr) {
  if (mount("millrace", directory.c_str(), "tmpfs",
            MS_REMOUNT | MS_NOSUID | MS_NODEV | flags,
            Cat("size=", bytes).c_str()) == 0) {
    return absl::OkStatus();
  }
  if (error != nullptr) *error = errno;
  return ErrnoStatus(errno, "remount", directory);
}

absl::Status Used(const std::string& directory, uint64_t* bytes) {
  struct statvfs info = {};
  if (statvfs(directory.c_str(), &info) != 0) {
    return ErrnoStatus(errno, "look at", directory);
  }
  *bytes = (info.f_blocks - info.f_bfree) * info.f_frsize;
  return absl::OkStatus();
}

}  // namespace

absl::Status EnterPrivateMounts() {
  if (unshare(CLONE_NEWNS) != 0) {
    return ErrnoStatus(errno, "have mounts of its own:", "this process");
  }
  // Nothing that is mounted from now on shows outside.
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return ErrnoStatus(errno, "make private:", "/");
  }
  return absl::OkStatus();
}

absl::Status MountSmallDisk(const std::string& directory) {
  if (mount("millrace", directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV,
            Cat("mode=700,size=", kSmallDiskBytes).c_str()) != 0) {
    return ErrnoStatus(errno, "mount a file system at", directory);
  }
  return absl::OkStatus();
}

absl::Status FillDisk(const std::string& directory) {
  absl::Status status;
  for (int i = 0; i < kTries; ++i) {
    uint64_t used = 0;
    status = Used(directory, &used);
    if (!status.ok()) return status;
    // At least a page: size=0 means no limit.
    status = Remount(directory, 0, used == 0 ? 4096 : used);
    if (status.ok()) return status;
  }
  return status;
}

absl::Status MakeDiskReadOnly(const std::string& directory) {
  int error = 0;
  const absl::Status status =
      Remount(directory, MS_RDONLY, kSmallDiskBytes, &error);
  if (!status.ok() && error == EBUSY) {
    return absl::UnavailableError("a file is open for writing");
  }
  return status;
}

absl::Status HealDisk(const std::string& directory) {
  return Remount(directory, 0, kSmallDiskBytes);
}

int TryToWrite(const std::string& directory) {
  const supervisor::UniqueFd file(
      open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (!file.valid()) return errno;
  const std::string bytes(kProbeBytes, 'x');
  // What still fits is written, and the rest is refused.
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = pwrite(file.get(), bytes.data() + at, bytes.size() - at,
                             static_cast<off_t>(at));
    if (n < 0) return errno;
    at += static_cast<size_t>(n);
  }
  return 0;
}

}  // namespace millrace::chaos
