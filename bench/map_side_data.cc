#include "bench/map_side_data.h"

#include <benchmark/benchmark.h>

#include <memory>
#include <random>

#include "common/logging.h"
#include "engine/map/record_buffer.h"

namespace millrace::bench {
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

class ForgetfulFileSystem final : public FileSystem {
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

}  // namespace

FileSystem& NullFileSystem() {
  static ForgetfulFileSystem fs;
  return fs;
}

engine::MapSideOptions MapOptions(FileSystem& fs, uint64_t memory_bytes) {
  engine::MapSideOptions options;
  options.fs = &fs;
  options.num_partitions = 4;
  options.memory_bytes = memory_bytes;
  options.scratch_dir = "/scratch";
  options.output_path = "/output";
  return options;
}

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

WordBatches::WordBatches(size_t vocabulary,
                         const std::vector<uint32_t>& sequence)
    : words_(Vocabulary(vocabulary)) {
  CHECK_EQ(sequence.size() % kBatch, 0u);
  padded_.resize(sequence.size());
  for (size_t i = 0; i < sequence.size(); ++i) {
    const std::string& word = words_[sequence[i]];
    std::memcpy(padded_[i].padded, word.data(),
                std::min(word.size(), sizeof(Key)));
    data_.push_back(word.data());
    sizes_.push_back(static_cast<uint32_t>(word.size()));
  }
}

engine::CombineBuffer::Batch WordBatches::At(size_t at) {
  engine::CombineBuffer::Batch batch;
  batch.count = kBatch;
  batch.padded = &padded_[at].padded;
  batch.data = &data_[at];
  batch.sizes = &sizes_[at];
  return batch;
}

std::vector<RecordKey> RandomKeys(size_t count) {
  std::mt19937_64 rng(3);
  std::vector<RecordKey> keys(count);
  for (auto& key : keys) key = {rng(), rng()};
  return keys;
}

engine::MapSideResult SortRecords(const std::vector<RecordKey>& keys,
                                  const engine::MapSideOptions& options) {
  using engine::RecordBuffer;
  constexpr size_t kKey = 10;
  constexpr size_t kValue = 90;
  constexpr size_t kSize = RecordBuffer::kRecordHeaderBytes + kKey + kValue;
  auto buffer = RecordBuffer::Create(options);
  CHECK(buffer.ok());
  RecordBuffer::Window window = (*buffer)->window();
  char* next = window.begin;
  for (const RecordKey& key : keys) {
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

}  // namespace millrace::bench
