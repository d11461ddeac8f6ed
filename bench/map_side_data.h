// What measurements of the map side share: files that forget, words as they
// come in text, records as TeraSort has them.
#ifndef MILLRACE_BENCH_MAP_SIDE_DATA_H_
#define MILLRACE_BENCH_MAP_SIDE_DATA_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/file_system.h"
#include "engine/map/combine_buffer.h"
#include "engine/map/map_side.h"

namespace millrace::bench {

// Creates files that forget, so that a disk does not blur the figures. Removes
// any; everything else fails.
FileSystem& NullFileSystem();

// Sums 8-byte numbers.
class SumFolder final : public engine::ValueFolder {
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

// Four partitions.
engine::MapSideOptions MapOptions(FileSystem& fs, uint64_t memory_bytes);

// Words of random letters, 2 to 14 of them, shorter ones more often, and a
// sequence of such as they come in text: Zipf with exponent 1, shifted by 2.7.
std::vector<std::string> Vocabulary(size_t size);
std::vector<uint32_t> ZipfSequence(size_t vocabulary, size_t length);

// Batches for CombineBuffer::Probe made beforehand, as plain arrays, so that
// only the table is measured. REQUIRES: the sequence's length is a multiple of
// kBatch.
class WordBatches {
 public:
  static constexpr size_t kBatch = engine::CombineBuffer::kBatch;

  WordBatches(size_t vocabulary, const std::vector<uint32_t>& sequence);

  size_t size() const { return sizes_.size(); }  // Words in all.
  std::string_view word(size_t i) const { return {data_[i], sizes_[i]}; }
  // The batch of the words from `at` on.
  engine::CombineBuffer::Batch At(size_t at);

 private:
  struct Key {
    char padded[engine::CombineBuffer::kInlineKeyBytes];
  };

  std::vector<std::string> words_;
  std::vector<Key> padded_;
  std::vector<const char*> data_;
  std::vector<uint32_t> sizes_;
};

// What 10 bytes of the key of a record of 100 bytes are made from.
using RecordKey = std::pair<uint64_t, uint64_t>;
std::vector<RecordKey> RandomKeys(size_t count);

// Puts one record of 100 bytes for each key through a RecordBuffer.
engine::MapSideResult SortRecords(const std::vector<RecordKey>& keys,
                                  const engine::MapSideOptions& options);

}  // namespace millrace::bench

#endif  // MILLRACE_BENCH_MAP_SIDE_DATA_H_
