#include "worker/shuffle/open_outputs.h"

#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/index.h"

namespace millrace::worker {
namespace {

// Its errors say what it is, and not where: the path is nobody else's business.
class NamedFile final : public ReadFile {
 public:
  NamedFile(std::string name, std::unique_ptr<ReadFile> file)
      : name_(std::move(name)), file_(std::move(file)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* buffer,
                                size_t size) override {
    absl::StatusOr<size_t> got = file_->ReadAt(offset, buffer, size);
    if (!got.ok()) return Unreadable(got.status());
    return got;
  }
  absl::StatusOr<FileInfo> Stat() override {
    absl::StatusOr<FileInfo> info = file_->Stat();
    if (!info.ok()) return Unreadable(info.status());
    return info;
  }

 private:
  absl::Status Unreadable(const absl::Status& why) const {
    return absl::Status(why.code(), Av(Cat(name_, " cannot be read")));
  }

  const std::string name_;
  const std::unique_ptr<ReadFile> file_;
};

}  // namespace

absl::StatusOr<std::string> OpenOutput::ReadIndexBytes() const {
  const uint64_t offset = index->index_offset;
  std::string bytes(index->summary.file_bytes - offset, '\0');
  MR_ASSIGN_OR_RETURN(const size_t got,
                      file->ReadAt(offset, bytes.data(), bytes.size()));
  if (got != bytes.size()) {
    return absl::DataLossError("the file shrinks while it is read");
  }
  return bytes;
}

absl::StatusOr<OpenOutput> OpenOutputs::Open(const JobId& job,
                                             uint32_t map_index,
                                             const AttemptUid& uid) {
  const std::string name = Cat("map output ", map_index, " of job ",
                               job.ToShort(), ", attempt ", uid.ToShort());
  absl::StatusOr<std::unique_ptr<ReadFile>> file =
      fs_.OpenRead(store_.MapOutput(job, map_index, uid));
  if (!file.ok()) {
    return absl::Status(
        file.status().code(),
        Av(Cat(name, absl::IsNotFound(file.status()) ? " is not here"
                                                     : " cannot be opened")));
  }
  OpenOutput output;
  output.file = std::make_unique<NamedFile>(name, *std::move(file));
  MR_ASSIGN_OR_RETURN(const FileInfo info, output.file->Stat());
  output.index = Find(job, uid, info.identity);
  if (output.index == nullptr) {
    MR_ASSIGN_OR_RETURN(engine::InspectedMapOutput found,
                        engine::InspectMapOutput(*output.file, name));
    // The map's number is in no path, so it is compared below.
    if (found.identity.job != job || found.identity.attempt != uid ||
        found.identity.run != 0) {
      return absl::DataLossError(
          Av(Cat(name, ": another one is in its place")));
    }
    auto index = std::make_shared<VerifiedIndex>();
    index->identity = info.identity;
    index->map_index = found.identity.map_index;
    index->summary = std::move(found.summary);
    for (const engine::PartitionEntry& entry : index->summary.partitions) {
      index->index_offset += entry.bytes;  // They tile the file up to it.
    }
    Keep(job, uid, index);
    output.index = std::move(index);
  }
  if (output.index->map_index != map_index) {
    return absl::DataLossError(
        Av(Cat(name, ": it is of map ", output.index->map_index)));
  }
  return output;
}

std::shared_ptr<const VerifiedIndex> OpenOutputs::Find(
    const JobId& job, const AttemptUid& uid, const FileIdentity& identity) {
  const absl::MutexLock lock(&mu_);
  std::shared_ptr<const VerifiedIndex> index = indexes_.Find(job, uid);
  // Another file was here.
  if (index != nullptr && index->identity != identity) return nullptr;
  return index;
}

void OpenOutputs::Keep(const JobId& job, const AttemptUid& uid,
                       std::shared_ptr<const VerifiedIndex> index) {
  const uint64_t rows = index->summary.partitions.size();
  const absl::MutexLock lock(&mu_);
  indexes_.Keep(job, uid, std::move(index), rows);
}

}  // namespace millrace::worker
