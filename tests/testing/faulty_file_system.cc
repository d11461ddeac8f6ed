#include "tests/testing/faulty_file_system.h"

#include <utility>

#include "common/status_macros.h"

namespace millrace {

class FaultyFileSystem::Reader final : public ReadFile {
 public:
  Reader(FaultyFileSystem* fs, std::unique_ptr<ReadFile> base, std::string path)
      : fs_(fs), base_(std::move(base)), path_(std::move(path)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    MR_RETURN_IF_ERROR(fs_->Ask(FileOp::kRead, path_));
    return base_->ReadAt(offset, buffer, size);
  }
  absl::StatusOr<FileInfo> Stat() override {
    MR_RETURN_IF_ERROR(fs_->Ask(FileOp::kStat, path_));
    return base_->Stat();
  }

 private:
  FaultyFileSystem* const fs_;
  const std::unique_ptr<ReadFile> base_;
  const std::string path_;
};

class FaultyFileSystem::Writer final : public WriteFile {
 public:
  Writer(FaultyFileSystem* fs, std::unique_ptr<WriteFile> base,
         std::string path)
      : fs_(fs), base_(std::move(base)), path_(std::move(path)) {}

  absl::Status Append(std::string_view data) override {
    MR_RETURN_IF_ERROR(fs_->Ask(FileOp::kAppend, path_));
    return base_->Append(data);
  }
  absl::Status Sync() override {
    MR_RETURN_IF_ERROR(fs_->Ask(FileOp::kSync, path_));
    return base_->Sync();
  }
  absl::Status Close() override {
    MR_RETURN_IF_ERROR(fs_->Ask(FileOp::kClose, path_));
    return base_->Close();
  }

 private:
  FaultyFileSystem* const fs_;
  const std::unique_ptr<WriteFile> base_;
  const std::string path_;
};

void FaultyFileSystem::SetEarlyFault(Fault fault) {
  absl::MutexLock lock(&mu_);
  early_fault_ = std::move(fault);
}

void FaultyFileSystem::SetFault(Fault fault) {
  absl::MutexLock lock(&mu_);
  fault_ = std::move(fault);
}

void FaultyFileSystem::FailOnce(uint64_t n, absl::Status status) {
  SetFault([this, n, status](FileOp, const std::string&) {
    mu_.AssertHeld();
    return operations_ == n ? status : absl::OkStatus();
  });
}

void FaultyFileSystem::FailFrom(uint64_t n, absl::Status status) {
  SetFault([this, n, status](FileOp, const std::string&) {
    mu_.AssertHeld();
    return operations_ >= n ? status : absl::OkStatus();
  });
}

uint64_t FaultyFileSystem::operations() const {
  absl::MutexLock lock(&mu_);
  return operations_;
}

absl::Status FaultyFileSystem::Ask(FileOp op, const std::string& path) {
  Fault early;
  {
    absl::MutexLock lock(&mu_);
    early = early_fault_;
  }
  if (early) MR_RETURN_IF_ERROR(early(op, path));
  absl::MutexLock lock(&mu_);
  absl::Status status = fault_ ? fault_(op, path) : absl::OkStatus();
  ++operations_;
  return status;
}

absl::StatusOr<std::unique_ptr<ReadFile>> FaultyFileSystem::OpenRead(
    const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kOpenRead, path));
  MR_ASSIGN_OR_RETURN(std::unique_ptr<ReadFile> file, base_.OpenRead(path));
  return std::make_unique<Reader>(this, std::move(file), path);
}

absl::StatusOr<std::unique_ptr<WriteFile>> FaultyFileSystem::Create(
    const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kCreate, path));
  MR_ASSIGN_OR_RETURN(std::unique_ptr<WriteFile> file, base_.Create(path));
  return std::make_unique<Writer>(this, std::move(file), path);
}

absl::StatusOr<FileInfo> FaultyFileSystem::Stat(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kStat, path));
  return base_.Stat(path);
}

absl::StatusOr<FileInfo> FaultyFileSystem::StatLink(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kStat, path));
  return base_.StatLink(path);
}

absl::StatusOr<std::vector<DirEntry>> FaultyFileSystem::List(
    const std::string& directory) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kList, directory));
  return base_.List(directory);
}

absl::Status FaultyFileSystem::MakeDirectory(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kMakeDirectory, path));
  return base_.MakeDirectory(path);
}

absl::Status FaultyFileSystem::RemoveTree(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kRemove, path));
  return base_.RemoveTree(path);
}

absl::Status FaultyFileSystem::RemoveFile(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kRemove, path));
  return base_.RemoveFile(path);
}

absl::Status FaultyFileSystem::Rename(const std::string& from,
                                      const std::string& to) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kRename, from));
  return base_.Rename(from, to);
}

absl::Status FaultyFileSystem::RenameNoReplace(const std::string& from,
                                               const std::string& to) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kRename, from));
  return base_.RenameNoReplace(from, to);
}

absl::Status FaultyFileSystem::SyncDirectory(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kSyncDirectory, path));
  return base_.SyncDirectory(path);
}

absl::Status FaultyFileSystem::MakeReadOnly(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kMakeReadOnly, path));
  return base_.MakeReadOnly(path);
}

absl::StatusOr<uint64_t> FaultyFileSystem::FreeBytes(const std::string& path) {
  MR_RETURN_IF_ERROR(Ask(FileOp::kFreeBytes, path));
  return base_.FreeBytes(path);
}

}  // namespace millrace
