#include "engine/format/partition_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/index.h"

namespace millrace::engine {

size_t PartitionSource::RawBufferBytes() const {
  return codec == Codec::kNone ? 0
                               : std::min<size_t>(entry.largest_block_bytes,
                                                  kCompressedRawBytesMax);
}

size_t PartitionSource::StoredBlockBytesMax() const {
  return std::min<uint64_t>(kBlockHeaderBytes + entry.largest_block_bytes,
                            entry.bytes);
}

uint64_t PartitionSource::LargeRecordBytes() const {
  return entry.largest_block_bytes > block_bytes ? entry.largest_block_bytes
                                                 : 0;
}

absl::StatusOr<PartitionSource> OpenPartition(
    FileSystem& fs, const std::string& path, const MapOutputIdentity& identity,
    uint32_t num_partitions, const std::optional<Hash128Value>& root,
    uint32_t partition) {
  MR_ASSIGN_OR_RETURN(std::shared_ptr<ReadFile> file, fs.OpenRead(path));
  MR_ASSIGN_OR_RETURN(const MapOutputSummary summary,
                      ReadIndex(*file, path, identity, num_partitions, root));
  PartitionSource source;
  source.file = std::move(file);
  source.path = path;
  source.identity = identity;
  source.partition = partition;
  source.block_bytes = summary.block_bytes;
  source.codec = summary.codec;
  source.entry = summary.partitions[partition];
  return source;
}

absl::StatusOr<PartitionSource> SourceOfFetched(
    std::shared_ptr<ReadFile> file, const std::string& path,
    const MapOutputIdentity& identity, uint32_t partition,
    const FetchedPartition& fetched) {
  const PartitionEntry& entry = fetched.entry;
  if (!IsPlausible(entry) || entry.offset + entry.bytes < entry.offset) {
    return absl::DataLossError(
        Av(Cat("map output ", path, ": partition ", partition,
               " was announced as it cannot be")));
  }
  PartitionSource source;
  source.file = std::move(file);
  source.path = path;
  source.identity = identity;
  source.partition = partition;
  source.block_bytes = fetched.block_bytes;
  source.codec = fetched.codec;
  source.entry = entry;
  return source;
}

PartitionReader::PartitionReader(PartitionSource source, const Options& options)
    : source_(std::move(source)),
      end_offset_(source_.entry.offset + source_.entry.bytes),
      read_bytes_(
          std::max(options.read_bytes,
                   std::min<size_t>(source_.StoredBlockBytesMax(),
                                    kBlockHeaderBytes + source_.block_bytes))),
      check_sum_(options.check_sum),
      offset_(source_.entry.offset) {}

bool PartitionReader::FailWith(const absl::Status& status) {
  next_ = end_ = nullptr;
  status_ = Annotate(
      status, Cat("map output ", source_.path, ": partition ",
                  source_.partition, ", block ", blocks_, " at ", offset_));
  return false;
}

bool PartitionReader::Fail(std::string_view what) {
  return FailWith(absl::DataLossError(Av(what)));
}

bool PartitionReader::NextBlock() {
  if (finished_ || !status_.ok()) return false;
  if (records_ != records_promised_) {
    return Fail("the block before has another number of records than it says");
  }
  next_ = end_ = nullptr;
  if (blocks_ == source_.entry.blocks) return FinishPartition();
  return LoadBlock();
}

bool PartitionReader::LoadBlock() {
  BlockHeader header;
  if (!Fill(kBlockHeaderBytes)) return false;
  if (const char* wrong =
          ParseBlockHeader(source_.identity, buffer_.get() + begin_, &header)) {
    return Fail(wrong);
  }
  if (header.partition != source_.partition) {
    return Fail("belongs to another partition");
  }
  if (header.number != blocks_) return Fail("is out of its place");
  if (header.codec != Codec::kNone && header.codec != source_.codec) {
    return Fail("has not the codec of its file");
  }
  if (header.raw_bytes > source_.entry.largest_block_bytes) {
    return Fail("is larger than the index says");
  }
  const size_t size = kBlockHeaderBytes + size_t{header.stored_bytes};
  if (!Fill(size)) return false;
  const char* const block = buffer_.get() + begin_;
  if (!ChecksumAgrees(block, header.stored_bytes)) {
    return Fail("checksum does not agree");
  }
  const char* raw = block + kBlockHeaderBytes;
  if (header.codec != Codec::kNone) {
    if (raw_capacity_ < header.raw_bytes) {
      raw_.reset();  // Before the next one is taken.
      raw_ = std::make_unique_for_overwrite<char[]>(header.raw_bytes);
      raw_capacity_ = header.raw_bytes;
    }
    if (!DecompressBlock(header.codec, {raw, header.stored_bytes}, raw_.get(),
                         header.raw_bytes)) {
      return Fail("cannot be decompressed");
    }
    raw = raw_.get();
  }
  digest_.Update({raw, header.raw_bytes});
  next_ = raw;
  end_ = raw + header.raw_bytes;
  begin_ += size;
  offset_ += size;
  records_promised_ += header.records;
  ++blocks_;
  return true;
}

bool PartitionReader::Fill(size_t size) {
  if (size > end_offset_ - offset_) return Fail("reaches past its partition");
  const size_t have = filled_ - begin_;
  if (have >= size) return true;
  // One read for several blocks, but none of what lies behind a large one: its
  // buffer is to be given back as soon as the block has been used.
  const size_t target =
      std::min<uint64_t>(std::max(size, read_bytes_), end_offset_ - offset_);
  const bool oversized = capacity_ > read_bytes_ && target <= read_bytes_;
  if (capacity_ < target || oversized) {
    auto buffer = std::make_unique_for_overwrite<char[]>(target);
    if (have > 0) std::memcpy(buffer.get(), buffer_.get() + begin_, have);
    buffer_ = std::move(buffer);
    capacity_ = target;
  } else if (have > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, have);
  }
  begin_ = 0;
  filled_ = have;
  absl::StatusOr<size_t> got =
      source_.file->ReadAt(offset_ + have, buffer_.get() + have, target - have);
  if (!got.ok()) return FailWith(got.status());
  if (*got != target - have) return Fail("is cut off by the end of the file");
  filled_ = target;
  return true;
}

bool PartitionReader::FinishPartition() {
  finished_ = true;
  buffer_.reset();
  raw_.reset();
  capacity_ = raw_capacity_ = begin_ = filled_ = 0;
  if (offset_ != end_offset_) return Fail("bytes behind the last block");
  if (records_ != source_.entry.sum.records) {
    return Fail("number of records is not the index's");
  }
  if (digest_.Digest() != source_.entry.digest) {
    return Fail("digest of the records is not the index's");
  }
  if (check_sum_ && sum_ != source_.entry.sum) {
    return Fail("sum of the records' hashes is not the index's");
  }
  return false;
}

}  // namespace millrace::engine
