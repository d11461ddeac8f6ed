#include "engine/map/combine_buffer.h"

#include <new>
#include <optional>
#include <span>
#include <utility>

#include "common/hash.h"
#include "common/logging.h"
#include "common/status_macros.h"
#include "common/strings.h"
#include "engine/format/encoding.h"
#include "engine/map/combine_table.h"
#include "engine/map/memory.h"
#include "engine/map/partition.h"
#include "engine/progress.h"
#include "engine/map/run_merger.h"
#include "engine/map/sort.h"

namespace millrace::engine {
namespace {

using IndirectValue = CombineBuffer::IndirectValue;
using ValueKind = CombineBuffer::ValueKind;

// For the sorter: positions are numbers of entries.
struct EntryKeys {
  const CombineEntry* entries;
  std::string_view Key(uint64_t position) const {
    return entries[position].key();
  }
  const char* Address(uint64_t position) const {
    return reinterpret_cast<const char*>(entries + position);
  }
};

class CombineBufferImpl final : public CombineBuffer {
 public:
  CombineBufferImpl(const MapSideOptions& options, ValueKind kind)
      : options_(options),
        kind_(kind),
        plan_(PlanMemory(options)),
        progress_(options.on_progress),
        runs_(options, plan_, account_, progress_) {}

  absl::Status Init() {
    MR_ASSIGN_OR_RETURN(CombineTable table,
                        CombineTable::Create(account_, plan_.region_bytes));
    table_.emplace(std::move(table));
    return absl::OkStatus();
  }

  absl::Status Probe(const Batch& batch, uint64_t** slots,
                     uint32_t* inserted) override {
    if (!status_.ok()) return status_;
    uint64_t hashes[kBatch];
    table_->HashAndPrefetch(batch, hashes);
    emitted_records_ += batch.count;
    if (!table_->HasRoomFor(batch)) {
      status_ = MakeRoom(batch, hashes);
      if (!status_.ok()) return Fail();
    }
    status_ = table_->Insert(batch, hashes, slots, inserted);
    return status_.ok() ? status_ : Fail();
  }

  IndirectValue* AllocateValue(size_t capacity) override {
    char* memory = table_->AllocateValue(sizeof(IndirectValue) + capacity);
    // As operator new does for the containers around it.
    if (memory == nullptr) throw std::bad_alloc();
    auto* value = reinterpret_cast<IndirectValue*>(memory);
    value->size = 0;
    value->capacity = static_cast<uint32_t>(capacity);
    return value;
  }

  absl::StatusOr<MapSideResult> Finish() override {
    if (!status_.ok()) return status_;
    MapSideResult result;
    result.emitted_records = emitted_records_;
    result.combine_in_records = emitted_records_;
    absl::StatusOr<MapOutputSummary> output = WriteOutput(&result.combine_out);
    if (!output.ok()) {
      status_ = output.status();
      return Fail();
    }
    result.output = *std::move(output);
    result.spills = runs_.spills();
    result.spilled_records = runs_.spilled_records();
    result.peak_memory_bytes = account_.peak();
    if (result.combine_out != result.output.total) {
      return absl::InternalError(
          Av(Cat("the combiner's output has ", result.combine_out.records,
                 " records, the map output ", result.output.total.records,
                 ", or their hashes differ")));
    }
    return result;
  }

 private:
  // No more is done after an error: gives back memory and disk now.
  absl::Status Fail() {
    table_.reset();
    runs_.RemoveRuns();
    return status_;
  }

  absl::Status MakeRoom(const Batch& batch, const uint64_t* hashes) {
    if (table_->MakeRoomFor(batch, hashes)) return absl::OkStatus();
    if (table_->size() > 0) MR_RETURN_IF_ERROR(Spill());
    table_->Clear(batch);
    return absl::OkStatus();
  }

  // Leaves the table compacted.
  absl::Status Spill() {
    MR_ASSIGN_OR_RETURN(const std::span<const SortEntry> index, SortEntries());
    return runs_.WriteRun(
        [this, index](RecordSink& sink) { return WriteEntries(index, sink); });
  }

  absl::StatusOr<MapOutputSummary> WriteOutput(RecordSum* sum) {
    if (runs_.runs() == 0) {
      MR_ASSIGN_OR_RETURN(const std::span<const SortEntry> index,
                          SortEntries());
      absl::StatusOr<MapOutputSummary> summary =
          runs_.WriteOutput(sum, [this, index](RecordSink& sink) {
            return WriteEntries(index, sink);
          });
      table_.reset();
      return summary;
    }
    if (table_->size() > 0) MR_RETURN_IF_ERROR(Spill());
    table_.reset();
    return runs_.MergeToOutput(sum);
  }

  // Compacts the table and sorts an index to it, behind the entries.
  absl::StatusOr<std::span<const SortEntry>> SortEntries() {
    table_->Compact();
    const std::span<const CombineEntry> entries = table_->entries();
    const std::span<char> spare = table_->spare();
    const size_t room = spare.size() / sizeof(SortEntry);
    CHECK_LE(entries.size(), room);
    const std::span<SortEntry> all(reinterpret_cast<SortEntry*>(spare.data()),
                                   room);
    const std::span<SortEntry> index = all.first(entries.size());
    const std::span<SortEntry> rest = all.subspan(entries.size());
    const KeyPlacer placer(options_);
    for (size_t i = 0; i < entries.size(); ++i) {
      const CombineEntry& entry = entries[i];
      uint32_t partition;
      if (placer.by_hash()) {
        partition = placer.PartitionOfHash(entry.tag);
      } else {
        MR_ASSIGN_OR_RETURN(partition, placer.PartitionOfKey(entry.key()));
      }
      index[i] = {KeyPrefix({entry.key_bytes, 8}), MakeRef(partition, i)};
      progress_.Tick(8);
    }
    IndexSorter sorter(EntryKeys{entries.data()},
                       rest.first(std::min(rest.size(), kSortScratchMax)),
                       progress_);
    sorter.Sort(index, options_.num_partitions);
    return index;
  }

  absl::Status WriteEntries(std::span<const SortEntry> index,
                            RecordSink& sink) {
    // Entries are far apart and each is seen once: their cache misses, and
    // those of what they point to, have to overlap.
    constexpr size_t kEntriesAhead = 24;
    constexpr size_t kBytesAhead = 12;
    const CombineEntry* entries = table_->entries().data();
    const auto entry_at = [&](size_t i) -> const CombineEntry& {
      return entries[RefPosition(index[i].ref)];
    };
    for (size_t i = 0; i < index.size(); ++i) {
      if (i + kEntriesAhead < index.size()) {
        __builtin_prefetch(&entry_at(i + kEntriesAhead));
      }
      if (i + kBytesAhead < index.size()) {
        const CombineEntry& entry = entry_at(i + kBytesAhead);
        if (entry.key_size() > kInlineKeyBytes) {
          __builtin_prefetch(entry.long_key());
        }
        if (kind_ == ValueKind::kIndirect) {
          __builtin_prefetch(reinterpret_cast<const char*>(entry.value));
        }
      }
      const CombineEntry& entry = entry_at(i);
      MR_RETURN_IF_ERROR(
          sink.Append(RefPartition(index[i].ref), entry.key(), ValueOf(entry)));
    }
    return absl::OkStatus();
  }

  std::string_view ValueOf(const CombineEntry& entry) const {
    if (kind_ == ValueKind::kInline8) {
      return {reinterpret_cast<const char*>(&entry.value), sizeof(entry.value)};
    }
    auto* value = reinterpret_cast<IndirectValue*>(entry.value);
    CHECK(value != nullptr) << "the slot of a new entry was not filled";
    return {value->bytes(), value->size};
  }

  const MapSideOptions options_;
  const ValueKind kind_;
  const MemoryPlan plan_;
  MemoryAccount account_;
  Progress progress_;
  RunMerger runs_;
  std::optional<CombineTable> table_;  // Until Finish() or an error.
  uint64_t emitted_records_ = 0;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CombineBuffer>> CombineBuffer::Create(
    const MapSideOptions& options, ValueKind kind) {
  CHECK(options.folder != nullptr);
  MR_RETURN_IF_ERROR(CheckPartitionCount(options));
  auto buffer = std::make_unique<CombineBufferImpl>(options, kind);
  MR_RETURN_IF_ERROR(buffer->Init());
  return buffer;
}

}  // namespace millrace::engine
