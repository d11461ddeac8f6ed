#include "worker/spool/attempt_files.h"

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/spool/layout.h"

namespace millrace::worker {
namespace {

uint64_t BytesOf(FileSystem& fs, const std::string& path) {
  const absl::StatusOr<FileInfo> info = fs.StatLink(path);
  return info.ok() && info->kind == FileKind::kRegular ? info->identity.size
                                                       : 0;
}

}  // namespace

absl::Status RemoveAttemptFiles(FileSystem& fs, std::string_view spool,
                                const JobId& job, const AttemptUid& uid) {
  const absl::Status removed = fs.RemoveTree(AttemptScratch(spool, job, uid));
  // Both, whatever became of the first.
  const absl::Status other = fs.RemoveTree(MapOutputPath(spool, job, uid));
  return removed.ok() ? other : removed;
}

uint64_t AttemptFileBytes(FileSystem& fs, std::string_view spool,
                          const JobId& job, const AttemptUid& uid) {
  uint64_t bytes = BytesOf(fs, MapOutputPath(spool, job, uid));
  const std::string scratch = AttemptScratch(spool, job, uid);
  const absl::StatusOr<std::vector<DirEntry>> entries = fs.List(scratch);
  if (!entries.ok()) return bytes;
  for (const DirEntry& entry : *entries) {
    bytes += BytesOf(fs, JoinPath(scratch, entry.name));
  }
  return bytes;
}

}  // namespace millrace::worker
