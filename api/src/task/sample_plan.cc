#include "api/src/task/sample_plan.h"

#include <algorithm>

namespace millrace::task {
namespace {

void AddRange(uint32_t file, uint64_t offset, uint64_t length,
              proto::Split* split) {
  proto::Range* range = split->add_ranges();
  range->set_file(file);
  range->set_offset(offset);
  range->set_length(length);
}

proto::Split SampleRows(uint64_t rows, uint64_t wanted) {
  proto::Split split;
  const uint64_t step = std::max<uint64_t>(1, rows / wanted);
  for (uint64_t row = 0; row < rows; row += step) AddRange(0, row, 1, &split);
  return split;
}

}  // namespace

proto::Split SampleSplit(const proto::Plan& plan, const SampleShape& shape) {
  if (plan.input_kind() == proto::SEQUENCE) {
    return SampleRows(plan.sequence_rows(), shape.rows);
  }
  uint64_t total = 0;
  for (const proto::PlannedFile& file : plan.files()) total += file.size();
  const uint64_t align =
      plan.input_kind() == proto::FIXED_RECORDS ? plan.record_bytes() : 1;
  const uint64_t step = std::max(total / shape.ranges, shape.range_bytes);
  proto::Split split;
  // Where the next range begins, in the files end to end. The first one is as
  // far from the beginning as the last from the end, so that a file of a single
  // record, however long, is not read for it.
  uint64_t next = (step - shape.range_bytes) / 2;
  uint64_t wanted = 0;  // Of the range under way.
  uint64_t base = 0;    // Where the present file begins.
  for (int i = 0; i < plan.files_size(); ++i) {
    const uint64_t size = plan.files(i).size();
    uint64_t at = 0;  // What is before is taken, or passed.
    while (at < size && (wanted > 0 || next < base + size)) {
      if (wanted == 0) {
        // Small files have their first records taken, too.
        if (size > shape.range_bytes && next > base) {
          at = std::max(at, (next - base) / align * align);
        }
        wanted = shape.range_bytes;
        next += step;
      }
      uint64_t length = std::min(wanted, size - at);
      length = std::max(length / align * align, std::min(align, size - at));
      AddRange(static_cast<uint32_t>(i), at, length, &split);
      at += length;
      wanted -= std::min(wanted, length);
    }
    base += size;
  }
  return split;
}

SampledPlan::SampledPlan(proto::Plan& plan, const SampleShape& shape)
    : plan_(plan) {
  *splits_.Add() = SampleSplit(plan, shape);
  plan_.mutable_splits()->Swap(&splits_);
}

uint64_t SampledPlan::bytes() const {
  if (plan_.input_kind() == proto::SEQUENCE) return 0;
  uint64_t bytes = 0;
  for (const proto::Range& range : plan_.splits(0).ranges()) {
    bytes += range.length();
  }
  return bytes;
}

}  // namespace millrace::task
