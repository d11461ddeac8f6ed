// A small part of a planned input that stands for all of it.
#ifndef MILLRACE_API_SRC_TASK_SAMPLE_PLAN_H_
#define MILLRACE_API_SRC_TASK_SAMPLE_PLAN_H_

#include <cstdint>

#include "google/protobuf/repeated_ptr_field.h"
#include "proto/messages/plan.pb.h"

namespace millrace::task {

// How much of an input a sample takes.
struct SampleShape {
  uint64_t ranges = 0;       // Of the files, end to end.
  uint64_t range_bytes = 0;  // Of each; it may go on in the next files.
  uint64_t rows = 0;         // Of a sequence of numbers.
};

// A split of the plan's files: ranges spread evenly over all bytes or rows, the
// same for the same listing. Cuts fall anywhere but for fixed records; the
// reader of the split moves them to record bounds, and finishes the last record
// of each. An input with less is taken whole.
// REQUIRES: ranges and range_bytes, of a sequence rows, are not 0.
proto::Split SampleSplit(const proto::Plan& plan, const SampleShape& shape);

// While it lives, the plan has a single split, the sample: without a copy, for
// a plan may have a hundred thousand files.
class SampledPlan {
 public:
  SampledPlan(proto::Plan& plan, const SampleShape& shape);
  ~SampledPlan() { plan_.mutable_splits()->Swap(&splits_); }
  SampledPlan(const SampledPlan&) = delete;
  SampledPlan& operator=(const SampledPlan&) = delete;

  const proto::Plan& plan() const { return plan_; }
  // Of the sample's ranges together; 0 for a sequence.
  uint64_t bytes() const;

 private:
  proto::Plan& plan_;
  google::protobuf::RepeatedPtrField<proto::Split> splits_;
};

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_SAMPLE_PLAN_H_
