#include "engine/format/map_output_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/block.h"
#include "engine/format/encoding.h"
#include "engine/format/index.h"

namespace millrace::engine {
namespace {

constexpr size_t kBlockBytesMin = 4 << 10;
#ifndef NDEBUG
constexpr size_t kCheckedKeyBytesMax = 64 << 10;
#endif
constexpr size_t kBlockBytesDefaultMax = 256 << 10;
// What ZSTD_createCCtx comes to hold at level 1 with blocks of 256 KiB.
constexpr uint64_t kZstdMemoryBytes = 1 << 20;

// Buffers. Without codec, blocks are built in `out_`, header in front, one
// behind the other; nothing is copied after Append:
//
//   out_: | finished block | finished block | present block -> |      |
//         0                                 block_    fill_    limit_
//
// With a codec the present block is built in `raw_`, and its compressed form is
// added to `out_`. In both cases `out_` is written when the next block might
// not fit, so that many small partitions do not make many small writes.
class Writer final : public MapOutputWriter {
 public:
  Writer(std::unique_ptr<WriteFile> file, const MapOutputWriterOptions& options)
      : identity_(options.identity),
        codec_(options.codec),
        block_bytes_(
            std::clamp<size_t>(options.block_bytes, 1, kCompressedRawBytesMax)),
        file_(std::move(file)),
        compressor_(options.codec) {
    summary_.partitions.resize(options.num_partitions);
    summary_.block_bytes = static_cast<uint32_t>(block_bytes_);
    summary_.codec = codec_;
    const size_t block = kBlockHeaderBytes + block_bytes_;
    out_capacity_ = codec_ == Codec::kNone ? 2 * block : block;
    out_ = std::make_unique_for_overwrite<char[]>(out_capacity_);
    if (codec_ != Codec::kNone) {
      raw_ = std::make_unique_for_overwrite<char[]>(block);
    }
    BeginBlock();
  }

  absl::Status Append(uint32_t partition, std::string_view key,
                      std::string_view value) override {
    if (partition != partition_) MR_RETURN_IF_ERROR(BeginPartition(partition));
    // Lengths are added up in 64 bits before they are believed to be 32.
    const uint64_t payload = uint64_t{key.size()} + value.size();
    if (payload + 2 * kVarint32BytesMax > static_cast<size_t>(limit_ - fill_)) {
      // Not certain to fit.
      return AppendSlowly(key, value);
    }
    AppendToBlock(key, value);
    return absl::OkStatus();
  }

  absl::StatusOr<MapOutputSummary> Finish() override {
    MR_RETURN_IF_ERROR(EndPartition());
    MR_RETURN_IF_ERROR(status_);
    // Rows of partitions without records, of which nothing was seen.
    uint64_t offset = 0;
    for (PartitionEntry& entry : summary_.partitions) {
      entry.offset = offset;
      offset += entry.bytes;
      if (entry.blocks == 0) entry.digest = StreamHash64().Digest();
      summary_.total.Add(entry.sum);
    }
    CHECK_EQ(offset, offset_);
    summary_.root = RootOf(summary_.partitions);
    MR_RETURN_IF_ERROR(FlushOut());
    const std::string index = EncodeIndex(identity_, summary_, offset_);
    MR_RETURN_IF_ERROR(Write(index));
    summary_.file_bytes = offset_ + index.size();
    MR_RETURN_IF_ERROR(file_->Close());
    return std::move(summary_);
  }

 private:
  PartitionEntry& entry() { return summary_.partitions[partition_]; }

  void AppendToBlock(std::string_view key, std::string_view value) {
    CheckOrder(key);
    char* p = fill_;
    p = PutVarint32(p, static_cast<uint32_t>(key.size()));
    p = PutVarint32(p, static_cast<uint32_t>(value.size()));
    if (!key.empty()) std::memcpy(p, key.data(), key.size());
    p += key.size();
    if (!value.empty()) std::memcpy(p, value.data(), value.size());
    fill_ = p + value.size();
    ++records_;
    sum_.Add(key, value);
  }

  // Makes room for the present block and remembers where its payload begins.
  void BeginBlock() {
    char* const base =
        codec_ == Codec::kNone ? out_.get() + out_used_ : raw_.get();
    payload_ = fill_ = base + kBlockHeaderBytes;
    limit_ = payload_ + block_bytes_;
    records_ = 0;
  }

  // A record that does not fit the present block, or may not.
  absl::Status AppendSlowly(std::string_view key, std::string_view value) {
    MR_RETURN_IF_ERROR(status_);
    const uint64_t payload = uint64_t{key.size()} + value.size();
    if (key.size() > kRecordBytesMax || value.size() > kRecordBytesMax ||
        payload > kRecordBytesMax - 2 * kVarint32BytesMax) {
      return absl::InvalidArgumentError(Av(Cat(
          "a record with a key of ", key.size(), " bytes and a value of ",
          value.size(), " bytes is longer than the 4 GiB that are possible")));
    }
    const size_t size = Varint32Size(static_cast<uint32_t>(key.size())) +
                        Varint32Size(static_cast<uint32_t>(value.size())) +
                        payload;
    if (size > static_cast<size_t>(limit_ - fill_)) {
      MR_RETURN_IF_ERROR(EndBlock());
      if (size > block_bytes_) return AppendLarge(key, value, size);
    }
    AppendToBlock(key, value);
    return absl::OkStatus();
  }

  // A block of its own for one record longer than blocks are.
  absl::Status AppendLarge(std::string_view key, std::string_view value,
                           size_t size) {
    if (codec_ != Codec::kNone && size <= kCompressedRawBytesMax) {
      // The ordinary way, in buffers made for the purpose.
      MR_RETURN_IF_ERROR(FlushOut());
      const size_t usual_capacity = out_capacity_;
      std::unique_ptr<char[]> usual_raw = std::move(raw_);
      std::unique_ptr<char[]> usual_out = std::move(out_);
      out_capacity_ = kBlockHeaderBytes + size;
      raw_ = std::make_unique_for_overwrite<char[]>(out_capacity_);
      out_ = std::make_unique_for_overwrite<char[]>(out_capacity_);
      BeginBlock();
      AppendToBlock(key, value);
      MR_RETURN_IF_ERROR(EndBlock());
      MR_RETURN_IF_ERROR(FlushOut());
      raw_ = std::move(usual_raw);
      out_ = std::move(usual_out);
      out_capacity_ = usual_capacity;
      BeginBlock();
      return absl::OkStatus();
    }
    CheckOrder(key);
    MR_RETURN_IF_ERROR(FlushOut());
    BeginBlock();
    char head[kBlockHeaderBytes + 2 * kVarint32BytesMax];
    char* p = head + kBlockHeaderBytes;
    p = PutVarint32(p, static_cast<uint32_t>(key.size()));
    p = PutVarint32(p, static_cast<uint32_t>(value.size()));
    const std::string_view lengths(head + kBlockHeaderBytes,
                                   p - head - kBlockHeaderBytes);
    BlockHeader header;
    header.partition = partition_;
    header.number = entry().blocks;
    header.records = 1;
    header.raw_bytes = header.stored_bytes = static_cast<uint32_t>(size);
    PutBlockHeader(identity_, header, head);
    StreamHash64 checksum;
    checksum.Update({head + 8, kBlockHeaderBytes - 8});
    for (std::string_view piece : {lengths, key, value}) {
      checksum.Update(piece);
      digest_.Update(piece);
    }
    Put64(head, checksum.Digest());
    sum_.Add(key, value);
    CountBlock(header);
    MR_RETURN_IF_ERROR(Write({head, static_cast<size_t>(p - head)}));
    MR_RETURN_IF_ERROR(Write(key));
    return Write(value);
  }

  // Finishes the present block, if there is anything in it, and begins another.
  absl::Status EndBlock() {
    const size_t raw_bytes = fill_ - payload_;
    if (raw_bytes == 0) return absl::OkStatus();
    const std::string_view raw(payload_, raw_bytes);
    digest_.Update(raw);
    BlockHeader header;
    header.partition = partition_;
    header.number = entry().blocks;
    header.records = records_;
    header.raw_bytes = header.stored_bytes = static_cast<uint32_t>(raw_bytes);
    if (codec_ != Codec::kNone) {
      if (out_capacity_ - out_used_ < kBlockHeaderBytes + raw_bytes) {
        MR_RETURN_IF_ERROR(FlushOut());
      }
      char* const to = out_.get() + out_used_ + kBlockHeaderBytes;
      const size_t compressed = compressor_.Compress(raw, to);
      if (compressed > 0) {
        header.codec = codec_;
        header.stored_bytes = static_cast<uint32_t>(compressed);
      } else {
        std::memcpy(to, raw.data(), raw.size());
      }
    }
    char* const block = out_.get() + out_used_;
    PutBlockHeader(identity_, header, block);
    SealBlock(block, header.stored_bytes);
    out_used_ += kBlockHeaderBytes + header.stored_bytes;
    CountBlock(header);
    if (codec_ == Codec::kNone &&
        out_capacity_ - out_used_ < kBlockHeaderBytes + block_bytes_) {
      MR_RETURN_IF_ERROR(FlushOut());
    }
    BeginBlock();
    return absl::OkStatus();
  }

  void CountBlock(const BlockHeader& header) {
    PartitionEntry& row = entry();
    CHECK_LT(row.blocks, std::numeric_limits<uint32_t>::max());
    ++row.blocks;
    row.bytes += kBlockHeaderBytes + header.stored_bytes;
    row.largest_block_bytes =
        std::max(row.largest_block_bytes, header.raw_bytes);
    offset_ += kBlockHeaderBytes + header.stored_bytes;
  }

  absl::Status EndPartition() {
    MR_RETURN_IF_ERROR(EndBlock());
    entry().sum = sum_;
    entry().digest = digest_.Digest();
    return absl::OkStatus();
  }

  absl::Status BeginPartition(uint32_t partition) {
    CHECK_GT(partition, partition_) << "partitions come in order";
    CHECK_LT(partition, summary_.partitions.size());
    MR_RETURN_IF_ERROR(EndPartition());
    partition_ = partition;
    sum_ = RecordSum();
    digest_.Reset();
    return absl::OkStatus();
  }

  absl::Status FlushOut() {
    const size_t used = std::exchange(out_used_, 0);
    return used == 0 ? status_ : Write({out_.get(), used});
  }

  // The file is of no use after a failed write: nothing follows one. A present
  // block without room sends every later Append to AppendSlowly.
  absl::Status Write(std::string_view bytes) {
    if (status_.ok() && !bytes.empty()) {
      status_ = file_->Append(bytes);
      if (!status_.ok()) fill_ = limit_ = payload_;
    }
    return status_;
  }

  // Sorting is the business of the caller, and readers notice when it was not
  // done; builds with assertions notice at once, by whom.
#ifdef NDEBUG
  void CheckOrder(std::string_view) {}
#else
  void CheckOrder(std::string_view key) {
    key = key.substr(0, kCheckedKeyBytesMax);
    if (last_partition_ == partition_) {
      CHECK(last_key_ <= key) << "keys come in order";
    }
    last_partition_ = partition_;
    last_key_.assign(key);
  }
  std::string last_key_;
  std::optional<uint32_t> last_partition_;
#endif

  const MapOutputIdentity identity_;
  const Codec codec_;
  const size_t block_bytes_;
  const std::unique_ptr<WriteFile> file_;
  BlockCompressor compressor_;

  std::unique_ptr<char[]> out_;
  size_t out_capacity_ = 0;
  size_t out_used_ = 0;  // Finished blocks, not yet written.
  std::unique_ptr<char[]> raw_;

  // The present block: [payload_, fill_) of at most [payload_, limit_).
  char* payload_ = nullptr;
  char* fill_ = nullptr;
  char* limit_ = nullptr;
  uint32_t records_ = 0;

  // The present partition.
  uint32_t partition_ = 0;
  RecordSum sum_;
  StreamHash64 digest_;

  uint64_t offset_ = 0;  // Of the next block in the file.
  MapOutputSummary summary_;
  absl::Status status_;
};

}  // namespace

size_t ChooseBlockBytes(uint64_t memory_bytes) {
  // A 256th: 128 runs with a stored and a raw block each.
  return std::bit_floor(std::clamp<uint64_t>(memory_bytes / 256, kBlockBytesMin,
                                             kBlockBytesDefaultMax));
}

uint64_t MapOutputWriter::WriterMemoryBytes(
    const MapOutputWriterOptions& options) {
  return 2 * (kBlockHeaderBytes + uint64_t{options.block_bytes}) +
         sizeof(PartitionEntry) * uint64_t{options.num_partitions} +
         (options.codec == Codec::kZstd ? kZstdMemoryBytes : 0);
}

absl::StatusOr<std::unique_ptr<MapOutputWriter>> MapOutputWriter::Create(
    FileSystem& fs, const std::string& path,
    const MapOutputWriterOptions& options) {
  CHECK_GE(options.num_partitions, 1u);
  MR_ASSIGN_OR_RETURN(std::unique_ptr<WriteFile> file, fs.Create(path));
  return std::make_unique<Writer>(std::move(file), options);
}

}  // namespace millrace::engine
