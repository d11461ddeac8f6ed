#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/errno_status.h"
#include "common/file_system.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace {
namespace {

// Debian 12's limit for one read or write call is a little under 2 GiB.
constexpr size_t kIoBytesMax = size_t{1} << 30;

FileInfo InfoFromStat(const struct stat& st) {
  FileInfo info;
  if (S_ISREG(st.st_mode)) {
    info.kind = FileKind::kRegular;
  } else if (S_ISDIR(st.st_mode)) {
    info.kind = FileKind::kDirectory;
  } else if (S_ISLNK(st.st_mode)) {
    info.kind = FileKind::kSymlink;
  }
  info.identity.size = static_cast<uint64_t>(st.st_size);
  info.identity.mtime_ns =
      int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec;
  info.identity.inode = st.st_ino;
  info.device = st.st_dev;
  return info;
}

class PosixReadFile final : public ReadFile {
 public:
  PosixReadFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixReadFile() override { close(fd_); }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    size_t done = 0;
    while (done < size) {
      const ssize_t n =
          pread(fd_, buffer + done, std::min(size - done, kIoBytesMax),
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

  absl::StatusOr<FileInfo> Stat() override {
    struct stat st;
    if (fstat(fd_, &st) != 0) return ErrnoStatus(errno, "stat", path_);
    return InfoFromStat(st);
  }

 private:
  const int fd_;
  const std::string path_;
};

class PosixWriteFile final : public WriteFile {
 public:
  PosixWriteFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixWriteFile() override {
    if (fd_ >= 0) close(fd_);
  }

  absl::Status Append(std::string_view data) override {
    while (!data.empty()) {
      const ssize_t n =
          write(fd_, data.data(), std::min(data.size(), kIoBytesMax));
      if (n < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, "write", path_);
      }
      data.remove_prefix(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    if (fdatasync(fd_) != 0) return ErrnoStatus(errno, "sync", path_);
    return absl::OkStatus();
  }

  absl::Status Close() override {
    const int fd = fd_;
    fd_ = -1;
    if (close(fd) != 0) return ErrnoStatus(errno, "close", path_);
    return absl::OkStatus();
  }

 private:
  int fd_;
  const std::string path_;
};

int RemoveOne(const char* path, const struct stat*, int, FTW*) {
  return remove(path);
}

class PosixFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<ReadFile>> OpenRead(
      const std::string& path) override {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    return std::make_unique<PosixReadFile>(fd, path);
  }

  absl::StatusOr<std::unique_ptr<WriteFile>> Create(
      const std::string& path) override {
    const int fd =
        open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return ErrnoStatus(errno, "create", path);
    return std::make_unique<PosixWriteFile>(fd, path);
  }

  absl::StatusOr<FileInfo> Stat(const std::string& path) override {
    struct stat st;
    if (stat(path.c_str(), &st) != 0) return ErrnoStatus(errno, "stat", path);
    return InfoFromStat(st);
  }

  absl::StatusOr<FileInfo> StatLink(const std::string& path) override {
    struct stat st;
    if (lstat(path.c_str(), &st) != 0) return ErrnoStatus(errno, "stat", path);
    return InfoFromStat(st);
  }

  absl::StatusOr<std::vector<DirEntry>> List(
      const std::string& directory) override {
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return ErrnoStatus(errno, "list", directory);
    std::vector<DirEntry> entries;
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(dir);
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      DirEntry& out = entries.emplace_back();
      out.name = name;
      switch (entry->d_type) {
        case DT_REG:
          out.kind = FileKind::kRegular;
          break;
        case DT_DIR:
          out.kind = FileKind::kDirectory;
          break;
        case DT_LNK:
          out.kind = FileKind::kSymlink;
          break;
        case DT_UNKNOWN: {  // Some file systems do not tell.
          absl::StatusOr<FileInfo> info =
              StatLink(JoinPath(directory, out.name));
          if (info.ok()) out.kind = info->kind;
          break;
        }
        default:
          break;
      }
    }
    const int error = errno;
    closedir(dir);
    if (error != 0) return ErrnoStatus(error, "list", directory);
    return entries;
  }

  absl::Status MakeDirectory(const std::string& path) override {
    if (mkdir(path.c_str(), 0777) != 0) {
      return ErrnoStatus(errno, "create directory", path);
    }
    return absl::OkStatus();
  }

  absl::Status RemoveTree(const std::string& path) override {
    if (nftw(path.c_str(), &RemoveOne, 64, FTW_DEPTH | FTW_PHYS) != 0 &&
        errno != ENOENT) {
      return ErrnoStatus(errno, "remove", path);
    }
    return absl::OkStatus();
  }

  absl::Status RemoveFile(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return ErrnoStatus(errno, "remove", path);
    return absl::OkStatus();
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) {
      return ErrnoStatus(errno, Cat("rename ", from, " to"), to);
    }
    return absl::OkStatus();
  }

  absl::Status RenameNoReplace(const std::string& from,
                               const std::string& to) override {
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                  RENAME_NOREPLACE) == 0) {
      return absl::OkStatus();
    }
    if (errno == EINVAL || errno == ENOSYS) {
      return absl::UnimplementedError(
          Av(Cat("the file system of ", to,
                 " has no rename that refuses to replace")));
    }
    return ErrnoStatus(errno, Cat("rename ", from, " to"), to);
  }

  absl::Status SyncDirectory(const std::string& path) override {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ErrnoStatus(errno, "open directory", path);
    const int result = fsync(fd);
    const int error = errno;
    close(fd);
    if (result != 0) return ErrnoStatus(error, "sync directory", path);
    return absl::OkStatus();
  }

  absl::Status MakeReadOnly(const std::string& path) override {
    struct stat st;
    if (stat(path.c_str(), &st) != 0) return ErrnoStatus(errno, "stat", path);
    if (chmod(path.c_str(), st.st_mode & 0555) != 0) {
      return ErrnoStatus(errno, "change mode of", path);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    struct statvfs vfs;
    if (statvfs(path.c_str(), &vfs) != 0) {
      return ErrnoStatus(errno, "measure free space of", path);
    }
    return uint64_t{vfs.f_bavail} * vfs.f_frsize;
  }
};

}  // namespace

FileSystem& FileSystem::Posix() {
  static PosixFileSystem* fs = new PosixFileSystem;
  return *fs;
}

}  // namespace millrace
