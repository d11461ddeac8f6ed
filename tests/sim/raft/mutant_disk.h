// The simulated disk as a process sees it that breaks the rules of durability:
// mutants of what stands between the core and the disk. Without any of them it
// passes everything on.
#ifndef MILLRACE_TESTS_SIM_RAFT_MUTANT_DISK_H_
#define MILLRACE_TESTS_SIM_RAFT_MUTANT_DISK_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "raft/log/disk.h"
#include "tests/sim/raft/options.h"

namespace millrace::raftsim {

class MutantDisk final : public raft::Disk {
 public:
  // `later` runs what it is given a moment later, unless the process has ended
  // by then. `disk` outlives this.
  MutantDisk(const DriverMutant& mutant, raft::Disk& disk,
             std::function<void(std::function<void()>)> later)
      : mutant_(mutant), disk_(disk), later_(std::move(later)) {}

  absl::StatusOr<std::unique_ptr<raft::DiskFile>> Open(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<raft::DiskFile>> Create(
      const std::string& path) override;
  absl::StatusOr<std::unique_ptr<raft::DiskFile>> CreateZeroed(
      const std::string& path, uint64_t bytes) override;
  absl::Status MakeDirectory(const std::string& path) override {
    return disk_.MakeDirectory(path);
  }
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) override {
    return disk_.List(directory);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return disk_.Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    return disk_.Remove(path);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    return disk_.SyncDirectory(path);
  }
  absl::StatusOr<std::unique_ptr<raft::DiskLock>> Lock(
      const std::string& path) override {
    return disk_.Lock(path);
  }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    return disk_.FreeBytes(path);
  }

 private:
  class File;

  absl::StatusOr<std::unique_ptr<raft::DiskFile>> Wrap(
      absl::StatusOr<std::unique_ptr<raft::DiskFile>> file,
      const std::string& path);

  const DriverMutant mutant_;
  raft::Disk& disk_;
  const std::function<void(std::function<void()>)> later_;
};

}  // namespace millrace::raftsim

#endif  // MILLRACE_TESTS_SIM_RAFT_MUTANT_DISK_H_
