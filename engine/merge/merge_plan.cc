#include "engine/merge/merge_plan.h"

#include <algorithm>
#include <limits>

#include "common/logging.h"

namespace millrace::engine {

std::optional<MergeStep> NextMergeStep(const std::vector<RunCost>& runs,
                                       const MergeLimits& limits) {
  CHECK_GE(limits.fan_in_max, 2u);
  const size_t n = runs.size();
  uint64_t total_memory = 0;
  for (const RunCost& run : runs) total_memory += run.memory_bytes;
  const auto can_be_last = [&limits](size_t count, uint64_t memory) {
    return count <= 2 ||
           (count <= limits.fan_in_max && memory <= limits.last_memory_bytes);
  };
  if (can_be_last(n, total_memory)) return std::nullopt;

  std::optional<MergeStep> finishing;  // After which one merge remains.
  uint64_t finishing_bytes = 0;
  MergeStep widest;
  double widest_cost = std::numeric_limits<double>::infinity();
  for (size_t begin = 0; begin + 1 < n; ++begin) {
    uint64_t memory = runs[begin].memory_bytes;
    uint64_t merged_memory = runs[begin].merged_memory_bytes;
    uint64_t bytes = runs[begin].bytes;
    size_t end = begin + 1;
    // Widened run by run while it may be, or until it suffices.
    while (end < n && end - begin < limits.fan_in_max) {
      const uint64_t wider = memory + runs[end].memory_bytes;
      if (end - begin >= 2 && wider > limits.pass_memory_bytes) break;
      memory = wider;
      merged_memory = std::max(merged_memory, runs[end].merged_memory_bytes);
      bytes += runs[end].bytes;
      ++end;
      if (can_be_last(n - (end - begin) + 1,
                      total_memory - memory + merged_memory)) {
        if (!finishing.has_value() || bytes < finishing_bytes) {
          finishing = MergeStep{begin, end};
          finishing_bytes = bytes;
        }
        break;
      }
    }
    const double cost =
        static_cast<double>(bytes) / static_cast<double>(end - begin - 1);
    if (cost < widest_cost) {
      widest = MergeStep{begin, end};
      widest_cost = cost;
    }
  }
  return finishing.has_value() ? finishing : widest;
}

}  // namespace millrace::engine
