// Sorting the index of a buffer by (partition, key, position).
//
// An index entry is 16 bytes, and the record it stands for is not touched as
// long as eight bytes of the key decide. The order is made in three ways:
//
//   partitions   one pass, in place (American flag sort: McIlroy, Bostic and
//                McIlroy, "Engineering Radix Sort", 1993);
//   prefixes     radix sort from the highest bit in which the prefixes differ
//                at all, down to handfuls that are sorted by insertion. Large
//                groups move in place, groups that fit the scratch space move
//                through it, which is faster;
//   equal ones   the entries' prefixes are replaced by the next eight bytes of
//                the keys, and the same is done again (the caching of Ng and
//                Kakehi, "Cache Efficient Radix Sort for String Sorting", 2007:
//                a key is visited once per eight bytes, not once per
//                comparison). Equal keys are put in order of their positions.
#ifndef MILLRACE_ENGINE_MAP_SORT_H_
#define MILLRACE_ENGINE_MAP_SORT_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "engine/format/encoding.h"
#include "engine/progress.h"

namespace millrace::engine {

struct SortEntry {
  uint64_t prefix;  // KeyPrefix(key) when the sort begins; unspecified after.
  uint64_t ref;     // MakeRef(partition, position).
};

inline constexpr int kPositionBits = 40;
inline constexpr uint64_t kPositionMask = (uint64_t{1} << kPositionBits) - 1;
// What the rest of a reference has room for.
inline constexpr uint32_t kPartitionsMax = 1 << 24;

inline uint64_t MakeRef(uint32_t partition, uint64_t position) {
  return uint64_t{partition} << kPositionBits | position;
}
inline uint32_t RefPartition(uint64_t ref) {
  return static_cast<uint32_t>(ref >> kPositionBits);
}
inline uint64_t RefPosition(uint64_t ref) { return ref & kPositionMask; }

namespace sort_internal {

inline constexpr size_t kInsertionMax = 24;
// Digits of groups that have 64 Ki entries and more, and of smaller ones.
inline constexpr size_t kWideFrom = 1 << 16;
inline constexpr int kWideBits = 11;
inline constexpr int kNarrowBits = 8;

// Moves the entries so that the partition of their references ascends.
void GroupByPartition(std::span<SortEntry> entries, uint32_t num_partitions,
                      Progress& progress);

// One step of a radix sort: groups the entries by the `bits` bits of the prefix
// above `shift`; the bits above those must be equal in all. bounds[d] becomes
// the start of group d and bounds[1 << bits] the number of entries. Stable if
// the entries fit the scratch space.
void GroupByDigit(std::span<SortEntry> entries, std::span<SortEntry> scratch,
                  int shift, int bits, size_t* bounds, Progress& progress);

// Sorts by prefix a handful of entries, or such as are nearly in order. Stable.
inline void InsertionSort(std::span<SortEntry> entries) {
  for (size_t i = 1; i < entries.size(); ++i) {
    const SortEntry entry = entries[i];
    size_t j = i;
    for (; j > 0 && entry.prefix < entries[j - 1].prefix; --j) {
      entries[j] = entries[j - 1];
    }
    entries[j] = entry;
  }
}

}  // namespace sort_internal

// As much scratch space as does any good: it fits the second-level cache.
inline constexpr size_t kSortScratchMax = 1 << 16;

// Keys: what an index refers to. Cheap to copy.
//   std::string_view Key(uint64_t position) const;
//   const char* Address(uint64_t position) const;  // What to prefetch.
// Thread-compatible.
template <typename Keys>
class IndexSorter {
 public:
  // `scratch` may be empty.
  IndexSorter(const Keys& keys, std::span<SortEntry> scratch,
              Progress& progress)
      : keys_(keys), scratch_(scratch), progress_(progress) {}

  // Sorts by (partition, key, position). REQUIRES: the prefixes are those of
  // the keys, the positions are different from one another.
  void Sort(std::span<SortEntry> entries, uint32_t num_partitions) {
    if (num_partitions > 1) {
      sort_internal::GroupByPartition(entries, num_partitions, progress_);
    }
    for (size_t begin = 0; begin < entries.size();) {
      const uint32_t partition = RefPartition(entries[begin].ref);
      // The end of the partition, by galloping: most are large, many may be
      // tiny, and the bounds of all need not be kept.
      size_t step = 1;
      while (begin + step < entries.size() &&
             RefPartition(entries[begin + step].ref) == partition) {
        step *= 2;
      }
      const auto from = entries.begin() + static_cast<ptrdiff_t>(begin);
      const auto end = std::partition_point(
          from + static_cast<ptrdiff_t>(step / 2),
          entries.begin() +
              static_cast<ptrdiff_t>(std::min(begin + step, entries.size())),
          [partition](const SortEntry& e) {
            return RefPartition(e.ref) == partition;
          });
      SortByPrefix({from, end}, 0, 0);
      begin = static_cast<size_t>(end - entries.begin());
    }
  }

 private:
  // Beyond this many replacements of prefixes in one place, comparisons take
  // over: a bound for the stack that only hostile keys come near.
  static constexpr int kLevelMax = 32;

  // Sorts entries whose keys agree in their first `depth` bytes, and whose
  // prefixes were taken at `depth`.
  void SortByPrefix(std::span<SortEntry> entries, size_t depth, int level) {
    if (entries.size() <= sort_internal::kInsertionMax) {
      sort_internal::InsertionSort(entries);
      SortTies(entries, depth, level);
      return;
    }
    progress_.Tick(entries.size());
    uint64_t difference = 0;
    const uint64_t first = entries[0].prefix;
    for (const SortEntry& e : entries) difference |= e.prefix ^ first;
    if (difference == 0) {
      SortTied(entries, depth, level);
      return;
    }
    ForEachGroup(entries, difference, [&](std::span<SortEntry> group) {
      SortByPrefix(group, depth, level);
    });
  }

  // Groups the entries by the highest bits in which their prefixes differ, and
  // calls `sort` for each group that needs it, in order.
  template <typename Sort>
  void ForEachGroup(std::span<SortEntry> entries, uint64_t difference,
                    const Sort& sort) {
    const int top = 64 - std::countl_zero(difference);
    const auto run = [&](int bits, size_t* bounds) {
      sort_internal::GroupByDigit(entries, scratch_, top - bits, bits, bounds,
                                  progress_);
      for (size_t digit = 0; digit < size_t{1} << bits; ++digit) {
        const size_t size = bounds[digit + 1] - bounds[digit];
        if (size > 1) sort(entries.subspan(bounds[digit], size));
      }
    };
    if (entries.size() >= sort_internal::kWideFrom) {
      // Not on the stack, which is to stay small: recursion is deep at worst.
      std::vector<size_t> bounds((1 << sort_internal::kWideBits) + 1);
      run(std::min(top, sort_internal::kWideBits), bounds.data());
    } else {
      size_t bounds[(1 << sort_internal::kNarrowBits) + 1];
      const int bits = entries.size() >= 512 ? sort_internal::kNarrowBits : 6;
      run(std::min(top, bits), bounds);
    }
  }

  // Of entries in order of their prefixes, sorts those with equal ones.
  void SortTies(std::span<SortEntry> entries, size_t depth, int level) {
    bool ties = false;
    for (size_t i = 1; i < entries.size(); ++i) {
      if (entries[i].prefix != entries[i - 1].prefix) continue;
      ties = true;
      __builtin_prefetch(keys_.Address(RefPosition(entries[i - 1].ref)));
      __builtin_prefetch(keys_.Address(RefPosition(entries[i].ref)));
    }
    if (!ties) return;
    for (size_t begin = 0; begin + 1 < entries.size();) {
      size_t end = begin + 1;
      while (end < entries.size() &&
             entries[end].prefix == entries[begin].prefix) {
        ++end;
      }
      SortTied(entries.subspan(begin, end - begin), depth, level);
      begin = end;
    }
  }

  // Sorts entries with equal prefixes at `depth`.
  void SortTied(std::span<SortEntry> entries, size_t depth, int level) {
    if (entries.size() < 2) return;
    const size_t next = depth + 8;
    if (entries.size() == 2) {
      if (Less(entries[1], entries[0], next)) {
        std::swap(entries[0], entries[1]);
      }
      return;
    }
    if (level >= kLevelMax) {
      std::sort(entries.begin(), entries.end(),
                [this, next](const SortEntry& a, const SortEntry& b) {
                  return Less(a, b, next);
                });
      return;
    }
    // Keys that end within the prefix go first: the others have more bytes
    // after the same ones. Among themselves they differ at most in trailing
    // zeros, that is, in length.
    size_t ended = 0;
    uint64_t size_difference = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
      constexpr size_t kAhead = 8;
      if (i + kAhead < entries.size()) {
        __builtin_prefetch(keys_.Address(RefPosition(entries[i + kAhead].ref)));
      }
      const std::string_view key = keys_.Key(RefPosition(entries[i].ref));
      if (key.size() > next) {
        entries[i].prefix = KeyPrefix(key.substr(next));
        continue;
      }
      entries[i].prefix = key.size();
      size_difference |= entries[i].prefix ^ entries[ended > 0 ? 0 : i].prefix;
      std::swap(entries[i], entries[ended]);
      ++ended;
    }
    progress_.Tick(entries.size() * 8);
    SortEnded(entries.first(ended), size_difference != 0);
    const std::span<SortEntry> rest = entries.subspan(ended);
    if (rest.size() < 2) return;
    SortByPrefix(rest, next, level + 1);
  }

  // Sorts equal keys, or such as differ in length alone, which then is in the
  // prefix.
  void SortEnded(std::span<SortEntry> entries, bool sizes_differ) {
    if (sizes_differ) {
      std::sort(entries.begin(), entries.end(),
                [](const SortEntry& a, const SortEntry& b) {
                  return a.prefix != b.prefix ? a.prefix < b.prefix
                                              : a.ref < b.ref;
                });
      return;
    }
    SortByPosition(entries);
  }

  void SortByPosition(std::span<SortEntry> entries) {
    if (std::is_sorted(entries.begin(), entries.end(), PositionLess)) return;
    if (entries.size() <= kSortByRadixFrom) {
      std::sort(entries.begin(), entries.end(), PositionLess);
      return;
    }
    // Positions are keys of which no two are equal: nothing is left to decide
    // when the digits are used up.
    for (SortEntry& e : entries) e.prefix = e.ref;
    SortPositions(entries);
  }

  // The radix sort above without ties.
  void SortPositions(std::span<SortEntry> entries) {
    if (entries.size() <= sort_internal::kInsertionMax) {
      sort_internal::InsertionSort(entries);
      return;
    }
    uint64_t difference = 0;
    const uint64_t first = entries[0].prefix;
    for (const SortEntry& e : entries) difference |= e.prefix ^ first;
    ForEachGroup(entries, difference,
                 [this](std::span<SortEntry> group) { SortPositions(group); });
  }

  static bool PositionLess(const SortEntry& a, const SortEntry& b) {
    return a.ref < b.ref;
  }

  // Of two keys that agree in their first `from` bytes, a key that ends before
  // counting as followed by zeros.
  bool Less(const SortEntry& a, const SortEntry& b, size_t from) const {
    const std::string_view x = keys_.Key(RefPosition(a.ref));
    const std::string_view y = keys_.Key(RefPosition(b.ref));
    const size_t common = std::min(x.size(), y.size());
    if (common > from) {
      const int order =
          std::memcmp(x.data() + from, y.data() + from, common - from);
      if (order != 0) return order < 0;
    }
    if (x.size() != y.size()) return x.size() < y.size();
    return a.ref < b.ref;
  }

  static constexpr size_t kSortByRadixFrom = 1024;

  const Keys keys_;
  const std::span<SortEntry> scratch_;
  Progress& progress_;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_SORT_H_
