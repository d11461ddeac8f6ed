// Limits on the memory of job processes that the kernel keeps: a cgroup for
// each, of version 2 or 1, below the cgroup of this process. Everything that a
// job process starts is in its group, wherever it flees to.
//
// Which of them a host has, and whether this process may use it, differs: many
// containers have none. So it is tried out, once, at the start; where nothing
// works the supervisor looks at resident memory instead.
//
// What counts: private memory, and files in memory (tmpfs, memfd) that the
// process has made; cached pages of files on disk are given up before anything
// is killed. Swap does not help.
//
// Groups are named millrace-<pid>-<number> after the process that makes them,
// and removed with their job process. Those that a killed worker left are empty
// and are removed by the next one that looks.
#ifndef MILLRACE_SUPERVISOR_MEMORY_CGROUPS_H_
#define MILLRACE_SUPERVISOR_MEMORY_CGROUPS_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace::supervisor {

// The kernel's files, so that tests can play the kernel. Thread-compatible.
class CgroupFiles {
 public:
  virtual ~CgroupFiles() = default;
  virtual absl::StatusOr<std::string> Read(const std::string& path) = 0;
  // To a file that is there, in one write.
  virtual absl::Status Write(const std::string& path,
                             std::string_view text) = 0;
  virtual absl::Status MakeDirectory(const std::string& path) = 0;
  // kNotFound: it is not there.
  virtual absl::Status RemoveDirectory(const std::string& path) = 0;
  // Names of the directories in it; none where it cannot be read.
  virtual std::vector<std::string> Directories(const std::string& path) = 0;

  // Of the machine; lives as long as the process.
  static CgroupFiles& Real();
};

enum class MemoryGuard { kCgroupV2, kCgroupV1, kResident };
// "cgroup-v2", "cgroup-v1", "rss".
std::string_view MemoryGuardName(MemoryGuard guard);

class MemoryCgroups;

// One group. Removed with this object, or later if it is not empty by then.
class MemoryCgroup {
 public:
  ~MemoryCgroup();
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  absl::Status Add(pid_t pid);
  // Processes of the group that the kernel has killed, if it has reached its
  // limit; else they were killed because the whole machine was out of memory.
  uint64_t Kills() const;
  // The most that was charged to it; nothing where the kernel does not say.
  std::optional<uint64_t> PeakBytes() const;
  // Those that are in it, also such as nobody else knows of.
  std::vector<pid_t> Members() const;
  uint64_t limit_bytes() const { return limit_bytes_; }
  MemoryGuard guard() const;

 private:
  friend class MemoryCgroups;
  MemoryCgroup(MemoryCgroups& groups, std::string path, uint64_t limit_bytes)
      : groups_(groups), path_(std::move(path)), limit_bytes_(limit_bytes) {}

  MemoryCgroups& groups_;
  const std::string path_;
  const uint64_t limit_bytes_;
};

// Where groups are made. Confined to one thread, as the supervisor that uses
// it; outlives all groups.
class MemoryCgroups {
 public:
  struct Found {
    // Null: none can be used here.
    std::unique_ptr<MemoryCgroups> groups;
    // In words: where the groups are, or why there are none.
    std::string said;
  };
  // Tries out version 2, then 1. For version 2 this process moves into a group
  // of its own, since a group whose limits are handed down may hold no
  // processes itself; that is done only if it was alone in its group. `files`
  // outlives what is found.
  static Found Probe(CgroupFiles& files, pid_t self);

  // What could not be removed before is tried once more.
  ~MemoryCgroups();

  // A group with this limit, and without members.
  absl::StatusOr<std::unique_ptr<MemoryCgroup>> Make(uint64_t limit_bytes);

  MemoryGuard guard() const { return guard_; }
  const std::string& path() const { return path_; }

 private:
  friend class MemoryCgroup;
  MemoryCgroups(CgroupFiles& files, MemoryGuard guard, std::string path,
                pid_t self)
      : files_(files), guard_(guard), path_(std::move(path)), self_(self) {}

  static absl::StatusOr<std::unique_ptr<MemoryCgroups>> TryV2(
      CgroupFiles& files, const std::string& path, pid_t self);
  static absl::StatusOr<std::unique_ptr<MemoryCgroups>> TryV1(
      CgroupFiles& files, const std::string& path, pid_t self);
  // Makes a group, reads its limit back, removes it; and removes what dead
  // processes have left.
  absl::Status TryOut();
  void Remove(const std::string& path);
  void RemoveLeftovers();

  CgroupFiles& files_;
  const MemoryGuard guard_;
  const std::string path_;
  const pid_t self_;
  uint64_t next_ = 1;
  std::vector<std::string> leftovers_;  // Not empty when they should have gone.
};

}  // namespace millrace::supervisor

#endif  // MILLRACE_SUPERVISOR_MEMORY_CGROUPS_H_
