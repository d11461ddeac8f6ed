// A job with its types erased: what Main() and task mode work with. Made by the
// job builder (millrace/job.h). Not for job authors.
#ifndef MILLRACE_INTERNAL_JOB_DEFINITION_H_
#define MILLRACE_INTERNAL_JOB_DEFINITION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "millrace/context.h"
#include "millrace/internal/ports.h"
#include "millrace/partitioner.h"

namespace millrace::internal {

enum class InputKind { kTextLine, kFixedRecord, kSequence };
enum class OutputKind { kText, kFixedRecord };

// Where a map task's emissions go: exactly one is set.
struct MapPorts {
  CombinePort* combine = nullptr;
  RecordPort* records = nullptr;
  OutputPort* output = nullptr;  // Map-only job.
};

// The typed map side of one attempt. Calls come in this order, on one thread:
// Setup, Map..., Cleanup. User exceptions leave all of them.
class MapTask {
 public:
  virtual ~MapTask() = default;
  virtual void Setup(Context& context, const MapPorts& ports) = 0;
  // Records of one file; marks each in `slots` before user code sees it.
  // `ordinal` counts the records of the task before this batch.
  virtual void Map(const RawRecord* records, size_t count, uint64_t ordinal,
                   const PositionSlots& slots) = 0;
  // Calls the user's Cleanup, then hands on what is still batched.
  virtual void Cleanup() = 0;
  // Hands on what is still batched; used before a phase of waiting. Idempotent.
  virtual void Flush() = 0;
};

// The typed reduce side of one attempt.
class ReduceTask {
 public:
  virtual ~ReduceTask() = default;
  virtual void Setup(Context& context, OutputPort* output) = 0;
  // Reduces all groups; marks the group's ordinal in `slots` (offset stays -1)
  // and counts progress per value, in steps.
  virtual void Reduce(GroupPort& groups, const PositionSlots& slots,
                      const std::function<void(std::string_view)>& on_group) = 0;
  virtual void Cleanup() = 0;
};

struct StageTypes {
  std::string input;   // "TextLine", "FixedRecord<100>", ...
  std::string key;     // Intermediate.
  std::string value;
  std::string output_key;
  std::string output_value;
};

struct JobDefinition {
  std::string name;
  StageTypes types;

  InputKind input = InputKind::kTextLine;
  uint32_t input_record_bytes = 0;
  OutputKind output = OutputKind::kText;
  uint32_t output_record_bytes = 0;

  std::function<std::unique_ptr<MapTask>()> make_map;
  std::function<std::unique_ptr<ReduceTask>()> make_reduce;      // Null: map-only.
  std::function<std::unique_ptr<EncodedFolder>()> make_folder;   // Null: none.
  bool combine_exact = false;    // The combiner declares kExact.
  bool combine_inline8 = false;  // Its encoded value is always 8 bytes.

  // Null: the built-in hash partitioner.
  std::function<std::unique_ptr<Partitioner>()> make_partitioner;
  bool total_order = false;  // Range partitioner with split keys by sampling.
  // Length of the part of an encoded key that partitions and groups are made by.
  size_t (*group_prefix)(std::string_view key) = nullptr;

  // Program arguments (those behind "--"): a usage line such as "PATTERN", and
  // a check that runs before anything else does. Both may be empty.
  std::string arguments_usage;
  std::function<absl::Status(const std::vector<std::string>&)> check_arguments;
  // Fixed number of reduce tasks asked for by the job; 0: none. The flag wins.
  uint32_t default_reducers = 0;
};

}  // namespace millrace::internal

#endif  // MILLRACE_INTERNAL_JOB_DEFINITION_H_
