// The reader behind ReadPartition(), as a final class, so that a merge of many
// pays for no virtual call per record.
#ifndef MILLRACE_ENGINE_FORMAT_PARTITION_READER_H_
#define MILLRACE_ENGINE_FORMAT_PARTITION_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "common/hash.h"
#include "engine/format/block.h"
#include "engine/format/encoding.h"
#include "engine/format/map_output.h"
#include "engine/format/map_output_reader.h"

namespace millrace::engine {

// One partition of one open file, with what the verified index says of it.
// Holds no more of the index than that: a reduce has as many of these as there
// are maps.
struct PartitionSource {
  // Shared with the MapOutputFile, if one was opened, and its other readers.
  std::shared_ptr<ReadFile> file;
  std::string path;
  MapOutputIdentity identity;
  uint32_t partition = 0;
  uint32_t block_bytes = 0;
  Codec codec = Codec::kNone;
  PartitionEntry entry;

  // Of the buffer for raw blocks; 0 when blocks are used where they were read.
  size_t RawBufferBytes() const;
  // The smallest read buffer: one whole block.
  size_t StoredBlockBytesMax() const;
  // Raw length of the largest record if it has a block to itself, else 0.
  uint64_t LargeRecordBytes() const;
};

// Opens the file and verifies its index. Errors are those of
// MapOutputFile::Open.
absl::StatusOr<PartitionSource> OpenPartition(
    FileSystem& fs, const std::string& path, const MapOutputIdentity& identity,
    uint32_t num_partitions, const std::optional<Hash128Value>& root,
    uint32_t partition);

// A partition whose blocks were copied out of its map output: what the verified
// index of the original says of it. `entry.offset` is that of the copy.
struct FetchedPartition {
  uint32_t block_bytes = 0;
  Codec codec = Codec::kNone;
  PartitionEntry entry;
};

// A source for the copy in `file`, which nothing is read of yet; every block
// is verified when it is read, as in a whole map output. kDataLoss: no index
// has a row like that.
absl::StatusOr<PartitionSource> SourceOfFetched(
    std::shared_ptr<ReadFile> file, const std::string& path,
    const MapOutputIdentity& identity, uint32_t partition,
    const FetchedPartition& fetched);

// Memory: RawBufferBytes() and the larger of `read_bytes` and
// StoredBlockBytesMax(). Thread-compatible.
class PartitionReader final : public RecordStream {
 public:
  struct Options {
    // Bytes to ask of the file at once.
    size_t read_bytes = 0;
    // Whether to compare the sum of record hashes with the index at the end. To
    // be turned off only by one who sums the records himself; the digest is
    // compared always.
    bool check_sum = true;
  };

  PartitionReader(PartitionSource source, const Options& options);

  bool Next() override {
    if (next_ == end_ && !NextBlock()) return false;
    return ParseRecord();
  }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  const absl::Status& status() const override { return status_; }

  const PartitionSource& source() const { return source_; }
  // Length of the blocks verified so far, headers included.
  uint64_t bytes_read() const { return offset_ - source_.entry.offset; }

 private:
  bool ParseRecord() {
    const char* p = next_;
    uint32_t key_size;
    uint32_t value_size;
    if (end_ - p >= 2 && ((p[0] | p[1]) & 0x80) == 0) {
      key_size = static_cast<unsigned char>(p[0]);
      value_size = static_cast<unsigned char>(p[1]);
      p += 2;
    } else {
      p = GetVarint32(p, end_, &key_size);
      if (p != nullptr) p = GetVarint32(p, end_, &value_size);
      if (p == nullptr) return Fail("a record's lengths cannot be read");
    }
    if (uint64_t{key_size} + value_size > static_cast<size_t>(end_ - p)) {
      return Fail("a record is longer than its block");
    }
    key_ = {p, key_size};
    value_ = {p + key_size, value_size};
    next_ = p + key_size + value_size;
    ++records_;
    if (check_sum_) sum_.Add(key_, value_);
    return true;
  }

  // Leaves the block that has been used up and verifies the next one.
  bool NextBlock();
  bool LoadBlock();
  bool FinishPartition();
  // Makes `size` bytes of the file, from offset_ on, lie at buffer_ + begin_.
  bool Fill(size_t size);
  // Both set status_ and return false.
  bool Fail(std::string_view what);
  bool FailWith(const absl::Status& status);

  const PartitionSource source_;
  const uint64_t end_offset_;  // Of the partition.
  const size_t read_bytes_;
  const bool check_sum_;

  // [begin_, filled_) of buffer_ holds bytes of the file from offset_ on.
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t filled_ = 0;
  uint64_t offset_;  // Of the next block.

  std::unique_ptr<char[]> raw_;
  size_t raw_capacity_ = 0;

  // What is left of the present block, in buffer_ or raw_.
  const char* next_ = nullptr;
  const char* end_ = nullptr;
  std::string_view key_;
  std::string_view value_;

  uint32_t blocks_ = 0;            // Verified so far.
  uint64_t records_ = 0;           // Handed out so far.
  uint64_t records_promised_ = 0;  // By the headers of those blocks.
  RecordSum sum_;
  StreamHash64 digest_;
  bool finished_ = false;
  absl::Status status_;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_PARTITION_READER_H_
