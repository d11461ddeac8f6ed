// One block of a map output file: header, checksum, compression.
//
//   offset  bytes
//        0      8  checksum: XXH3-64 of all bytes of the block from offset 8 on
//        8      4  header check: low half of XXH3-64 of bytes [12, 80)
//       12      4  magic "MRB1"
//       16     16  job
//       32     16  attempt
//       48      4  map index
//       52      4  run
//       56      4  partition
//       60      4  number of the block within its partition, from 0
//       64      4  records
//       68      4  raw bytes
//       72      4  stored bytes
//       76      1  codec
//       77      3  zero
//       80         payload, `stored bytes` long
//
// The checksum stands in front, so that header and payload are hashed in one
// go. The header has a check of its own, so that lengths are known to be right
// before anything is read, or memory taken, on their strength.
//
// The raw payload is a sequence of records: key length and value length as
// varints, key, value.
#ifndef MILLRACE_ENGINE_FORMAT_BLOCK_H_
#define MILLRACE_ENGINE_FORMAT_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>

#include "engine/format/map_output.h"

namespace millrace::engine {

inline constexpr size_t kBlockHeaderBytes = 80;
// Longest raw payload that is ever compressed, and the longest that has more
// than one record. A block above it holds one large record, is stored as it is
// and goes to and from the file without a second copy: a merge must hold several
// of them at once, and may take only so much memory beside its budget. It also
// bounds what a reader takes for a promise to decompress.
inline constexpr size_t kCompressedRawBytesMax = 1 << 20;
// Longest encoded record.
inline constexpr uint64_t kRecordBytesMax =
    std::numeric_limits<uint32_t>::max();

struct BlockHeader {
  uint32_t partition = 0;
  uint32_t number = 0;
  uint32_t records = 0;
  uint32_t raw_bytes = 0;
  uint32_t stored_bytes = 0;
  Codec codec = Codec::kNone;
};

// Writes the header with its check, but with an empty checksum.
void PutBlockHeader(const MapOutputIdentity& identity,
                    const BlockHeader& header, char* to);

// Computes the checksum of the block that stands at `block`, behind its header.
void SealBlock(char* block, size_t stored_bytes);

// Parses the 80 bytes at `from`. Null and `*header` if they are a header of
// this file whose lengths agree with one another; else what is wrong, in a few
// words.
const char* ParseBlockHeader(const MapOutputIdentity& identity,
                             const char* from, BlockHeader* header);

// Whether the checksum of the block at `block`, of `stored_bytes`, agrees.
bool ChecksumAgrees(const char* block, size_t stored_bytes);

// Compresses blocks with one codec, and learns when that is not worth it: a
// block must shrink by a tenth, and after one that did not, 1, 2, 4, ... 16
// blocks are not tried at all. Deterministic. Thread-compatible.
class BlockCompressor {
 public:
  explicit BlockCompressor(Codec codec);
  ~BlockCompressor();

  // Compresses into `to`, which has room for raw.size() bytes. Returns the
  // compressed length, 0 if the block is to be stored as it is.
  size_t Compress(std::string_view raw, char* to);

 private:
  struct Context;

  const Codec codec_;
  std::unique_ptr<Context> context_;
  uint32_t blocks_to_skip_ = 0;
  uint32_t next_skip_ = 1;
};

// Fills exactly `raw_bytes` at `to`. False: `stored` is not what the codec
// makes of that many bytes.
bool DecompressBlock(Codec codec, std::string_view stored, char* to,
                     size_t raw_bytes);

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_FORMAT_BLOCK_H_
