#include "raft/log/snapshot_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/member_directory.h"
#include "raft/log/recovery.h"

namespace millrace::raft {
namespace {

// The newest, and one to fall back on should the newest turn out to be damaged
// while the log still reaches back that far.
constexpr size_t kKept = 2;

}  // namespace

SnapshotStore::SnapshotStore(const SnapshotStoreOptions& options, Disk& disk)
    : options_(options),
      disk_(disk),
      snap_(SnapshotDirectory(options.directory)) {}

SnapshotStore::~SnapshotStore() {
  absl::MutexLock lock(&mu_);
  CHECK(!writing_ && !installing_) << "a snapshot is still being written";
}

absl::StatusOr<std::unique_ptr<SnapshotStore>> SnapshotStore::Open(
    const SnapshotStoreOptions& options, Disk& disk) {
  if (options.chunk_bytes == 0 ||
      options.chunk_bytes > kSnapshotChunkBytesMax) {
    return absl::InvalidArgumentError(Av(
        Cat("snapshot chunks of ", options.chunk_bytes,
            " bytes: it takes at least 1, at most ", kSnapshotChunkBytesMax)));
  }
  std::unique_ptr<SnapshotStore> store(new SnapshotStore(options, disk));
  MR_RETURN_IF_ERROR(store->Load());
  return store;
}

absl::Status SnapshotStore::Load() {
  MR_RETURN_IF_ERROR(disk_.MakeDirectory(snap_));
  MR_RETURN_IF_ERROR(disk_.SyncDirectory(options_.directory));
  MR_ASSIGN_OR_RETURN(std::vector<std::string> names, disk_.List(snap_));
  std::sort(names.begin(), names.end());
  std::vector<SnapshotPosition> found;
  for (const std::string& name : names) {
    if (absl::EndsWith(name, ".tmp")) {
      MR_RETURN_IF_ERROR(disk_.Remove(JoinPath(snap_, name)));
      continue;
    }
    if (!absl::EndsWith(name, ".snap")) continue;
    const std::optional<SnapshotPosition> position = ParseSnapshotName(name);
    if (!position ||
        (!found.empty() && (found.back().index >= position->index))) {
      return DamagedLog(options_.directory, JoinPath(snap_, name), 0,
                        position ? "a snapshot of a later term has no higher "
                                   "index than one of an earlier term"
                                 : "no snapshot is given such a name");
    }
    found.push_back(*position);
  }
  // A name that is seen here may have been made by a process that was killed
  // before it could sync the directory.
  MR_RETURN_IF_ERROR(disk_.SyncDirectory(snap_));

  std::vector<Stored> stored;
  std::vector<Damaged> damaged;
  while (!found.empty() && stored.empty()) {
    const SnapshotPosition position = found.back();
    const std::string path = PathOf(position);
    found.pop_back();
    auto reader = SnapshotReader::Open(disk_, path, options_.identity, position,
                                       options_.mutant);
    absl::Status status = reader.status();
    if (status.ok() && !options_.mutant.believe_newest) {
      status = (*reader)->VerifyRest();
    }
    if (status.ok()) {
      stored.push_back({position, (*reader)->origin().installed});
    } else if (absl::IsDataLoss(status)) {
      damaged.push_back({position, path, std::string(status.message())});
    } else {
      return status;
    }
  }
  // Verified when it was written, and again should it ever be the newest.
  if (!found.empty()) {
    stored.insert(stored.begin(), {found.back(), false});
    found.pop_back();
  }
  absl::MutexLock lock(&mu_);
  stored_ = std::move(stored);
  damaged_ = std::move(damaged);
  for (const SnapshotPosition& position : found) {
    superseded_.push_back(PathOf(position));
  }
  return absl::OkStatus();
}

std::string SnapshotStore::PathOf(const SnapshotPosition& position) const {
  return JoinPath(snap_, SnapshotName(position.term, position.index));
}

// ------------------------------------------------------------------- reading

LogSnapshot SnapshotStore::newest() const {
  absl::MutexLock lock(&mu_);
  if (stored_.empty()) return LogSnapshot();
  const Stored& newest = stored_.back();
  return {newest.position.index, newest.position.term, newest.installed};
}

uint64_t SnapshotStore::older_index() const {
  absl::MutexLock lock(&mu_);
  return stored_.size() < 2 ? 0 : stored_[stored_.size() - 2].position.index;
}

std::vector<SnapshotStore::Damaged> SnapshotStore::damaged() const {
  absl::MutexLock lock(&mu_);
  return damaged_;
}

absl::StatusOr<std::unique_ptr<SnapshotReader>> SnapshotStore::OpenNewest()
    const {
  for (;;) {
    const LogSnapshot snapshot = newest();
    if (snapshot.index == 0) {
      return absl::NotFoundError(Av(Cat("there is no snapshot in ", snap_)));
    }
    const SnapshotPosition position = {snapshot.term, snapshot.index};
    auto reader = SnapshotReader::Open(
        disk_, PathOf(position), options_.identity, position, options_.mutant);
    if (!absl::IsNotFound(reader.status())) return reader;
    // Two newer ones came meanwhile, or it was removed by another hand.
    if (newest().index == snapshot.index) {
      return absl::DataLossError(reader.status().message());
    }
  }
}

// ------------------------------------------------------------------- writing

std::string SnapshotStore::TakeTemporaryPath() {
  absl::MutexLock lock(&mu_);
  return JoinPath(snap_, Cat(next_temporary_++, ".tmp"));
}

absl::StatusOr<std::unique_ptr<SnapshotWriter>> SnapshotStore::Create(
    uint64_t index, uint64_t term, std::string configuration) {
  if (configuration.size() > kSnapshotConfigurationBytesMax) {
    return absl::InvalidArgumentError(
        Av(Cat("a configuration of ", configuration.size(),
               " bytes in a snapshot, at most ", kSnapshotConfigurationBytesMax,
               " are possible")));
  }
  SnapshotFileMeta meta;
  meta.cluster = options_.identity.cluster;
  meta.index = index;
  meta.term = term;
  if (!options_.mutant.forget_configuration) {
    meta.configuration = std::move(configuration);
  }
  meta.chunk_bytes = options_.chunk_bytes;
  {
    absl::MutexLock lock(&mu_);
    if (!stored_.empty() && stored_.back().position.index >= index) {
      return absl::AbortedError(
          Av(Cat("a snapshot at entry ", index, ": there is one at entry ",
                 stored_.back().position.index)));
    }
    if (writing_) {
      return absl::FailedPreconditionError(
          Av(Cat("a snapshot at entry ", index, ": another is being written")));
    }
    writing_ = true;
  }
  auto file = SnapshotFileWriter::Create(disk_, TakeTemporaryPath(), meta,
                                         options_.mutant);
  if (!file.ok()) {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    return Annotate(file.status(), Cat("write the snapshot at entry ", index));
  }
  return std::unique_ptr<SnapshotWriter>(
      new SnapshotWriter(*this, std::move(meta), *std::move(file)));
}

absl::StatusOr<std::unique_ptr<SnapshotInstaller>> SnapshotStore::Install(
    std::string_view description) {
  MR_ASSIGN_OR_RETURN(SnapshotFileMeta meta,
                      DecodeSnapshotDescription(description));
  if (meta.cluster != options_.identity.cluster) {
    return absl::FailedPreconditionError(Av(
        Cat("a snapshot of cluster ", meta.cluster.ToHex(),
            " was sent to a member of ", options_.identity.cluster.ToHex())));
  }
  std::unique_ptr<SnapshotFileWriter> file, other;
  {
    absl::MutexLock lock(&mu_);
    if (!stored_.empty() && stored_.back().position.index >= meta.index) {
      return absl::AbortedError(Av(Cat("a snapshot at entry ", meta.index,
                                       " was sent: there is one "
                                       "at entry ",
                                       stored_.back().position.index)));
    }
    if (installing_) {
      return absl::FailedPreconditionError(
          Av(Cat("a snapshot at entry ", meta.index,
                 " was sent: another transfer is under way")));
    }
    installing_ = true;
    (partial_meta_ == meta ? file : other) = std::move(partial_);
  }
  if (other != nullptr) Discard(std::move(other));
  absl::Status status;
  if (file == nullptr) {
    // Better now than after a transfer of minutes.
    const absl::StatusOr<uint64_t> free = disk_.FreeBytes(snap_);
    if (free.ok() && *free < meta.file_bytes()) {
      status = absl::ResourceExhaustedError(
          Av(Cat("it takes ", meta.file_bytes(), " bytes, free are ", *free)));
    } else {
      auto created = SnapshotFileWriter::Create(disk_, TakeTemporaryPath(),
                                                meta, options_.mutant);
      status = created.status();
      if (status.ok()) file = *std::move(created);
    }
  }
  if (!status.ok()) {
    absl::MutexLock lock(&mu_);
    installing_ = false;
    return Annotate(status, Cat("install the snapshot at entry ", meta.index));
  }
  return std::unique_ptr<SnapshotInstaller>(
      new SnapshotInstaller(*this, std::move(meta), std::move(file)));
}

void SnapshotStore::GiveUpTransfer() {
  std::unique_ptr<SnapshotFileWriter> partial;
  {
    absl::MutexLock lock(&mu_);
    partial = std::move(partial_);
  }
  if (partial != nullptr) Discard(std::move(partial));
}

void SnapshotStore::Discard(std::unique_ptr<SnapshotFileWriter> file) {
  const std::string path = file->path();
  file.reset();
  RemoveOrRemember(path);
}

// ---------------------------------------------------------------- publishing

absl::Status SnapshotStore::Publish(const std::string& temporary,
                                    const SnapshotFileMeta& meta, bool installed) {
  const auto nobody_publishes = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !publishing_;
  };
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&nobody_publishes));
    publishing_ = true;
  }
  absl::Status status = PublishSteps(temporary, meta, installed);
  std::unique_ptr<SnapshotFileWriter> stale;
  {
    absl::MutexLock lock(&mu_);
    publishing_ = false;
    if (!stored_.empty() &&
        partial_meta_.index <= stored_.back().position.index) {
      stale = std::move(partial_);
    }
  }
  if (stale != nullptr) Discard(std::move(stale));
  return status;
}

absl::Status SnapshotStore::PublishSteps(const std::string& temporary,
                                         const SnapshotFileMeta& meta,
                                         bool installed) {
  const LogMutant& mutant = options_.mutant;
  const Stored stored = {{meta.term, meta.index}, installed};
  const std::string path = PathOf(stored.position);
  absl::Status status =
      mutant.skip_read_back ? absl::OkStatus() : ReadBack(temporary, meta);
  if (const uint64_t index = newest().index;
      status.ok() && index >= meta.index) {
    status = absl::AbortedError(Av(Cat("there is one at entry ", index)));
  }
  if (status.ok()) status = disk_.Rename(temporary, path);
  if (!status.ok()) {
    RemoveOrRemember(temporary);
    return status;
  }
  if (mutant.remove_before_sync) Count(stored);
  if (!mutant.skip_snapshot_directory_sync) {
    status = disk_.SyncDirectory(snap_);
  }
  if (!status.ok()) {
    // The name may be there or not after a power cut. If it is, so is what it
    // names.
    RemoveOrRemember(path);
    return status;
  }
  if (!mutant.remove_before_sync) Count(stored);
  return absl::OkStatus();
}

absl::Status SnapshotStore::ReadBack(const std::string& temporary,
                                     const SnapshotFileMeta& meta) {
  MR_ASSIGN_OR_RETURN(
      const std::unique_ptr<SnapshotReader> reader,
      SnapshotReader::Open(disk_, temporary, options_.identity,
                           {meta.term, meta.index}, options_.mutant));
  if (reader->meta() != meta) {
    return absl::DataLossError(
        Av(Cat(temporary, " does not say what was written")));
  }
  return reader->VerifyRest();
}

void SnapshotStore::Count(const Stored& stored) {
  std::vector<std::string> remove;
  {
    absl::MutexLock lock(&mu_);
    stored_.push_back(stored);
    for (; stored_.size() > kKept; stored_.erase(stored_.begin())) {
      superseded_.push_back(PathOf(stored_.front().position));
    }
    std::erase_if(damaged_, [&](const Damaged& damaged) {
      if (damaged.position.index > stored.position.index) return false;
      superseded_.push_back(damaged.path);
      return true;
    });
    // One that was damaged, or could not be removed, may have had its name.
    std::erase(superseded_, PathOf(stored.position));
    remove.swap(superseded_);
  }
  for (const std::string& path : remove) RemoveOrRemember(path);
}

void SnapshotStore::RemoveOrRemember(const std::string& path) {
  const absl::Status status = disk_.Remove(path);
  if (status.ok() || absl::IsNotFound(status)) return;
  LOG(WARNING) << "a snapshot that is no longer needed stays: "
               << status.message();
  absl::MutexLock lock(&mu_);
  superseded_.push_back(path);
}

}  // namespace millrace::raft
