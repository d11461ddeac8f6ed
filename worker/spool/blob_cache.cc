#include "worker/spool/blob_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "common/errno_status.h"
#include "common/logging.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::worker {
namespace {

constexpr std::string_view kTemporaryPrefix = "tmp-";

// The masters' copy is the one that lasts.
absl::Status WriteUnsynced(FileSystem& fs, const std::string& path,
                           std::string_view bytes) {
  MR_ASSIGN_OR_RETURN(const std::unique_ptr<WriteFile> file, fs.Create(path));
  MR_RETURN_IF_ERROR(file->Append(bytes));
  return file->Close();
}

}  // namespace

BlobCache::BlobCache(FileSystem& fs, BlobClient& client,
                     const WorkerLayout& layout, uint64_t spare_bytes_max,
                     MakeExecutable make_executable)
    : fs_(fs),
      client_(client),
      layout_(layout),
      spare_bytes_max_(spare_bytes_max),
      make_executable_(std::move(make_executable)) {}

absl::Status BlobCache::ChangeMode(const std::string& path) {
  if (chmod(path.c_str(), 0555) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, "change mode of", path);
}

absl::Status BlobCache::Open() {
  MR_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                      fs_.List(layout_.Blobs()));
  for (const DirEntry& entry : entries) {
    if (entry.name.starts_with(kTemporaryPrefix)) {
      MR_RETURN_IF_ERROR(fs_.RemoveTree(JoinPath(layout_.Blobs(), entry.name)));
    }
  }
  return absl::OkStatus();
}

void BlobCache::Want(const std::string& sha256) {
  absl::MutexLock lock(&mu_);
  wanted_.insert(sha256);
}

void BlobCache::WantOnly(const std::set<std::string>& wanted) {
  absl::MutexLock lock(&mu_);
  std::erase_if(wanted_, [&](const std::string& sha256) {
    return !wanted.contains(sha256);
  });
}

std::string BlobCache::TemporaryPath() {
  absl::MutexLock lock(&mu_);
  return JoinPath(layout_.Blobs(), Cat(kTemporaryPrefix, next_temporary_++));
}

absl::Status BlobCache::Adopt(const std::string& temporary,
                              const std::string& sha256) {
  MR_RETURN_IF_ERROR(make_executable_(temporary));
  absl::MutexLock lock(&mu_);
  MR_RETURN_IF_ERROR(fs_.Rename(temporary, layout_.Blob(sha256)));
  verified_.insert(sha256);
  return absl::OkStatus();
}

absl::Status BlobCache::Get(const std::string& sha256) {
  if (sha256.size() != kSha256Bytes) {
    // It would name another file, or the directory itself.
    return absl::InvalidArgumentError("that is no name of a blob");
  }
  const std::string path = layout_.Blob(sha256);
  {
    absl::MutexLock lock(&mu_);
    if (verified_.contains(sha256)) {
      // A cleaner of the operator's may have been here.
      if (fs_.Stat(path).ok()) return absl::OkStatus();
      verified_.erase(sha256);
    }
  }
  if (fs_.Stat(path).ok()) {
    const absl::StatusOr<std::string> hash = Sha256OfFile(fs_, path);
    if (hash.ok() && *hash == sha256) {
      absl::MutexLock lock(&mu_);
      verified_.insert(sha256);
      return absl::OkStatus();
    }
    LOG(WARNING) << path << " is damaged; fetched again";
    MR_RETURN_IF_ERROR(fs_.RemoveTree(path));
  }
  const std::string temporary = TemporaryPath();
  absl::Status status = client_.Get(sha256, temporary);
  if (status.ok()) {
    const absl::StatusOr<std::string> hash = Sha256OfFile(fs_, temporary);
    if (!hash.ok()) {
      status = hash.status();
    } else if (*hash != sha256) {
      status = absl::DataLossError("the masters sent other bytes than asked");
    } else {
      status = Adopt(temporary, sha256);
    }
  }
  if (!status.ok()) fs_.RemoveTree(temporary).IgnoreError();
  return status;
}

absl::StatusOr<std::string> BlobCache::Read(const std::string& sha256,
                                            uint64_t bytes_max) {
  return ReadWholeFile(fs_, layout_.Blob(sha256), bytes_max);
}

absl::StatusOr<std::string> BlobCache::Put(const std::string& path) {
  MR_ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(fs_, path));
  Want(sha256);
  MR_RETURN_IF_ERROR(client_.Put(sha256, path));
  MR_RETURN_IF_ERROR(Adopt(path, sha256));
  return sha256;
}

absl::StatusOr<std::string> BlobCache::PutBytes(std::string_view bytes) {
  const std::string temporary = TemporaryPath();
  MR_RETURN_IF_ERROR(WriteUnsynced(fs_, temporary, bytes));
  absl::StatusOr<std::string> sha256 = Put(temporary);
  if (!sha256.ok()) fs_.RemoveTree(temporary).IgnoreError();
  return sha256;
}

void BlobCache::Trim() {
  struct Spare {
    int64_t mtime_ns;
    uint64_t bytes;
    std::string name;
    std::string sha256;
  };
  const absl::StatusOr<std::vector<DirEntry>> entries =
      fs_.List(layout_.Blobs());
  if (!entries.ok()) return;
  std::vector<Spare> spares;
  uint64_t total = 0;
  for (const DirEntry& entry : *entries) {
    if (entry.name.size() != 2 * kSha256Bytes) continue;
    const absl::StatusOr<FileInfo> info =
        fs_.Stat(JoinPath(layout_.Blobs(), entry.name));
    if (!info.ok()) continue;
    Spare spare{info->identity.mtime_ns, info->identity.size, entry.name,
                absl::HexStringToBytes(Av(entry.name))};
    absl::MutexLock lock(&mu_);
    if (wanted_.contains(spare.sha256)) continue;
    total += spare.bytes;
    spares.push_back(std::move(spare));
  }
  std::sort(spares.begin(), spares.end(), [](const Spare& a, const Spare& b) {
    return a.mtime_ns < b.mtime_ns;
  });
  for (const Spare& spare : spares) {
    if (total <= spare_bytes_max_) return;
    // Looked at again under the lock, since it may have been wanted meanwhile.
    absl::MutexLock lock(&mu_);
    if (wanted_.contains(spare.sha256)) continue;
    verified_.erase(spare.sha256);
    fs_.RemoveFile(JoinPath(layout_.Blobs(), spare.name)).IgnoreError();
    total -= spare.bytes;
  }
}

}  // namespace millrace::worker
