#include "api/src/task/attempt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "api/src/task/task_context.h"

namespace millrace::task {
namespace {

using ::testing::HasSubstr;

// A spill run that the disk has damaged or lost is no bug of ours.
TEST(EngineFailureTest, DamageToOwnFilesPointsToTheDisk) {
  for (const absl::Status& status :
       {absl::DataLossError("run 3 is damaged"),
        absl::NotFoundError("run 3 is damaged"),
        absl::PermissionDeniedError("run 3 is damaged")}) {
    const proto::TaskFailed failed = EngineFailure(status);
    EXPECT_EQ(failed.cause(), proto::OUTPUT_FAILED);
    EXPECT_THAT(failed.message(),
                HasSubstr("run 3 is damaged; check the disk"));
    EXPECT_TRUE(failed.retryable());
  }
  EXPECT_EQ(EngineFailure(absl::InternalError("sums differ")).cause(),
            proto::INTERNAL);
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
