#include "engine/map/sort.h"

#include <numeric>

namespace millrace::engine::sort_internal {
namespace {

// Entries looked at between two signs of life.
constexpr size_t kStride = 1 << 16;

// Moves the entries into groups by digit_of(entry), in place: each entry is put
// where the next one of its group belongs, and what stood there moves on.
// next[d] is the start of group d and moves to its end, end[d].
template <typename DigitOf>
void Permute(SortEntry* entries, size_t groups, size_t* next, const size_t* end,
             const DigitOf& digit_of, Progress& progress) {
  // The heads of the groups advance one by one, each a stream of its own: too
  // many for the processor's prefetcher.
  constexpr size_t kAhead = 8;
  size_t moved = 0;
  for (size_t group = 0; group < groups; ++group) {
    while (next[group] < end[group]) {
      SortEntry entry = entries[next[group]];
      size_t digit = digit_of(entry);
      while (digit != group) {
        SortEntry* place = entries + next[digit]++;
        __builtin_prefetch(place + kAhead);
        std::swap(entry, *place);
        digit = digit_of(entry);
        ++moved;
      }
      entries[next[group]++] = entry;
      ++moved;
      if (moved >= kStride) {
        progress.Tick(moved * 8);
        moved = 0;
      }
    }
  }
}

}  // namespace

void GroupByPartition(std::span<SortEntry> entries, uint32_t num_partitions,
                      Progress& progress) {
  std::vector<size_t> next(num_partitions + 1);
  for (size_t begin = 0; begin < entries.size(); begin += kStride) {
    const auto part =
        entries.subspan(begin, std::min(kStride, entries.size() - begin));
    for (const SortEntry& e : part) ++next[RefPartition(e.ref) + 1];
    progress.Tick(part.size());
  }
  std::partial_sum(next.begin(), next.end(), next.begin());
  const std::vector<size_t> end(next.begin() + 1, next.end());
  Permute(
      entries.data(), num_partitions, next.data(), end.data(),
      [](const SortEntry& e) { return size_t{RefPartition(e.ref)}; }, progress);
}

void GroupByDigit(std::span<SortEntry> entries, std::span<SortEntry> scratch,
                  int shift, int bits, size_t* bounds, Progress& progress) {
  const size_t groups = size_t{1} << bits;
  const size_t mask = groups - 1;
  const auto digit_of = [shift, mask](const SortEntry& e) {
    return static_cast<size_t>(e.prefix >> shift) & mask;
  };
  // Counted one place further on, so that the running sum leaves the starts.
  std::fill_n(bounds, groups + 1, 0);
  for (size_t begin = 0; begin < entries.size(); begin += kStride) {
    const auto part =
        entries.subspan(begin, std::min(kStride, entries.size() - begin));
    for (const SortEntry& e : part) ++bounds[digit_of(e) + 1];
    progress.Tick(part.size());
  }
  std::partial_sum(bounds, bounds + groups + 1, bounds);

  if (entries.size() <= scratch.size()) {
    size_t next[1 << kWideBits];
    std::copy_n(bounds, groups, next);
    for (const SortEntry& e : entries) scratch[next[digit_of(e)]++] = e;
    std::copy_n(scratch.begin(), entries.size(), entries.begin());
    progress.Tick(entries.size() * 4);
    return;
  }
  std::vector<size_t> next(bounds, bounds + groups);
  Permute(entries.data(), groups, next.data(), bounds + 1, digit_of, progress);
}

}  // namespace millrace::engine::sort_internal
