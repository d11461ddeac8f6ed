#include "master/scheduler/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/strings.h"
#include "master/scheduler/testing/harness.h"
#include "rpc/retry_after.h"

namespace millrace::master {
namespace {

using ::testing::AllOf;
using testing::Harness;
using ::testing::HasSubstr;

std::string Text(const absl::Status& status) {
  return std::string(ToStd(status.message()));
}

TEST(AdmissionTest, SizeOfOneJob) {
  SchedulerOptions options;
  options.job_tasks_max = 100;
  options.job_transfers_max = 900;
  EXPECT_TRUE(CheckJobSize({90, 10, true}, options).ok());
  EXPECT_TRUE(CheckJobSize({100, 0, true}, options).ok());
  EXPECT_THAT(Text(CheckJobSize({91, 10, true}, options)),
              AllOf(HasSubstr("the job has 91 maps and 10 reduces, 101 tasks"),
                    HasSubstr("at most 100"), HasSubstr("--max-job-tasks"),
                    HasSubstr("--split-bytes")));
  EXPECT_THAT(Text(CheckJobSize({50, 19, true}, options)),
              AllOf(HasSubstr("950 transfers"), HasSubstr("at most 900"),
                    HasSubstr("--max-job-transfers")));
  // Fewer reducers are all that helps.
  EXPECT_THAT(Text(CheckJobSize({1, 100, false}, options)),
              AllOf(HasSubstr("at least 1 map and 100 reduces"),
                    ::testing::Not(HasSubstr("--split-bytes"))));
  options.live_tasks_max = 50;
  EXPECT_THAT(Text(CheckJobSize({51, 0, true}, options)),
              AllOf(HasSubstr("no more than 50"), HasSubstr("--max-tasks")));
}

TEST(AdmissionTest, SubmitsBeyondTheLimitsAreRefused) {
  SchedulerOptions options;
  options.live_jobs_max = 2;
  options.job_tasks_max = 100;
  Harness h(options);
  proto::JobSpec spec = h.Spec("/out");
  spec.set_num_reducers(100);
  Reply refused = h.Submit(spec);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Text(refused.status), HasSubstr("--max-job-tasks"));
  EXPECT_EQ(rpc::RetryAfter(refused.status), std::nullopt) << "it never helps";
  EXPECT_TRUE(h.log.size() == 1) << "only TermStarted";

  const JobId first = h.SubmitJob("/1");
  h.SubmitJob("/2");
  refused = h.Submit(h.Spec("/3"));
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Text(refused.status),
              AllOf(HasSubstr("2 jobs"), HasSubstr("--max-jobs"),
                    HasSubstr("kill one")));
  EXPECT_EQ(rpc::RetryAfter(refused.status), absl::Seconds(5));
  EXPECT_EQ(h.Applied(proto::LogEntry::kJobSubmitted), 2u);
  // There is room when one has ended.
  h.Feed(ClientKill{999, first, "enough"});
  EXPECT_TRUE(h.Submit(h.Spec("/3")).status.ok());
}

TEST(AdmissionTest, SubmitsOnTheirWayIntoTheLogCount) {
  SchedulerOptions options;
  options.live_jobs_max = 1;
  Harness h(options);
  h.hold = true;
  ClientSubmit submit;
  submit.tag = 501;
  submit.request_id = master::testing::MakeId<RequestId>(1);
  submit.spec = h.Spec("/1");
  h.Feed(submit);
  EXPECT_EQ(h.Submit(h.Spec("/2")).status.code(),
            absl::StatusCode::kResourceExhausted);
  h.Release();
  EXPECT_TRUE(h.replies[501].status.ok());
}

TEST(AdmissionTest, APlanThatIsTooLargeFailsItsJob) {
  SchedulerOptions options;
  options.job_tasks_max = 10;
  Harness h(options);
  const SessionId worker = h.Join(1, "w1");
  const JobId job = h.SubmitJob("/1");
  h.Finish(worker, h.TakeGrants(worker).at(0), 9, 2);
  EXPECT_EQ(h.job(job).state, proto::FAILED);
  EXPECT_EQ(h.job(job).failure->cause(), proto::INPUT_UNFIT);
  EXPECT_THAT(
      h.job(job).failure->message(),
      AllOf(HasSubstr("9 maps and 2 reduces"), HasSubstr("--max-job-tasks")));
  EXPECT_EQ(h.Applied(proto::LogEntry::kPlanned), 0u);
}

class RoomTest : public ::testing::Test {
 protected:
  static SchedulerOptions Options() {
    SchedulerOptions options;
    options.live_tasks_max = 20;
    return options;
  }
  // Grants of planning tasks that have come, and no others.
  std::vector<proto::Grant> Plans() {
    std::vector<proto::Grant> plans;
    for (proto::Grant& grant : h_.TakeGrants(worker_)) {
      if (grant.has_plan()) plans.push_back(std::move(grant));
    }
    return plans;
  }
  void Kill(const JobId& job) { h_.Feed(ClientKill{next_tag_++, job, "x"}); }

  Harness h_{Options()};
  const SessionId worker_ = h_.Join(1, "w1", 50);
  ReplyTag next_tag_ = 9000;
};

TEST_F(RoomTest, JobsWithoutRoomWaitInTheirOrder) {
  const JobId first = h_.SubmitJob("/1");
  h_.Finish(worker_, Plans().at(0), 10, 5);
  EXPECT_EQ(h_.job(first).state, proto::RUNNING);

  const JobId large = h_.SubmitJob("/2");
  h_.Finish(worker_, Plans().at(0), 8, 2);
  EXPECT_EQ(h_.job(large).state, proto::QUEUED);
  EXPECT_THAT(h_.Status(large).waiting_for(),
              AllOf(HasSubstr("room for its 10 tasks"), HasSubstr("15 tasks"),
                    HasSubstr("of 20"), HasSubstr("--max-tasks")));
  EXPECT_TRUE(Plans().empty()) << "it is not planned again and again";

  // One that would fit does not overtake.
  const JobId small = h_.SubmitJob("/3");
  EXPECT_TRUE(Plans().empty());
  EXPECT_THAT(h_.Status(small).waiting_for(),
              AllOf(HasSubstr(large.ToShort()), HasSubstr("10 tasks")));

  Kill(first);
  std::vector<proto::Grant> plans = Plans();
  ASSERT_EQ(plans.size(), 1u);
  h_.Finish(worker_, plans[0], 8, 2);
  EXPECT_EQ(h_.job(large).state, proto::RUNNING);
  plans = Plans();
  ASSERT_EQ(plans.size(), 1u);
  h_.Finish(worker_, plans[0], 2, 1);
  EXPECT_EQ(h_.job(small).state, proto::RUNNING);
  EXPECT_EQ(h_.job(large).attempts_failed + h_.job(large).attempts_lost, 0u)
      << "to wait is no failure";
}

TEST_F(RoomTest, PlansOnTheirWayIntoTheLogCount) {
  const JobId one = h_.SubmitJob("/1");
  const JobId two = h_.SubmitJob("/2");
  const std::vector<proto::Grant> plans = Plans();
  ASSERT_EQ(plans.size(), 2u);
  h_.hold = true;
  h_.Finish(worker_, plans[0], 12, 0);
  h_.Finish(worker_, plans[1], 12, 0);
  h_.Release();
  EXPECT_EQ(h_.job(one).state, proto::RUNNING);
  EXPECT_EQ(h_.job(two).state, proto::QUEUED);
  Kill(two);  // One that waits can be killed.
  EXPECT_EQ(h_.job(two).state, proto::KILLED);
}

TEST_F(RoomTest, ANewLeaderGoesOnWhateverItsLimits) {
  const JobId first = h_.SubmitJob("/1");
  h_.Finish(worker_, Plans().at(0), 19, 1);
  const JobId second = h_.SubmitJob("/2");
  EXPECT_TRUE(Plans().empty()) << "not even one task more";
  EXPECT_THAT(h_.Status(second).waiting_for(), HasSubstr("20 tasks"));
  h_.Restart();
  EXPECT_EQ(h_.job(first).state, proto::RUNNING);
  EXPECT_EQ(h_.job(second).state, proto::QUEUED);
  Kill(first);
  const SessionId again = h_.Join(1, "w1", 50);
  bool planned = false;
  for (const proto::Grant& grant : h_.TakeGrants(again)) {
    planned |= grant.has_plan();
  }
  EXPECT_TRUE(planned);
}

}  // namespace
}  // namespace millrace::master
