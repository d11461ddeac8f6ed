#include "worker/shuffle/container.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/errno_status.h"
#include "common/strings.h"

namespace millrace::worker {

absl::StatusOr<std::shared_ptr<Container>> Container::InMemory() {
  const int fd = memfd_create("millrace-fetch", MFD_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "create", "a file in memory");
  return std::shared_ptr<Container>(
      new Container(fd, Cat("/proc/", getpid(), "/fd/", fd)));
}

absl::StatusOr<std::shared_ptr<Container>> Container::OnDisk(
    const std::string& path) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return ErrnoStatus(errno, "create", path);
  return std::shared_ptr<Container>(new Container(fd, path));
}

Container::Container(int fd, std::string path)
    : fd_(fd), path_(std::move(path)) {}

Container::~Container() { close(fd_); }

absl::Status Container::WriteAt(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n =
        pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "write", path_);
    }
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace millrace::worker
