#include "engine/format/index.h"

#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/block.h"
#include "engine/format/encoding.h"

namespace millrace::engine {
namespace {

constexpr std::string_view kIndexMagic = "MRINDEX1";
constexpr std::string_view kTrailerMagic = "MRMAPEND";
constexpr size_t kIndexHeaderBytes = 80;
constexpr size_t kRowBytes = 48;
constexpr size_t kTrailerBytes = 32;

absl::Status Damaged(const std::string& path, std::string_view what) {
  return absl::DataLossError(Av(Cat("map output ", path, ": ", what)));
}

PartitionEntry ParseRow(const char* row) {
  PartitionEntry entry;
  entry.offset = Get64(row);
  entry.bytes = Get64(row + 8);
  entry.sum.records = Get64(row + 16);
  entry.sum.hash = Get64(row + 24);
  entry.digest = Get64(row + 32);
  entry.blocks = Get32(row + 40);
  entry.largest_block_bytes = Get32(row + 44);
  return entry;
}

// What is wrong with the header at `index`, null if nothing.
const char* CheckIndexHeader(const char* index,
                             const MapOutputIdentity& identity,
                             uint32_t num_partitions) {
  if (std::memcmp(index, kIndexMagic.data(), kIndexMagic.size()) != 0) {
    return "its index has another format";
  }
  if (std::memcmp(index + 8, identity.job.bytes().data(), 16) != 0) {
    return "it belongs to another job";
  }
  if (Get32(index + 40) != identity.map_index) {
    return "it belongs to another map";
  }
  if (std::memcmp(index + 24, identity.attempt.bytes().data(), 16) != 0) {
    return "it belongs to another attempt";
  }
  if (Get32(index + 44) != identity.run) return "it is another run";
  if (Get32(index + 48) != num_partitions) {
    return "it has another number of partitions";
  }
  if (Get32(index + 56) > static_cast<uint32_t>(Codec::kZstd)) {
    return "its codec is unknown";
  }
  return nullptr;
}

}  // namespace

bool IsPlausible(const PartitionEntry& entry) {
  if (entry.blocks == 0) {
    return entry.bytes == 0 && entry.sum == RecordSum() &&
           entry.digest == Hash64({}) && entry.largest_block_bytes == 0;
  }
  return entry.bytes / kBlockHeaderBytes >= entry.blocks &&
         entry.sum.records >= entry.blocks && entry.largest_block_bytes >= 2;
}

Hash128Value RootOf(const std::vector<PartitionEntry>& partitions) {
  std::string bytes(16 * partitions.size(), '\0');
  char* to = bytes.data();
  for (const PartitionEntry& entry : partitions) {
    Put64(to, entry.sum.records);
    Put64(to + 8, entry.digest);
    to += 16;
  }
  return Hash128(bytes);
}

std::string EncodeIndex(const MapOutputIdentity& identity,
                        const MapOutputSummary& summary,
                        uint64_t index_offset) {
  const size_t index_bytes =
      kIndexHeaderBytes + kRowBytes * summary.partitions.size();
  std::string out(index_bytes + kTrailerBytes, '\0');
  char* const index = out.data();
  std::memcpy(index, kIndexMagic.data(), kIndexMagic.size());
  std::memcpy(index + 8, identity.job.bytes().data(), 16);
  std::memcpy(index + 24, identity.attempt.bytes().data(), 16);
  Put32(index + 40, identity.map_index);
  Put32(index + 44, identity.run);
  Put32(index + 48, static_cast<uint32_t>(summary.partitions.size()));
  Put32(index + 52, summary.block_bytes);
  Put32(index + 56, static_cast<uint32_t>(summary.codec));
  Put64(index + 64, summary.root.low);
  Put64(index + 72, summary.root.high);
  char* row = index + kIndexHeaderBytes;
  for (const PartitionEntry& entry : summary.partitions) {
    Put64(row, entry.offset);
    Put64(row + 8, entry.bytes);
    Put64(row + 16, entry.sum.records);
    Put64(row + 24, entry.sum.hash);
    Put64(row + 32, entry.digest);
    Put32(row + 40, entry.blocks);
    Put32(row + 44, entry.largest_block_bytes);
    row += kRowBytes;
  }
  char* const trailer = row;
  Put64(trailer, index_offset);
  Put64(trailer + 8, index_bytes);
  Put64(trailer + 16, Hash64({index, index_bytes + 16}));
  std::memcpy(trailer + 24, kTrailerMagic.data(), kTrailerMagic.size());
  return out;
}

size_t IndexBytes(uint32_t num_partitions) {
  return kIndexHeaderBytes + kRowBytes * size_t{num_partitions} + kTrailerBytes;
}

absl::StatusOr<MapOutputSummary> ParseIndex(
    std::string_view bytes, uint64_t index_offset, const std::string& path,
    const MapOutputIdentity& identity, uint32_t num_partitions,
    const std::optional<Hash128Value>& root) {
  if (bytes.size() != IndexBytes(num_partitions)) {
    return Damaged(path,
                   Cat("an index of ", num_partitions, " partitions is not ",
                       bytes.size(), " bytes long"));
  }
  const size_t index_bytes = bytes.size() - kTrailerBytes;
  const char* const index = bytes.data();
  const char* const trailer = index + index_bytes;
  if (std::memcmp(trailer + 24, kTrailerMagic.data(), kTrailerMagic.size()) !=
      0) {
    return Damaged(path, "it does not end as a map output does");
  }
  if (Get64(trailer) != index_offset || Get64(trailer + 8) != index_bytes) {
    return Damaged(path, "its index is not where the trailer says");
  }
  if (Get64(trailer + 16) != Hash64({index, index_bytes + 16})) {
    return Damaged(path, "the checksum of its index does not agree");
  }
  if (const char* wrong = CheckIndexHeader(index, identity, num_partitions)) {
    return Damaged(path, wrong);
  }

  MapOutputSummary summary;
  summary.file_bytes = index_offset + bytes.size();
  summary.block_bytes = Get32(index + 52);
  summary.codec = static_cast<Codec>(Get32(index + 56));
  summary.root = {Get64(index + 64), Get64(index + 72)};
  summary.partitions.reserve(num_partitions);
  uint64_t offset = 0;
  for (uint32_t p = 0; p < num_partitions; ++p) {
    const PartitionEntry entry =
        ParseRow(index + kIndexHeaderBytes + kRowBytes * size_t{p});
    if (entry.offset != offset || entry.bytes > index_offset - offset ||
        !IsPlausible(entry)) {
      return Damaged(
          path, Cat("the index of partition ", p, " does not fit the file"));
    }
    offset += entry.bytes;
    summary.total.Add(entry.sum);
    summary.partitions.push_back(entry);
  }
  if (offset != index_offset) {
    return Damaged(path, "its partitions do not fill the file");
  }
  if (RootOf(summary.partitions) != summary.root) {
    return Damaged(path, "its root digest does not agree with its partitions");
  }
  if (root.has_value() && *root != summary.root) {
    return Damaged(path,
                   "its root digest is not the one that its attempt reported");
  }
  return summary;
}

absl::StatusOr<MapOutputSummary> ReadIndex(
    ReadFile& file, const std::string& path, const MapOutputIdentity& identity,
    uint32_t num_partitions, const std::optional<Hash128Value>& root) {
  absl::StatusOr<FileInfo> info = file.Stat();
  if (!info.ok()) return Annotate(info.status(), Cat("map output ", path));
  // All that follows is bounded by the size the file system reports, and the
  // index has the one length that the number of partitions asks for.
  const uint64_t file_bytes = info->identity.size;
  const size_t to_read = IndexBytes(num_partitions);
  if (file_bytes < to_read) {
    return Damaged(path, Cat("it is too short for an index of ", num_partitions,
                             " partitions: ", file_bytes, " bytes"));
  }
  const uint64_t index_offset = file_bytes - to_read;
  const auto buffer = std::make_unique_for_overwrite<char[]>(to_read);
  absl::StatusOr<size_t> got = file.ReadAt(index_offset, buffer.get(), to_read);
  if (!got.ok()) return Annotate(got.status(), Cat("map output ", path));
  if (*got != to_read) return Damaged(path, "it shrinks while it is read");
  return ParseIndex({buffer.get(), to_read}, index_offset, path, identity,
                    num_partitions, root);
}

absl::StatusOr<InspectedMapOutput> InspectMapOutput(ReadFile& file,
                                                    const std::string& path) {
  absl::StatusOr<FileInfo> info = file.Stat();
  if (!info.ok()) return Annotate(info.status(), Cat("map output ", path));
  const uint64_t file_bytes = info->identity.size;
  if (file_bytes < IndexBytes(0)) return Damaged(path, "it is too short");
  const auto read = [&](uint64_t offset, char* to, size_t size) {
    absl::StatusOr<size_t> got = file.ReadAt(offset, to, size);
    if (!got.ok()) return Annotate(got.status(), Cat("map output ", path));
    if (*got != size) return Damaged(path, "it shrinks while it is read");
    return absl::OkStatus();
  };
  char trailer[kTrailerBytes];
  MR_RETURN_IF_ERROR(read(file_bytes - kTrailerBytes, trailer, sizeof trailer));
  // Believed only as far as the file reaches; ReadIndex verifies it.
  const uint64_t index_offset = Get64(trailer);
  if (index_offset > file_bytes - IndexBytes(0)) {
    return Damaged(path, "it does not end as a map output does");
  }
  char index[kIndexHeaderBytes];
  MR_RETURN_IF_ERROR(read(index_offset, index, sizeof index));
  InspectedMapOutput found;
  found.identity.job = *JobId::FromBytes({index + 8, JobId::kBytes});
  found.identity.attempt =
      *AttemptUid::FromBytes({index + 24, AttemptUid::kBytes});
  found.identity.map_index = Get32(index + 40);
  found.identity.run = Get32(index + 44);
  MR_ASSIGN_OR_RETURN(
      found.summary,
      ReadIndex(file, path, found.identity, Get32(index + 48), std::nullopt));
  return found;
}

}  // namespace millrace::engine
