// What the map side costs per record: the combiner table on words, and the
// record arena on 100-byte records as TeraSort has them.
//
// Without spills, the file system drops what is written, so that a disk does
// not blur the figures; all other work of a writer is done. With spills, files
// go to the current directory.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "bench/map_side_data.h"
#include "common/file_system.h"
#include "common/logging.h"
#include "engine/map/combine_buffer.h"

namespace millrace::bench {
namespace {

using engine::CombineBuffer;
using engine::MapSideOptions;

// Argument: distinct words. One iteration is one batch.
void BM_CombineProbe(benchmark::State& state) {
  constexpr size_t kBatch = CombineBuffer::kBatch;
  constexpr size_t kKeys = 4 << 20;
  const size_t vocabulary = static_cast<size_t>(state.range(0));
  WordBatches batches(vocabulary, ZipfSequence(vocabulary, kKeys));
  SumFolder folder;
  MapSideOptions options = MapOptions(NullFileSystem(), 256 << 20);
  options.folder = &folder;
  auto buffer =
      CombineBuffer::Create(options, CombineBuffer::ValueKind::kInline8);
  CHECK(buffer.ok());
  size_t at = 0;
  for (auto _ : state) {
    uint64_t* slots[kBatch];
    uint32_t inserted;
    CHECK((*buffer)->Probe(batches.At(at), slots, &inserted).ok());
    for (uint64_t* slot : slots) ++*slot;
    at = (at + kBatch) % kKeys;
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBatch));
}
BENCHMARK(BM_CombineProbe)->Arg(1000)->Arg(20000)->Arg(200000)->Arg(2000000);

// Nothing but new keys: growth, and in the end sort and write. Argument:
// distinct words.
void BM_CombineDistinct(benchmark::State& state) {
  constexpr size_t kBatch = CombineBuffer::kBatch;
  const size_t vocabulary = static_cast<size_t>(state.range(0));
  std::vector<uint32_t> sequence(vocabulary / kBatch * kBatch);
  for (size_t i = 0; i < sequence.size(); ++i) {
    sequence[i] = static_cast<uint32_t>(i);
  }
  WordBatches batches(vocabulary, sequence);
  SumFolder folder;
  MapSideOptions options = MapOptions(NullFileSystem(), uint64_t{1} << 30);
  options.folder = &folder;
  for (auto _ : state) {
    auto buffer =
        CombineBuffer::Create(options, CombineBuffer::ValueKind::kInline8);
    CHECK(buffer.ok());
    for (size_t at = 0; at < sequence.size(); at += kBatch) {
      uint64_t* slots[kBatch];
      uint32_t inserted;
      CHECK((*buffer)->Probe(batches.At(at), slots, &inserted).ok());
      for (uint64_t* slot : slots) *slot = 1;
    }
    CHECK((*buffer)->Finish().ok());
  }
  state.SetItemsProcessed(
      static_cast<int64_t>(state.iterations() * sequence.size()));
}
BENCHMARK(BM_CombineDistinct)
    ->Arg(200000)
    ->Arg(3000000)
    ->Unit(benchmark::kMillisecond);

// Argument: the budget in MiB, which is used up by nine tenths. All phases:
// filling the window (a copy), taking the records, sorting, gathering, writing.
void BM_RecordSort(benchmark::State& state) {
  const uint64_t budget = static_cast<uint64_t>(state.range(0)) << 20;
  const auto keys = RandomKeys(budget * 9 / 10 / 124);
  const MapSideOptions options = MapOptions(NullFileSystem(), budget);
  for (auto _ : state) CHECK_EQ(SortRecords(keys, options).spills, 0u);
  state.SetItemsProcessed(
      static_cast<int64_t>(state.iterations() * keys.size()));
}
BENCHMARK(BM_RecordSort)
    ->Arg(16)
    ->Arg(64)
    ->Arg(512)
    ->Unit(benchmark::kMillisecond);

// The same for 256 MiB of records and a budget of that many MiB.
void BM_RecordSortSpilling(benchmark::State& state) {
  const auto keys = RandomKeys((256 << 20) / 100);
  MapSideOptions options = MapOptions(
      FileSystem::Posix(), static_cast<uint64_t>(state.range(0)) << 20);
  options.scratch_dir = ".";
  options.output_path = "map_side_bench.output";
  for (auto _ : state) {
    CHECK_GT(SortRecords(keys, options).spills, 2u);
    CHECK(FileSystem::Posix().RemoveFile(options.output_path).ok());
  }
  state.SetItemsProcessed(
      static_cast<int64_t>(state.iterations() * keys.size()));
}
BENCHMARK(BM_RecordSortSpilling)
    ->Arg(4)
    ->Arg(64)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace::bench
