#include "tests/sim/raft/mutant_disk.h"

#include <utility>

#include "absl/strings/match.h"

namespace millrace::raftsim {

class MutantDisk::File final : public raft::DiskFile {
 public:
  File(MutantDisk& disk, std::shared_ptr<raft::DiskFile> file)
      : disk_(disk), file_(std::move(file)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    return file_->ReadAt(offset, buffer, size);
  }
  absl::StatusOr<size_t> WriteAt(uint64_t offset,
                                 std::string_view data) override {
    const auto written = file_->WriteAt(offset, data);
    if (!written.ok() && disk_.mutant_.keep_going_after_error) {
      return data.size();
    }
    return written;
  }
  absl::Status Sync() override {
    if (disk_.mutant_.acknowledge_unsynced) {
      disk_.later_([file = file_] { (void)file->Sync(); });
      return absl::OkStatus();
    }
    const absl::Status status = file_->Sync();
    if (disk_.mutant_.keep_going_after_error) return absl::OkStatus();
    return status;
  }
  absl::StatusOr<uint64_t> Size() override { return file_->Size(); }

 private:
  MutantDisk& disk_;
  // Shared with a sync that is still to come.
  const std::shared_ptr<raft::DiskFile> file_;
};

absl::StatusOr<std::unique_ptr<raft::DiskFile>> MutantDisk::Wrap(
    absl::StatusOr<std::unique_ptr<raft::DiskFile>> file,
    const std::string& path) {
  if (!file.ok() ||
      !(absl::EndsWith(path, ".seg") || absl::EndsWith(path, "/spare"))) {
    return file;
  }
  return std::make_unique<File>(*this, *std::move(file));
}

absl::StatusOr<std::unique_ptr<raft::DiskFile>> MutantDisk::Open(
    const std::string& path) {
  return Wrap(disk_.Open(path), path);
}

absl::StatusOr<std::unique_ptr<raft::DiskFile>> MutantDisk::Create(
    const std::string& path) {
  return Wrap(disk_.Create(path), path);
}

absl::StatusOr<std::unique_ptr<raft::DiskFile>> MutantDisk::CreateZeroed(
    const std::string& path, uint64_t bytes) {
  return Wrap(disk_.CreateZeroed(path, bytes), path);
}

}  // namespace millrace::raftsim
