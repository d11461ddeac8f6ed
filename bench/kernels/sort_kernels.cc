// Sorting: the index alone, and all that a map task without combiner does with
// its records.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bench/kernels/roofline.h"
#include "bench/map_side_data.h"
#include "common/hash.h"
#include "common/logging.h"
#include "engine/format/encoding.h"
#include "engine/map/sort.h"
#include "engine/progress.h"

namespace millrace::bench {
namespace {

using engine::SortEntry;

constexpr size_t kKeyBytes = 10;
constexpr size_t kEntries = 1 << 20;
constexpr uint32_t kPartitions = 4;
// As the map side has for its index.
constexpr size_t kScratchEntries = (256 << 10) / sizeof(SortEntry);
constexpr uint64_t kBudget = 64 << 20;
constexpr size_t kRecordBytes = 100;

// Keys one after another; positions are offsets.
struct PackedKeys {
  const char* keys;
  std::string_view Key(uint64_t position) const {
    return {keys + position, kKeyBytes};
  }
  const char* Address(uint64_t position) const { return keys + position; }
};

std::string RandomBytes(size_t bytes) {
  std::mt19937_64 rng(4);
  std::string noise(bytes, '\0');
  for (char& c : noise) c = static_cast<char>(rng());
  return noise;
}

std::vector<SortEntry> EntriesOf(const std::string& keys) {
  std::vector<SortEntry> entries;
  for (size_t at = 0; at < keys.size(); at += kKeyBytes) {
    const std::string_view key(&keys[at], kKeyBytes);
    entries.push_back(
        {engine::KeyPrefix(key),
         engine::MakeRef(HashPartition(Hash64(key), kPartitions), at)});
  }
  return entries;
}

void Sort(const std::string& keys, std::vector<SortEntry>& entries) {
  const std::function<void()> nothing;
  engine::Progress progress(nothing);
  std::vector<SortEntry> scratch(kScratchEntries);
  engine::IndexSorter<PackedKeys>({keys.data()}, scratch, progress)
      .Sort(entries, kPartitions);
}

// Moves every entry to its place, all places being known.
Roofline PlacesRoofline(const std::vector<SortEntry>& from,
                        const std::vector<SortEntry>& sorted) {
  std::vector<uint32_t> places(from.size());
  for (size_t i = 0; i < sorted.size(); ++i) {
    places[engine::RefPosition(sorted[i].ref) / kKeyBytes] =
        static_cast<uint32_t>(i);
  }
  std::vector<SortEntry> to(from.size());
  const double rate = RateOf(static_cast<double>(from.size()), [&] {
    for (size_t i = 0; i < from.size(); ++i) to[places[i]] = from[i];
    benchmark::ClobberMemory();
  });
  return {"a move of each entry to its known place", rate};
}

void BM_SortIndex(benchmark::State& state) {
  const std::string keys = RandomBytes(kEntries * kKeyBytes);
  const std::vector<SortEntry> unsorted = EntriesOf(keys);
  std::vector<SortEntry> entries = unsorted;
  Sort(keys, entries);
  const Roofline roofline = PlacesRoofline(unsorted, entries);
  for (auto _ : state) {
    state.PauseTiming();
    std::copy(unsorted.begin(), unsorted.end(), entries.begin());
    state.ResumeTiming();
    Sort(keys, entries);
  }
  Report(state, Unit::kItems, kEntries, roofline);
}
BENCHMARK(BM_SortIndex)->Name("sort of an index, 1 Mi keys of 10 bytes");

// Filling the window, partitions, ledger, sort, gathering into blocks with
// their checksums; what is written is forgotten.
void BM_SortRecords(benchmark::State& state) {
  // Nine tenths of the budget: nothing is spilled.
  const auto keys = RandomKeys(kBudget * 9 / 10 / 124);
  const engine::MapSideOptions options = MapOptions(NullFileSystem(), kBudget);
  const Roofline roofline =
      CopyRoofline(RandomBytes(keys.size() * kRecordBytes), 2);
  for (auto _ : state) CHECK_EQ(SortRecords(keys, options).spills, 0u);
  Report(state, Unit::kBytes, static_cast<double>(keys.size() * kRecordBytes),
         roofline);
}
BENCHMARK(BM_SortRecords)->Name("map side of records, 10 + 90 bytes");

}  // namespace
}  // namespace millrace::bench
