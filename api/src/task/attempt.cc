#include "api/src/task/attempt.h"

#include <algorithm>

#include "common/status_macros.h"
#include "common/strings.h"
#include "storage/plan/planner.h"
#include "supervisor/shortage_cause.h"

namespace millrace::task {
namespace {

// Program text, libraries, the reader's megabyte, part and block buffers: what
// a job process holds beside its record buffers. Measured at 9 MiB; a small
// budget keeps at least half for its buffers.
constexpr uint64_t kFixedBytes = 12 << 20;
constexpr uint64_t kPlanBytesMax = uint64_t{1} << 30;

std::string Message(const absl::Status& status) {
  return std::string(ToStd(status.message()));
}

}  // namespace

JobId TaskEnvironment::job_id() const {
  return JobId::FromBytes(configure_.job_id()).value_or(JobId());
}

engine::Codec TaskEnvironment::codec() const {
  if (configure_.map_output_codec() == "lz4") return engine::Codec::kLz4;
  if (configure_.map_output_codec() == "zstd") return engine::Codec::kZstd;
  return engine::Codec::kNone;
}

uint64_t TaskEnvironment::buffer_bytes() const {
  const uint64_t budget = configure_.memory_budget_bytes();
  const uint64_t left = budget - std::min(kFixedBytes, budget / 2);
  // An eighth is for what user code holds and the allocator rounds up.
  return left - left / 8;
}

absl::StatusOr<std::shared_ptr<const proto::Plan>> TaskEnvironment::LoadPlan(
    const std::string& path) {
  if (plan_ != nullptr && plan_path_ == path) return plan_;
  MR_ASSIGN_OR_RETURN(const std::string bytes,
                      ReadWholeFile(fs_, path, kPlanBytesMax));
  MR_ASSIGN_OR_RETURN(proto::Plan plan, storage::ParsePlan(bytes));
  plan_ = std::make_shared<const proto::Plan>(std::move(plan));
  plan_path_ = path;
  return plan_;
}

proto::TaskFailed MakeFailure(proto::FailureCause cause, std::string message,
                              bool retryable) {
  proto::TaskFailed failed;
  failed.set_cause(cause);
  failed.set_message(std::move(message));
  failed.set_retryable(retryable);
  return failed;
}

proto::TaskFailed InputFailure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kAborted:
      return MakeFailure(proto::INPUT_CHANGED, Message(status), false);
    case absl::StatusCode::kInvalidArgument:
      return MakeFailure(proto::INPUT_UNFIT, Message(status), false);
    case absl::StatusCode::kNotFound:
      return MakeFailure(proto::INPUT_INVALID, Message(status), false);
    case absl::StatusCode::kPermissionDenied:
      return MakeFailure(proto::INPUT_UNREADABLE, Message(status), false);
    default:
      return MakeFailure(supervisor::CauseOf(status, proto::INPUT_UNREADABLE),
                         Message(status), true);
  }
}

proto::TaskFailed EngineFailure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return MakeFailure(
          supervisor::CauseOf(status, proto::DISK_FULL),
          ShortageOf(status) == Shortage::kSpace
              ? Cat(Message(status),
                    "; free some space or name another directory with "
                    "--scratch")
              : Message(status),
          true);
    case absl::StatusCode::kOutOfRange:
      return MakeFailure(proto::BAD_PARTITION, Message(status), false);
    case absl::StatusCode::kInvalidArgument:
      return MakeFailure(proto::INVALID_OUTPUT, Message(status), false);
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
      // The disk has damaged, lost or refused the attempt's own files.
      return MakeFailure(proto::INFRASTRUCTURE, Message(status), true);
    default:
      return MakeFailure(proto::INTERNAL, status.ToString(), true);
  }
}

proto::TaskFailed OutputFailure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOutOfRange:
      return MakeFailure(proto::OUTPUT_LIMIT, Message(status), false);
    case absl::StatusCode::kInvalidArgument:
      return MakeFailure(proto::INVALID_OUTPUT, Message(status), false);
    case absl::StatusCode::kResourceExhausted:
      return MakeFailure(supervisor::CauseOf(status, proto::DISK_FULL),
                         Message(status), true);
    default:
      return MakeFailure(proto::OUTPUT_FAILED, Message(status), true);
  }
}

proto::TaskFailed UserFailure(
    const UserCodeFailure& failure,
    const std::function<proto::TaskFailed()>& aborted) {
  if (failure.aborted) return aborted();
  proto::TaskFailed failed =
      MakeFailure(proto::USER_EXCEPTION, Cat("threw ", failure.message), true);
  failed.set_stack(failure.stack);
  return failed;
}

void ClearPosition(supervisor::StatusPage& page) {
  page.file.Set("");
  page.key.Set("");
  page.record_offset.store(~uint64_t{0}, std::memory_order_relaxed);
  page.record_file.store(0, std::memory_order_relaxed);
  page.record_ordinal.store(0, std::memory_order_relaxed);
  page.value_ordinal.store(0, std::memory_order_relaxed);
  page.input_bytes.store(0, std::memory_order_relaxed);
}

AttemptOutcome RunAttempt(TaskEnvironment& env, const proto::RunTask& run) {
  supervisor::StatusPage& page = env.page();
  ClearPosition(page);
  AttemptOutcome outcome;
  switch (run.task_case()) {
    case proto::RunTask::kPlan:
      outcome = RunPlanAttempt(env, run);
      break;
    case proto::RunTask::kMap:
      outcome = RunMapAttempt(env, run);
      break;
    case proto::RunTask::kReduce:
      outcome = RunReduceAttempt(env, run);
      break;
    case proto::RunTask::TASK_NOT_SET:
      outcome = MakeFailure(proto::INTERNAL, "command without a task", false);
      break;
  }
  if (auto* done = std::get_if<proto::TaskDone>(&outcome)) {
    done->set_attempt_uid(run.attempt_uid());
    page.phase.store(supervisor::TaskPhase::kIdle, std::memory_order_relaxed);
  } else {
    // A failure keeps phase and position for the supervisor's report.
    std::get<proto::TaskFailed>(outcome).set_attempt_uid(run.attempt_uid());
  }
  return outcome;
}

}  // namespace millrace::task
