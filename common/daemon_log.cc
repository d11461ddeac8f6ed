#include "common/daemon_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "common/errno_status.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace {

absl::Status DaemonLog::Open(const std::string& path) {
  path_ = path;
  return path.empty() || descriptors_.empty() ? absl::OkStatus()
                                              : LeadToNewFile();
}

absl::Status DaemonLog::LeadToNewFile() {
  const int opened =
      open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (opened < 0) return ErrnoStatus(errno, "open", path_);
  // Whoever started us may have closed one of those that are to lead there, and
  // then this is it.
  const int above =
      1 + *std::max_element(descriptors_.begin(), descriptors_.end());
  const int file = fcntl(opened, F_DUPFD_CLOEXEC, above);
  const int why = errno;
  close(opened);
  if (file < 0) return ErrnoStatus(why, "open", path_);
  int error = 0;
  for (const int descriptor : descriptors_) {
    if (dup2(file, descriptor) < 0) error = errno;
  }
  close(file);
  return error == 0 ? absl::OkStatus() : ErrnoStatus(error, "write to", path_);
}

void DaemonLog::PutAsideIfLarge() {
  struct stat info;
  if (path_.empty() || descriptors_.empty() ||
      fstat(descriptors_.front(), &info) != 0 ||
      static_cast<uint64_t>(info.st_size) < bytes_max_) {
    return;
  }
  const absl::Status status = [this] {
    const std::string aside = Cat(path_, ".1");
    if (rename(path_.c_str(), aside.c_str()) != 0 && errno != ENOENT) {
      return ErrnoStatus(errno, "rename", path_);
    }
    return LeadToNewFile();
  }();
  if (!status.ok()) LOG(WARNING) << "the log grows on: " << status.message();
}

}  // namespace millrace
