// Which runs to merge first when there are too many to merge at once.
#ifndef MILLRACE_ENGINE_MERGE_MERGE_PLAN_H_
#define MILLRACE_ENGINE_MERGE_MERGE_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace millrace::engine {

// What one run costs a merge.
struct RunCost {
  uint64_t memory_bytes = 0;  // While it is read.
  // What a run that is merged from it needs at the least: its blocks become
  // those of the writer, but a large record stays as large as it is.
  uint64_t merged_memory_bytes = 0;
  uint64_t bytes = 0;  // To read, and to write when it is merged.
};

struct MergeLimits {
  // For the runs of the last merge, and for those of one before it, which
  // shares the memory with a writer.
  uint64_t last_memory_bytes = 0;
  uint64_t pass_memory_bytes = 0;
  uint32_t fan_in_max = 2;  // 2 at the least.
};

// Runs [begin, end) to be merged into one.
struct MergeStep {
  size_t begin = 0;
  size_t end = 0;
  friend bool operator==(const MergeStep&, const MergeStep&) = default;
};

// The next pass, absent if all runs can be merged at once. Runs are merged with
// their neighbours only, so that their order, and with it that of equal keys,
// stays. Two can always be merged, whatever the limits say.
//
// Takes the cheapest window after which no further pass is needed; while there
// is none, the window with the fewest bytes per run that it saves.
// Deterministic.
std::optional<MergeStep> NextMergeStep(const std::vector<RunCost>& runs,
                                       const MergeLimits& limits);

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MERGE_MERGE_PLAN_H_
