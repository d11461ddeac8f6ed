#include "raft/log/snapshot_file.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::raft {
namespace {

// A snapshot goes to the disk in pieces, so that it does not fill the page
// cache with one burst that the log's own syncs wait behind.
constexpr uint64_t kSyncBytes = uint64_t{8} << 20;

}  // namespace

// ------------------------------------------------------------------- reading

absl::StatusOr<std::unique_ptr<SnapshotReader>> SnapshotReader::Open(
    Disk& disk, const std::string& path, const LogIdentity& identity,
    const SnapshotPosition& position, const LogMutant& mutant) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<DiskFile> file, disk.Open(path));
  std::unique_ptr<SnapshotReader> reader(
      new SnapshotReader(std::move(file), path));
  reader->mutant_ = mutant;
  MR_RETURN_IF_ERROR(reader->ReadEnds(identity, position));
  return reader;
}

absl::Status SnapshotReader::Damage(uint64_t offset,
                                    std::string_view what) const {
  return absl::DataLossError(Av(Cat(path_, ", offset ", offset, ": ", what)));
}

absl::StatusOr<std::string> SnapshotReader::ReadBytes(uint64_t offset,
                                                      uint64_t size) {
  std::string bytes(size, '\0');
  const absl::StatusOr<size_t> n = file_->ReadAt(offset, bytes.data(), size);
  if (!n.ok()) {
    return Annotate(n.status(), Cat(path_, ", from offset ", offset, " on"));
  }
  bytes.resize(*n);
  return bytes;
}

absl::Status SnapshotReader::ReadEnds(const LogIdentity& identity,
                                      const SnapshotPosition& position) {
  MR_ASSIGN_OR_RETURN(const uint64_t size, file_->Size());
  MR_ASSIGN_OR_RETURN(const std::string head,
                      ReadBytes(0, kSnapshotHeaderBytesMax));
  absl::StatusOr<SnapshotFileMeta> meta = DecodeSnapshotHeader(head);
  if (absl::IsFailedPrecondition(meta.status())) {
    return Annotate(meta.status(), path_);
  }
  if (!meta.ok()) return Damage(0, ToStd(meta.status().message()));
  meta_ = *std::move(meta);
  seed_ = chain_ = SnapshotSeed(head, meta_);
  if (meta_.cluster != identity.cluster) {
    return Damage(0, Cat("the snapshot is of cluster ", meta_.cluster.ToHex(),
                         ", the directory of ", identity.cluster.ToHex()));
  }
  if (meta_.term != position.term || meta_.index != position.index) {
    return Damage(0, Cat("the snapshot was written as ",
                         SnapshotName(meta_.term, meta_.index)));
  }

  if (size < meta_.header_bytes() + kSnapshotTrailerBytes) {
    return Damage(size, "the snapshot is cut short");
  }
  const uint64_t trailer_at = size - kSnapshotTrailerBytes;
  MR_ASSIGN_OR_RETURN(const std::string trailer,
                      ReadBytes(trailer_at, kSnapshotTrailerBytes));
  if (absl::Status s = DecodeSnapshotTrailer(trailer, seed_, &meta_, &origin_);
      !s.ok()) {
    return Damage(trailer_at, ToStd(s.message()));
  }
  if (meta_.file_bytes() != size) {
    return Damage(
        std::min(meta_.file_bytes(), size),
        Cat("the file has ", size, " bytes, it had ", meta_.file_bytes()));
  }
  if (origin_.member != identity.member) {
    return Damage(trailer_at, Cat("the file is of member ", origin_.member,
                                  ", the directory of ", identity.member));
  }
  return absl::OkStatus();
}

absl::StatusOr<SnapshotChunk> SnapshotReader::ReadInto(uint64_t number,
                                                       std::string* chunk) {
  const uint64_t offset = meta_.ChunkOffset(number);
  const uint64_t length = meta_.ChunkLength(number);
  MR_ASSIGN_OR_RETURN(*chunk,
                      ReadBytes(offset, length + kSnapshotChunkOverheadBytes));
  absl::StatusOr<SnapshotChunk> decoded =
      DecodeSnapshotChunk(*chunk, seed_, number, length);
  if (!decoded.ok()) return Damage(offset, ToStd(decoded.status().message()));
  return decoded;
}

absl::Status SnapshotReader::Advance() {
  MR_ASSIGN_OR_RETURN(const SnapshotChunk chunk, ReadInto(next_, &chunk_));
  const uint64_t offset = meta_.ChunkOffset(next_);
  if (!mutant_.ignore_snapshot_chain) {
    if (chunk.chain != chain_) {
      return Damage(offset, Cat("chunk ", next_,
                                " of the snapshot does not follow the one "
                                "before it"));
    }
    if (next_ + 1 == meta_.chunks() && chunk.checksum != meta_.checksum) {
      return Damage(offset, "the snapshot's total checksum is another");
    }
  }
  chain_ = chunk.checksum;
  unread_ = chunk.payload;
  ++next_;
  return absl::OkStatus();
}

absl::StatusOr<size_t> SnapshotReader::Read(char* buffer, size_t size) {
  CHECK_GE(size, 1u);
  MR_RETURN_IF_ERROR(status_);
  if (unread_.empty()) {
    if (next_ == meta_.chunks()) return 0;
    status_ = Advance();
    MR_RETURN_IF_ERROR(status_);
  }
  const size_t n = std::min(size, unread_.size());
  std::copy_n(unread_.data(), n, buffer);
  unread_.remove_prefix(n);
  return n;
}

absl::Status SnapshotReader::VerifyRest() {
  unread_ = {};
  while (status_.ok() && next_ < meta_.chunks()) status_ = Advance();
  unread_ = {};
  return status_;
}

absl::StatusOr<std::string> SnapshotReader::ReadChunk(uint64_t number) {
  if (number >= meta_.chunks()) {
    return absl::OutOfRangeError(
        Av(Cat("chunk ", number, " of snapshot ", meta_.index, ", which has ",
               meta_.chunks())));
  }
  std::string chunk;
  MR_RETURN_IF_ERROR(ReadInto(number, &chunk).status());
  return chunk;
}

// ------------------------------------------------------------------- writing

absl::StatusOr<std::unique_ptr<SnapshotFileWriter>> SnapshotFileWriter::Create(
    Disk& disk, const std::string& path, const SnapshotFileMeta& meta,
    const LogMutant& mutant) {
  MR_ASSIGN_OR_RETURN(std::unique_ptr<DiskFile> file, disk.Create(path));
  std::unique_ptr<SnapshotFileWriter> writer(
      new SnapshotFileWriter(std::move(file), path, mutant));
  const std::string header = EncodeSnapshotHeader(meta);
  writer->seed_ = writer->chain_ = SnapshotSeed(header, meta);
  if (absl::Status s = writer->Write(header); !s.ok()) {
    disk.Remove(path).IgnoreError();  // Or the next start does it.
    return s;
  }
  return writer;
}

absl::Status SnapshotFileWriter::Write(std::string_view bytes) {
  MR_RETURN_IF_ERROR(
      Annotate(WriteFully(*file_, end_, bytes), Cat(path_, ", offset ", end_)));
  end_ += bytes.size();
  unsynced_ += bytes.size();
  if (unsynced_ >= kSyncBytes) return Sync();
  return absl::OkStatus();
}

absl::Status SnapshotFileWriter::Sync() {
  unsynced_ = 0;
  if (mutant_.rename_before_sync) return absl::OkStatus();
  absl::Status status = file_->Sync();
  if (!status.ok() && mutant_.retry_failed_snapshot_sync) return file_->Sync();
  return status;
}

absl::Status SnapshotFileWriter::Append(std::string_view chunk,
                                        uint64_t checksum) {
  MR_RETURN_IF_ERROR(Write(chunk));
  chain_ = checksum;
  ++next_;
  return absl::OkStatus();
}

absl::Status SnapshotFileWriter::Finish(const SnapshotFileMeta& meta,
                                        const SnapshotOrigin& origin) {
  MR_RETURN_IF_ERROR(Write(EncodeSnapshotTrailer(meta, seed_, origin)));
  return Sync();
}

}  // namespace millrace::raft
