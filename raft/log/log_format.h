// The bytes of the log: segment header, records, and the id file. The writer's
// and the reader's half stand together here; docs/formats.md has the tables.
//
// A segment is a file of fixed size, zeroed before it gets its name:
//
//   header (4096) | record | record | ... | segment end | zeros
//
// A record is
//
//    0  4  magic "MRLR"
//    4  4  header check: low half of XXH3-64 of bytes 8 to 31, seeded with the
//          segment's checksum
//    8  4  length of the payload
//   12  1  type
//   13  3  zero
//   16  4  offset of this record in the file
//   20  4  mark: all of the file before this offset was synced when the record
//          was written
//   24  8  chain: checksum of the record before; of the segment's header for
//          the first one
//   32     payload, then zeros to a multiple of 8
//       8  checksum: XXH3-64 of all of the record before it; never 0
//
// Why each is there:
//   * The header check makes length, offset and mark believable by themselves,
//     also where the payload is damaged or the record before is lost. Its seed
//     binds the record to this segment of this member; its offset to its place.
//   * The chain makes a log one thing: a record that was replaced, left out or
//     moved breaks it, also from one segment to the next.
//   * The mark says how far the log was safe: what is damaged before a mark was
//     not torn by a crash.
//   * The checksum comes last and is never 0, so the last sector of a record
//     that was written is never all zeros; see TornEvidence.
#ifndef MILLRACE_RAFT_LOG_LOG_FORMAT_H_
#define MILLRACE_RAFT_LOG_LOG_FORMAT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "raft/log/log_types.h"

namespace millrace::raft {

// What a disk writes as a whole or not at all. Disks with larger sectors keep
// this too.
inline constexpr uint64_t kSectorBytes = 512;
// Alone in its page, so that writing records never rewrites it.
inline constexpr uint64_t kSegmentHeaderBytes = 4096;
inline constexpr uint64_t kRecordHeaderBytes = 32;
inline constexpr uint64_t kRecordTrailerBytes = 8;
// Offsets within a segment have 32 bits; this leaves room to add to them.
inline constexpr uint64_t kSegmentBytesMax = uint64_t{1} << 30;

enum class RecordType : uint8_t {
  kEntries = 1,
  kHardState = 2,
  kTruncate = 3,
  kSegmentEnd = 4,
};

struct SegmentHeader {
  LogIdentity identity;
  uint64_t seq = 0;          // 1, 2, ... without gaps.
  uint64_t first_index = 0;  // Of the next entry when the segment began.
  uint64_t prev_term = 0;    // Of the entry before that; 0 if there is none.
  HardState hard_state;      // At the beginning of the segment.
  uint64_t segment_bytes = 0;
  uint64_t chain = 0;  // Checksum of the last record of the segment before.
};

// kSegmentHeaderBytes long.
std::string EncodeSegmentHeader(const SegmentHeader& header);
// kDataLoss says what is wrong with it; kFailedPrecondition: of another
// version.
absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::string_view bytes);
// The checksum of an encoded header: seed and first chain of its records.
uint64_t SegmentChecksum(std::string_view encoded_header);

// "0000000001-00000000000000000001.seg": sorts by sequence number.
std::string SegmentName(uint64_t seq, uint64_t first_index);

struct RecordHeader {
  uint32_t length = 0;
  uint8_t type = 0;  // A RecordType, or one that this version does not know.
  uint32_t offset = 0;
  uint32_t mark = 0;
  uint64_t chain = 0;
};

constexpr uint64_t PaddedBytes(uint64_t length) {
  return (length + 7) & ~uint64_t{7};
}
// Of a whole record.
constexpr uint64_t RecordBytes(uint64_t payload_bytes) {
  return kRecordHeaderBytes + PaddedBytes(payload_bytes) + kRecordTrailerBytes;
}

inline constexpr uint64_t kHardStateRecordBytes = RecordBytes(24);
inline constexpr uint64_t kTruncateRecordBytes = RecordBytes(8);
inline constexpr uint64_t kSegmentEndRecordBytes = RecordBytes(16);
inline constexpr uint64_t kEntriesHeadBytes = 16;
inline constexpr uint64_t kEntryHeadBytes = 16;

// Builds records that will stand one behind the other. Thread-compatible.
class RecordBuilder {
 public:
  // The first record will stand at `offset` of the segment whose header has
  // the checksum `seed`; `chain` is the checksum of the record before.
  RecordBuilder(uint64_t seed, uint32_t offset, uint32_t mark, uint64_t chain)
      : seed_(seed), offset_(offset), mark_(mark), chain_(chain) {}

  void HardStateRecord(const HardState& state);
  void TruncateRecord(uint64_t first_removed);
  void SegmentEndRecord(uint64_t next_index, uint64_t next_seq);
  // REQUIRES: consecutive, at least one. Returns the record's offset.
  uint32_t EntriesRecord(std::span<const LogEntry> entries);

  const std::string& bytes() const { return bytes_; }
  uint64_t chain() const { return chain_; }
  uint32_t next_offset() const {
    return offset_ + static_cast<uint32_t>(bytes_.size());
  }

 private:
  uint32_t Begin(RecordType type, uint64_t payload_bytes);
  void End();

  const uint64_t seed_;
  const uint32_t offset_;
  const uint32_t mark_;
  uint64_t chain_;
  size_t begin_ = 0;  // Of the record that is being built, in bytes_.
  std::string bytes_;
};

// Bytes of the payload of an entries record.
uint64_t EntriesPayloadBytes(std::span<const LogEntry> entries);

// `at` begins where the record should: at `offset` of the segment with the
// checksum `seed`. Its header, if what stands there is one that was written for
// this very place, whatever its payload looks like. The whole record lies
// within `at`.
std::optional<RecordHeader> ParseRecordHeader(std::string_view at,
                                              uint64_t offset, uint64_t seed);
// REQUIRES, of all three: `header` was parsed from `at`.
bool RecordIntact(std::string_view at, const RecordHeader& header);
std::string_view RecordPayload(std::string_view at, const RecordHeader& header);
uint64_t RecordChecksum(std::string_view at, const RecordHeader& header);

// Payloads; nullopt or false: no such payload can have been written.
std::optional<HardState> DecodeHardState(std::string_view payload);
std::optional<uint64_t> DecodeTruncate(std::string_view payload);
struct SegmentEnd {
  uint64_t next_index = 0;
  uint64_t next_seq = 0;
};
std::optional<SegmentEnd> DecodeSegmentEnd(std::string_view payload);
struct EntryView {
  uint64_t index = 0;
  uint64_t term = 0;
  uint8_t kind = 0;
  std::string_view payload;
};
// Calls `visit` for each entry, in order, until it returns false or the payload
// turns out to be impossible.
bool DecodeEntries(std::string_view payload,
                   const std::function<bool(const EntryView&)>& visit);

// Up to and including the last byte that is not zero.
uint64_t UsedBytes(std::string_view segment);

// Whether the `bytes` bytes at `offset`, where a record should stand, look as a
// crash leaves them: some sector was not written, so that all of it from
// `offset` on, to its end, is zero (sectors are written whole or not at all,
// and stood zeroed before). A byte that changed by itself, or a sector that
// came from elsewhere, makes no such thing, unless it is in a record of which a
// whole sector holds zeros by the user's choice.
bool TornEvidence(std::string_view segment, uint64_t offset, uint64_t bytes);

// The id file, 48 bytes. `joined`: see SegmentLogOptions::join. Decoding fails
// as with DecodeSegmentHeader.
inline constexpr uint64_t kIdFileBytes = 48;
std::string EncodeIdFile(const LogIdentity& identity, bool joined = false);
absl::StatusOr<LogIdentity> DecodeIdFile(std::string_view bytes,
                                         bool* joined = nullptr);

}  // namespace millrace::raft

#endif  // MILLRACE_RAFT_LOG_LOG_FORMAT_H_
