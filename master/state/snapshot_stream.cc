#include "master/state/snapshot_stream.h"

#include <algorithm>

#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "master/state/state_snapshot.h"

namespace millrace::master {
namespace {

constexpr size_t kPieceBytes = 256 << 10;
constexpr size_t kReadBytes = 64 << 10;

}  // namespace

absl::Status BadSnapshot(std::string_view what) {
  return absl::DataLossError(Av(Cat("the state snapshot: ", what)));
}

// -------------------------------------------------------------------- output

SnapshotOutput::SnapshotOutput(ByteSink& sink, uint32_t version) : sink_(sink) {
  Put(kSnapshotMagic);
  PutNumber(version, 4);
  PutNumber(0, 4);
}

void SnapshotOutput::Put(std::string_view bytes) {
  hash_.Update(bytes);
  pending_.append(bytes);
}

void SnapshotOutput::PutNumber(uint64_t value, int bytes) {
  char buffer[8];
  for (int i = 0; i < bytes; ++i) {
    buffer[i] = static_cast<char>(value >> (8 * i));
  }
  Put({buffer, static_cast<size_t>(bytes)});
}

absl::Status SnapshotOutput::Flush(bool all) {
  size_t from = 0;
  while (pending_.size() - from >= kPieceBytes ||
         (all && from < pending_.size())) {
    const std::string_view rest = std::string_view(pending_).substr(from);
    MR_RETURN_IF_ERROR(sink_.Append(rest.substr(0, kPieceBytes)));
    from += std::min(rest.size(), kPieceBytes);
  }
  pending_.erase(0, from);
  return absl::OkStatus();
}

absl::Status SnapshotOutput::Append(const proto::SnapshotPart& part) {
  const size_t size = part.ByteSizeLong();
  if (size > kSnapshotPartBytesMax) {
    return absl::ResourceExhaustedError(
        Av(Cat("a part of the state has ", size, " bytes, a snapshot takes ",
               kSnapshotPartBytesMax)));
  }
  PutNumber(size, 4);
  const size_t from = pending_.size();
  CHECK(part.AppendToString(&pending_));
  hash_.Update(std::string_view(pending_).substr(from));
  return Flush(/*all=*/false);
}

absl::Status SnapshotOutput::Finish() {
  PutNumber(0, 4);
  PutNumber(hash_.Digest(), 8);
  return Flush(/*all=*/true);
}

// --------------------------------------------------------------------- input

absl::Status SnapshotInput::Take(size_t size, std::string* out) {
  out->clear();
  while (out->size() < size) {
    if (used_ == buffer_.size()) {
      buffer_.resize(kReadBytes);
      used_ = 0;
      const absl::StatusOr<size_t> read =
          source_.Read(buffer_.data(), buffer_.size());
      buffer_.resize(read.ok() ? *read : 0);
      MR_RETURN_IF_ERROR(read.status());
      if (buffer_.empty()) {
        return BadSnapshot(Cat("it ends after ", taken_, " bytes"));
      }
    }
    const size_t piece = std::min(size - out->size(), buffer_.size() - used_);
    out->append(buffer_, used_, piece);
    used_ += piece;
    taken_ += piece;
  }
  hash_.Update(*out);
  return absl::OkStatus();
}

absl::Status SnapshotInput::TakeNumber(int bytes, uint64_t* value) {
  std::string taken;
  MR_RETURN_IF_ERROR(Take(static_cast<size_t>(bytes), &taken));
  *value = 0;
  for (int i = 0; i < bytes; ++i) {
    *value |= static_cast<uint64_t>(static_cast<uint8_t>(taken[i])) << (8 * i);
  }
  return absl::OkStatus();
}

absl::Status SnapshotInput::Begin() {
  std::string magic;
  uint64_t version = 0;
  uint64_t zero = 0;
  MR_RETURN_IF_ERROR(Take(kSnapshotMagic.size(), &magic));
  if (magic != kSnapshotMagic) return BadSnapshot("it does not begin as one");
  MR_RETURN_IF_ERROR(TakeNumber(4, &version));
  if (version > kStateSnapshotVersion) {
    return absl::FailedPreconditionError(
        Av(Cat("the state snapshot has format version ", version,
               ", this program knows ", kStateSnapshotVersion,
               "; start a version of millrace-master that is at least as new "
               "as the one that wrote it")));
  }
  MR_RETURN_IF_ERROR(TakeNumber(4, &zero));
  if (version == 0 || zero != 0) return BadSnapshot("its version is damaged");
  return absl::OkStatus();
}

absl::Status SnapshotInput::Next(proto::SnapshotPart* part) {
  const uint64_t at = taken_;
  uint64_t size = 0;
  MR_RETURN_IF_ERROR(TakeNumber(4, &size));
  if (size == 0) return BadSnapshot(Cat("it lacks what follows byte ", at));
  if (size > kSnapshotPartBytesMax) {
    return BadSnapshot(Cat("the length at byte ", at, " is ", size));
  }
  MR_RETURN_IF_ERROR(Take(size, &message_));
  if (!part->ParseFromString(message_)) {
    return BadSnapshot(Cat("the message at byte ", at, " cannot be read"));
  }
  return absl::OkStatus();
}

absl::Status SnapshotInput::Finish() {
  const uint64_t at = taken_;
  uint64_t size = 0;
  MR_RETURN_IF_ERROR(TakeNumber(4, &size));
  if (size != 0) return BadSnapshot(Cat("it does not end at byte ", at));
  const uint64_t expected = hash_.Digest();
  uint64_t checksum = 0;
  MR_RETURN_IF_ERROR(TakeNumber(8, &checksum));
  if (checksum != expected) return BadSnapshot("its checksum is wrong");
  if (used_ == buffer_.size()) {
    char more;
    const absl::StatusOr<size_t> read = source_.Read(&more, 1);
    MR_RETURN_IF_ERROR(read.status());
    if (*read == 0) return absl::OkStatus();
  }
  return BadSnapshot(Cat("it goes on after its end at byte ", taken_));
}

}  // namespace millrace::master
