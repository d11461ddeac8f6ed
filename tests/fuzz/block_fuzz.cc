// Blocks of any content, with and without right checksums, under an index that
// fits them as far as it can.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "common/hash.h"
#include "engine/format/block.h"
#include "engine/format/index.h"
#include "tests/fuzz/fuzz_file.h"

namespace millrace::engine {
namespace {

void Fuzz(FuzzedDataProvider& data) {
  const auto codec = static_cast<Codec>(data.ConsumeIntegralInRange(0, 2));
  const size_t read_bytes = data.ConsumeIntegralInRange<size_t>(0, 4'096);
  PartitionEntry entry;
  StreamHash64 digest;
  std::string bytes;
  const int blocks = data.ConsumeIntegralInRange(1, 4);
  for (int i = 0; i < blocks; ++i) {
    if (data.ConsumeIntegralInRange(0, 7) == 0) {
      // No block at all.
      bytes += data.ConsumeRandomLengthString();
      ++entry.blocks;
      continue;
    }
    BlockHeader header;
    header.number = entry.blocks;
    header.codec = data.ConsumeBool() ? codec : Codec::kNone;
    header.records = data.ConsumeIntegralInRange<uint32_t>(0, 100);
    std::string payload = data.ConsumeRandomLengthString();
    header.raw_bytes = static_cast<uint32_t>(payload.size());
    digest.Update(payload);
    if (header.codec != Codec::kNone) {
      if (data.ConsumeBool()) {
        // Well compressed, so that records are what is fuzzed.
        std::string stored(payload.size(), '\0');
        stored.resize(payload.empty() ? 0
                                      : BlockCompressor(codec).Compress(
                                            payload, stored.data()));
        if (!stored.empty()) payload = stored;
      } else {
        header.raw_bytes = data.ConsumeIntegral<uint32_t>();
      }
    }
    header.stored_bytes = static_cast<uint32_t>(payload.size());
    std::string block(kBlockHeaderBytes, '\0');
    PutBlockHeader(TestIdentity(kFuzzMap), header, block.data());
    block += payload;
    SealBlock(block.data(), payload.size());
    bytes += block;
    ++entry.blocks;
    entry.sum.records += header.records;
    entry.largest_block_bytes =
        std::max(entry.largest_block_bytes, header.raw_bytes);
  }
  entry.bytes = bytes.size();
  entry.digest = digest.Digest();
  MapOutputSummary summary;
  summary.codec = codec;
  summary.block_bytes = data.ConsumeIntegral<uint32_t>();

  // Once to learn the sum, which cannot be told from the payloads without a
  // reader; the second time it may agree.
  std::vector<Records> got;
  for (int round = 0; round < 2; ++round) {
    summary.partitions = {entry};
    summary.root = RootOf(summary.partitions);
    ReadFuzzFile(
        bytes + EncodeIndex(TestIdentity(kFuzzMap), summary, bytes.size()), 1,
        read_bytes, &got)
        .IgnoreError();
    if (got[0].size() != entry.sum.records) break;  // No sum can be right.
    entry.sum = RecordSum();
    for (const auto& [key, value] : got[0]) entry.sum.Add(key, value);
  }
}

}  // namespace
}  // namespace millrace::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::engine::Fuzz(data);
  return 0;
}
