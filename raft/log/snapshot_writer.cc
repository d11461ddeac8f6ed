#include "raft/log/snapshot_writer.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/encoding.h"
#include "raft/log/snapshot_store.h"

namespace millrace::raft {
namespace {

absl::Status About(const absl::Status& status, const SnapshotFileMeta& meta,
                   std::string_view what) {
  return Annotate(status, Cat(what, " the snapshot at entry ", meta.index,
                              " of term ", meta.term));
}

}  // namespace

// ---------------------------------------------------------------- taken here

SnapshotWriter::SnapshotWriter(SnapshotStore& store, SnapshotFileMeta meta,
                               std::unique_ptr<SnapshotFileWriter> file)
    : store_(store),
      meta_(std::move(meta)),
      file_(std::move(file)),
      chunk_(BeginSnapshotChunk(meta_.chunk_bytes)) {}

SnapshotWriter::~SnapshotWriter() {
  if (file_ != nullptr) store_.Discard(std::move(file_));
  absl::MutexLock lock(&store_.mu_);
  store_.writing_ = false;
}

absl::Status SnapshotWriter::Fail(const absl::Status& status) {
  if (file_ != nullptr) store_.Discard(std::move(file_));
  return status_ = About(status, meta_, "write");
}

absl::Status SnapshotWriter::WriteChunk() {
  const uint64_t checksum = SealSnapshotChunk(
      file_->seed(), file_->next_chunk(), file_->chain(), &chunk_);
  MR_RETURN_IF_ERROR(file_->Append(chunk_, checksum));
  chunk_.resize(kSnapshotChunkHeadBytes);
  return absl::OkStatus();
}

absl::Status SnapshotWriter::Append(std::string_view bytes) {
  MR_RETURN_IF_ERROR(status_);
  CHECK(file_ != nullptr) << "the snapshot is finished";
  meta_.bytes += bytes.size();
  while (!bytes.empty()) {
    const uint64_t room =
        meta_.chunk_bytes + kSnapshotChunkHeadBytes - chunk_.size();
    const uint64_t n = std::min<uint64_t>(room, bytes.size());
    chunk_ += bytes.substr(0, n);
    bytes.remove_prefix(n);
    if (n < room) break;
    if (absl::Status s = WriteChunk(); !s.ok()) return Fail(s);
  }
  return absl::OkStatus();
}

absl::Status SnapshotWriter::Finish() {
  MR_RETURN_IF_ERROR(status_);
  CHECK(file_ != nullptr) << "the snapshot is finished";
  absl::Status status;
  if (chunk_.size() > kSnapshotChunkHeadBytes) status = WriteChunk();
  meta_.checksum = file_->chain();
  if (status.ok()) {
    status = file_->Finish(meta_, {store_.options_.identity.member, false});
  }
  if (!status.ok()) return Fail(status);
  const std::unique_ptr<SnapshotFileWriter> file = std::move(file_);
  return status_ =
             About(store_.Publish(file->path(), meta_, false), meta_, "write");
}

// ------------------------------------------------------------ from a leader

SnapshotInstaller::SnapshotInstaller(SnapshotStore& store, SnapshotFileMeta meta,
                                     std::unique_ptr<SnapshotFileWriter> file)
    : store_(store),
      meta_(std::move(meta)),
      file_(std::move(file)),
      next_(file_->next_chunk()) {}

SnapshotInstaller::~SnapshotInstaller() {
  const bool stale = store_.newest().index >= meta_.index;
  if (stale && file_ != nullptr) store_.Discard(std::move(file_));
  absl::MutexLock lock(&store_.mu_);
  store_.partial_ = std::move(file_);
  store_.partial_meta_ = meta_;
  store_.installing_ = false;
}

absl::Status SnapshotInstaller::Fail(const absl::Status& status) {
  if (file_ != nullptr) store_.Discard(std::move(file_));
  return status_ = About(status, meta_, "install");
}

absl::Status SnapshotInstaller::Append(uint64_t number,
                                       std::string_view chunk) {
  MR_RETURN_IF_ERROR(status_);
  CHECK(file_ != nullptr) << "the snapshot is finished";
  const bool anywhere = store_.options_.mutant.ignore_chunk_place;
  if (number < next_ && !anywhere) return absl::OkStatus();
  if (next_ == meta_.chunks() || (number > next_ && !anywhere)) {
    return About(
        absl::OutOfRangeError(Av(Cat("chunk ", number, " came, chunk ", next_,
                                     " of ", meta_.chunks(), " is expected"))),
        meta_, "install");
  }
  absl::StatusOr<SnapshotChunk> decoded =
      DecodeSnapshotChunk(chunk, file_->seed(), number,
                          meta_.ChunkLength(anywhere ? number : next_));
  if (!decoded.ok()) return About(decoded.status(), meta_, "install");
  if (!anywhere &&
      (decoded->chain != file_->chain() ||
       (next_ + 1 == meta_.chunks() && decoded->checksum != meta_.checksum))) {
    return Fail(absl::DataLossError(
        Av(Cat("chunk ", number, " does not follow the ones before it"))));
  }
  if (absl::Status s = file_->Append(chunk, decoded->checksum); !s.ok()) {
    return Fail(s);
  }
  ++next_;
  return absl::OkStatus();
}

absl::Status SnapshotInstaller::Finish() {
  MR_RETURN_IF_ERROR(status_);
  CHECK(file_ != nullptr) << "the snapshot is finished";
  if (next_ < meta_.chunks()) {
    return About(absl::OutOfRangeError(Av(Cat("chunk ", next_, " of ",
                                              meta_.chunks(), " is missing"))),
                 meta_, "install");
  }
  const LogMutant& mutant = store_.options_.mutant;
  const bool installed = !mutant.installed_as_local;
  if (absl::Status s =
          file_->Finish(meta_, {store_.options_.identity.member, installed});
      !s.ok()) {
    return Fail(s);
  }
  const std::unique_ptr<SnapshotFileWriter> file = std::move(file_);
  return status_ = About(store_.Publish(file->path(), meta_, installed), meta_,
                         "install");
}

}  // namespace millrace::raft
