#include "storage/plan/sizing.h"

#include <algorithm>

#include "common/counted.h"
#include "common/strings.h"

namespace millrace::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kSplitShare = 8;
constexpr uint64_t kSplitBytesMin = 4 * kMiB;
constexpr uint64_t kSplitBytesMax = 128 * kMiB;
constexpr uint64_t kReducerBytes = 128 * kMiB;
constexpr uint64_t kOneReducerBytes = 16 * kMiB;
constexpr uint64_t kReducersMax = 1024;
constexpr uint32_t kReducersToShare = 8;

uint64_t DividedUp(uint64_t bytes, uint64_t by) {
  return bytes / by + (bytes % by != 0);
}

// To the nearest: what is added to records on their way is no reason for one
// more than the input has.
uint64_t SharesOf(uint64_t map_output_bytes) {
  return map_output_bytes / kReducerBytes +
         (map_output_bytes % kReducerBytes) / (kReducerBytes / 2);
}

}  // namespace

uint64_t ChooseSplitBytes(uint64_t input_bytes) {
  return std::clamp(input_bytes / kSplitShare, kSplitBytesMin, kSplitBytesMax);
}

uint32_t ChooseReducers(uint64_t input_bytes) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(
      DividedUp(input_bytes, kReducerBytes),
      input_bytes > kOneReducerBytes ? 2 : 1, kReducersMax));
}

uint32_t ChooseReducersFor(uint64_t input_bytes, uint64_t map_output_bytes) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(
      SharesOf(map_output_bytes),
      std::min(ChooseReducers(input_bytes), kReducersToShare), kReducersMax));
}

std::string WhyMaps(const Sizing& sizing) {
  const std::string maps = Counted(sizing.maps, "map");
  if (sizing.input_bytes == 0) {
    if (sizing.maps == 0) return Cat(maps, ": there is no input");
    return sizing.splits_asked != 0
               ? Cat(maps, ": --splits asks for it")
               : Cat(maps, ": one per million rows (--splits)");
  }
  const std::string of =
      Cat(maps, " of ",
          HumanBytes(sizing.input_bytes / std::max<uint64_t>(sizing.maps, 1)));
  if (sizing.split_bytes_asked != 0) {
    return Cat(of, ": --split-bytes asks for ",
               HumanBytes(sizing.split_bytes_asked));
  }
  const uint64_t eighth = sizing.input_bytes / kSplitShare;
  return Cat(of, ": ",
             eighth > kSplitBytesMax   ? "as large as they get by themselves"
             : eighth < kSplitBytesMin ? "as small as they get by themselves"
                                       : "an eighth of the input",
             " (--split-bytes)");
}

std::string WhyReduces(const Sizing& sizing) {
  if (sizing.reduces == 0) return "";
  const std::string reduces = Counted(sizing.reduces, "reduce");
  if (sizing.reducers_asked != 0) {
    return Cat(reduces, ": --reducers asks for it");
  }
  if (sizing.reducers_of_job != 0) {
    return Cat(reduces, ": the program asks for it (--reducers)");
  }
  if (sizing.reduces == 1) {
    return Cat(reduces, ": little input (--reducers)");
  }
  if (sizing.reduces >= kReducersMax) {
    return Cat(reduces, ": as many as it gets by itself (--reducers)");
  }
  if (sizing.map_output_estimate.has_value()) {
    const std::string output = Cat(HumanBytes(*sizing.map_output_estimate),
                                   " of map output by a sample");
    return SharesOf(*sizing.map_output_estimate) < sizing.reduces
               ? Cat(reduces, ": enough to share the work, ", output,
                     " (--reducers)")
               : Cat(reduces, ": ", output, ", one per ",
                     HumanBytes(kReducerBytes), " (--reducers)");
  }
  if (sizing.reduces == 2) {
    return Cat(reduces, ": enough input to share (--reducers)");
  }
  return Cat(reduces, ": one per ", HumanBytes(kReducerBytes),
             " of input (--reducers)");
}

}  // namespace millrace::storage
