// What the tests of the map-side buffers share: reading outputs back, twins to
// compare with, and ways to emit.
#ifndef MILLRACE_ENGINE_MAP_MAP_SIDE_TEST_H_
#define MILLRACE_ENGINE_MAP_MAP_SIDE_TEST_H_

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/file_system.h"
#include "common/hash.h"
#include "common/strings.h"
#include "engine/format/map_output_reader.h"
#include "engine/map/combine_buffer.h"
#include "engine/map/map_side.h"
#include "engine/map/record_buffer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/memory_file_system.h"

namespace millrace::engine {

struct TestRecord {
  uint32_t partition = 0;
  std::string key;
  std::string value;
  friend bool operator==(const TestRecord&, const TestRecord&) = default;
  friend std::ostream& operator<<(std::ostream& out, const TestRecord& r) {
    return out << r.partition << ":" << Printable(r.key, 40) << "="
               << Printable(r.value, 40);
  }
};

inline std::string Bytes8(uint64_t number) {
  return std::string(reinterpret_cast<const char*>(&number), sizeof(number));
}

inline MapOutputIdentity TestIdentity() {
  MapOutputIdentity identity;
  identity.job = *JobId::FromBytes("0123456789abcdef");
  identity.attempt = *AttemptUid::FromBytes("fedcba9876543210");
  identity.map_index = 7;
  return identity;
}

inline constexpr char kScratch[] = "/scratch";
inline constexpr char kOutput[] = "/output";

// A disk in memory, with the directory the options name.
inline std::unique_ptr<MemoryFileSystem> NewTestDisk() {
  auto fs = std::make_unique<MemoryFileSystem>();
  EXPECT_TRUE(fs->MakeDirectory(kScratch).ok());
  return fs;
}

inline MapSideOptions TestOptions(FileSystem& fs) {
  MapSideOptions options;
  options.fs = &fs;
  options.identity = TestIdentity();
  options.num_partitions = 3;
  options.scratch_dir = kScratch;
  options.output_path = kOutput;
  return options;
}

// All records of an output file, verified by the reader, in file order.
inline std::vector<TestRecord> ReadOutput(FileSystem& fs,
                                          const MapSideOptions& options,
                                          const MapSideResult& result) {
  std::vector<TestRecord> records;
  auto file = MapOutputFile::Open(fs, options.output_path, options.identity,
                                  options.num_partitions, result.output.root);
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return records;
  for (uint32_t p = 0; p < options.num_partitions; ++p) {
    const std::unique_ptr<RecordStream> stream = ReadPartition(*file, p);
    while (stream->Next()) {
      records.push_back(
          {p, std::string(stream->key()), std::string(stream->value())});
    }
    EXPECT_TRUE(stream->status().ok()) << stream->status();
  }
  return records;
}

// A directory of the operating system's, removed with all that is in it.
class TestDirectory {
 public:
  TestDirectory() : path_(testing::TempDir() + "/map_side_XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  ~TestDirectory() { EXPECT_TRUE(FileSystem::Posix().RemoveTree(path_).ok()); }

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Growth of the process's resident set since construction.
class ResidentMemory {
 public:
  ResidentMemory() : begin_(Now()) {}

  void Sample() { peak_ = std::max(peak_, Now()); }

  void ExpectAtMost(uint64_t bytes) const {
    EXPECT_GT(peak_, begin_);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LE(peak_ - begin_, bytes);
#else
    (void)bytes;  // Sanitizers hold on to what is freed.
#endif
  }

 private:
  static uint64_t Now() {
    std::ifstream file("/proc/self/statm");
    uint64_t total_pages = 0;
    uint64_t resident_pages = 0;
    file >> total_pages >> resident_pages;
    return resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }

  const uint64_t begin_;
  uint64_t peak_ = 0;
};

// Rarely zstd, which takes long to set up.
inline Codec RandomCodec(std::mt19937_64& rng) {
  if (rng() % 16 == 0) return Codec::kZstd;
  return rng() % 2 == 0 ? Codec::kNone : Codec::kLz4;
}

// Sums of 8-byte numbers, host order.
class SumFolder final : public ValueFolder {
 public:
  void Start(std::string_view, std::string_view value) override {
    sum_ = Number(value);
  }
  void Add(std::string_view value) override { sum_ += Number(value); }
  std::string_view Result() override {
    return {reinterpret_cast<const char*>(&sum_), sizeof(sum_)};
  }

  static uint64_t Number(std::string_view value) {
    uint64_t number = 0;
    EXPECT_EQ(value.size(), sizeof(number));
    std::memcpy(&number, value.data(), sizeof(number));
    return number;
  }

 private:
  uint64_t sum_ = 0;
};

// The greatest of byte strings.
class MaxFolder final : public ValueFolder {
 public:
  void Start(std::string_view, std::string_view value) override {
    max_ = value;
  }
  void Add(std::string_view value) override {
    if (value > max_) max_ = value;
  }
  std::string_view Result() override { return max_; }

 private:
  std::string max_;
};

// Any function, asked as a partitioner.
class FunctionPartitioner final : public KeyPartitioner {
 public:
  explicit FunctionPartitioner(
      std::function<int64_t(std::string_view, uint32_t)> function)
      : function_(std::move(function)) {}
  int64_t Partition(std::string_view key, uint32_t num_partitions) override {
    return function_(key, num_partitions);
  }

 private:
  const std::function<int64_t(std::string_view, uint32_t)> function_;
};

// By the length of the key.
inline int64_t PartitionByLength(std::string_view key, uint32_t n) {
  return static_cast<int64_t>(key.size() % n);
}

inline uint32_t ExpectedPartition(const MapSideOptions& options,
                                  std::string_view key) {
  return options.partitioner == nullptr
             ? HashPartition(Hash64(key), options.num_partitions)
             : static_cast<uint32_t>(
                   options.partitioner->Partition(key, options.num_partitions));
}

// Keys as they hurt: short alphabets, so that keys repeat and are prefixes of
// one another; NULs; common prefixes up to, at and beyond 8 and 16 bytes.
class KeyMaker {
 public:
  KeyMaker(uint64_t seed, size_t variety) : rng_(seed), variety_(variety) {
    style_ = rng_() % 5;
  }

  std::string operator()() {
    const uint64_t number = rng_() % variety_;
    switch (style_) {
      case 0:  // Short text.
        return Cat(number);
      case 1: {  // Nothing but NULs and ones, of any length.
        std::string key;
        for (uint64_t n = number; n > 0; n /= 2) {
          key += static_cast<char>(n % 2);
        }
        return key;
      }
      case 2:  // A common prefix of 8, 16 or 24 bytes.
        return std::string(8 * (1 + number % 3), 'p') + Cat(number / 3);
      case 3: {  // Random bytes, the same for the same number.
        std::minstd_rand bytes(static_cast<uint32_t>(number + 1));
        std::string key(bytes() % 40, '\0');
        for (char& c : key) c = static_cast<char>(bytes() >> 8);
        return key;
      }
      default:  // Runs of one letter: each key a prefix of the next.
        return std::string(number % 150, 'a');
    }
  }

 private:
  std::mt19937_64 rng_;
  const size_t variety_;
  uint64_t style_;
};

// Emits one by one, filling batches and folding as the typed layer does.
class CombineEmitter {
 public:
  CombineEmitter(CombineBuffer& buffer, CombineBuffer::ValueKind kind)
      : buffer_(buffer), kind_(kind) {}

  // With kInline8 the values are summed, else the greatest is kept.
  absl::Status Emit(std::string_view key, std::string_view value) {
    keys_.emplace_back(key);
    values_.emplace_back(value);
    return keys_.size() == CombineBuffer::kBatch ? Flush() : absl::OkStatus();
  }

  absl::Status Flush() {
    char padded[CombineBuffer::kBatch][CombineBuffer::kInlineKeyBytes] = {};
    const char* data[CombineBuffer::kBatch];
    uint32_t sizes[CombineBuffer::kBatch];
    for (size_t i = 0; i < keys_.size(); ++i) {
      sizes[i] = static_cast<uint32_t>(keys_[i].size());
      data[i] = keys_[i].data();
      if (sizes[i] <= CombineBuffer::kInlineKeyBytes) {
        std::memcpy(padded[i], keys_[i].data(), sizes[i]);
        data[i] = nullptr;  // Not to be looked at.
      }
    }
    CombineBuffer::Batch batch;
    batch.count = keys_.size();
    batch.padded = padded;
    batch.data = data;
    batch.sizes = sizes;
    uint64_t* slots[CombineBuffer::kBatch];
    uint32_t inserted = 0;
    absl::Status status = buffer_.Probe(batch, slots, &inserted);
    for (size_t i = 0; status.ok() && i < keys_.size(); ++i) {
      Fold(*slots[i], (inserted >> i & 1) != 0, values_[i]);
    }
    keys_.clear();
    values_.clear();
    return status;
  }

 private:
  void Fold(uint64_t& slot, bool is_new, const std::string& value) {
    if (kind_ == CombineBuffer::ValueKind::kInline8) {
      slot = (is_new ? 0 : slot) + SumFolder::Number(value);
      return;
    }
    CombineBuffer::IndirectValue* old = nullptr;
    if (!is_new) {
      std::memcpy(&old, &slot, sizeof(old));
      if (value <= std::string_view(old->bytes(), old->size)) return;
    }
    if (old == nullptr || old->capacity < value.size()) {
      old = buffer_.AllocateValue(value.size());
      std::memcpy(&slot, &old, sizeof(old));
    }
    old->size = static_cast<uint32_t>(value.size());
    if (!value.empty()) std::memcpy(old->bytes(), value.data(), value.size());
  }

  CombineBuffer& buffer_;
  const CombineBuffer::ValueKind kind_;
  std::vector<std::string> keys_;
  std::vector<std::string> values_;
};

// Writes records into windows.
class RecordEmitter {
 public:
  explicit RecordEmitter(RecordBuffer& buffer)
      : buffer_(buffer), next_(buffer.window().begin) {}

  absl::Status Emit(std::string_view key, std::string_view value) {
    const size_t size =
        RecordBuffer::kRecordHeaderBytes + key.size() + value.size();
    if (static_cast<size_t>(buffer_.window().end - next_) < size) {
      absl::Status status = buffer_.Advance(next_, size);
      if (!status.ok()) return status;
      next_ = buffer_.window().begin;
      EXPECT_GE(static_cast<size_t>(buffer_.window().end - next_), size);
    }
    const uint32_t sizes[2] = {static_cast<uint32_t>(key.size()),
                               static_cast<uint32_t>(value.size())};
    std::memcpy(next_, sizes, sizeof(sizes));
    next_ += sizeof(sizes);
    if (!key.empty()) std::memcpy(next_, key.data(), key.size());
    next_ += key.size();
    if (!value.empty()) std::memcpy(next_, value.data(), value.size());
    next_ += value.size();
    return absl::OkStatus();
  }

  absl::StatusOr<MapSideResult> Finish() { return buffer_.Finish(next_); }

 private:
  RecordBuffer& buffer_;
  char* next_;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_MAP_SIDE_TEST_H_
