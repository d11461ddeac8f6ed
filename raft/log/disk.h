// The disk under the log, as an argument. It shows what common/file_system.h
// hides: writing in place, what is synced and what is not, locks. Everything in
// raft/ that must survive a power cut goes through it, so that simulation puts
// a disk below the production code which loses what was not synced
// (raft/log/testing/sim_disk.h).
//
// Three things are promised to whom, and only then:
//   written       visible to every process, gone with the power
//   file synced   its bytes survive a power cut, if its name does
//   directory synced   names made, changed or removed in it survive
//
// Errors have the codes of common/file_system.h; the message names operation,
// path and cause.
#ifndef MILLRACE_RAFT_LOG_DISK_H_
#define MILLRACE_RAFT_LOG_DISK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace::raft {

// An open file. Reads may run beside anything; other calls one at a time.
class DiskFile {
 public:
  virtual ~DiskFile() = default;

  // Fewer than `size` bytes only at the end of the file.
  virtual absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                        size_t size) = 0;
  // Returns how many bytes of `data`, from its beginning, were written: at
  // least one, but perhaps not all. Callers want WriteFully.
  virtual absl::StatusOr<size_t> WriteAt(uint64_t offset,
                                         std::string_view data) = 0;
  // fdatasync. Once it has failed nothing is known about what was written
  // since the last success, and a second call may succeed without having
  // written it: never retry.
  virtual absl::Status Sync() = 0;
  virtual absl::StatusOr<uint64_t> Size() = 0;
};

// Held until destroyed; ends with the process at the latest.
class DiskLock {
 public:
  virtual ~DiskLock() = default;
};

// Thread-safe.
class Disk {
 public:
  virtual ~Disk() = default;

  // For reading and writing. kNotFound.
  virtual absl::StatusOr<std::unique_ptr<DiskFile>> Open(
      const std::string& path) = 0;
  // A new, empty file. kAlreadyExists.
  virtual absl::StatusOr<std::unique_ptr<DiskFile>> Create(
      const std::string& path) = 0;
  // A new file of `bytes` zeros, all allocated, written and synced, so that
  // writing in place later needs neither space nor a change of metadata. Its
  // name is not synced. kResourceExhausted: no space. No file is left behind
  // after an error, if that can be helped.
  virtual absl::StatusOr<std::unique_ptr<DiskFile>> CreateZeroed(
      const std::string& path, uint64_t bytes) = 0;

  // OK when it exists. Not its parents.
  virtual absl::Status MakeDirectory(const std::string& path) = 0;
  // Names in no particular order. kNotFound.
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) = 0;
  // Atomic; replaces a file at `to`.
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  // kNotFound.
  virtual absl::Status Remove(const std::string& path) = 0;
  virtual absl::Status SyncDirectory(const std::string& path) = 0;

  // Makes the file if there is none. kFailedPrecondition: another holds it.
  virtual absl::StatusOr<std::unique_ptr<DiskLock>> Lock(
      const std::string& path) = 0;
  // Bytes that may still be added on the file system of `path`.
  virtual absl::StatusOr<uint64_t> FreeBytes(const std::string& path) = 0;

  // The operating system's; lives as long as the process.
  static Disk& Posix();
};

// Writes all of `data`, in as many calls as it takes.
absl::Status WriteFully(DiskFile& file, uint64_t offset, std::string_view data);

// The whole file. kResourceExhausted: it is longer than `bytes_max`.
absl::StatusOr<std::string> ReadFully(DiskFile& file, uint64_t bytes_max);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_DISK_H_
