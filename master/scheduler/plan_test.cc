// Planning attempts: which of them may ask the mapper for a sample, and what
// is told of it.
#include <gtest/gtest.h>

#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Harness;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() : worker_(h_.Join(1, "a")), job_(h_.SubmitJob("/out")) {}

  // The planning attempt that is granted next.
  proto::Grant Next() {
    for (int tries = 0; tries < 100; ++tries) {
      for (const proto::Grant& grant : h_.TakeGrants(worker_)) {
        if (grant.has_plan()) return grant;
      }
      h_.Pass(absl::Seconds(1));
      h_.Update(worker_);
    }
    ADD_FAILURE() << "no plan was granted";
    return {};
  }

  Harness h_;
  SessionId worker_;
  JobId job_;
};

TEST_F(PlanTest, WhatTheProgramDidInASampleItDoesOnce) {
  const proto::Grant first = Next();
  EXPECT_TRUE(first.plan().sample_map_output());
  h_.Fail(worker_, first, proto::CRASHED);
  EXPECT_FALSE(Next().plan().sample_map_output());
}

TEST_F(PlanTest, AMachineThatFailsIsNoReasonToPlanOtherwise) {
  h_.Fail(worker_, Next(), proto::INFRASTRUCTURE);
  EXPECT_TRUE(Next().plan().sample_map_output());
}

TEST_F(PlanTest, AWorkerThatIsLostIsNoReasonToPlanOtherwise) {
  Next();
  h_.Close(worker_);
  worker_ = h_.Join(2, "b");
  EXPECT_TRUE(Next().plan().sample_map_output());
}

TEST_F(PlanTest, TheEstimateIsTold) {
  const proto::Grant plan = Next();
  EXPECT_FALSE(h_.Status(job_).has_map_output_estimate());
  proto::TaskDone done;
  done.set_num_maps(2);
  done.set_num_partitions(3);
  done.set_map_output_estimate(0);
  h_.Done(worker_, plan, done);
  EXPECT_TRUE(h_.Status(job_).has_map_output_estimate());
  EXPECT_EQ(h_.Status(job_).map_output_estimate(), 0u);
}

}  // namespace
}  // namespace millrace::master
