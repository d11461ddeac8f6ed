// Merging sorted runs into one sorted stream.
#ifndef MILLRACE_ENGINE_MERGE_MERGE_H_
#define MILLRACE_ENGINE_MERGE_MERGE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/format/map_output_reader.h"

namespace millrace::engine {

// Merges sorted streams with a loser tree whose nodes cache the keys' first
// eight bytes (Knuth, TAOCP vol. 3, 5.4.1). Equal keys come in the order of
// their streams in `inputs`, and within one stream in its order: with streams
// in map order this is the fixed order (map index, emit order) that makes
// output reproducible. An error of an input ends the merge with that status;
// `failed_input()` then tells which.
class MergedStream : public RecordStream {
 public:
  // Index into `inputs` of the stream that failed; -1 while status() is OK.
  virtual int failed_input() const = 0;
};

std::unique_ptr<MergedStream> MergeStreams(
    std::vector<std::unique_ptr<RecordStream>> inputs);

}  // namespace millrace::engine

#endif  // MILLRACE_ENGINE_MERGE_MERGE_H_
