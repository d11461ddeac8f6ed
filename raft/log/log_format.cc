#include "raft/log/log_format.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "raft/log/encoding.h"

namespace millrace::raft {
namespace {

constexpr std::string_view kSegmentMagic = "MRSEGLOG";
constexpr std::string_view kRecordMagic = "MRLR";
constexpr std::string_view kIdMagic = "MRMEMBER";
constexpr uint32_t kFormatVersion = 1;

// Offsets of the segment header's fields; the table is in docs/formats.md.
constexpr uint64_t kHeaderChecksumAt = 104;
// Of the id file's.
constexpr uint64_t kIdChecksumAt = 40;

absl::Status CheckVersion(std::string_view bytes, std::string_view what) {
  const auto version = Get<uint32_t>(bytes, 8);
  if (version != kFormatVersion) {
    return absl::FailedPreconditionError(
        Av(Cat(what, " has format version ", version, ", this program knows ",
               kFormatVersion)));
  }
  return absl::OkStatus();
}

uint32_t HeaderCheck(std::string_view header, uint64_t seed) {
  return static_cast<uint32_t>(Hash64Seeded(header.substr(8, 24), seed));
}

}  // namespace

// ------------------------------------------------------------------ segments

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  std::string out;
  out.reserve(kSegmentHeaderBytes);
  out += kSegmentMagic;
  Put<uint32_t>(out, kFormatVersion);
  Put<uint32_t>(out, 0);
  out += header.identity.cluster.bytes();
  Put(out, header.identity.member);
  Put(out, header.seq);
  Put(out, header.first_index);
  Put(out, header.prev_term);
  Put(out, header.hard_state.term);
  Put(out, header.hard_state.vote);
  Put(out, header.hard_state.commit);
  Put(out, header.segment_bytes);
  Put(out, header.chain);
  CHECK_EQ(out.size(), kHeaderChecksumAt);
  Put(out, NonZero(Hash64(out)));
  out.resize(kSegmentHeaderBytes);
  return out;
}

absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes) {
    return absl::DataLossError("the segment header is cut short");
  }
  bytes = bytes.substr(0, kSegmentHeaderBytes);
  if (bytes.substr(0, kSegmentMagic.size()) != kSegmentMagic) {
    return absl::DataLossError("this is not a log segment (magic)");
  }
  if (NonZero(Hash64(bytes.substr(0, kHeaderChecksumAt))) !=
          SegmentChecksum(bytes) ||
      !AllZero(bytes.substr(kHeaderChecksumAt + 8))) {
    return absl::DataLossError("checksum mismatch in the segment header");
  }
  MR_RETURN_IF_ERROR(CheckVersion(bytes, "the segment"));
  SegmentHeader header;
  header.identity.cluster = *ClusterId::FromBytes(bytes.substr(16, 16));
  header.identity.member = Get<uint64_t>(bytes, 32);
  header.seq = Get<uint64_t>(bytes, 40);
  header.first_index = Get<uint64_t>(bytes, 48);
  header.prev_term = Get<uint64_t>(bytes, 56);
  header.hard_state.term = Get<uint64_t>(bytes, 64);
  header.hard_state.vote = Get<uint64_t>(bytes, 72);
  header.hard_state.commit = Get<uint64_t>(bytes, 80);
  header.segment_bytes = Get<uint64_t>(bytes, 88);
  header.chain = Get<uint64_t>(bytes, 96);
  return header;
}

uint64_t SegmentChecksum(std::string_view encoded_header) {
  return Get<uint64_t>(encoded_header, kHeaderChecksumAt);
}

std::string SegmentName(uint64_t seq, uint64_t first_index) {
  return absl::StrFormat("%010u-%020u.seg", seq, first_index);
}

// ------------------------------------------------------------------- records

uint32_t RecordBuilder::Begin(RecordType type, uint64_t payload_bytes) {
  begin_ = bytes_.size();
  const uint32_t offset = next_offset();
  bytes_.reserve(begin_ + RecordBytes(payload_bytes));
  bytes_ += kRecordMagic;
  Put<uint32_t>(bytes_, 0);  // The header check; see End.
  Put(bytes_, static_cast<uint32_t>(payload_bytes));
  Put(bytes_, static_cast<uint32_t>(type));
  Put(bytes_, offset);
  Put(bytes_, mark_);
  Put(bytes_, chain_);
  return offset;
}

void RecordBuilder::End() {
  bytes_.resize(PaddedBytes(bytes_.size()));
  const uint32_t check =
      HeaderCheck(std::string_view(bytes_).substr(begin_), seed_);
  std::memcpy(bytes_.data() + begin_ + 4, &check, sizeof check);
  chain_ = NonZero(Hash64(std::string_view(bytes_).substr(begin_)));
  Put(bytes_, chain_);
}

void RecordBuilder::HardStateRecord(const HardState& state) {
  Begin(RecordType::kHardState, 24);
  Put(bytes_, state.term);
  Put(bytes_, state.vote);
  Put(bytes_, state.commit);
  End();
}

void RecordBuilder::TruncateRecord(uint64_t first_removed) {
  Begin(RecordType::kTruncate, 8);
  Put(bytes_, first_removed);
  End();
}

void RecordBuilder::SegmentEndRecord(uint64_t next_index, uint64_t next_seq) {
  Begin(RecordType::kSegmentEnd, 16);
  Put(bytes_, next_index);
  Put(bytes_, next_seq);
  End();
}

uint64_t EntriesPayloadBytes(std::span<const LogEntry> entries) {
  uint64_t bytes = kEntriesHeadBytes;
  for (const LogEntry& entry : entries) {
    bytes += kEntryHeadBytes + entry.payload.size();
  }
  return bytes;
}

uint32_t RecordBuilder::EntriesRecord(std::span<const LogEntry> entries) {
  const uint32_t offset =
      Begin(RecordType::kEntries, EntriesPayloadBytes(entries));
  Put(bytes_, entries.front().index);
  Put(bytes_, static_cast<uint64_t>(entries.size()));
  for (const LogEntry& entry : entries) {
    Put(bytes_, entry.term);
    Put(bytes_, static_cast<uint32_t>(entry.payload.size()));
    Put(bytes_, static_cast<uint32_t>(entry.kind));
    bytes_ += entry.payload;
  }
  End();
  return offset;
}

std::optional<RecordHeader> ParseRecordHeader(std::string_view at,
                                              uint64_t offset, uint64_t seed) {
  if (at.size() < RecordBytes(0) ||
      at.substr(0, kRecordMagic.size()) != kRecordMagic ||
      Get<uint32_t>(at, 4) != HeaderCheck(at, seed)) {
    return std::nullopt;
  }
  RecordHeader header;
  header.length = Get<uint32_t>(at, 8);
  header.type = Get<uint8_t>(at, 12);
  header.offset = Get<uint32_t>(at, 16);
  header.mark = Get<uint32_t>(at, 20);
  header.chain = Get<uint64_t>(at, 24);
  if (!AllZero(at.substr(13, 3)) || header.offset != offset ||
      RecordBytes(header.length) > at.size() || header.mark > offset ||
      header.mark < kSegmentHeaderBytes) {
    return std::nullopt;
  }
  return header;
}

bool RecordIntact(std::string_view at, const RecordHeader& header) {
  const uint64_t hashed = RecordBytes(header.length) - kRecordTrailerBytes;
  return RecordChecksum(at, header) == NonZero(Hash64(at.substr(0, hashed)));
}

std::string_view RecordPayload(std::string_view at,
                               const RecordHeader& header) {
  return at.substr(kRecordHeaderBytes, header.length);
}

uint64_t RecordChecksum(std::string_view at, const RecordHeader& header) {
  return Get<uint64_t>(at, RecordBytes(header.length) - kRecordTrailerBytes);
}

// ------------------------------------------------------------------ payloads

std::optional<HardState> DecodeHardState(std::string_view payload) {
  if (payload.size() != 24) return std::nullopt;
  return HardState{Get<uint64_t>(payload, 0), Get<uint64_t>(payload, 8),
                   Get<uint64_t>(payload, 16)};
}

std::optional<uint64_t> DecodeTruncate(std::string_view payload) {
  if (payload.size() != 8) return std::nullopt;
  return Get<uint64_t>(payload, 0);
}

std::optional<SegmentEnd> DecodeSegmentEnd(std::string_view payload) {
  if (payload.size() != 16) return std::nullopt;
  return SegmentEnd{Get<uint64_t>(payload, 0), Get<uint64_t>(payload, 8)};
}

bool DecodeEntries(std::string_view payload,
                   const std::function<bool(const EntryView&)>& visit) {
  if (payload.size() < kEntriesHeadBytes) return false;
  EntryView entry;
  entry.index = Get<uint64_t>(payload, 0);
  const auto count = Get<uint64_t>(payload, 8);
  payload.remove_prefix(kEntriesHeadBytes);
  if (count == 0) return false;
  for (uint64_t i = 0; i < count; ++i, ++entry.index) {
    if (payload.size() < kEntryHeadBytes) return false;
    entry.term = Get<uint64_t>(payload, 0);
    const uint64_t length = Get<uint32_t>(payload, 8);
    entry.kind = Get<uint8_t>(payload, 12);
    if (!AllZero(payload.substr(13, 3))) return false;
    payload.remove_prefix(kEntryHeadBytes);
    if (payload.size() < length) return false;
    entry.payload = payload.substr(0, length);
    payload.remove_prefix(length);
    if (!visit(entry)) return false;
  }
  return payload.empty();
}

// ---------------------------------------------------------------------- tail

uint64_t UsedBytes(std::string_view segment) {
  // Word by word: most of a segment is zeros, and it is long.
  uint64_t end = segment.size();
  while (end >= 8 && Get<uint64_t>(segment, end - 8) == 0) end -= 8;
  while (end > 0 && segment[end - 1] == '\0') --end;
  return end;
}

bool TornEvidence(std::string_view segment, uint64_t offset, uint64_t bytes) {
  const uint64_t end = offset + bytes;
  CHECK_LE(end, segment.size());
  uint64_t begin = offset;
  while (begin < end) {
    const uint64_t sector_end = std::min<uint64_t>(
        (begin / kSectorBytes + 1) * kSectorBytes, segment.size());
    if (AllZero(segment.substr(begin, sector_end - begin))) return true;
    begin = sector_end;
  }
  return false;
}

// ------------------------------------------------------------------- id file

std::string EncodeIdFile(const LogIdentity& identity, bool joined) {
  std::string out(kIdMagic);
  Put<uint32_t>(out, kFormatVersion);
  Put<uint32_t>(out, joined ? 1 : 0);
  out += identity.cluster.bytes();
  Put(out, identity.member);
  CHECK_EQ(out.size(), kIdChecksumAt);
  Put(out, NonZero(Hash64(out)));
  return out;
}

absl::StatusOr<LogIdentity> DecodeIdFile(std::string_view bytes,
                                         bool* joined) {
  if (bytes.size() != kIdFileBytes ||
      bytes.substr(0, kIdMagic.size()) != kIdMagic) {
    return absl::DataLossError("this is not the id of a master's directory");
  }
  if (Get<uint64_t>(bytes, kIdChecksumAt) !=
      NonZero(Hash64(bytes.substr(0, kIdChecksumAt)))) {
    return absl::DataLossError("checksum mismatch");
  }
  MR_RETURN_IF_ERROR(CheckVersion(bytes, "the directory"));
  const auto origin = Get<uint32_t>(bytes, 12);
  if (origin > 1) return absl::DataLossError("neither founded nor joined");
  if (joined != nullptr) *joined = origin == 1;
  LogIdentity identity;
  identity.cluster = *ClusterId::FromBytes(bytes.substr(16, 16));
  identity.member = Get<uint64_t>(bytes, 32);
  return identity;
}

}  // namespace millrace::raft
