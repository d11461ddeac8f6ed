#include "api/src/task/attempt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <variant>

#include "api/src/task/task_context.h"
#include "common/errno_status.h"

namespace millrace::task {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A spill run that the disk has damaged or lost is no bug of ours, nor one of
// the program: another worker has another disk.
TEST(EngineFailureTest, DamageToOwnFilesIsTheMachines) {
  for (const absl::Status& status :
       {absl::DataLossError("run 3 is damaged"),
        absl::NotFoundError("run 3 is damaged"),
        absl::PermissionDeniedError("run 3 is damaged"),
        ErrnoStatus(EIO, "write", "run 3"),
        ErrnoStatus(EROFS, "open", "run 3")}) {
    const proto::TaskFailed failed = EngineFailure(status);
    EXPECT_EQ(failed.cause(), proto::INFRASTRUCTURE) << status;
    EXPECT_THAT(failed.message(), HasSubstr("run 3"));
    EXPECT_TRUE(failed.retryable());
  }
  EXPECT_EQ(EngineFailure(absl::InternalError("sums differ")).cause(),
            proto::INTERNAL);
}

// Each of the three has its own cause; only space is to be had elsewhere.
TEST(EngineFailureTest, ShortagesAreCalledByTheirNames) {
  using Failure = proto::TaskFailed (*)(const absl::Status&);
  for (const Failure failure :
       {&EngineFailure, &OutputFailure, &InputFailure}) {
    for (const int error : {EMFILE, ENFILE}) {
      const proto::TaskFailed failed =
          failure(ErrnoStatus(error, "open", "/f"));
      EXPECT_EQ(failed.cause(), proto::NO_DESCRIPTORS);
      EXPECT_TRUE(failed.retryable());
      EXPECT_THAT(failed.message(), Not(HasSubstr("space")));
    }
    const proto::TaskFailed failed = failure(NoMemoryError("no memory"));
    EXPECT_EQ(failed.cause(), proto::NO_MEMORY);
    EXPECT_THAT(failed.message(), Not(HasSubstr("space")));
  }
  const proto::TaskFailed full =
      EngineFailure(ErrnoStatus(ENOSPC, "write", "/f"));
  EXPECT_EQ(full.cause(), proto::DISK_FULL);
  EXPECT_THAT(full.message(), HasSubstr("free some space or name another"));
}

// The worker's cache has lost or damaged it; the job is not at fault.
TEST(RunAttemptTest, APlanThatCannotBeReadIsTheMachines) {
  const internal::JobDefinition job;
  const auto page = std::make_unique<supervisor::StatusPage>();
  const proto::Configure configure;
  TaskEnvironment environment(job, configure, *page, FileSystem::Posix());
  proto::RunTask run;
  run.set_kind(proto::MAP_TASK);
  run.mutable_map()->set_plan_path("/no/such/plan");
  const AttemptOutcome outcome = RunAttempt(environment, run);
  const auto* failed = std::get_if<proto::TaskFailed>(&outcome);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->cause(), proto::INFRASTRUCTURE) << failed->message();
  EXPECT_TRUE(failed->retryable());
}

TEST(TaskContextTest, InputOffsetIsZeroOutsideOfMap) {
  const auto page = std::make_unique<supervisor::StatusPage>();
  const proto::Configure configure;
  proto::RunTask run;
  run.set_kind(proto::MAP_TASK);
  TaskContext context("job", configure, run, 1, *page);
  page->record_offset = ~uint64_t{0};  // As before the first record.
  EXPECT_EQ(context.input_offset(), 0u);
  page->record_offset = 17;
  EXPECT_EQ(context.input_offset(), 17u);
}

}  // namespace
}  // namespace millrace::task
