#include "engine/format/block.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "common/hash.h"
#include "common/logging.h"
#include "engine/format/encoding.h"

namespace millrace::engine {
namespace {

constexpr uint32_t kMagic = 0x3142524D;  // "MRB1" as bytes.
constexpr uint32_t kSkipMax = 16;
// Intermediate data is written once and read once: speed before ratio.
constexpr int kZstdLevel = 1;

uint32_t HeaderCheck(const char* header) {
  return static_cast<uint32_t>(Hash64({header + 12, kBlockHeaderBytes - 12}));
}

}  // namespace

void PutBlockHeader(const MapOutputIdentity& identity,
                    const BlockHeader& header, char* to) {
  Put64(to, 0);
  Put32(to + 12, kMagic);
  std::memcpy(to + 16, identity.job.bytes().data(), 16);
  std::memcpy(to + 32, identity.attempt.bytes().data(), 16);
  Put32(to + 48, identity.map_index);
  Put32(to + 52, identity.run);
  Put32(to + 56, header.partition);
  Put32(to + 60, header.number);
  Put32(to + 64, header.records);
  Put32(to + 68, header.raw_bytes);
  Put32(to + 72, header.stored_bytes);
  Put32(to + 76, static_cast<uint32_t>(header.codec));
  Put32(to + 8, HeaderCheck(to));
}

void SealBlock(char* block, size_t stored_bytes) {
  Put64(block, Hash64({block + 8, kBlockHeaderBytes - 8 + stored_bytes}));
}

const char* ParseBlockHeader(const MapOutputIdentity& identity,
                             const char* from, BlockHeader* header) {
  if (Get32(from + 12) != kMagic) return "no block begins here";
  if (Get32(from + 8) != HeaderCheck(from)) return "header is damaged";
  if (std::memcmp(from + 16, identity.job.bytes().data(), 16) != 0) {
    return "belongs to another job";
  }
  if (Get32(from + 48) != identity.map_index) return "belongs to another map";
  if (std::memcmp(from + 32, identity.attempt.bytes().data(), 16) != 0) {
    return "belongs to another attempt";
  }
  if (Get32(from + 52) != identity.run) return "belongs to another run";
  header->partition = Get32(from + 56);
  header->number = Get32(from + 60);
  header->records = Get32(from + 64);
  header->raw_bytes = Get32(from + 68);
  header->stored_bytes = Get32(from + 72);
  const uint32_t codec = Get32(from + 76);
  if (codec > static_cast<uint32_t>(Codec::kZstd)) return "unknown codec";
  header->codec = static_cast<Codec>(codec);
  // A record is two bytes at the least.
  if (header->records == 0 || header->raw_bytes / 2 < header->records) {
    return "record count does not fit the length";
  }
  const bool lengths_agree =
      header->codec == Codec::kNone
          ? header->stored_bytes == header->raw_bytes
          : header->stored_bytes < header->raw_bytes &&
                header->raw_bytes <= kCompressedRawBytesMax;
  return lengths_agree ? nullptr : "lengths do not agree";
}

bool ChecksumAgrees(const char* block, size_t stored_bytes) {
  return Get64(block) ==
         Hash64({block + 8, kBlockHeaderBytes - 8 + stored_bytes});
}

struct BlockCompressor::Context {
  Context() : zstd(ZSTD_createCCtx()) { CHECK(zstd != nullptr); }
  ~Context() { ZSTD_freeCCtx(zstd); }
  ZSTD_CCtx* const zstd;
};

BlockCompressor::BlockCompressor(Codec codec) : codec_(codec) {
  if (codec == Codec::kZstd) context_ = std::make_unique<Context>();
}

BlockCompressor::~BlockCompressor() = default;

size_t BlockCompressor::Compress(std::string_view raw, char* to) {
  if (codec_ == Codec::kNone || raw.size() > kCompressedRawBytesMax) return 0;
  if (blocks_to_skip_ > 0) {
    --blocks_to_skip_;
    return 0;
  }
  // Room for nine tenths makes the codecs give up by themselves.
  const size_t room = raw.size() - raw.size() / 10 - 1;
  size_t size = 0;
  if (codec_ == Codec::kLz4) {
    size = static_cast<size_t>(std::max(
        0, LZ4_compress_default(raw.data(), to, static_cast<int>(raw.size()),
                                static_cast<int>(room))));
  } else {
    size = ZSTD_compressCCtx(context_->zstd, to, room, raw.data(), raw.size(),
                             kZstdLevel);
    if (ZSTD_isError(size) != 0) size = 0;
  }
  if (size == 0) {
    blocks_to_skip_ = next_skip_;
    next_skip_ = std::min(2 * next_skip_, kSkipMax);
  } else {
    next_skip_ = 1;
  }
  return size;
}

bool DecompressBlock(Codec codec, std::string_view stored, char* to,
                     size_t raw_bytes) {
  CHECK_LE(raw_bytes, kCompressedRawBytesMax);
  if (codec == Codec::kLz4) {
    return LZ4_decompress_safe(
               stored.data(), to, static_cast<int>(stored.size()),
               static_cast<int>(raw_bytes)) == static_cast<int>(raw_bytes);
  }
  CHECK(codec == Codec::kZstd);
  // Some 150 KiB, so one per thread and not one per open run.
  thread_local const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> zstd(
      ZSTD_createDCtx(), &ZSTD_freeDCtx);
  CHECK(zstd != nullptr);
  return ZSTD_decompressDCtx(zstd.get(), to, raw_bytes, stored.data(),
                             stored.size()) == raw_bytes;
}

}  // namespace millrace::engine
