// A FileSystem that fails on command, in front of any other.
#ifndef MILLRACE_TESTS_TESTING_FAULTY_FILE_SYSTEM_H_
#define MILLRACE_TESTS_TESTING_FAULTY_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"

namespace millrace {

// The calls of FileSystem, ReadFile and WriteFile.
enum class FileOp {
  kOpenRead,
  kRead,
  kStat,  // Of a path or an open file, links followed or not.
  kCreate,
  kAppend,
  kSync,
  kClose,
  kList,
  kMakeDirectory,
  kRemove,
  kRename,  // Either kind.
  kSyncDirectory,
  kMakeReadOnly,
  kFreeBytes,
};

// Asks before each operation whether it shall fail, and counts them. A failed
// operation does not reach the file system behind. To try every fault of a
// piece of code: run it once, note operations(), and then run it again for each
// n with FailFrom(n, ...) or FailOnce(n, ...). Thread-safe.
class FaultyFileSystem final : public FileSystem {
 public:
  // An error to return in place of the operation, OK to go on. Called under a
  // lock: must not use this file system. `path` is that of the opened file for
  // operations on one, the source for renames.
  using Fault = std::function<absl::Status(FileOp op, const std::string& path)>;

  // `base` outlives this and everything opened through it.
  explicit FaultyFileSystem(FileSystem& base) : base_(base) {}

  void SetFault(Fault fault);
  // Asked before that, and under no lock: may use this file system, and let
  // other things happen before it answers.
  void SetEarlyFault(Fault fault);
  // Operation number `n`, counted from 0 since construction, fails; the first
  // kind only it, the second also all that follow.
  void FailOnce(uint64_t n, absl::Status status);
  void FailFrom(uint64_t n, absl::Status status);
  uint64_t operations() const;

  absl::StatusOr<std::unique_ptr<ReadFile>> OpenRead(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WriteFile>> Create(
      const std::string& path) override;
  absl::StatusOr<FileInfo> Stat(const std::string& path) override;
  absl::StatusOr<FileInfo> StatLink(const std::string& path) override;
  absl::StatusOr<std::vector<DirEntry>> List(
      const std::string& directory) override;
  absl::Status MakeDirectory(const std::string& path) override;
  absl::Status RemoveTree(const std::string& path) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status RenameNoReplace(const std::string& from,
                               const std::string& to) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status MakeReadOnly(const std::string& path) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override;

 private:
  class Reader;
  class Writer;

  absl::Status Ask(FileOp op, const std::string& path) ABSL_LOCKS_EXCLUDED(mu_);

  FileSystem& base_;
  mutable absl::Mutex mu_;
  Fault fault_ ABSL_GUARDED_BY(mu_);
  Fault early_fault_ ABSL_GUARDED_BY(mu_);
  uint64_t operations_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_TESTING_FAULTY_FILE_SYSTEM_H_
