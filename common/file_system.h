// Files as an argument. Everything in engine/ and storage/ that touches a disk
// does so through a FileSystem, so that tests can lose unsynced data, fill the
// disk and flip bits, and simulation can replace the disk altogether.
//
// Errors keep the errno's meaning: kNotFound (ENOENT, ENOTDIR),
// kPermissionDenied (EACCES, EPERM, EROFS), kAlreadyExists (EEXIST, ENOTEMPTY),
// kResourceExhausted (ENOSPC, EDQUOT, EFBIG, EMFILE, ENFILE, ENOMEM;
// common/errno_status.h tells space, descriptors, memory), kDataLoss (EIO),
// kInvalidArgument (EINVAL, ENAMETOOLONG, ELOOP), kUnknown otherwise. The
// message names operation, path and strerror.
#ifndef MILLRACE_COMMON_FILE_SYSTEM_H_
#define MILLRACE_COMMON_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

enum class FileKind { kRegular, kDirectory, kSymlink, kOther };

// Which bytes a path named at one moment. Two equal identities of one path mean
// that the file was neither replaced nor, as far as the file system can tell,
// written in between.
struct FileIdentity {
  uint64_t size = 0;
  int64_t mtime_ns = 0;  // Since the epoch.
  uint64_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

struct FileInfo {
  FileKind kind = FileKind::kOther;
  FileIdentity identity;
  uint64_t device = 0;
};

struct DirEntry {
  std::string name;
  FileKind kind = FileKind::kOther;  // Of the entry itself: links not followed.
};

// Positional reads. Thread-safe.
class ReadFile {
 public:
  virtual ~ReadFile() = default;

  // Reads up to `size` bytes at `offset` into `buffer`; returns how many. Fewer
  // than `size` only at the end of the file.
  virtual absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                        size_t size) = 0;
  virtual absl::StatusOr<FileInfo> Stat() = 0;
};

// Sequential writes; nothing is buffered here, callers hand over large blocks.
// Thread-compatible. Destroying it without Close() abandons the file: it stays
// with whatever was written.
class WriteFile {
 public:
  virtual ~WriteFile() = default;
  virtual absl::Status Append(std::string_view data) = 0;
  // Returns once the data would survive a power cut.
  virtual absl::Status Sync() = 0;
  // Errors that the system reports late come out here. Call once, last.
  virtual absl::Status Close() = 0;
};

// Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::unique_ptr<ReadFile>> OpenRead(
      const std::string& path) = 0;
  // Creates a new file with mode 0666 & ~umask; kAlreadyExists if there is one.
  virtual absl::StatusOr<std::unique_ptr<WriteFile>> Create(
      const std::string& path) = 0;

  // Follows symbolic links.
  virtual absl::StatusOr<FileInfo> Stat(const std::string& path) = 0;
  // Does not.
  virtual absl::StatusOr<FileInfo> StatLink(const std::string& path) = 0;
  // Entries without "." and "..", in no particular order.
  virtual absl::StatusOr<std::vector<DirEntry>> List(
      const std::string& directory) = 0;

  virtual absl::Status MakeDirectory(const std::string& path) = 0;
  // The file or directory tree at `path`; OK when nothing is there any more,
  // also when others remove parts of it at the same time. Does not follow
  // links.
  virtual absl::Status RemoveTree(const std::string& path) = 0;
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  // Atomic; replaces a file at `to`.
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  // Atomic; kAlreadyExists when anything is at `to`, and then nothing changed.
  // kUnimplemented where the file system cannot do that.
  virtual absl::Status RenameNoReplace(const std::string& from,
                                       const std::string& to) = 0;
  // Makes the directory's own entries survive a power cut.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // Clears the write permission of everybody.
  virtual absl::Status MakeReadOnly(const std::string& path) = 0;
  // Bytes that an unprivileged writer may still add on the file system of path.
  virtual absl::StatusOr<uint64_t> FreeBytes(const std::string& path) = 0;

  // The operating system's files; lives as long as the process.
  static FileSystem& Posix();
};

// "a/b", with exactly one separator between.
std::string JoinPath(std::string_view directory, std::string_view name);
// The part before the last '/', "." if there is none, "/" for the root.
std::string ParentPath(std::string_view path);
// The part after the last '/', trailing separators ignored.
std::string BaseName(std::string_view path);

// Makes the directory and those above it; OK when it is there.
absl::Status MakeDirectories(FileSystem& fs, const std::string& path);

// Reads the whole of a small file. kOutOfRange: it is larger than `max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(FileSystem& fs,
                                          const std::string& path,
                                          uint64_t max_bytes);
// Writes, syncs and closes a new file.
absl::Status WriteWholeFile(FileSystem& fs, const std::string& path,
                            std::string_view data);

}  // namespace millrace

#endif  // MILLRACE_COMMON_FILE_SYSTEM_H_
