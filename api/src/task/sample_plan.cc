#include "api/src/task/sample_plan.h"

#include <algorithm>

namespace millrace::task {

proto::Plan SamplePlan(const proto::Plan& plan, const SampleShape& shape) {
  proto::Plan sample = plan;
  sample.clear_splits();
  proto::Split* split = sample.add_splits();
  if (plan.input_kind() == proto::SEQUENCE) {
    const uint64_t rows = plan.sequence_rows();
    const uint64_t step = std::max<uint64_t>(1, rows / shape.rows);
    for (uint64_t row = 0; row < rows; row += step) {
      proto::Range* range = split->add_ranges();
      range->set_offset(row);
      range->set_length(1);
    }
    return sample;
  }
  uint64_t total = 0;
  for (const proto::PlannedFile& file : plan.files()) total += file.size();
  const uint64_t align =
      plan.input_kind() == proto::FIXED_RECORDS ? plan.record_bytes() : 1;
  const uint64_t step = std::max(total / shape.ranges, shape.range_bytes);
  // Where the next range begins, in the files end to end. The first one is as
  // far from the beginning as the last from the end, so that a file of a single
  // record, however long, is not read for it.
  uint64_t next = (step - shape.range_bytes) / 2;
  uint64_t base = 0;  // Where the present file begins.
  for (int i = 0; i < plan.files_size(); ++i) {
    const uint64_t size = plan.files(i).size();
    while (next < base + size) {
      const uint64_t offset = (next - base) / align * align;
      uint64_t length = std::min(shape.range_bytes, size - offset);
      length = std::max(length / align * align, std::min(align, size - offset));
      proto::Range* range = split->add_ranges();
      range->set_file(static_cast<uint32_t>(i));
      range->set_offset(offset);
      range->set_length(length);
      next += step;
    }
    base += size;
  }
  return sample;
}

}  // namespace millrace::task
