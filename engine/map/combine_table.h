// The hash table behind CombineBuffer, with the memory of its keys and values.
//
// Everything lives in one mapping, the region:
//
//   | entries: capacity x 32 bytes -> | free | <- arena: long keys, values |
//
// The table grows upwards in place and the arena downwards, so no share of the
// budget has to be set aside for either, and growing never holds two tables.
//
// Open addressing with linear probing. An entry's home is its hash times the
// capacity over 2^32: homes ascend with the hash, which lets the table have any
// capacity, not just powers of two, makes growth and compaction sequential, and
// leaves the entries nearly grouped by HashPartition, which is made from the
// same bits in the same way.
#ifndef MILLRACE_ENGINE_MAP_COMBINE_TABLE_H_
#define MILLRACE_ENGINE_MAP_COMBINE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/map/combine_buffer.h"
#include "engine/map/memory.h"

namespace millrace::engine {

// One key and its value. An entry of zeros is free.
struct alignas(32) CombineEntry {
  static constexpr size_t kInline = CombineBuffer::kInlineKeyBytes;

  // Up to 16 bytes: the key, padded with zeros. Longer: its first 8 bytes, then
  // a pointer to all of it. So the first eight bytes are the sort prefix either
  // way.
  char key_bytes[kInline];
  // High half: upper half of the key's Hash64. Low half: size of the key plus
  // one. Equal words make equal keys likely, so one comparison rejects the
  // rest.
  uint64_t tag;
  uint64_t value;

  static uint64_t MakeTag(uint64_t hash, uint32_t size) {
    return (hash & 0xFFFFFFFF00000000u) | (size + 1);
  }
  uint32_t key_size() const { return static_cast<uint32_t>(tag) - 1; }
  const char* long_key() const {
    const char* data;
    std::memcpy(&data, key_bytes + 8, sizeof(data));
    return data;
  }
  std::string_view key() const {
    const uint32_t size = key_size();
    return {size <= kInline ? key_bytes : long_key(), size};
  }
};
static_assert(sizeof(CombineEntry) == 32);

// Thread-compatible.
class CombineTable {
 public:
  // The tag's size field says "size plus one".
  static constexpr uint32_t kKeySizeMax = 0xFFFFFFFE;

  // `account` outlives the table. REQUIRES: region_bytes >= 8 KiB.
  static absl::StatusOr<CombineTable> Create(MemoryAccount& account,
                                             uint64_t region_bytes);
  CombineTable(CombineTable&&) = default;

  using Batch = CombineBuffer::Batch;

  // Computes the batch's hashes and starts fetching the entries' cache lines.
  void HashAndPrefetch(const Batch& batch, uint64_t* hashes) const;

  // Whether the batch may be inserted as things stand, taking all its keys for
  // new. A few additions and comparisons.
  bool HasRoomFor(const Batch& batch) const {
    uint64_t long_bytes = 0;
    for (size_t i = 0; i < batch.count; ++i) {
      long_bytes +=
          batch.sizes[i] <= CombineEntry::kInline ? 0 : RoundUp(batch.sizes[i]);
    }
    return used_ + batch.count <= used_max_ && HasArenaRoom(long_bytes);
  }
  // The same after looking at the keys, and after growing the table if that is
  // what it takes. False: only a spill makes room.
  bool MakeRoomFor(const Batch& batch, const uint64_t* hashes);

  // Finds or makes the batch's entries; see CombineBuffer::Probe. If there was
  // no room in the arena, memory comes from outside the region, and there is
  // then no room for anything until Clear().
  absl::Status Insert(const Batch& batch, const uint64_t* hashes,
                      uint64_t** slots, uint32_t* inserted);

  // Room for a value, from outside the region if need be. Null when the system
  // has no memory.
  char* AllocateValue(uint64_t bytes);

  // Moves the entries to the front of the region. Until Clear(), only entries()
  // and spare() are of use.
  void Compact();
  // After Compact().
  std::span<const CombineEntry> entries() const { return {table_, used_}; }
  // After Compact(): the memory between entries and arena, which has room for
  // 16 bytes for each entry and more.
  std::span<char> spare() const;

  // Forgets all entries and values and starts anew, with a capacity that suits
  // what the last filling was like, and leaves room for `next` in the region if
  // that is possible at all.
  void Clear(const Batch& next);

  size_t size() const { return used_; }

 private:
  // Full when 5 of 8 entries are used: 1.8 entries looked at to find a key, and
  // just room beside the compacted entries to sort them.
  static uint64_t UsedMax(uint64_t capacity) { return capacity / 8 * 5; }
  static uint64_t RoundUp(uint64_t bytes) { return (bytes + 7) / 8 * 8; }
  // What the batch's keys take in the arena.
  static uint64_t LongBytes(const Batch& batch) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < batch.count; ++i) {
      const uint32_t size = batch.sizes[i];
      bytes += size <= CombineEntry::kInline ? 0 : RoundUp(size);
    }
    return bytes;
  }

  explicit CombineTable(MemoryAccount& account) : account_(&account) {}

  size_t Home(uint64_t hash) const {
    return static_cast<size_t>(((hash >> 32) * capacity_) >> 32);
  }
  bool HasArenaRoom(uint64_t bytes) const {
    return outside_.empty() &&
           bytes + value_reserve_ <=
               static_cast<uint64_t>(
                   arena_ - reinterpret_cast<char*>(table_ + capacity_));
  }
  uint64_t ArenaUsed() const {
    return static_cast<uint64_t>(region_.end() - arena_);
  }
  void SetCapacity(uint64_t capacity) {
    capacity_ = capacity;
    used_max_ = UsedMax(capacity);
  }
  // Bytes from the arena or else from outside. Null when there are none.
  char* Allocate(uint64_t bytes);
  // The entry of a key longer than an entry's, or the free entry where it
  // belongs.
  CombineEntry* FindLong(const char* data, uint64_t hash, uint32_t size) const;
  CombineEntry* NextEntry(CombineEntry* entry) const {
    return ++entry == table_ + capacity_ ? table_ : entry;
  }
  // The most entries worth having while arena and table share the region as
  // they did so far.
  uint64_t BalancedCapacity() const;
  // False: the region has no room for as many more, or for little more.
  bool Grow(size_t entries, uint64_t arena_bytes);
  void Rehash(uint64_t capacity);

  MemoryAccount* account_;
  MappedMemory region_;
  CombineEntry* table_ = nullptr;
  uint64_t capacity_ = 0;
  uint64_t used_ = 0;
  uint64_t used_max_ = 0;
  char* arena_ = nullptr;  // Lowest byte in use.
  // Memory from outside the region, for what did not fit.
  std::vector<MappedMemory> outside_;
  uint64_t outside_left_ = 0;  // Free bytes at the end of the last of these.
  // Bytes of values allocated since the last batch, and the most between any
  // two batches: as much is kept free, since AllocateValue cannot spill.
  uint64_t value_bytes_ = 0;
  uint64_t value_reserve_ = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_COMBINE_TABLE_H_
