#include "supervisor/failure_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/errno_status.h"
#include "common/status_macros.h"
#include "supervisor/shortage_cause.h"

namespace millrace::supervisor {
namespace {

using ::testing::HasSubstr;

TEST(FailureAdviceTest, EachShortageHasItsOwnCauseAndAdvice) {
  const struct {
    int error;
    proto::FailureCause cause;
    const char* advice;
  } cases[] = {
      {ENOSPC, proto::DISK_FULL, "space"},
      {EDQUOT, proto::DISK_FULL, "space"},
      {EFBIG, proto::DISK_FULL, "space"},
      {EMFILE, proto::NO_DESCRIPTORS, "open files"},
      {ENFILE, proto::NO_DESCRIPTORS, "open files"},
      {ENOMEM, proto::NO_MEMORY, "--memory"},
  };
  for (const auto& one : cases) {
    // Whatever the layers above have to add.
    const absl::Status status =
        Annotate(Annotate(ErrnoStatus(one.error, "open", "/f"), "map 3"), "w1");
    SCOPED_TRACE(status.ToString());
    EXPECT_TRUE(absl::IsResourceExhausted(status));
    const proto::FailureCause cause = CauseOf(status, proto::INTERNAL);
    EXPECT_EQ(cause, one.cause);
    for (const RanOn where : {RanOn::kThisMachine, RanOn::kCluster}) {
      EXPECT_THAT(std::string(AdviceFor(cause, where)), HasSubstr(one.advice));
    }
  }
}

TEST(FailureAdviceTest, OtherErrorsAreNoShortage) {
  EXPECT_EQ(CauseOf(ErrnoStatus(EIO, "read", "/f"), proto::OUTPUT_FAILED),
            proto::OUTPUT_FAILED);
  EXPECT_EQ(CauseOf(absl::OkStatus(), proto::INTERNAL), proto::INTERNAL);
  // Such as a disk in memory says.
  EXPECT_EQ(CauseOf(absl::ResourceExhaustedError("full"), proto::INTERNAL),
            proto::DISK_FULL);
  EXPECT_EQ(CauseOf(NoMemoryError("no more"), proto::INTERNAL),
            proto::NO_MEMORY);
}

TEST(FailureAdviceTest, NamesOnlyWhatThereIs) {
  // Flags of the local run, and commands of a cluster, each in its place.
  for (int cause = 0; cause < proto::FailureCause_ARRAYSIZE; ++cause) {
    const auto named = static_cast<proto::FailureCause>(cause);
    EXPECT_EQ(AdviceFor(named, RanOn::kCluster).find("--scratch"),
              std::string_view::npos);
    EXPECT_EQ(AdviceFor(named, RanOn::kCluster).find("--slots"),
              std::string_view::npos);
  }
}

}  // namespace
}  // namespace millrace::supervisor
