// The combiner's hash table on words as they come in text.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "bench/kernels/roofline.h"
#include "bench/map_side_data.h"
#include "common/logging.h"
#include "engine/map/combine_buffer.h"
#include "engine/map/combine_table.h"

namespace millrace::bench {
namespace {

using engine::CombineBuffer;

constexpr size_t kWords = 1 << 20;

// Counts in entries whose places are known, in batches as the table does.
Roofline CountersRoofline(const std::vector<uint32_t>& sequence,
                          size_t vocabulary) {
  std::vector<engine::CombineEntry> entries(vocabulary);
  const double rate = RateOf(static_cast<double>(sequence.size()), [&] {
    for (size_t at = 0; at < sequence.size(); at += CombineBuffer::kBatch) {
      for (size_t i = 0; i < CombineBuffer::kBatch; ++i) {
        __builtin_prefetch(&entries[sequence[at + i]].value);
      }
      for (size_t i = 0; i < CombineBuffer::kBatch; ++i) {
        ++entries[sequence[at + i]].value;
      }
    }
    benchmark::ClobberMemory();
  });
  return {"counting in entries of known place", rate};
}

// Argument: distinct words.
void BM_Combine(benchmark::State& state) {
  const auto vocabulary = static_cast<size_t>(state.range(0));
  const std::vector<uint32_t> sequence = ZipfSequence(vocabulary, kWords);
  WordBatches words(vocabulary, sequence);
  SumFolder folder;
  engine::MapSideOptions options = MapOptions(NullFileSystem(), 256 << 20);
  options.folder = &folder;
  auto buffer =
      CombineBuffer::Create(options, CombineBuffer::ValueKind::kInline8);
  CHECK(buffer.ok()) << buffer.status();
  const Roofline roofline = CountersRoofline(sequence, vocabulary);
  for (auto _ : state) {
    for (size_t at = 0; at < kWords; at += CombineBuffer::kBatch) {
      uint64_t* slots[CombineBuffer::kBatch];
      uint32_t inserted;
      CHECK((*buffer)->Probe(words.At(at), slots, &inserted).ok());
      for (uint64_t* slot : slots) ++*slot;
    }
  }
  Report(state, Unit::kItems, kWords, roofline);
}
BENCHMARK(BM_Combine)
    ->Name("combiner table, distinct words:")
    ->Arg(20000)
    ->Arg(200000)
    ->Arg(2000000);

}  // namespace
}  // namespace millrace::bench
