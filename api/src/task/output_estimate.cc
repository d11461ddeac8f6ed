#include "api/src/task/output_estimate.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "api/src/task/sample_plan.h"
#include "common/strings.h"

namespace millrace::task {
namespace {

constexpr uint64_t kInputShare = 1024;
constexpr uint64_t kSampleBytesMin = 64 << 10;
constexpr uint64_t kSampleBytesMax = 256 << 10;
constexpr uint64_t kRanges = 16;
// Of the engine's buffer: the job's own would have a say in the layout.
constexpr uint64_t kBufferBytes = 8 << 20;
// Above it a mapper without a combiner is taken to emit as it reads.
constexpr double kAboutInProportion = 0.75;
// A logarithm's last bits are not the same everywhere.
constexpr double kExponentSteps = 64;
// An estimate is a number of bytes that a disk could hold.
constexpr double kEstimateMax = 9e18;

// Maps a sample. `*seen` stays as it is where it has too little in it.
std::optional<proto::TaskFailed> MapSample(TaskEnvironment& env,
                                           const proto::RunTask& run,
                                           const SampleShape& shape,
                                           proto::Plan& plan,
                                           std::optional<SampledOutput>* seen) {
  const uint32_t partitions = plan.num_partitions();
  const SampledPlan sample(plan, shape);
  const proto::PlanTask& task = run.plan();
  proto::RunTask map;
  map.set_kind(proto::MAP_TASK);
  map.set_attempt_uid(run.attempt_uid());
  map.set_attempt(run.attempt());
  map.mutable_map()->set_num_partitions(1);
  map.mutable_map()->set_scratch_dir(Cat(task.plan_path(), ".sample-runs"));
  map.mutable_map()->set_output_path(Cat(task.plan_path(), ".sample"));
  AttemptOutcome outcome = RunMapOf(env, sample.plan(), map,
                                    {.codec = engine::Codec::kNone,
                                     .buffer_bytes = kBufferBytes,
                                     .partitions_told = partitions});
  env.fs().RemoveTree(map.map().output_path()).IgnoreError();
  env.fs().RemoveTree(map.map().scratch_dir()).IgnoreError();
  if (auto* failed = std::get_if<proto::TaskFailed>(&outcome)) {
    failed->set_message(
        Cat("in the sample that the number of reduces is chosen by (none is "
            "taken with --reducers): ",
            failed->message()));
    failed->set_retryable(true);  // Without a sample.
    return std::move(*failed);
  }
  const uint64_t read = env.page().input_bytes.load(std::memory_order_relaxed);
  ClearPosition(env.page());
  if (read > 0 && read >= sample.bytes() / 2) {
    *seen = {read, std::get<proto::TaskDone>(outcome).map_output_bytes()};
  }
  return std::nullopt;
}

}  // namespace

uint64_t Extrapolate(const SampledOutput& half, const SampledOutput& all,
                     bool combines, uint64_t input_bytes, uint64_t maps) {
  if (all.output_bytes == 0 || all.input_bytes == 0 || maps == 0) return 0;
  double exponent = 1;
  if (half.output_bytes > 0 && half.input_bytes < all.input_bytes) {
    exponent = std::log(static_cast<double>(all.output_bytes) /
                        static_cast<double>(half.output_bytes)) /
               std::log(static_cast<double>(all.input_bytes) /
                        static_cast<double>(half.input_bytes));
    exponent = std::clamp(exponent, 0.0, 1.0);
    exponent = std::round(exponent * kExponentSteps) / kExponentSteps;
    if (!combines && exponent >= kAboutInProportion) exponent = 1;
  }
  const double split =
      static_cast<double>(input_bytes) / static_cast<double>(maps);
  const double estimate =
      static_cast<double>(maps) * static_cast<double>(all.output_bytes) *
      std::pow(split / static_cast<double>(all.input_bytes), exponent);
  return static_cast<uint64_t>(std::min(estimate, kEstimateMax));
}

std::optional<proto::TaskFailed> EstimateMapOutput(
    TaskEnvironment& env, const proto::RunTask& run, proto::Plan& plan,
    std::optional<uint64_t>* estimate) {
  // Few of such records would be many bytes.
  if (plan.record_bytes() > kSampleBytesMax / kRanges) return std::nullopt;
  SampleShape shape = {
      .ranges = kRanges / 2,
      .range_bytes = std::clamp(plan.input_bytes() / kInputShare,
                                kSampleBytesMin, kSampleBytesMax) /
                     kRanges};
  std::optional<SampledOutput> half;
  std::optional<SampledOutput> all;
  if (auto failed = MapSample(env, run, shape, plan, &half)) return failed;
  shape.ranges = kRanges;
  if (auto failed = MapSample(env, run, shape, plan, &all)) return failed;
  if (half.has_value() && all.has_value()) {
    *estimate = Extrapolate(*half, *all, env.job().make_folder != nullptr,
                            plan.input_bytes(),
                            static_cast<uint64_t>(plan.splits_size()));
  }
  return std::nullopt;
}

}  // namespace millrace::task
