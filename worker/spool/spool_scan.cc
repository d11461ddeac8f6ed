#include "worker/spool/spool_scan.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/index.h"

namespace millrace::worker {
namespace {

void Delete(FileSystem& fs, const std::string& path) {
  const absl::Status status = fs.RemoveTree(path);
  if (!status.ok()) {
    LOG(WARNING) << "not deleted: " << ToStd(status.message());
  }
}

// As TaskDone.map_output_root has it.
std::string RootBytes(const Hash128Value& root) {
  std::string bytes(16, '\0');
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(root.low >> (8 * i));
    bytes[8 + i] = static_cast<char>(root.high >> (8 * i));
  }
  return bytes;
}

absl::StatusOr<FoundOutput> Inspect(FileSystem& fs, const std::string& path,
                                    const JobId& job, const AttemptUid& uid) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<ReadFile> file, fs.OpenRead(path));
  MR_ASSIGN_OR_RETURN(const engine::InspectedMapOutput found,
                      engine::InspectMapOutput(*file, path));
  if (found.identity.job != job || found.identity.attempt != uid ||
      found.identity.run != 0) {
    return absl::DataLossError(
        Av(Cat("map output ", path, ": it belongs elsewhere")));
  }
  FoundOutput output;
  output.job = job;
  output.map_index = found.identity.map_index;
  output.attempt = uid;
  output.root = RootBytes(found.summary.root);
  MR_ASSIGN_OR_RETURN(const FileInfo info, file->Stat());
  output.bytes = info.identity.size;
  return output;
}

// The attempt whose map output has such a name.
std::optional<AttemptUid> AttemptOf(std::string_view name) {
  if (!name.ends_with(kMapOutputSuffix)) return std::nullopt;
  name.remove_suffix(kMapOutputSuffix.size());
  return AttemptUid::FromHex(name);
}

// True: it is a map output, and whole.
bool Keep(FileSystem& fs, const std::string& path, const JobId& job,
          std::vector<FoundOutput>* found) {
  const std::optional<AttemptUid> uid = AttemptOf(BaseName(path));
  if (!uid.has_value()) return false;
  absl::StatusOr<FoundOutput> output = Inspect(fs, path, job, *uid);
  if (!output.ok()) {
    LOG(WARNING) << "not offered again: " << ToStd(output.status().message());
    return false;
  }
  found->push_back(*std::move(output));
  return true;
}

}  // namespace

absl::StatusOr<FoundSpool> ScanSpool(FileSystem& fs,
                                     const WorkerLayout& layout) {
  const std::string spool = layout.Spool();
  MR_ASSIGN_OR_RETURN(const std::vector<DirEntry> jobs, fs.List(spool));
  FoundSpool found;
  for (const DirEntry& job_entry : jobs) {
    const std::string job_path = JoinPath(spool, job_entry.name);
    const auto job = JobId::FromHex(job_entry.name);
    const absl::StatusOr<std::vector<DirEntry>> entries = fs.List(job_path);
    if (!job.has_value() || !entries.ok()) {
      Delete(fs, job_path);
      continue;
    }
    found.jobs.push_back(*job);
    for (const DirEntry& entry : *entries) {
      const std::string path = JoinPath(job_path, entry.name);
      if (!Keep(fs, path, *job, &found.outputs)) Delete(fs, path);
    }
  }
  return found;
}

absl::Status EmptySpool(FileSystem& fs, const WorkerLayout& layout) {
  const std::string spool = layout.Spool();
  const absl::StatusOr<std::vector<DirEntry>> entries = fs.List(spool);
  if (absl::IsNotFound(entries.status())) return absl::OkStatus();
  if (!entries.ok()) return entries.status();
  for (const DirEntry& entry : *entries) {
    const std::string path = JoinPath(spool, entry.name);
    const absl::StatusOr<std::vector<DirEntry>> attempts = fs.List(path);
    if (!JobId::FromHex(entry.name).has_value() || !attempts.ok()) {
      MR_RETURN_IF_ERROR(fs.RemoveTree(path));
      continue;
    }
    for (const DirEntry& attempt : *attempts) {
      MR_RETURN_IF_ERROR(fs.RemoveTree(JoinPath(path, attempt.name)));
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace::worker
