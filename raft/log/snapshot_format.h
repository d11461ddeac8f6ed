// The bytes of a snapshot file; docs/formats.md has the tables.
//
//   header | chunk 0 | chunk 1 | ... | trailer
//
//   header   magic, version, whose it is (cluster), of what (index, term), how
//            long a chunk's payload is, the configuration; checksum
//   chunk    magic, length, number, chain, payload; checksum seeded with the
//            header's
//   trailer  how much there is, the last chunk's checksum, the header's, who
//            wrote the file and whether it came from a leader; checksum
//
// Why each is there:
//   * The seed binds a chunk to this cluster, index, term and configuration,
//     its number to its place: the right bytes at the wrong place are an error.
//   * The chain (the checksum of the chunk before; of the header for the first)
//     makes a snapshot one thing. Two members that take a snapshot at the same
//     index write the same bytes, but should they ever not, chunks of the one
//     do not go with chunks of the other. So the last chunk's checksum is one
//     of everything before it, the total checksum.
//   * All chunks but the last have the same length, so the place of each
//     follows from the header; that a file is complete, from the trailer.
//
// What a leader sends is header, chunks and a description that ends like the
// file; who wrote the file and why stays with the file.
#ifndef MILLRACE_RAFT_LOG_SNAPSHOT_FORMAT_H_
#define MILLRACE_RAFT_LOG_SNAPSHOT_FORMAT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/ids.h"

namespace millrace::raft {

inline constexpr uint64_t kSnapshotChunkBytes = uint64_t{1} << 20;
// Of a chunk's payload: what a reader is ready to hold in memory, and what fits
// into one message.
inline constexpr uint64_t kSnapshotChunkBytesMax = uint64_t{2} << 20;
inline constexpr uint64_t kSnapshotConfigurationBytesMax = uint64_t{64} << 10;
inline constexpr uint64_t kSnapshotHeadBytes = 56;  // Before configuration.
inline constexpr uint64_t kSnapshotHeaderBytesMax =
    kSnapshotHeadBytes + kSnapshotConfigurationBytesMax + 8;
inline constexpr uint64_t kSnapshotChunkHeadBytes = 24;
// Of a chunk beside its payload.
inline constexpr uint64_t kSnapshotChunkOverheadBytes =
    kSnapshotChunkHeadBytes + 8;
inline constexpr uint64_t kSnapshotTrailerBytes = 64;

// What a snapshot is, wherever it lies. Two are the same if these are equal.
struct SnapshotFileMeta {
  ClusterId cluster;
  uint64_t index = 0;  // Of the last entry in it; never 0.
  uint64_t term = 0;   // Of that entry; never 0.
  // Who the members were when that entry had been applied. Opaque here.
  std::string configuration;
  uint64_t chunk_bytes = 0;  // Payload of every chunk but the last.

  // Known when it is complete.
  uint64_t bytes = 0;     // Payload of all chunks.
  uint64_t checksum = 0;  // Of header and chunks.

  uint64_t chunks() const { return (bytes + chunk_bytes - 1) / chunk_bytes; }
  // Of the payload. REQUIRES: number < chunks().
  uint64_t ChunkLength(uint64_t number) const;
  uint64_t header_bytes() const;
  // In the file. REQUIRES: number <= chunks().
  uint64_t ChunkOffset(uint64_t number) const;
  uint64_t file_bytes() const;

  friend bool operator==(const SnapshotFileMeta&, const SnapshotFileMeta&) = default;
};

// How a file came to be.
struct SnapshotOrigin {
  uint64_t member = 0;  // Whose disk it is on.
  // It came from a leader; see LogSnapshot.
  bool installed = false;
  friend bool operator==(const SnapshotOrigin&,
                         const SnapshotOrigin&) = default;
};

// "00000000000000000007-00000000000000001234.snap": sorts by index.
std::string SnapshotName(uint64_t term, uint64_t index);
struct SnapshotPosition {
  uint64_t term = 0;
  uint64_t index = 0;
};
// nullopt: no snapshot is given such a name.
std::optional<SnapshotPosition> ParseSnapshotName(std::string_view name);

// Without `bytes` and `checksum`. REQUIRES: within the limits above.
std::string EncodeSnapshotHeader(const SnapshotFileMeta& meta);
// `bytes` begins with a header, if it is one. kDataLoss says what is wrong with
// it; kFailedPrecondition: of another version.
absl::StatusOr<SnapshotFileMeta> DecodeSnapshotHeader(std::string_view bytes);
// The seed of the chunks, and the first chain. REQUIRES: EncodeSnapshotHeader
// made it, or DecodeSnapshotHeader took it.
uint64_t SnapshotSeed(std::string_view header, const SnapshotFileMeta& meta);

// A chunk is built by appending its payload to what Begin gives and then
// sealing it; `chain` is the checksum of the chunk before. Returns its own.
std::string BeginSnapshotChunk(uint64_t payload_bytes);
uint64_t SealSnapshotChunk(uint64_t seed, uint64_t number, uint64_t chain,
                           std::string* chunk);

struct SnapshotChunk {
  std::string_view payload;
  uint64_t chain = 0;
  uint64_t checksum = 0;
};
// Whether `bytes` is chunk `number`, of `length` bytes of payload, of the
// snapshot with this seed. Whether it follows the one before is for the caller.
// kDataLoss says what is wrong with it.
absl::StatusOr<SnapshotChunk> DecodeSnapshotChunk(std::string_view bytes,
                                                  uint64_t seed,
                                                  uint64_t number,
                                                  uint64_t length);

std::string EncodeSnapshotTrailer(const SnapshotFileMeta& meta, uint64_t seed,
                                  const SnapshotOrigin& origin);
// Fills in what the header could not know.
absl::Status DecodeSnapshotTrailer(std::string_view bytes, uint64_t seed,
                                   SnapshotFileMeta* meta, SnapshotOrigin* origin);

// What a receiver must know before the first chunk: everything but the chunks.
// At most kSnapshotHeaderBytesMax + kSnapshotTrailerBytes. Decoding fails as
// that of the header.
std::string EncodeSnapshotDescription(const SnapshotFileMeta& meta);
absl::StatusOr<SnapshotFileMeta> DecodeSnapshotDescription(std::string_view bytes);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_SNAPSHOT_FORMAT_H_
