// Codecs of blocks of intermediate data: sorted records, of which half of each
// value is noise.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/kernels/roofline.h"
#include "common/logging.h"
#include "engine/format/block.h"
#include "engine/format/map_output.h"
#include "engine/format/test_records.h"

namespace millrace::bench {
namespace {

using engine::Codec;

constexpr size_t kBlockBytes = 256 << 10;
constexpr size_t kKeyBytes = 10;
constexpr size_t kValueBytes = 90;

std::string RawBlock() {
  engine::TestRandom random(5);
  std::vector<std::string> records(kBlockBytes / (kKeyBytes + kValueBytes));
  for (std::string& record : records) {
    record.assign(kKeyBytes + kValueBytes, 'v');
    for (size_t i = 0; i < kKeyBytes + kValueBytes / 2; ++i) {
      record[i] = static_cast<char>(random.Below(256));
    }
  }
  std::sort(records.begin(), records.end());
  std::string block;
  for (const std::string& record : records) block += record;
  return block;
}

void BM_Compress(benchmark::State& state, Codec codec) {
  const std::string raw = RawBlock();
  const auto to = std::make_unique<char[]>(raw.size());
  const Roofline roofline = CopyRoofline(raw);
  engine::BlockCompressor compressor(codec);
  for (auto _ : state) CHECK_GT(compressor.Compress(raw, to.get()), 0u);
  Report(state, Unit::kBytes, static_cast<double>(raw.size()), roofline);
}
BENCHMARK_CAPTURE(BM_Compress, lz4, Codec::kLz4)->Name("compress, LZ4");
BENCHMARK_CAPTURE(BM_Compress, zstd, Codec::kZstd)->Name("compress, zstd");

void BM_Decompress(benchmark::State& state, Codec codec) {
  const std::string raw = RawBlock();
  std::string stored(raw.size(), '\0');
  stored.resize(engine::BlockCompressor(codec).Compress(raw, stored.data()));
  CHECK(!stored.empty());
  std::string back(raw.size(), '\0');
  const Roofline roofline = CopyRoofline(raw);
  for (auto _ : state) {
    CHECK(engine::DecompressBlock(codec, stored, back.data(), back.size()));
  }
  CHECK(back == raw);
  Report(state, Unit::kBytes, static_cast<double>(raw.size()), roofline);
}
BENCHMARK_CAPTURE(BM_Decompress, lz4, Codec::kLz4)->Name("decompress, LZ4");
BENCHMARK_CAPTURE(BM_Decompress, zstd, Codec::kZstd)->Name("decompress, zstd");

}  // namespace
}  // namespace millrace::bench
