// What the state knows of a job's output: its limit, and who was given how
// much.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "master/state/state.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

using testing::MakeId;

class OutputTest : public ::testing::Test {
 protected:
  ApplyResult Apply(const proto::LogEntry& entry) {
    return state_.Apply(++index_, 1, entry);
  }
  // A job of one map and two reduces whose map has won.
  void Begin(uint64_t output_bytes_max) {
    Apply(testing::TermStarted());
    Apply(testing::WorkerJoined(7, "a"));
    proto::LogEntry submitted = testing::Submitted(5, "/out");
    submitted.mutable_job_submitted()->mutable_spec()->set_output_bytes_max(
        output_bytes_max);
    EXPECT_EQ(VersionOf(submitted), output_bytes_max == 0 ? 1u : 3u);
    Apply(submitted);
    Apply(testing::Planned(5, 30, 7, 1, 2));
    Apply(testing::MapWon(5, 0, 31, 7, testing::MapDone(10, 0)));
  }
  // 100 bytes for each record.
  ApplyResult Reduce(uint32_t partition, uint64_t records) {
    return Apply(testing::ReduceWon(5, partition, 40 + partition, 7, 0,
                                    testing::ReduceDone(records, "/part")));
  }
  const Job& job() const { return *state_.FindJob(MakeId<JobId>(5)); }

  State state_;
  uint64_t index_ = 0;
};

TEST_F(OutputTest, PartFilesThatAreTooLongTogetherEndTheJob) {
  Begin(999);
  EXPECT_TRUE(Reduce(0, 4).applied());
  EXPECT_EQ(job().state, proto::RUNNING);
  const ApplyResult over = Reduce(1, 6);
  EXPECT_TRUE(over.applied());
  EXPECT_THAT(over.ended, ::testing::ElementsAre(MakeId<JobId>(5)));
  ASSERT_EQ(job().state, proto::FAILED);
  EXPECT_EQ(job().failure->cause(), proto::OUTPUT_LIMIT);
  EXPECT_EQ(job().failure->message(),
            "the part files have 1000 bytes together, that of reduce 1 "
            "included; --output-limit allows 999");
  EXPECT_FALSE(job().failure->has_attempt()) << "it did what it was told";
}

TEST_F(OutputTest, WhatFitsExactlyFits) {
  Begin(1000);
  Reduce(0, 4);
  Reduce(1, 6);
  EXPECT_EQ(job().state, proto::RUNNING);
  EXPECT_TRUE(job().complete());
}

TEST_F(OutputTest, WhatIsLostAndWrittenAgainCountsOnce) {
  Begin(1000);
  Reduce(0, 4);
  Reduce(1, 6);
  EXPECT_TRUE(
      Apply(testing::OutputLost(5, {proto::REDUCE_TASK, 1}, 41)).applied());
  EXPECT_TRUE(
      Apply(testing::ReduceWon(5, 1, 50, 7, 0, testing::ReduceDone(6, "/part")))
          .applied());
  EXPECT_EQ(job().state, proto::RUNNING);
  EXPECT_EQ(job().totals.output_bytes, 1000u);
}

TEST_F(OutputTest, WithoutReducesItIsTheMaps) {
  Apply(testing::TermStarted());
  Apply(testing::WorkerJoined(7, "a"));
  proto::LogEntry submitted = testing::Submitted(5, "/out");
  submitted.mutable_job_submitted()->mutable_spec()->set_output_bytes_max(999);
  Apply(submitted);
  Apply(testing::Planned(5, 30, 7, 2, 0));
  proto::TaskDone done = testing::MapDone(10, 0);
  done.mutable_output()->set_bytes(500);
  Apply(testing::MapWon(5, 0, 31, 7, done));
  EXPECT_EQ(job().state, proto::RUNNING);
  Apply(testing::MapWon(5, 1, 32, 7, done));
  ASSERT_EQ(job().state, proto::FAILED);
  EXPECT_EQ(job().failure->cause(), proto::OUTPUT_LIMIT);
}

TEST_F(OutputTest, OnceDecidedTheLargestReduceIsKnownForGood) {
  Begin(0);
  Reduce(0, 4);
  Reduce(1, 6);
  EXPECT_EQ(job().largest_reduce_records, 0u);
  EXPECT_TRUE(Apply(testing::Decided(5, WinnersHash(job()))).applied());
  EXPECT_EQ(job().largest_reduce, 1u);
  EXPECT_EQ(job().largest_reduce_records, 6u);
  EXPECT_TRUE(Apply(testing::Committed(5)).applied());
  EXPECT_EQ(job().largest_reduce_records, 6u);
}

}  // namespace
}  // namespace millrace::master
