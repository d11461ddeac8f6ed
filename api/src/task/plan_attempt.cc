// The planning task: lists the inputs, samples them where the number of reduces
// or the partitioner asks for it, writes the plan.
#include <algorithm>
#include <optional>

#include "api/src/task/attempt.h"
#include "api/src/task/output_estimate.h"
#include "api/src/task/partitioning.h"
#include "api/src/task/sampler.h"
#include "common/hash.h"
#include "storage/plan/planner.h"
#include "storage/plan/sizing.h"

namespace millrace::task {
namespace {

proto::InputKind KindOf(internal::InputKind kind) {
  switch (kind) {
    case internal::InputKind::kTextLine:
      return proto::TEXT_LINES;
    case internal::InputKind::kFixedRecord:
      return proto::FIXED_RECORDS;
    case internal::InputKind::kSequence:
      return proto::SEQUENCE;
  }
  return proto::INPUT_KIND_UNSPECIFIED;
}

}  // namespace

AttemptOutcome RunPlanAttempt(TaskEnvironment& env, const proto::RunTask& run) {
  env.page().phase.store(supervisor::TaskPhase::kPlan,
                         std::memory_order_relaxed);
  const proto::PlanTask& task = run.plan();
  const internal::JobDefinition& job = env.job();

  storage::PlanRequest request;
  request.input_kind = KindOf(job.input);
  request.record_bytes = job.input_record_bytes;
  request.inputs.assign(task.inputs().begin(), task.inputs().end());
  request.sequence_rows = task.sequence_rows();
  request.sequence_splits = task.sequence_splits();
  request.split_bytes = task.split_bytes();
  request.num_reducers =
      task.num_reducers() != 0 ? task.num_reducers() : job.default_reducers;
  request.map_only = job.make_reduce == nullptr;
  absl::StatusOr<proto::Plan> plan = storage::MakePlan(env.fs(), request);
  if (!plan.ok()) return InputFailure(plan.status());

  proto::TaskDone done;
  if (task.sample_map_output() && request.num_reducers == 0 &&
      !request.map_only && plan->input_bytes() >= kEstimatedInputBytesMin) {
    std::optional<uint64_t> estimate;
    if (auto failed = EstimateMapOutput(env, run, *plan, &estimate)) {
      return *failed;
    }
    env.page().phase.store(supervisor::TaskPhase::kPlan,
                           std::memory_order_relaxed);
    if (estimate.has_value()) {
      plan->set_num_partitions(
          storage::ChooseReducersFor(plan->input_bytes(), *estimate));
      done.set_map_output_estimate(*estimate);
    }
  }
  if (job.total_order && plan->num_partitions() > 1) {
    if (auto failed = SampleSplitKeys(env, run, *plan)) return *failed;
  }

  const std::string bytes = storage::SerializePlan(*plan);
  // Not synced: a local run that loses its power starts anew.
  absl::StatusOr<std::unique_ptr<WriteFile>> file =
      env.fs().Create(task.plan_path());
  if (!file.ok()) return EngineFailure(file.status());
  if (absl::Status status = (*file)->Append(bytes); !status.ok()) {
    return EngineFailure(status);
  }
  if (absl::Status status = (*file)->Close(); !status.ok()) {
    return EngineFailure(status);
  }

  done.set_num_maps(static_cast<uint32_t>(plan->splits_size()));
  done.set_num_partitions(plan->num_partitions());
  done.set_plan_hash(RootBytes(Hash128(bytes)));
  done.set_input_bytes(plan->input_bytes());
  done.set_input_files(static_cast<uint64_t>(plan->files_size()));
  done.set_hidden_skipped(plan->hidden_skipped());
  done.set_symlinks_skipped(plan->symlinks_skipped());
  return done;
}

}  // namespace millrace::task
