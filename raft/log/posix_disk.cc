#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "common/errno_status.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/disk.h"

namespace millrace::raft {
namespace {

// Zeros go out in pieces, each synced, so that preparing a segment does not
// fill the page cache with one burst that the log's own syncs wait behind.
constexpr uint64_t kZeroBytes = 1 << 20;
constexpr uint64_t kZeroSyncBytes = 8 << 20;

class PosixDiskFile final : public DiskFile {
 public:
  PosixDiskFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixDiskFile() override { close(fd_); }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    size_t done = 0;
    while (done < size) {
      const ssize_t n = pread(fd_, buffer + done, size - done,
                              static_cast<off_t>(offset + done));
      if (n < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, "read", path_);
      }
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  absl::StatusOr<size_t> WriteAt(uint64_t offset,
                                 std::string_view data) override {
    ssize_t n;
    do {
      n = pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
    } while (n < 0 && errno == EINTR);
    if (n < 0) return ErrnoStatus(errno, "write", path_);
    return static_cast<size_t>(n);
  }

  absl::Status Sync() override {
    // Not repeated after EINTR either: see DiskFile::Sync.
    if (fdatasync(fd_) != 0) return ErrnoStatus(errno, "sync", path_);
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    struct stat st;
    if (fstat(fd_, &st) != 0) return ErrnoStatus(errno, "stat", path_);
    return static_cast<uint64_t>(st.st_size);
  }

  absl::Status FillWithZeros(uint64_t bytes) {
    // Says at once when there is no space, and keeps the extents together.
    const int error = posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
    if (error != 0 && error != EOPNOTSUPP && error != EINVAL) {
      return ErrnoStatus(error, "allocate", path_);
    }
    // Allocated alone is not enough: the first write into an unwritten extent
    // changes metadata, and that makes fdatasync wait for the journal.
    const std::string zeros(std::min(kZeroBytes, bytes), '\0');
    for (uint64_t offset = 0; offset < bytes;) {
      const uint64_t n = std::min<uint64_t>(zeros.size(), bytes - offset);
      MR_RETURN_IF_ERROR(
          WriteFully(*this, offset, std::string_view(zeros).substr(0, n)));
      offset += n;
      if (offset % kZeroSyncBytes == 0 || offset == bytes) {
        MR_RETURN_IF_ERROR(Sync());
      }
    }
    // The size is metadata that fdatasync may leave out where nothing needs it
    // to read the data back; this once, everything.
    if (fsync(fd_) != 0) return ErrnoStatus(errno, "sync", path_);
    return absl::OkStatus();
  }

 private:
  const int fd_;
  const std::string path_;
};

class PosixDiskLock final : public DiskLock {
 public:
  explicit PosixDiskLock(int fd) : fd_(fd) {}
  ~PosixDiskLock() override { close(fd_); }

 private:
  const int fd_;
};

class PosixDisk final : public Disk {
 public:
  absl::StatusOr<std::unique_ptr<DiskFile>> Open(
      const std::string& path) override {
    return OpenWith(path, O_RDWR, "open");
  }

  absl::StatusOr<std::unique_ptr<DiskFile>> Create(
      const std::string& path) override {
    return OpenWith(path, O_RDWR | O_CREAT | O_EXCL, "create");
  }

  absl::StatusOr<std::unique_ptr<DiskFile>> CreateZeroed(
      const std::string& path, uint64_t bytes) override {
    MR_ASSIGN_OR_RETURN(std::unique_ptr<PosixDiskFile> file,
                        OpenWith(path, O_RDWR | O_CREAT | O_EXCL, "create"));
    if (absl::Status filled = file->FillWithZeros(bytes); !filled.ok()) {
      unlink(path.c_str());
      return filled;
    }
    return file;
  }

  absl::Status MakeDirectory(const std::string& path) override {
    if (mkdir(path.c_str(), 0777) == 0) return absl::OkStatus();
    const int error = errno;
    struct stat st;
    if (error == EEXIST && stat(path.c_str(), &st) == 0 &&
        S_ISDIR(st.st_mode)) {
      return absl::OkStatus();
    }
    return ErrnoStatus(error, "create directory", path);
  }

  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) override {
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return ErrnoStatus(errno, "list", directory);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(dir);
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    closedir(dir);
    if (error != 0) return ErrnoStatus(error, "list", directory);
    return names;
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) {
      return ErrnoStatus(errno, "rename", Cat(from, " to ", to));
    }
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return ErrnoStatus(errno, "remove", path);
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(const std::string& path) override {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, "open directory", path);
    const int error = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    if (error != 0) return ErrnoStatus(error, "sync directory", path);
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<DiskLock>> Lock(
      const std::string& path) override {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    auto lock = std::make_unique<PosixDiskLock>(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        return absl::FailedPreconditionError(
            Av(Cat("lock ", path, ": another process holds it")));
      }
      return ErrnoStatus(errno, "lock", path);
    }
    return lock;
  }

  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    struct statvfs st;
    if (statvfs(path.c_str(), &st) != 0) {
      return ErrnoStatus(errno, "ask for free space of", path);
    }
    return static_cast<uint64_t>(st.f_bavail) * st.f_frsize;
  }

 private:
  static absl::StatusOr<std::unique_ptr<PosixDiskFile>> OpenWith(
      const std::string& path, int flags, std::string_view operation) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC, 0666);
    if (fd < 0) return ErrnoStatus(errno, operation, path);
    return std::make_unique<PosixDiskFile>(fd, path);
  }
};

}  // namespace

Disk& Disk::Posix() {
  static PosixDisk* const disk = new PosixDisk;
  return *disk;
}

}  // namespace millrace::raft
