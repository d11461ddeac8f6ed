// A FileSystem in memory: a disk that can be full, loses in a power cut what
// was not synced, and whose bytes a test can read and change behind the back of
// the code under test.
#ifndef MILLRACE_TESTS_TESTING_MEMORY_FILE_SYSTEM_H_
#define MILLRACE_TESTS_TESTING_MEMORY_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/file_system.h"

namespace millrace {

// Behaves as the POSIX file system does, with the same status codes; "/" exists
// from the start and relative paths begin there. Open files keep their bytes
// when they are renamed or removed. There are no symbolic links. Modification
// times count changes: 1, 2, 3, ... nanoseconds. Thread-safe.
class MemoryFileSystem final : public FileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;

  // From now on the files together hold at most `bytes`: an Append that does
  // not fit writes what does and fails with kResourceExhausted.
  void SetCapacity(uint64_t bytes);

  // What a reboot after a power cut finds: file contents as of their last Sync,
  // directory entries as of the directory's last SyncDirectory. Files that are
  // open keep working on what they had, as if by a process that is yet to die.
  void PowerCut();

  // The bytes of a file. The test fails (CHECK) when there is none.
  std::string Contents(const std::string& path);
  // Replaces the bytes of a file, also for those who have it open, or makes a
  // new file with them (with its parent directories). Modification time and
  // synced state are those of an ordinary, synced write.
  void SetContents(const std::string& path, std::string_view bytes);
  // As a disk that rots: nothing else of the file changes, not its modification
  // time either. REQUIRES: a file with that bit.
  void FlipBit(const std::string& path, uint64_t bit);
  bool Exists(const std::string& path);
  bool IsReadOnly(const std::string& path);
  // Paths of all files below `directory`, sorted: for "nothing was left
  // behind".
  std::vector<std::string> AllFiles(const std::string& directory = "/");

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
  struct Node;
  class Reader;
  class Writer;
  // Where a path leads: its directory, its last name, and what is there. For
  // the root, `directory` is the root itself and `name` is empty.
  struct Place {
    std::shared_ptr<Node> directory;
    std::string name;
    std::shared_ptr<Node> node;  // Null: nothing is there.
  };

  // The errno as error number, 0 for none: callers name their operation.
  int Find(const std::string& path, Place* place) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::shared_ptr<Node> NewNode(FileKind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int RenameLocked(const std::string& from, const std::string& to, bool replace)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t UsedBytesLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  // Nodes are shared by their directory entries (live and durable) and by the
  // open files; their contents are guarded by mu_.
  std::shared_ptr<Node> root_ ABSL_GUARDED_BY(mu_);
  uint64_t next_inode_ ABSL_GUARDED_BY(mu_) = 1;
  int64_t now_ns_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<uint64_t> capacity_bytes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace millrace

#endif  // MILLRACE_TESTS_TESTING_MEMORY_FILE_SYSTEM_H_
