#include "master/blobs/blob_store.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "common/fault_point.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::master {
namespace {

constexpr std::string_view kTemporaryPrefix = "tmp-";

std::string ShortName(std::string_view sha256) {
  return HexEncode(sha256).substr(0, 12);
}

absl::Status Invalid(std::string message) {
  return absl::InvalidArgumentError(message);
}

}  // namespace

// -------------------------------------------------------------------- Writer

BlobStore::Writer::Writer(BlobStore& store, std::string sha256, uint64_t size,
                          std::string temporary,
                          std::unique_ptr<WriteFile> file)
    : store_(store),
      sha256_(std::move(sha256)),
      size_(size),
      temporary_(std::move(temporary)),
      file_(std::move(file)) {}

BlobStore::Writer::~Writer() {
  if (file_ == nullptr) return;  // Published.
  file_.reset();
  store_.fs_.RemoveFile(temporary_).IgnoreError();
}

absl::Status BlobStore::Writer::Append(std::string_view bytes) {
  if (bytes.size() > size_ - written_) {
    return Invalid(Cat("blob ", ShortName(sha256_), ": more than the ", size_,
                       " bytes that were announced"));
  }
  MR_RETURN_IF_ERROR(file_->Append(bytes));
  hash_.Add(bytes);
  written_ += bytes.size();
  return absl::OkStatus();
}

absl::Status BlobStore::Writer::Finish() {
  if (written_ != size_) {
    return Invalid(Cat("blob ", ShortName(sha256_), ": ", written_,
                       " bytes came, ", size_, " were announced"));
  }
  if (const std::string got = hash_.Finish(); got != sha256_) {
    return Invalid(Cat("blob ", ShortName(sha256_),
                       ": the bytes that came have another SHA-256, ",
                       ShortName(got)));
  }
  FaultPoint("blob.before_sync");
  MR_RETURN_IF_ERROR(file_->Sync());
  FaultPoint("blob.synced");
  MR_RETURN_IF_ERROR(file_->Close());
  MR_RETURN_IF_ERROR(store_.Publish(temporary_, sha256_));
  FaultPoint("blob.published");
  file_.reset();
  return absl::OkStatus();
}

// --------------------------------------------------------------------- store

absl::StatusOr<std::unique_ptr<BlobStore>> BlobStore::Open(
    const Options& options, FileSystem& fs, Random& random) {
  if (absl::Status made = fs.MakeDirectory(options.directory);
      !made.ok() && made.code() != absl::StatusCode::kAlreadyExists) {
    return made;
  }
  // The directory itself must outlive a power cut, as what is put into it does.
  MR_RETURN_IF_ERROR(fs.SyncDirectory(ParentPath(options.directory)));
  std::unique_ptr<BlobStore> store(new BlobStore(options, fs, random));
  MR_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                      fs.List(options.directory));
  absl::MutexLock lock(&store->mu_);
  for (const DirEntry& entry : entries) {
    if (std::string_view(entry.name).substr(0, kTemporaryPrefix.size()) ==
        kTemporaryPrefix) {
      MR_RETURN_IF_ERROR(
          fs.RemoveFile(JoinPath(options.directory, entry.name)));
      continue;
    }
    if (entry.name.size() != 2 * kSha256Bytes) continue;
    const std::string sha256 = absl::HexStringToBytes(entry.name);
    if (HexEncode(sha256) == entry.name) store->blobs_.insert(sha256);
  }
  return store;
}

std::string BlobStore::PathOf(std::string_view sha256) const {
  return JoinPath(options_.directory, HexEncode(sha256));
}

bool BlobStore::Has(std::string_view sha256) const {
  absl::MutexLock lock(&mu_);
  const auto found = blobs_.find(std::string(sha256));
  if (found == blobs_.end()) return false;
  used_.insert(*found);
  return true;
}

absl::StatusOr<std::unique_ptr<BlobStore::Writer>> BlobStore::Put(
    const std::string& sha256, uint64_t size) {
  if (sha256.size() != kSha256Bytes) {
    return Invalid(Cat("a blob is named by a SHA-256 of ", kSha256Bytes,
                       " bytes, not of ", sha256.size()));
  }
  if (size > options_.blob_bytes_max) {
    return Invalid(Cat("blob ", ShortName(sha256), ": ", size,
                       " bytes are more than the limit of ",
                       options_.blob_bytes_max));
  }
  MR_ASSIGN_OR_RETURN(const uint64_t free, fs_.FreeBytes(options_.directory));
  if (free < size || free - size < options_.free_bytes_min) {
    return absl::ResourceExhaustedError(
        Cat("blob ", ShortName(sha256), ": the master's disk has ", free,
            " bytes left, too few for another ", size));
  }
  std::string temporary;
  {
    absl::MutexLock lock(&mu_);
    temporary =
        JoinPath(options_.directory, Cat(kTemporaryPrefix, random_.Next64()));
  }
  MR_ASSIGN_OR_RETURN(std::unique_ptr<WriteFile> file, fs_.Create(temporary));
  return std::unique_ptr<Writer>(
      new Writer(*this, sha256, size, std::move(temporary), std::move(file)));
}

absl::Status BlobStore::Publish(const std::string& temporary,
                                const std::string& sha256) {
  // Two puts of one blob write the same bytes; the later one replaces them.
  MR_RETURN_IF_ERROR(fs_.Rename(temporary, PathOf(sha256)));
  MR_RETURN_IF_ERROR(fs_.SyncDirectory(options_.directory));
  absl::MutexLock lock(&mu_);
  blobs_.insert(sha256);
  used_.insert(sha256);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ReadFile>> BlobStore::OpenRead(
    std::string_view sha256) const {
  if (!Has(sha256)) {
    return absl::NotFoundError(
        Cat("blob ", ShortName(sha256), " is not stored here"));
  }
  return fs_.OpenRead(PathOf(sha256));
}

absl::StatusOr<std::string> BlobStore::Read(std::string_view sha256,
                                            uint64_t bytes_max) const {
  if (!Has(sha256)) {
    return absl::NotFoundError(
        Cat("blob ", ShortName(sha256), " is not stored here"));
  }
  return ReadWholeFile(fs_, PathOf(sha256), bytes_max);
}

std::vector<std::string> BlobStore::TakeUnused() {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> unused;
  for (const std::string& sha256 : blobs_) {
    if (used_.count(sha256) == 0) unused.push_back(sha256);
  }
  used_.clear();
  return unused;
}

absl::Status BlobStore::RemoveUnused(const std::string& sha256) {
  {
    absl::MutexLock lock(&mu_);
    if (used_.count(sha256) > 0 || blobs_.erase(sha256) == 0) {
      return absl::OkStatus();
    }
  }
  return fs_.RemoveFile(PathOf(sha256));
}

}  // namespace millrace::master
