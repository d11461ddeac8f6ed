// A small part of a planned input that stands for all of it.
#ifndef MILLRACE_API_SRC_TASK_SAMPLE_PLAN_H_
#define MILLRACE_API_SRC_TASK_SAMPLE_PLAN_H_

#include <cstdint>

#include "proto/messages/plan.pb.h"

namespace millrace::task {

// How much of an input a sample takes, at most.
struct SampleShape {
  uint64_t ranges = 0;       // Of the files, end to end.
  uint64_t range_bytes = 0;  // Of each; one that ends with its file is shorter.
  uint64_t rows = 0;         // Of a sequence of numbers.
};

// The plan with a single split, the sample: ranges spread evenly over all bytes
// or rows, the same for the same listing. Cuts fall anywhere but for fixed
// records; the reader of the split moves them to record bounds.
proto::Plan SamplePlan(const proto::Plan& plan, const SampleShape& shape);

}  // namespace millrace::task

#endif  // MILLRACE_API_SRC_TASK_SAMPLE_PLAN_H_
