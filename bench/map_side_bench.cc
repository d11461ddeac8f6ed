// What the map side costs per record: the combiner table on words, and the
// record arena on 100-byte records as TeraSort has them.
//
// Without spills, the file system drops what is written, so that a disk does
// not blur the figures; all other work of a writer is done. With spills, files
// go to the current directory.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/file_system.h"
#include "common/logging.h"
#include "engine/map/combine_buffer.h"
#include "engine/map/record_buffer.h"

namespace millrace::engine {
namespace {

class NullFile final : public WriteFile {
 public:
  absl::Status Append(std::string_view data) override {
    benchmark::DoNotOptimize(data.data());
    return absl::OkStatus();
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status Close() override { return absl::OkStatus(); }
};

// Creates files that forget. Everything else is not for use here.
class NullFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WriteFile>> Create(
      const std::string&) override {
    return std::make_unique<NullFile>();
  }
  absl::Status RemoveFile(const std::string&) override {
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<ReadFile>> OpenRead(
      const std::string&) override {
    return Never();
  }
  absl::StatusOr<FileInfo> Stat(const std::string&) override { return Never(); }
  absl::StatusOr<FileInfo> StatLink(const std::string&) override {
    return Never();
  }
  absl::StatusOr<std::vector<DirEntry>> List(const std::string&) override {
    return Never();
  }
  absl::Status MakeDirectory(const std::string&) override { return Never(); }
  absl::Status RemoveTree(const std::string&) override { return Never(); }
  absl::Status Rename(const std::string&, const std::string&) override {
    return Never();
  }
  absl::Status RenameNoReplace(const std::string&,
                               const std::string&) override {
    return Never();
  }
  absl::Status SyncDirectory(const std::string&) override { return Never(); }
  absl::Status MakeReadOnly(const std::string&) override { return Never(); }
  absl::StatusOr<uint64_t> FreeBytes(const std::string&) override {
    return Never();
  }

 private:
  static absl::Status Never() {
    return absl::UnimplementedError("not in this benchmark");
  }
};

class SumFolder final : public ValueFolder {
 public:
  void Start(std::string_view, std::string_view value) override {
    std::memcpy(&sum_, value.data(), sizeof(sum_));
  }
  void Add(std::string_view value) override {
    uint64_t number;
    std::memcpy(&number, value.data(), sizeof(number));
    sum_ += number;
  }
  std::string_view Result() override {
    return {reinterpret_cast<const char*>(&sum_), sizeof(sum_)};
  }

 private:
  uint64_t sum_ = 0;
};

MapSideOptions Options(FileSystem& fs, uint64_t memory_bytes) {
  MapSideOptions options;
  options.fs = &fs;
  options.num_partitions = 4;
  options.memory_bytes = memory_bytes;
  options.scratch_dir = "/scratch";
  options.output_path = "/output";
  return options;
}

// Words of random letters, 2 to 14 of them, shorter ones more often, and a
// sequence of such as they come in text: Zipf with exponent 1, shifted by 2.7.
std::vector<std::string> Vocabulary(size_t size) {
  std::mt19937_64 rng(1);
  std::vector<std::string> words(size);
  for (std::string& word : words) {
    word.resize(2 + rng() % 7 + rng() % 7);
    for (char& c : word) c = static_cast<char>('a' + rng() % 26);
  }
  return words;
}

std::vector<uint32_t> ZipfSequence(size_t vocabulary, size_t length) {
  std::vector<double> sums(vocabulary);
  double sum = 0;
  for (size_t i = 0; i < vocabulary; ++i) {
    sum += 1 / (static_cast<double>(i) + 2.7);
    sums[i] = sum;
  }
  std::mt19937_64 rng(2);
  std::uniform_real_distribution<double> uniform(0, sum);
  std::vector<uint32_t> sequence(length);
  for (uint32_t& word : sequence) {
    word = static_cast<uint32_t>(
        std::lower_bound(sums.begin(), sums.end(), uniform(rng)) -
        sums.begin());
  }
  return sequence;
}

// Batches made beforehand, as plain arrays, so that only the table is measured.
struct Batches {
  struct Key {
    char padded[CombineBuffer::kInlineKeyBytes];
  };
  std::vector<std::string> words;
  std::vector<Key> padded;
  std::vector<const char*> data;
  std::vector<uint32_t> sizes;

  Batches(size_t vocabulary, const std::vector<uint32_t>& sequence)
      : words(Vocabulary(vocabulary)) {
    padded.resize(sequence.size());
    for (size_t i = 0; i < sequence.size(); ++i) {
      const std::string& word = words[sequence[i]];
      std::memcpy(padded[i].padded, word.data(),
                  std::min(word.size(), sizeof(Key)));
      data.push_back(word.data());
      sizes.push_back(static_cast<uint32_t>(word.size()));
    }
  }
};

// Argument: distinct words. One iteration is one batch.
void BM_CombineProbe(benchmark::State& state) {
  constexpr size_t kBatch = CombineBuffer::kBatch;
  constexpr size_t kKeys = 4 << 20;
  const size_t vocabulary = static_cast<size_t>(state.range(0));
  const Batches batches(vocabulary, ZipfSequence(vocabulary, kKeys));
  NullFileSystem fs;
  SumFolder folder;
  MapSideOptions options = Options(fs, 256 << 20);
  options.folder = &folder;
  auto buffer =
      CombineBuffer::Create(options, CombineBuffer::ValueKind::kInline8);
  CHECK(buffer.ok());
  size_t at = 0;
  for (auto _ : state) {
    CombineBuffer::Batch batch;
    batch.count = kBatch;
    batch.padded = &batches.padded[at].padded;
    batch.data = &batches.data[at];
    batch.sizes = &batches.sizes[at];
    uint64_t* slots[kBatch];
    uint32_t inserted;
    CHECK((*buffer)->Probe(batch, slots, &inserted).ok());
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
  const Batches batches(vocabulary, sequence);
  NullFileSystem fs;
  SumFolder folder;
  MapSideOptions options = Options(fs, uint64_t{1} << 30);
  options.folder = &folder;
  for (auto _ : state) {
    auto buffer =
        CombineBuffer::Create(options, CombineBuffer::ValueKind::kInline8);
    CHECK(buffer.ok());
    for (size_t at = 0; at < sequence.size(); at += kBatch) {
      CombineBuffer::Batch batch;
      batch.count = kBatch;
      batch.padded = &batches.padded[at].padded;
      batch.data = &batches.data[at];
      batch.sizes = &batches.sizes[at];
      uint64_t* slots[kBatch];
      uint32_t inserted;
      CHECK((*buffer)->Probe(batch, slots, &inserted).ok());
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

// One hundred bytes, the first ten random, as many as are asked for.
MapSideResult SortRecords(
    const std::vector<std::pair<uint64_t, uint64_t>>& keys,
    const MapSideOptions& options) {
  constexpr size_t kKey = 10;
  constexpr size_t kValue = 90;
  constexpr size_t kSize = RecordBuffer::kRecordHeaderBytes + kKey + kValue;
  auto buffer = RecordBuffer::Create(options);
  CHECK(buffer.ok());
  RecordBuffer::Window window = (*buffer)->window();
  char* next = window.begin;
  for (const auto& key : keys) {
    if (static_cast<size_t>(window.end - next) < kSize) {
      CHECK((*buffer)->Advance(next, kSize).ok());
      window = (*buffer)->window();
      next = window.begin;
    }
    const uint32_t sizes[2] = {kKey, kValue};
    std::memcpy(next, sizes, sizeof(sizes));
    std::memcpy(next + 8, &key, kKey);
    std::memset(next + 8 + kKey, 'v', kValue);
    next += kSize;
  }
  auto result = (*buffer)->Finish(next);
  CHECK(result.ok()) << result.status();
  return *std::move(result);
}

std::vector<std::pair<uint64_t, uint64_t>> RandomKeys(size_t count) {
  std::mt19937_64 rng(3);
  std::vector<std::pair<uint64_t, uint64_t>> keys(count);
  for (auto& key : keys) key = {rng(), rng()};
  return keys;
}

// Argument: the budget in MiB, which is used up by nine tenths. All phases:
// filling the window (a copy), taking the records, sorting, gathering, writing.
void BM_RecordSort(benchmark::State& state) {
  const uint64_t budget = static_cast<uint64_t>(state.range(0)) << 20;
  const auto keys = RandomKeys(budget * 9 / 10 / 124);
  NullFileSystem fs;
  const MapSideOptions options = Options(fs, budget);
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
  MapSideOptions options =
      Options(FileSystem::Posix(), static_cast<uint64_t>(state.range(0)) << 20);
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
}  // namespace millrace::engine
