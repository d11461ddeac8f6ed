// Hashes: of keys, of blocks, of the ledger's records.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "bench/kernels/roofline.h"
#include "bench/map_side_data.h"
#include "common/hash.h"
#include "engine/format/block.h"
#include "engine/format/ledger.h"
#include "engine/format/test_records.h"

namespace millrace::bench {
namespace {

constexpr size_t kWords = 1 << 15;
constexpr size_t kVocabulary = 20000;
constexpr size_t kBlockBytes = 256 << 10;
constexpr size_t kRecordBytes = 100;
constexpr size_t kKeyBytes = 10;

std::string Noise(size_t bytes) {
  engine::TestRandom random(1);
  std::string noise(bytes, '\0');
  for (char& c : noise) c = static_cast<char>(random.Below(256));
  return noise;
}

// The hash that decides a word's partition and its place in the table.
void BM_HashOfWords(benchmark::State& state) {
  const WordBatches words(kVocabulary, ZipfSequence(kVocabulary, kWords));
  const double loads = RateOf(kWords, [&words] {
    uint64_t sum = 0;
    for (size_t i = 0; i < kWords; ++i) {
      const std::string_view word = words.word(i);
      sum += word.size() + static_cast<unsigned char>(word.front());
    }
    benchmark::DoNotOptimize(sum);
  });
  for (auto _ : state) {
    uint64_t sum = 0;
    for (size_t i = 0; i < kWords; ++i) sum += Hash64(words.word(i));
    benchmark::DoNotOptimize(sum);
  }
  Report(state, Unit::kItems, kWords, {"a load of each word", loads});
}
BENCHMARK(BM_HashOfWords)->Name("hash of words");

// What every block of intermediate data is sealed with, and compared with when
// it is read.
void BM_SealBlock(benchmark::State& state) {
  std::string block = Noise(engine::kBlockHeaderBytes + kBlockBytes);
  const Roofline roofline = ReadRoofline(block);
  for (auto _ : state) {
    engine::SealBlock(block.data(), kBlockBytes);
    benchmark::ClobberMemory();
  }
  Report(state, Unit::kBytes, static_cast<double>(block.size()), roofline);
}
BENCHMARK(BM_SealBlock)->Name("checksum of a block of 256 KiB");

// The digest of an output file: as a stream, in pieces of a writer's buffer.
void BM_StreamHash(benchmark::State& state) {
  const std::string piece = Noise(64 << 10);
  const Roofline roofline = ReadRoofline(piece);
  StreamHash64 hash;
  for (auto _ : state) hash.Update(piece);
  uint64_t digest = hash.Digest();
  benchmark::DoNotOptimize(digest);
  Report(state, Unit::kBytes, static_cast<double>(piece.size()), roofline);
}
BENCHMARK(BM_StreamHash)->Name("digest of a stream, 64 KiB at a time");

void BM_Ledger(benchmark::State& state) {
  const std::string records = Noise(1000 * kRecordBytes);
  const Roofline roofline = ReadRoofline(records);
  engine::RecordSum sum;
  for (auto _ : state) {
    for (size_t at = 0; at < records.size(); at += kRecordBytes) {
      const std::string_view record(&records[at], kRecordBytes);
      sum.Add(record.substr(0, kKeyBytes), record.substr(kKeyBytes));
    }
  }
  benchmark::DoNotOptimize(sum.hash);
  Report(state, Unit::kBytes, static_cast<double>(records.size()), roofline);
}
BENCHMARK(BM_Ledger)->Name("ledger of records, 10 + 90 bytes");

}  // namespace
}  // namespace millrace::bench
