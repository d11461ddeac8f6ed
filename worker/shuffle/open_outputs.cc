#include "worker/shuffle/open_outputs.h"

#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/index.h"

namespace millrace::worker {

absl::StatusOr<std::string> OpenOutput::ReadIndexBytes() const {
  std::string bytes(summary.file_bytes - index_offset, '\0');
  MR_ASSIGN_OR_RETURN(const size_t got,
                      file->ReadAt(index_offset, bytes.data(), bytes.size()));
  if (got != bytes.size()) {
    return absl::DataLossError("the file shrinks while it is read");
  }
  return bytes;
}

absl::StatusOr<std::shared_ptr<const OpenOutput>> OpenOutputs::Get(
    const JobId& job, uint32_t map_index, const AttemptUid& uid) {
  const Key key(job, uid);
  const std::string path = store_.MapOutput(job, map_index, uid);
  const std::string name =
      Cat(map_index, " of job ", job.ToShort(), ", attempt ", uid.ToShort());
  const absl::StatusOr<FileInfo> info = fs_.Stat(path);
  {
    const absl::MutexLock lock(&mu_);
    if (const auto it = entries_.find(key); it != entries_.end()) {
      if (info.ok() && info->identity == it->second.output->identity) {
        use_.splice(use_.end(), use_, it->second.use);
        return it->second.output;
      }
      EraseLocked(key);
    }
  }
  if (absl::IsNotFound(info.status())) {
    return absl::NotFoundError(Av(Cat("no map output ", name)));
  }
  if (!info.ok()) {
    return absl::Status(info.status().code(),
                        Av(Cat("map output ", name, " cannot be reached")));
  }
  auto output = std::make_shared<OpenOutput>();
  absl::StatusOr<std::unique_ptr<ReadFile>> file = fs_.OpenRead(path);
  if (!file.ok()) {
    return absl::Status(file.status().code(),
                        Av(Cat("map output ", name, " cannot be opened")));
  }
  output->file = *std::move(file);
  MR_ASSIGN_OR_RETURN(const FileInfo opened, output->file->Stat());
  output->identity = opened.identity;
  MR_ASSIGN_OR_RETURN(engine::InspectedMapOutput found,
                      engine::InspectMapOutput(*output->file, name));
  if (found.identity.job != job || found.identity.attempt != uid ||
      found.identity.map_index != map_index || found.identity.run != 0) {
    return absl::DataLossError(
        Av(Cat("map output ", name, ": another one is in its place")));
  }
  output->summary = std::move(found.summary);
  for (const engine::PartitionEntry& entry : output->summary.partitions) {
    output->index_offset += entry.bytes;  // They tile the file up to it.
  }

  const absl::MutexLock lock(&mu_);
  if (entries_.contains(key)) EraseLocked(key);  // Somebody was as quick.
  entries_[key] = {output, use_.insert(use_.end(), key)};
  while (entries_.size() > files_max_) EraseLocked(Key(use_.front()));
  return std::shared_ptr<const OpenOutput>(std::move(output));
}

void OpenOutputs::Forget(const JobId& job) {
  const absl::MutexLock lock(&mu_);
  for (auto it = entries_.lower_bound({job, AttemptUid()});
       it != entries_.end() && it->first.first == job;) {
    use_.erase(it->second.use);
    it = entries_.erase(it);
  }
}

void OpenOutputs::EraseLocked(const Key& key) {
  const auto it = entries_.find(key);
  use_.erase(it->second.use);
  entries_.erase(it);
}

}  // namespace millrace::worker
