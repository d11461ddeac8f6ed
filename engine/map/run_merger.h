// The files of one map attempt: its spill runs, and the merge that turns them
// into the map output.
#ifndef MILLRACE_ENGINE_MAP_RUN_MERGER_H_
#define MILLRACE_ENGINE_MAP_RUN_MERGER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/format/ledger.h"
#include "engine/format/map_output.h"
#include "engine/format/map_output_reader.h"
#include "engine/format/map_output_writer.h"
#include "engine/map/map_side.h"
#include "engine/map/memory.h"
#include "engine/progress.h"
#include "engine/merge/merge_plan.h"

namespace millrace::engine {

// A file being written, seen by those who have records for it.
// Thread-compatible.
class RecordSink {
 public:
  // `sum` may be null; otherwise it is given every record, too.
  RecordSink(MapOutputWriter& writer, RecordSum* sum, Progress& progress)
      : writer_(writer), sum_(sum), progress_(progress) {}

  // As MapOutputWriter::Append.
  absl::Status Append(uint32_t partition, std::string_view key,
                      std::string_view value) {
    progress_.Tick(Progress::kRecordCost + key.size() + value.size());
    if (sum_ != nullptr) sum_->Add(key, value);
    return writer_.Append(partition, key, value);
  }

 private:
  MapOutputWriter& writer_;
  RecordSum* const sum_;
  Progress& progress_;
};

// Folds the values of equal keys that follow one another on their way into a
// sink. Keys and values are copied, since streams do not keep theirs. A value
// that stays alone passes unchanged: a combiner may run zero times.
class FoldingSink {
 public:
  FoldingSink(ValueFolder& folder, RecordSink& sink)
      : folder_(folder), sink_(sink) {}

  absl::Status Append(uint32_t partition, std::string_view key,
                      std::string_view value);
  // To be called at the end of each partition.
  absl::Status Flush();

 private:
  ValueFolder& folder_;
  RecordSink& sink_;
  bool pending_ = false;  // Is there a record in the next three?
  uint32_t partition_ = 0;
  std::string key_;
  std::string value_;
  bool folding_ = false;  // Has the folder taken value_?
};

// Writes runs, merges them, and removes them: none is left when the object is
// gone, whatever happened. Thread-compatible.
class RunMerger {
 public:
  using Fill = absl::FunctionRef<absl::Status(RecordSink&)>;

  // `account` and `progress` outlive the merger.
  RunMerger(const MapSideOptions& options, const MemoryPlan& plan,
            MemoryAccount& account, Progress& progress);
  RunMerger(const RunMerger&) = delete;
  RunMerger& operator=(const RunMerger&) = delete;
  ~RunMerger() { RemoveRuns(); }

  // Writes one spill run with what `fill` appends, in order.
  absl::Status WriteRun(Fill fill);

  // Writes the map output with what `fill` appends, in order. `sum` may be
  // null. After an error there is no output file.
  absl::StatusOr<MapOutputSummary> WriteOutput(RecordSum* sum, Fill fill);

  // Merges all runs into the map output; equal keys come in order of the runs,
  // and are folded if the options have a folder. Merges some of them first when
  // the budget has no room for all. REQUIRES: the caller has given back its own
  // memory. After an error there is no output file.
  absl::StatusOr<MapOutputSummary> MergeToOutput(RecordSum* sum);

  void RemoveRuns();

  size_t runs() const { return runs_.size(); }
  uint64_t spills() const { return spills_; }
  // Written to runs, those of merge passes included.
  uint64_t spilled_records() const { return spilled_records_; }

 private:
  struct Run {
    std::string path;
    MapOutputIdentity identity;
    Hash128Value root;
    // To merge it: its index and the blocks a reader holds.
    RunCost cost;
    uint64_t largest_record_bytes = 0;  // If larger than a block, else 0.
  };

  MapOutputWriterOptions WriterOptions(uint32_t run) const;
  // Creates the file, lets `fill` do its part, and finishes it. The file is
  // gone after an error, or after an exception out of `fill`.
  absl::StatusOr<MapOutputSummary> WriteFile(
      const std::string& path, const MapOutputWriterOptions& writer_options,
      RecordSum* sum, Fill fill);
  absl::StatusOr<Run> WriteRunFile(Fill fill);
  void Remove(const Run& run);
  // Appends the records of the runs [begin, end), merged.
  absl::Status MergeRuns(size_t begin, size_t end, RecordSink& sink);
  absl::Status MergePartition(
      const std::vector<std::shared_ptr<const MapOutputFile>>& files,
      uint32_t partition, size_t read_bytes, RecordSink& sink);
  std::optional<MergeStep> NextStep() const;
  // What the writer leaves of the budget.
  uint64_t MergeMemoryBytes() const {
    return plan_.total_bytes - std::min(plan_.total_bytes, plan_.writer_bytes);
  }

  const MapSideOptions options_;
  const MemoryPlan plan_;
  MemoryAccount& account_;
  Progress& progress_;
  std::vector<Run> runs_;  // In the order in which their records were emitted.
  uint32_t last_run_ = 0;
  uint64_t spills_ = 0;
  uint64_t spilled_records_ = 0;
};

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MAP_RUN_MERGER_H_
