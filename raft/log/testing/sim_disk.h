// A disk in memory that does what disks do to those who trust them.
//
// It keeps what is written apart from what is synced, by sector, and every
// change of a directory apart until the directory is synced. A power cut then
// keeps any subset: for each sector any of the contents it has had since its
// last sync, for each change of a name whether it happened. Who asks decides,
// so that a test can try all combinations or draw them from a seed.
//
// Calls that change something are numbered from 1. A test can fail one of them,
// or have the power cut right after one: from then on all calls fail, and
// AfterPowerCut() gives the disk that the next start finds. Calls that only
// look are numbered apart and can fail as well.
//
// Simplifications: a file's size follows its sectors; CreateZeroed syncs the
// content but not the name, as it promises; moving between directories is not
// supported; there is one level of caches.
#ifndef MILLRACE_RAFT_LOG_TESTING_SIM_DISK_H_
#define MILLRACE_RAFT_LOG_TESTING_SIM_DISK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "raft/log/disk.h"

namespace millrace::raft {

enum class SimFault {
  kIoError,
  kNoSpace,
  // These do not affect other calls than writes.
  kShortWrite,        // Stops half-way and says so.
  kLostWrite,         // Says that it wrote, and did not.
  kMisdirectedWrite,  // Goes to another place of the file; see FailCall.
  // As Linux does it: the sync fails, and what it should have written is taken
  // to be clean. Readers still see it until the power goes; no later sync
  // writes it. Calls that are not syncs of files fail with an I/O error.
  kSyncDropsPages,
};

// Thread-safe. Lives longer than the files and locks it gives out.
class SimDisk final : public Disk {
 public:
  // Returns a number below `options`, which is at least 2. 0 is the oldest
  // state, that of the last sync, options - 1 the newest.
  using Choose = std::function<size_t(size_t options)>;
  static size_t LoseAll(size_t) { return 0; }
  static size_t KeepAll(size_t options) { return options - 1; }

  // Has the directory "/".
  SimDisk();
  ~SimDisk() override;

  // Call number `call` fails, once. Replaces what was set before. A misdirected
  // write goes `shift_sectors` further back in the file, or is lost where there
  // is no such place.
  void FailCall(uint64_t call, SimFault fault, int64_t shift_sectors = 0);
  // Opening, listing, reading, asking for a size: number `look`, from 1, fails
  // once with an I/O error.
  void FailLook(uint64_t look);
  uint64_t looks() const;
  // All calls after number `call` fail as if the power were gone.
  void CutPowerAfter(uint64_t call);
  // Calls made so far, those that failed included.
  uint64_t calls() const;
  // What the last calls were, for messages: "12 write /d/log/spare".
  std::string last_call() const;
  bool fault_happened() const;
  // Which call it was that failed; empty: none, or one that looks.
  std::string fault_call() const;
  bool has_power() const;
  // What FreeBytes answers; CreateZeroed fails when it asks for more. Files
  // take nothing off it.
  void SetFreeBytes(uint64_t bytes);

  // The disk that a machine finds after a power cut now. Locks are gone.
  std::unique_ptr<SimDisk> AfterPowerCut(const Choose& choose) const;
  // The disk that the next process finds after this one was killed: all that
  // was written is there, and what was unsynced is unsynced still.
  std::unique_ptr<SimDisk> AfterProcessDeath() const;
  // Sectors and directory changes that a power cut now would decide about.
  size_t unsynced() const;

  // What no power cut can take, for checkers that must not believe anybody's
  // word. The version grows with each change of it.
  uint64_t durable_version() const;
  // Names in a directory whose own name is durable; none if it is not.
  std::vector<std::string> DurableNames(const std::string& directory) const;
  // Up to `size` durable bytes of a file whose name is durable; "" if it is
  // not.
  std::string DurableBytes(const std::string& path, uint64_t offset,
                           uint64_t size) const;

  // For tests that damage files. The path must exist, but for SetContents.
  std::string Contents(const std::string& path) const;
  // As if it had always stood so.
  void SetContents(const std::string& path, std::string_view bytes);
  std::vector<std::string> Names(const std::string& directory) const;

  absl::StatusOr<std::unique_ptr<DiskFile>> Open(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<DiskFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<DiskFile>> CreateZeroed(
      const std::string& path, uint64_t bytes) override;
  absl::Status MakeDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<DiskLock>> Lock(
      const std::string& path) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override;

 private:
  class File;
  class HeldLock;
  struct Node;
  using NodePtr = std::shared_ptr<Node>;  // Owned by names and open files.
  struct NameChange;
  using Copies = std::map<const Node*, NodePtr>;

  // Counts a call that changes something; an error if it is to fail.
  absl::Status BeginCall(std::string_view operation, std::string_view path,
                         SimFault* fault) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckPower() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Counts a call that looks; an error if it is to fail.
  absl::Status BeginLook(std::string_view operation, std::string_view path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  NodePtr Find(std::string_view path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  NodePtr FindDurable(std::string_view path) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static NodePtr FindBy(const NodePtr& root, std::string_view path,
                        std::map<std::string, NodePtr> Node::*names);
  absl::StatusOr<NodePtr> Directory(std::string_view path) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void Apply(const NameChange& change, std::map<std::string, NodePtr>*);
  absl::StatusOr<std::unique_ptr<DiskFile>> CreateWith(
      std::string_view operation, const std::string& path, uint64_t bytes);
  static NodePtr CutPower(const NodePtr& node, const Choose& choose,
                          Copies* copies);
  static NodePtr Copy(const NodePtr& node, Copies* copies);

  mutable absl::Mutex mu_;
  NodePtr root_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> locked_ ABSL_GUARDED_BY(mu_);
  uint64_t calls_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t durable_version_ ABSL_GUARDED_BY(mu_) = 0;
  std::string last_call_ ABSL_GUARDED_BY(mu_);
  uint64_t fail_call_ ABSL_GUARDED_BY(mu_) = 0;
  SimFault fault_ ABSL_GUARDED_BY(mu_) = SimFault::kIoError;
  int64_t shift_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t looks_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t fail_look_ ABSL_GUARDED_BY(mu_) = 0;
  bool fault_happened_ ABSL_GUARDED_BY(mu_) = false;
  std::string fault_call_ ABSL_GUARDED_BY(mu_);
  uint64_t power_until_ ABSL_GUARDED_BY(mu_) = UINT64_MAX;
  uint64_t free_bytes_ ABSL_GUARDED_BY(mu_) = uint64_t{1} << 40;
};

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_TESTING_SIM_DISK_H_
