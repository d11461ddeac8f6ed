// Jobs that write more than they may, as the leader sees them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Harness;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class OutputLimitTest : public ::testing::Test {
 protected:
  using Granted = std::pair<SessionId, proto::Grant>;

  // All that has been granted since the last time, on either worker.
  std::vector<Granted> Take() {
    std::vector<Granted> all;
    for (const SessionId session : {one_, other_}) {
      for (proto::Grant& grant : h_.TakeGrants(session)) {
        all.emplace_back(session, std::move(grant));
      }
    }
    return all;
  }
  void Finish(const Granted& granted) {
    h_.Finish(granted.first, granted.second, /*maps=*/1, /*partitions=*/2);
  }

  // A job of a map and two reduces, whose part files will have 1,000 bytes
  // each. Returns its reduces, which both run.
  std::vector<Granted> RunToReduces(uint64_t output_bytes_max) {
    proto::JobSpec spec = h_.Spec("/out");
    spec.set_output_bytes_max(output_bytes_max);
    job_ = h_.Submit(spec).job;
    std::vector<Granted> reduces;
    for (int i = 0; i < 100 && reduces.size() < 2; ++i) {
      for (const Granted& granted : Take()) {
        if (granted.second.has_reduce()) {
          reduces.push_back(granted);
        } else {
          Finish(granted);
        }
      }
      h_.Beat();
      h_.Pass(absl::Milliseconds(100));
    }
    EXPECT_THAT(reduces, SizeIs(2));
    return reduces;
  }
  bool IsToldToDrop(SessionId session) {
    for (const proto::MasterMessage& message : h_.Take(session)) {
      if (message.has_drop_job() &&
          message.drop_job().job_id() == job_.bytes()) {
        return true;
      }
    }
    return false;
  }

  Harness h_;
  const SessionId one_ = h_.Join(1, "w1");
  const SessionId other_ = h_.Join(2, "w2");
  JobId job_;
};

TEST_F(OutputLimitTest, ThePartThatIsTooMuchEndsTheJobWhileOthersRun) {
  const std::vector<Granted> reduces = RunToReduces(999);
  Finish(reduces.at(0));
  EXPECT_EQ(h_.Status(job_).state(), proto::FAILED);
  EXPECT_EQ(h_.Status(job_).failure().cause(), proto::OUTPUT_LIMIT);
  EXPECT_THAT(h_.Status(job_).failure().message(),
              HasSubstr("--output-limit allows 999"));
  EXPECT_TRUE(IsToldToDrop(one_));
  EXPECT_TRUE(IsToldToDrop(other_));
  // What ends meanwhile changes nothing.
  Finish(reduces.at(1));
  EXPECT_EQ(h_.Status(job_).failure().cause(), proto::OUTPUT_LIMIT);
  h_.Beat();
  h_.Pass(absl::Seconds(1));
  EXPECT_THAT(Take(), SizeIs(0));
}

TEST_F(OutputLimitTest, TheLastPartMayBeTheOneThatIsTooMuch) {
  const std::vector<Granted> reduces = RunToReduces(1999);
  Finish(reduces.at(0));
  EXPECT_EQ(h_.Status(job_).state(), proto::RUNNING);
  Finish(reduces.at(1));
  EXPECT_EQ(h_.Status(job_).failure().cause(), proto::OUTPUT_LIMIT);
  EXPECT_TRUE(IsToldToDrop(one_) && IsToldToDrop(other_));
}

TEST_F(OutputLimitTest, AsMuchAsIsAllowedIsAllowed) {
  for (const Granted& reduce : RunToReduces(2000)) Finish(reduce);
  for (int i = 0; i < 10; ++i) {
    for (const Granted& granted : Take()) Finish(granted);
    h_.Beat();
    h_.Pass(absl::Milliseconds(100));
  }
  EXPECT_EQ(h_.Status(job_).state(), proto::SUCCEEDED);
}

}  // namespace
}  // namespace millrace::master
