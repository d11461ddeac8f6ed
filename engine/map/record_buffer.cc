#include "engine/map/record_buffer.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/encoding.h"
#include "engine/map/memory.h"
#include "engine/map/partition.h"
#include "engine/progress.h"
#include "engine/map/run_merger.h"
#include "engine/map/sort.h"

namespace millrace::engine {
namespace {

constexpr size_t kHeader = RecordBuffer::kRecordHeaderBytes;
// Records are looked at while they are still in the cache they were written to.
constexpr uint64_t kWindowMax = 1 << 20;
constexpr uint64_t kWindowMin = 1 << 10;
constexpr uint64_t kWindowShare = 16;  // Of the region, at most.
// The buffer counts as full when no window of this share of a usual one is
// left.
constexpr uint64_t kLastWindowShare = 16;

// A guess at the size of records before any was seen.
constexpr uint64_t kFirstGuess = 32;
// Set aside to sort in when the region is full: more is hardly faster.
constexpr uint64_t kScratchMax = 256 << 10;

// A record where it lies in an arena.
struct RecordView {
  std::string_view key;
  std::string_view value;
  uint64_t size() const { return kHeader + key.size() + value.size(); }
};

inline RecordView RecordAt(const char* p) {
  const uint32_t key_size = Get32(p);
  const uint32_t value_size = Get32(p + 4);
  return {{p + kHeader, key_size}, {p + kHeader + key_size, value_size}};
}

// For the sorter: positions are offsets in an arena.
struct ArenaKeys {
  const char* arena;
  std::string_view Key(uint64_t position) const {
    return {arena + position + kHeader, Get32(arena + position)};
  }
  const char* Address(uint64_t position) const { return arena + position; }
};

// Memory, one region:
//
//   | records, taken -> | window | free | <- index, 16 bytes per record |
//   begin               |        |      index_
//                       window_.begin   window_.end
//
// A record larger than half the region gets a mapping of its own for a window,
// while the region is empty but for the index to it.
class RecordBufferImpl final : public RecordBuffer {
 public:
  explicit RecordBufferImpl(const MapSideOptions& options)
      : options_(options),
        plan_(PlanMemory(options)),
        placer_(options),
        progress_(options.on_progress),
        runs_(options, plan_, account_, progress_) {}

  absl::Status Init() {
    MR_ASSIGN_OR_RETURN(region_,
                        MappedMemory::Map(account_, plan_.region_bytes));
    window_max_ =
        std::clamp(region_.size() / kWindowShare, kWindowMin, kWindowMax);
    scratch_entries_ =
        std::min(kScratchMax, region_.size() / 64) / sizeof(SortEntry);
    Reset();
    return NewWindow(0);
  }

  absl::Status Advance(char* used_end, size_t need_bytes) override {
    if (!status_.ok()) return status_;
    status_ = TakeRecords(used_end);
    if (status_.ok()) status_ = NewWindow(need_bytes);
    return status_.ok() ? status_ : Fail();
  }

  Window window() const override { return window_; }

  absl::StatusOr<MapSideResult> Finish(char* used_end) override {
    if (!status_.ok()) return status_;
    MapSideResult result;
    status_ = TakeRecords(used_end);
    if (status_.ok()) status_ = WriteOutput(&result);
    if (!status_.ok()) return Fail();
    result.emitted_records = emitted_.records;
    if (options_.folder != nullptr) {
      result.combine_in_records = emitted_.records;
    } else {
      result.combine_out = emitted_;
    }
    result.spills = runs_.spills();
    result.spilled_records = runs_.spilled_records();
    result.peak_memory_bytes = account_.peak();
    if (result.combine_out != result.output.total) {
      return absl::InternalError(
          Av(Cat("the map output has ", result.output.total.records,
                 " records in place of ", result.combine_out.records,
                 ", or their hashes differ")));
    }
    return result;
  }

 private:
  // No more is done after an error: gives back memory and disk now.
  absl::Status Fail() {
    ReleaseMemory();
    runs_.RemoveRuns();
    return status_;
  }

  void ReleaseMemory() {
    large_.Release();
    region_.Release();
    window_ = Window();
  }

  // An empty region, and the next record at its begin.
  void Reset() {
    window_ = {region_.begin(), region_.begin()};
    index_ = IndexEnd();
  }
  SortEntry* IndexEnd() const {
    return reinterpret_cast<SortEntry*>(region_.end()) - scratch_entries_;
  }
  size_t IndexSize() const { return static_cast<size_t>(IndexEnd() - index_); }
  const char* arena() const {
    return large_.size() > 0 ? large_.begin() : region_.begin();
  }

  // Makes index entries for the records in the window. Spills when the index
  // has no room; otherwise window_.begin moves to used_end.
  absl::Status TakeRecords(char* used_end) {
    while (window_.begin < used_end) {
      MR_RETURN_IF_ERROR(IndexRecords(used_end));
      if (window_.begin == used_end) break;
      // No window was that full of small records when the room for it was
      // reckoned. What is left of it moves to the front.
      const size_t rest = static_cast<size_t>(used_end - window_.begin);
      CHECK_GT(IndexSize(), 0u);
      MR_RETURN_IF_ERROR(
          SpillIndexed(large_.size() > 0 ? region_.begin() : used_end));
      index_ = IndexEnd();
      if (large_.size() > 0) continue;
      std::memmove(region_.begin(), window_.begin, rest);
      window_.begin = region_.begin();
      used_end = window_.begin + rest;
    }
    if (large_.size() > 0) {
      if (IndexSize() > 0) MR_RETURN_IF_ERROR(SpillIndexed(region_.begin()));
      large_.Release();
      Reset();
    }
    return absl::OkStatus();
  }

  // Moves window_.begin to `end`, or up to where the index has no more room.
  absl::Status IndexRecords(const char* end) {
    const char* const base = arena();
    const char* p = window_.begin;
    SortEntry* index = index_;
    const auto* lowest = reinterpret_cast<const SortEntry*>(
        large_.size() > 0 ? region_.begin() : end);
    const size_t before = IndexSize();
    RecordSum sum;
    while (p < end && index - 1 >= lowest) {
      CHECK_GE(static_cast<size_t>(end - p), kHeader);
      const RecordView record = RecordAt(p);
      CHECK_GE(static_cast<uint64_t>(end - p), record.size());
      uint32_t partition;
      if (placer_.by_hash()) {
        partition = placer_.PartitionOfHash(Hash64(record.key));
      } else {
        MR_ASSIGN_OR_RETURN(partition, placer_.PartitionOfKey(record.key));
      }
      sum.Add(record.key, record.value);
      *--index = {KeyPrefix(record.key),
                  MakeRef(partition, static_cast<uint64_t>(p - base))};
      p += record.size();
    }
    index_ = index;
    emitted_.Add(sum);
    taken_bytes_ += static_cast<uint64_t>(p - window_.begin);
    taken_records_ += IndexSize() - before;
    progress_.Tick(static_cast<uint64_t>(p - window_.begin));
    window_.begin += p - window_.begin;
    return absl::OkStatus();
  }

  // The largest window, up to `size_max`, that leaves the index room for the
  // records likely to come.
  uint64_t FitWindow(uint64_t size_max) const {
    const uint64_t record_bytes =
        taken_records_ == 0 ? kFirstGuess : taken_bytes_ / taken_records_;
    const uint64_t free = FreeBytes();
    if (free <= sizeof(SortEntry)) return 0;
    return std::min(size_max, (free - sizeof(SortEntry)) /
                                  (record_bytes + sizeof(SortEntry)) *
                                  record_bytes);
  }
  uint64_t FreeBytes() const {
    return static_cast<uint64_t>(reinterpret_cast<char*>(index_) -
                                 window_.begin);
  }

  // Makes a window from window_.begin on, after a spill if there is no room.
  absl::Status NewWindow(uint64_t need) {
    if (need > region_.size() / 2) {
      MR_RETURN_IF_ERROR(Spill());
      MR_ASSIGN_OR_RETURN(large_, MappedMemory::Map(account_, need));
      window_ = {large_.begin(), large_.begin() + need};
      return absl::OkStatus();
    }
    const uint64_t size_max = std::max(need, window_max_);
    uint64_t size = FitWindow(size_max);
    if (size < std::max(need, window_max_ / kLastWindowShare)) {
      MR_RETURN_IF_ERROR(Spill());
      size = FitWindow(size_max);
    }
    window_.end = window_.begin + std::max(need, size);
    return absl::OkStatus();
  }

  // Leaves the region empty.
  absl::Status Spill() {
    if (IndexSize() > 0) MR_RETURN_IF_ERROR(SpillIndexed(window_.begin));
    Reset();
    return absl::OkStatus();
  }

  // Writes the records in the index as a run. The region is free from
  // `free_begin` up to the index.
  absl::Status SpillIndexed(char* free_begin) {
    const std::span<const SortEntry> index = SortIndex(free_begin);
    return runs_.WriteRun(
        [this, index](RecordSink& sink) { return WriteRecords(index, sink); });
  }

  std::span<const SortEntry> SortIndex(char* free_begin) {
    const std::span<SortEntry> index(index_, IndexSize());
    // It grew downwards; the sort is quicker where emit order is ascending.
    std::reverse(index.begin(), index.end());
    // Two places may serve as scratch space: the one set aside, or all that is
    // free.
    std::span<SortEntry> scratch(IndexEnd(), scratch_entries_);
    const uint64_t address = reinterpret_cast<uint64_t>(free_begin);
    char* const aligned =
        free_begin + (alignof(SortEntry) - address % alignof(SortEntry)) %
                         alignof(SortEntry);
    if (aligned < reinterpret_cast<char*>(index_)) {
      auto* const free = reinterpret_cast<SortEntry*>(aligned);
      const size_t entries = static_cast<size_t>(index_ - free);
      if (entries > scratch.size()) scratch = {free, entries};
    }
    IndexSorter sorter(ArenaKeys{arena()},
                       scratch.first(std::min(scratch.size(), kSortScratchMax)),
                       progress_);
    sorter.Sort(index, options_.num_partitions);
    return index;
  }

  absl::Status WriteRecords(std::span<const SortEntry> index,
                            RecordSink& sink) {
    if (options_.folder == nullptr) {
      return ForEachRecord(
          index, [&sink](uint32_t partition, const RecordView& record) {
            return sink.Append(partition, record.key, record.value);
          });
    }
    FoldingSink folding(*options_.folder, sink);
    MR_RETURN_IF_ERROR(ForEachRecord(
        index, [&folding](uint32_t partition, const RecordView& record) {
          return folding.Append(partition, record.key, record.value);
        }));
    return folding.Flush();
  }

  template <typename Visit>
  absl::Status ForEachRecord(std::span<const SortEntry> index,
                             const Visit& visit) {
    // Each record is a cache miss or two; they have to overlap.
    constexpr size_t kAhead = 16;
    constexpr size_t kCacheLine = 64;
    const char* const base = arena();
    for (size_t i = 0; i < index.size(); ++i) {
      if (i + kAhead < index.size()) {
        const char* const next = base + RefPosition(index[i + kAhead].ref);
        __builtin_prefetch(next);
        __builtin_prefetch(next + kCacheLine);
      }
      MR_RETURN_IF_ERROR(visit(RefPartition(index[i].ref),
                               RecordAt(base + RefPosition(index[i].ref))));
    }
    return absl::OkStatus();
  }

  absl::Status WriteOutput(MapSideResult* result) {
    RecordSum* const sum =
        options_.folder == nullptr ? nullptr : &result->combine_out;
    if (runs_.runs() == 0) {
      const std::span<const SortEntry> index = SortIndex(window_.begin);
      MR_ASSIGN_OR_RETURN(result->output,
                          runs_.WriteOutput(sum, [&](RecordSink& sink) {
                            return WriteRecords(index, sink);
                          }));
      ReleaseMemory();
      return absl::OkStatus();
    }
    MR_RETURN_IF_ERROR(Spill());
    ReleaseMemory();
    MR_ASSIGN_OR_RETURN(result->output, runs_.MergeToOutput(sum));
    return absl::OkStatus();
  }

  const MapSideOptions options_;
  const MemoryPlan plan_;
  const KeyPlacer placer_;
  MemoryAccount account_;
  Progress progress_;
  RunMerger runs_;

  MappedMemory region_;
  MappedMemory large_;  // The window, if a large record asked for its own.
  uint64_t window_max_ = 0;
  size_t scratch_entries_ = 0;  // At the end of the region, behind the index.
  Window window_;               // What is before `begin` is in the index.
  SortEntry* index_ = nullptr;  // Its first entry, for the latest record.

  RecordSum emitted_;  // All records ever taken.
  uint64_t taken_bytes_ = 0;
  uint64_t taken_records_ = 0;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RecordBuffer>> RecordBuffer::Create(
    const MapSideOptions& options) {
  MR_RETURN_IF_ERROR(CheckPartitionCount(options));
  auto buffer = std::make_unique<RecordBufferImpl>(options);
  MR_RETURN_IF_ERROR(buffer->Init());
  return buffer;
}

}  // namespace millrace::engine
