// From input patterns to the plan of a job (proto/messages/plan.proto).
#ifndef MILLRACE_STORAGE_PLAN_PLANNER_H_
#define MILLRACE_STORAGE_PLAN_PLANNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/file_system.h"
#include "proto/messages/plan.pb.h"

namespace millrace::storage {

struct PlanRequest {
  proto::InputKind input_kind = proto::TEXT_LINES;
  uint32_t record_bytes = 0;  // FIXED_RECORDS only.
  // Files, globs (`*`, `?`, `[]`, `**`) and directories (all below them).
  std::vector<std::string> inputs;
  uint64_t sequence_rows = 0;    // SEQUENCE only.
  uint32_t sequence_splits = 0;  // 0: chosen from the rows.
  uint64_t split_bytes = 0;      // 0: chosen from the input's size.
  // 0: chosen from the input's size. Not used for map-only jobs.
  uint32_t num_reducers = 0;
  bool map_only = false;
};

// Lists the inputs and cuts them into splits by bytes over all files: small
// files share a split, large ones are cut (readers move the cut to the next
// record bound, so any byte will do; fixed-length records are cut at record
// bounds here). The result is a pure function of the request and the listing,
// and does not depend on the order in which the file system lists names. Does
// not set split_keys.
//
// A pattern that names a file twice (or two patterns that do) counts it once.
// Each error names the pattern or the file and says what to try:
//   kNotFound          a pattern matches nothing at all
//   kPermissionDenied  a directory cannot be listed, or a file not read
//   kInvalidArgument   a file is no regular file, or its size is no multiple of
//                      record_bytes; no input given
absl::StatusOr<proto::Plan> MakePlan(FileSystem& fs,
                                     const PlanRequest& request);

// The plan's bytes (what is written and hashed): equal plans, equal bytes.
std::string SerializePlan(const proto::Plan& plan);
// kDataLoss: the bytes are no plan, or one whose indexes and ranges do not fit
// together.
absl::StatusOr<proto::Plan> ParsePlan(std::string_view bytes);

}  // namespace millrace::storage

#endif  // MILLRACE_STORAGE_PLAN_PLANNER_H_
