#include "engine/map/combine_table.h"

#include <algorithm>
#include <array>
#include <utility>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/errno_status.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::engine {
namespace {

constexpr uint64_t kCapacityMin = 64;  // Full at 40: one batch always fits.
constexpr uint64_t kCapacityFirst = 4096;
constexpr uint64_t kCapacityMax = uint64_t{1} << 31;
// Below, a growing table quadruples: it costs little. Above, it doubles, since
// a larger table than needed costs page faults and cache misses.
constexpr uint64_t kQuadrupleBelow = 1 << 16;

// Memory from outside the region is taken in pieces of this size.
constexpr uint64_t kOutsideBytes = 64 << 10;

static_assert(kCapacityMin / 8 * 5 >= CombineBuffer::kBatch);

// Hash64 of a key whose size is known to be in a range: compiles to the one
// formula for it.
template <uint32_t kMin, uint32_t kMax>
__attribute__((always_inline, flatten)) inline uint64_t HashOf(const char* data,
                                                               uint32_t size) {
  if (size < kMin || size > kMax) __builtin_unreachable();
  return Hash64({data, size});
}

#if defined(__SSE2__)
using ShortKey = __m128i;
inline ShortKey LoadShort(const char* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline void StoreShort(char* p, ShortKey key) {
  _mm_store_si128(reinterpret_cast<__m128i*>(p), key);
}
inline bool SameShort(ShortKey key, const char* p) {
  return _mm_movemask_epi8(_mm_cmpeq_epi8(
             key, _mm_load_si128(reinterpret_cast<const __m128i*>(p)))) ==
         0xFFFF;
}
#else
struct ShortKey {
  uint64_t words[2];
};
inline ShortKey LoadShort(const char* p) {
  ShortKey key;
  std::memcpy(&key, p, sizeof(key));
  return key;
}
inline void StoreShort(char* p, ShortKey key) {
  std::memcpy(p, &key, sizeof(key));
}
inline bool SameShort(ShortKey key, const char* p) {
  const ShortKey other = LoadShort(p);
  return ((key.words[0] ^ other.words[0]) | (key.words[1] ^ other.words[1])) ==
         0;
}
#endif

}  // namespace

absl::StatusOr<CombineTable> CombineTable::Create(MemoryAccount& account,
                                                  uint64_t region_bytes) {
  CombineTable table(account);
  MR_ASSIGN_OR_RETURN(table.region_, MappedMemory::Map(account, region_bytes));
  table.table_ = reinterpret_cast<CombineEntry*>(table.region_.begin());
  table.arena_ = table.region_.end();
  table.SetCapacity(std::clamp(table.region_.size() / 4 / sizeof(CombineEntry),
                               kCapacityMin, kCapacityFirst));
  return table;
}

void CombineTable::HashAndPrefetch(const Batch& batch, uint64_t* hashes) const {
  // XXH3 has a formula for each class of sizes. Taking the keys class by class
  // spares the processor from guessing, key by key, which one comes next: 3 ns
  // a key in place of 5.
  static constexpr auto kClasses = [] {
    std::array<uint8_t, CombineEntry::kInline + 2> classes{};
    for (size_t size = 0; size < classes.size(); ++size) {
      classes[size] = size <= 3 ? 0 : size <= 8 ? 1 : size <= 16 ? 2 : 3;
    }
    return classes;
  }();
  uint8_t members[4][CombineBuffer::kBatch];
  size_t counts[4] = {};
  for (size_t i = 0; i < batch.count; ++i) {
    const size_t size_class =
        kClasses[std::min<size_t>(batch.sizes[i], kClasses.size() - 1)];
    members[size_class][counts[size_class]++] = static_cast<uint8_t>(i);
  }
  const auto take = [&](size_t size_class, const auto& hash_of) {
    for (size_t j = 0; j < counts[size_class]; ++j) {
      const size_t i = members[size_class][j];
      hashes[i] = hash_of(i);
      __builtin_prefetch(table_ + Home(hashes[i]), 1);
    }
  };
  take(0,
       [&](size_t i) { return HashOf<0, 3>(batch.padded[i], batch.sizes[i]); });
  take(1,
       [&](size_t i) { return HashOf<4, 8>(batch.padded[i], batch.sizes[i]); });
  take(2, [&](size_t i) {
    return HashOf<9, 16>(batch.padded[i], batch.sizes[i]);
  });
  take(3, [&](size_t i) { return Hash64({batch.data[i], batch.sizes[i]}); });
}

CombineEntry* CombineTable::FindLong(const char* data, uint64_t hash,
                                     uint32_t size) const {
  const uint64_t tag = CombineEntry::MakeTag(hash, size);
  CombineEntry* entry = table_ + Home(hash);
  while (entry->tag != 0 &&
         (entry->tag != tag || std::memcmp(entry->long_key(), data, size))) {
    entry = NextEntry(entry);
  }
  return entry;
}

bool CombineTable::MakeRoomFor(const Batch& batch, const uint64_t* hashes) {
  uint64_t long_bytes = 0;
  for (size_t i = 0; i < batch.count; ++i) {
    const uint32_t size = batch.sizes[i];
    if (size <= CombineEntry::kInline) continue;
    if (FindLong(batch.data[i], hashes[i], size)->tag == 0) {
      long_bytes += RoundUp(size);
    }
  }
  if (used_ + batch.count > used_max_ && !Grow(batch.count, long_bytes)) {
    return false;
  }
  return HasArenaRoom(long_bytes);
}

absl::Status CombineTable::Insert(const Batch& batch, const uint64_t* hashes,
                                  uint64_t** slots, uint32_t* inserted) {
  if (value_bytes_ > 0) {
    value_reserve_ =
        std::max(value_reserve_, std::min(value_bytes_, region_.size() / 8));
    value_bytes_ = 0;
  }
  uint32_t is_new = 0;
  for (size_t i = 0; i < batch.count; ++i) {
    const uint32_t size = batch.sizes[i];
    const uint64_t tag = CombineEntry::MakeTag(hashes[i], size);
    CombineEntry* entry;
    if (size <= CombineEntry::kInline) {
      const ShortKey key = LoadShort(batch.padded[i]);
      entry = table_ + Home(hashes[i]);
      for (;; entry = NextEntry(entry)) {
        if (entry->tag == tag && SameShort(key, entry->key_bytes)) break;
        if (entry->tag != 0) continue;
        StoreShort(entry->key_bytes, key);
        entry->tag = tag;
        is_new |= uint32_t{1} << i;
        break;
      }
    } else {
      if (size > kKeySizeMax) {
        return absl::InvalidArgumentError(
            Av(Cat("a key of ", size, " bytes is too long")));
      }
      entry = FindLong(batch.data[i], hashes[i], size);
      if (entry->tag == 0) {
        char* copy = Allocate(size);
        if (copy == nullptr) {
          return NoMemoryError(
              Cat("no memory for a key of ", HumanBytes(size)));
        }
        std::memcpy(copy, batch.data[i], size);
        std::memcpy(entry->key_bytes, copy, 8);
        std::memcpy(entry->key_bytes + 8, &copy, sizeof(copy));
        entry->tag = tag;
        is_new |= uint32_t{1} << i;
      }
    }
    slots[i] = &entry->value;
  }
  used_ += static_cast<uint64_t>(__builtin_popcount(is_new));
  *inserted = is_new;
  return absl::OkStatus();
}

char* CombineTable::Allocate(uint64_t bytes) {
  const uint64_t size = RoundUp(bytes);
  const char* table_end = reinterpret_cast<char*>(table_ + capacity_);
  if (size <= static_cast<uint64_t>(arena_ - table_end)) {
    arena_ -= size;
    return arena_;
  }
  if (size > outside_left_) {
    absl::StatusOr<MappedMemory> memory = MappedMemory::Map(
        *account_, std::max(size, std::min(kOutsideBytes, region_.size() / 8)));
    if (!memory.ok()) return nullptr;
    outside_.push_back(*std::move(memory));
    outside_left_ = outside_.back().size();
  }
  char* const bytes_outside = outside_.back().end() - outside_left_;
  outside_left_ -= size;
  return bytes_outside;
}

char* CombineTable::AllocateValue(uint64_t bytes) {
  value_bytes_ += RoundUp(bytes);
  return Allocate(bytes);
}

uint64_t CombineTable::BalancedCapacity() const {
  // capacity * 32 + 5/8 * capacity * (arena bytes per entry) = region bytes,
  // with 1/16 bytes as the unit of the arena's share.
  const uint64_t per_entry = used_ == 0 ? 0 : ArenaUsed() * 16 / used_;
  return (region_.size() - value_reserve_) * 128 / (4096 + 5 * per_entry);
}

bool CombineTable::Grow(size_t entries, uint64_t arena_bytes) {
  const uint64_t taken = ArenaUsed() + arena_bytes + value_reserve_;
  if (taken >= region_.size()) return false;
  const uint64_t most =
      std::min({BalancedCapacity(),
                (region_.size() - taken) / sizeof(CombineEntry), kCapacityMax});
  uint64_t capacity = capacity_ * (capacity_ < kQuadrupleBelow ? 4 : 2);
  // All there is, rather than leaving a rest for a small last step.
  if (most < capacity / 2 * 3) capacity = most;
  capacity = capacity / 8 * 8;
  if (capacity < capacity_ + capacity_ / 4 ||
      UsedMax(capacity) < used_ + entries) {
    return false;
  }
  Rehash(capacity);
  return true;
}

// In place. The entries move to the front, and from there, last one first, to
// their new homes, which lie further up: entries are nearly in the order of
// their hashes, and the table at least a quarter larger. The few whose homes
// are still covered by entries yet to move wait aside.
void CombineTable::Rehash(uint64_t capacity) {
  const uint64_t old_capacity = capacity_;
  Compact();
  std::memset(
      static_cast<void*>(table_ + used_), 0,
      (std::max(capacity, old_capacity) - used_) * sizeof(CombineEntry));
  SetCapacity(capacity);
  std::vector<CombineEntry> waiting;
  for (size_t unmoved = used_; unmoved-- > 0;) {
    const CombineEntry entry = table_[unmoved];
    table_[unmoved].tag = 0;
    size_t place = Home(entry.tag);
    if (place >= unmoved) {
      while (place < capacity_ && table_[place].tag != 0) ++place;
    }
    if (place < unmoved || place == capacity_) {
      waiting.push_back(entry);
    } else {
      table_[place] = entry;
    }
  }
  for (const CombineEntry& entry : waiting) {
    CombineEntry* place = table_ + Home(entry.tag);
    while (place->tag != 0) place = NextEntry(place);
    *place = entry;
  }
}

void CombineTable::Compact() {
  CombineEntry* to = table_;
  for (const CombineEntry* from = table_; from < table_ + capacity_; ++from) {
    // Always copied, kept only when in use: no branch to guess.
    const CombineEntry entry = *from;
    *to = entry;
    to += entry.tag != 0 ? 1 : 0;
  }
}

std::span<char> CombineTable::spare() const {
  return {reinterpret_cast<char*>(table_ + used_), arena_};
}

void CombineTable::Clear(const Batch& next) {
  const uint64_t arena_bytes = LongBytes(next) + value_reserve_;
  const uint64_t rest = region_.size() - std::min(region_.size(), arena_bytes);
  const uint64_t capacity =
      std::min({capacity_, BalancedCapacity(), rest / sizeof(CombineEntry)});
  SetCapacity(std::max(capacity / 8 * 8, kCapacityMin));
  std::memset(static_cast<void*>(table_), 0, capacity_ * sizeof(CombineEntry));
  used_ = 0;
  arena_ = region_.end();
  outside_.clear();
  outside_left_ = 0;
  value_bytes_ = 0;
}

}  // namespace millrace::engine
