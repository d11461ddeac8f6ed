#include "raft/log/snapshot_format.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/encoding.h"

namespace millrace::raft {
namespace {

constexpr std::string_view kHeaderMagic = "MRSNAPSH";
constexpr std::string_view kChunkMagic = "MRSC";
constexpr std::string_view kTrailerMagic = "MRSNAPND";
constexpr uint32_t kFormatVersion = 1;
constexpr std::string_view kSuffix = ".snap";
constexpr uint64_t kTrailerChecksumAt = 56;

uint64_t Checksum(std::string_view bytes) { return NonZero(Hash64(bytes)); }

// What a file of so many payload bytes takes; bytes of a damaged trailer must
// not overflow.
constexpr uint64_t kBytesMax = uint64_t{1} << 50;

}  // namespace

// ---------------------------------------------------------------- arithmetic

uint64_t SnapshotFileMeta::ChunkLength(uint64_t number) const {
  CHECK_LT(number, chunks());
  return number + 1 < chunks() ? chunk_bytes : bytes - number * chunk_bytes;
}

uint64_t SnapshotFileMeta::header_bytes() const {
  return kSnapshotHeadBytes + configuration.size() + 8;
}

uint64_t SnapshotFileMeta::ChunkOffset(uint64_t number) const {
  if (number > 0 && number == chunks()) {
    return header_bytes() + bytes + number * kSnapshotChunkOverheadBytes;
  }
  return header_bytes() + number * (chunk_bytes + kSnapshotChunkOverheadBytes);
}

uint64_t SnapshotFileMeta::file_bytes() const {
  return ChunkOffset(chunks()) + kSnapshotTrailerBytes;
}

// --------------------------------------------------------------------- names

std::string SnapshotName(uint64_t term, uint64_t index) {
  return absl::StrFormat("%020u-%020u%s", term, index, Av(kSuffix));
}

std::optional<SnapshotPosition> ParseSnapshotName(std::string_view name) {
  SnapshotPosition position;
  if (name.size() != 41 + kSuffix.size() ||
      !absl::SimpleAtoi(Av(name.substr(0, 20)), &position.term) ||
      !absl::SimpleAtoi(Av(name.substr(21, 20)), &position.index) ||
      name != SnapshotName(position.term, position.index) ||
      position.term == 0 || position.index == 0) {
    return std::nullopt;
  }
  return position;
}

// -------------------------------------------------------------------- header

std::string EncodeSnapshotHeader(const SnapshotFileMeta& meta) {
  CHECK(meta.index > 0 && meta.term > 0);
  CHECK(meta.chunk_bytes > 0 && meta.chunk_bytes <= kSnapshotChunkBytesMax);
  CHECK_LE(meta.configuration.size(), kSnapshotConfigurationBytesMax);
  std::string out;
  out.reserve(meta.header_bytes());
  out += kHeaderMagic;
  Put<uint32_t>(out, kFormatVersion);
  Put(out, static_cast<uint32_t>(meta.configuration.size()));
  out += meta.cluster.bytes();
  Put(out, meta.index);
  Put(out, meta.term);
  Put(out, meta.chunk_bytes);
  CHECK_EQ(out.size(), kSnapshotHeadBytes);
  out += meta.configuration;
  Put(out, Checksum(out));
  return out;
}

absl::StatusOr<SnapshotFileMeta> DecodeSnapshotHeader(std::string_view bytes) {
  if (bytes.size() < kSnapshotHeadBytes + 8) {
    return absl::DataLossError("the snapshot's header is cut short");
  }
  if (bytes.substr(0, kHeaderMagic.size()) != kHeaderMagic) {
    return absl::DataLossError("this is not a snapshot (magic)");
  }
  const uint64_t length = Get<uint32_t>(bytes, 12);
  const uint64_t end = kSnapshotHeadBytes + length;
  if (length > kSnapshotConfigurationBytesMax || bytes.size() < end + 8) {
    return absl::DataLossError(
        Av(Cat("the snapshot's header has a configuration of ", length,
               " bytes; there is no room for it")));
  }
  if (Get<uint64_t>(bytes, end) != Checksum(bytes.substr(0, end))) {
    return absl::DataLossError("checksum mismatch in the snapshot's header");
  }
  if (const auto version = Get<uint32_t>(bytes, 8); version != kFormatVersion) {
    return absl::FailedPreconditionError(
        Av(Cat("the snapshot has format version ", version,
               ", this program knows ", kFormatVersion)));
  }
  SnapshotFileMeta meta;
  meta.cluster = *ClusterId::FromBytes(bytes.substr(16, ClusterId::kBytes));
  meta.index = Get<uint64_t>(bytes, 32);
  meta.term = Get<uint64_t>(bytes, 40);
  meta.chunk_bytes = Get<uint64_t>(bytes, 48);
  meta.configuration = bytes.substr(kSnapshotHeadBytes, length);
  if (meta.index == 0 || meta.term == 0 || meta.chunk_bytes == 0 ||
      meta.chunk_bytes > kSnapshotChunkBytesMax) {
    return absl::DataLossError("the snapshot's header says nothing sensible");
  }
  return meta;
}

uint64_t SnapshotSeed(std::string_view header, const SnapshotFileMeta& meta) {
  return Get<uint64_t>(header, meta.header_bytes() - 8);
}

// -------------------------------------------------------------------- chunks

std::string BeginSnapshotChunk(uint64_t payload_bytes) {
  std::string chunk;
  chunk.reserve(payload_bytes + kSnapshotChunkOverheadBytes);
  chunk.resize(kSnapshotChunkHeadBytes);
  return chunk;
}

uint64_t SealSnapshotChunk(uint64_t seed, uint64_t number, uint64_t chain,
                           std::string* chunk) {
  CHECK_GT(chunk->size(), kSnapshotChunkHeadBytes);
  const uint64_t length = chunk->size() - kSnapshotChunkHeadBytes;
  CHECK_LE(length, kSnapshotChunkBytesMax);
  chunk->replace(0, kChunkMagic.size(), kChunkMagic);
  PutAt(*chunk, 4, static_cast<uint32_t>(length));
  PutAt(*chunk, 8, number);
  PutAt(*chunk, 16, chain);
  const uint64_t checksum = NonZero(Hash64Seeded(*chunk, seed));
  Put(*chunk, checksum);
  return checksum;
}

absl::StatusOr<SnapshotChunk> DecodeSnapshotChunk(std::string_view bytes,
                                                  uint64_t seed,
                                                  uint64_t number,
                                                  uint64_t length) {
  const auto bad = [number](std::string_view what) {
    return absl::DataLossError(
        Av(Cat(what, " in chunk ", number, " of the snapshot")));
  };
  if (bytes.size() != length + kSnapshotChunkOverheadBytes) {
    return bad("wrong length");
  }
  if (bytes.substr(0, kChunkMagic.size()) != kChunkMagic)
    return bad("no magic");
  const std::string_view hashed = bytes.substr(0, bytes.size() - 8);
  SnapshotChunk chunk;
  chunk.checksum = Get<uint64_t>(bytes, hashed.size());
  if (chunk.checksum != NonZero(Hash64Seeded(hashed, seed))) {
    return bad("checksum mismatch");
  }
  if (Get<uint32_t>(bytes, 4) != length) return bad("wrong length");
  if (const auto own = Get<uint64_t>(bytes, 8); own != number) {
    return bad(Cat("what was written as chunk ", own, " is"));
  }
  chunk.chain = Get<uint64_t>(bytes, 16);
  chunk.payload = hashed.substr(kSnapshotChunkHeadBytes);
  return chunk;
}

// ------------------------------------------------------- trailer, description

std::string EncodeSnapshotTrailer(const SnapshotFileMeta& meta, uint64_t seed,
                                  const SnapshotOrigin& origin) {
  std::string out(kTrailerMagic);
  Put(out, meta.bytes);
  Put(out, meta.chunks());
  Put(out, meta.checksum);
  Put(out, seed);
  Put(out, origin.member);
  Put<uint64_t>(out, origin.installed ? 1 : 0);
  CHECK_EQ(out.size(), kTrailerChecksumAt);
  Put(out, Checksum(out));
  return out;
}

absl::Status DecodeSnapshotTrailer(std::string_view bytes, uint64_t seed,
                                   SnapshotFileMeta* meta, SnapshotOrigin* origin) {
  if (bytes.size() != kSnapshotTrailerBytes ||
      bytes.substr(0, kTrailerMagic.size()) != kTrailerMagic) {
    return absl::DataLossError("the snapshot does not end with a trailer");
  }
  if (Get<uint64_t>(bytes, kTrailerChecksumAt) !=
      Checksum(bytes.substr(0, kTrailerChecksumAt))) {
    return absl::DataLossError("checksum mismatch in the snapshot's trailer");
  }
  if (Get<uint64_t>(bytes, 32) != seed) {
    return absl::DataLossError(
        "the snapshot's trailer belongs to another header");
  }
  meta->bytes = Get<uint64_t>(bytes, 8);
  meta->checksum = Get<uint64_t>(bytes, 24);
  const auto installed = Get<uint64_t>(bytes, 48);
  if (meta->bytes > kBytesMax || Get<uint64_t>(bytes, 16) != meta->chunks() ||
      (meta->bytes == 0 && meta->checksum != seed) || installed > 1) {
    return absl::DataLossError("the snapshot's trailer says nothing sensible");
  }
  origin->member = Get<uint64_t>(bytes, 40);
  origin->installed = installed == 1;
  return absl::OkStatus();
}

std::string EncodeSnapshotDescription(const SnapshotFileMeta& meta) {
  std::string out = EncodeSnapshotHeader(meta);
  const uint64_t seed = SnapshotSeed(out, meta);
  out += EncodeSnapshotTrailer(meta, seed, SnapshotOrigin());
  return out;
}

absl::StatusOr<SnapshotFileMeta> DecodeSnapshotDescription(std::string_view bytes) {
  MR_ASSIGN_OR_RETURN(SnapshotFileMeta meta, DecodeSnapshotHeader(bytes));
  SnapshotOrigin origin;
  MR_RETURN_IF_ERROR(DecodeSnapshotTrailer(bytes.substr(meta.header_bytes()),
                                           SnapshotSeed(bytes, meta), &meta,
                                           &origin));
  return meta;
}

}  // namespace millrace::raft
