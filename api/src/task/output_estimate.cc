#include "api/src/task/output_estimate.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "api/src/task/sample_plan.h"
#include "common/strings.h"

namespace millrace::task {
namespace {

constexpr uint64_t kInputShare = 1024;
constexpr uint64_t kSampleBytesMin = 64 << 10;
constexpr uint64_t kSampleBytesMax = 1 << 20;
constexpr uint64_t kRanges = 16;
// An estimate is a number of bytes that a disk could hold.
constexpr double kEstimateMax = 9e18;

SampleShape ShapeFor(const proto::Plan& plan) {
  return {.ranges = kRanges,
          .range_bytes = std::clamp(plan.input_bytes() / kInputShare,
                                    kSampleBytesMin, kSampleBytesMax) /
                         kRanges};
}

// Each second range of the sample.
proto::Split HalfOf(const proto::Split& split) {
  proto::Split half;
  for (int i = 0; i < split.ranges_size(); i += 2) {
    *half.add_ranges() = split.ranges(i);
  }
  return half;
}

std::optional<SampledOutput> MapSample(TaskEnvironment& env,
                                       const proto::RunTask& run,
                                       const proto::Plan& sample) {
  const proto::PlanTask& task = run.plan();
  proto::RunTask map;
  map.set_kind(proto::MAP_TASK);
  map.set_attempt_uid(run.attempt_uid());
  map.set_attempt(run.attempt());
  map.mutable_map()->set_num_partitions(1);
  map.mutable_map()->set_scratch_dir(Cat(task.plan_path(), ".sample-runs"));
  map.mutable_map()->set_output_path(Cat(task.plan_path(), ".sample"));
  const AttemptOutcome outcome =
      RunMapOf(env, sample, map, engine::Codec::kNone);
  env.fs().RemoveTree(map.map().output_path()).IgnoreError();
  env.fs().RemoveTree(map.map().scratch_dir()).IgnoreError();
  const auto* done = std::get_if<proto::TaskDone>(&outcome);
  const uint64_t read = env.page().input_bytes.load(std::memory_order_relaxed);
  ClearPosition(env.page());
  if (done == nullptr || read == 0) return std::nullopt;
  return SampledOutput{read, done->map_output_bytes()};
}

}  // namespace

uint64_t Extrapolate(const SampledOutput& half, const SampledOutput& all,
                     uint64_t input_bytes, uint64_t maps) {
  if (all.output_bytes == 0 || all.input_bytes == 0 || maps == 0) return 0;
  double exponent = 1;
  if (half.output_bytes > 0 && half.input_bytes < all.input_bytes) {
    exponent = std::log(static_cast<double>(all.output_bytes) /
                        static_cast<double>(half.output_bytes)) /
               std::log(static_cast<double>(all.input_bytes) /
                        static_cast<double>(half.input_bytes));
    exponent = std::clamp(exponent, 0.0, 1.0);
  }
  const double split =
      static_cast<double>(input_bytes) / static_cast<double>(maps);
  const double estimate =
      static_cast<double>(maps) * static_cast<double>(all.output_bytes) *
      std::pow(split / static_cast<double>(all.input_bytes), exponent);
  return static_cast<uint64_t>(std::min(estimate, kEstimateMax));
}

std::optional<uint64_t> EstimateMapOutput(TaskEnvironment& env,
                                          const proto::RunTask& run,
                                          const proto::Plan& plan) {
  // Few of such records would be many bytes, or no sample.
  if (plan.record_bytes() > kSampleBytesMax / kRanges) return std::nullopt;
  proto::Plan sample = SamplePlan(plan, ShapeFor(plan));
  const std::optional<SampledOutput> all = MapSample(env, run, sample);
  if (!all.has_value()) return std::nullopt;
  SampledOutput half;
  if (env.job().make_folder != nullptr) {
    *sample.mutable_splits(0) = HalfOf(sample.splits(0));
    const std::optional<SampledOutput> seen = MapSample(env, run, sample);
    if (!seen.has_value()) return std::nullopt;
    half = *seen;
  }
  return Extrapolate(half, *all, plan.input_bytes(),
                     static_cast<uint64_t>(plan.splits_size()));
}

}  // namespace millrace::task
