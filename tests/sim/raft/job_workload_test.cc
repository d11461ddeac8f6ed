#include "tests/sim/raft/job_workload.h"

#include <gtest/gtest.h>

#include <string>

#include "master/state/testing/byte_strings.h"

namespace millrace::raftsim {
namespace {

class JobWorkloadTest : public testing::Test {
 protected:
  uint64_t Do(Subject& subject, JobWorkload::Kind kind, uint64_t argument) {
    Request request;
    request.session = 1;
    request.number = ++index_;
    request.kind = kind;
    request.object = 4;
    request.argument = argument;
    if (kind == JobWorkload::kStatus) return subject.Read(request).value;
    const auto answer = subject.Apply({index_, 1, subject.Encode(request)});
    EXPECT_TRUE(answer.has_value());
    return answer->value;
  }

  JobWorkload workload_{JobWorkloadOptions()};
  uint64_t index_ = 0;
};

TEST_F(JobWorkloadTest, WhoComesFirstSubmitsAndWhoComesFirstKills) {
  const auto jobs = workload_.NewSubject();
  constexpr uint64_t kSubmitted = uint64_t{6} << 32;
  EXPECT_EQ(Do(*jobs, JobWorkload::kKill, 5), 0u);
  EXPECT_EQ(Do(*jobs, JobWorkload::kSubmit, 6), kSubmitted);
  EXPECT_EQ(Do(*jobs, JobWorkload::kSubmit, 7), kSubmitted);
  EXPECT_EQ(Do(*jobs, JobWorkload::kKill, 8), kSubmitted | 8);
  EXPECT_EQ(Do(*jobs, JobWorkload::kKill, 9), kSubmitted | 8);
  EXPECT_EQ(Do(*jobs, JobWorkload::kSubmit, 10), kSubmitted);
  EXPECT_EQ(Do(*jobs, JobWorkload::kStatus, 0), kSubmitted | 8);
}

// What the specification says is what the state does.
TEST_F(JobWorkloadTest, TheSpecificationAndTheStateAgree) {
  const auto random = Random::Seeded(1);
  const auto jobs = workload_.NewSubject();
  const Specification specification = workload_.specification();
  std::map<uint32_t, uint64_t> states;
  for (uint64_t index = 1; index <= 1000; ++index) {
    const Request request = workload_.Next(*random);
    const Answer answer = request.read
                              ? jobs->Read(request)
                              : *jobs->Apply({index, 1, jobs->Encode(request)});
    Operation operation;
    operation.answered = 1;
    operation.kind = request.kind;
    operation.argument = request.argument;
    operation.answer = answer.value;
    ASSERT_TRUE(specification(operation, &states[request.object]))
        << "entry " << index;
    workload_.Saw(request, answer);
  }
  EXPECT_EQ(workload_.LastReads().size(), JobWorkloadOptions().jobs);
}

TEST_F(JobWorkloadTest, ASnapshotIsTheStateAsItWas) {
  const auto jobs = workload_.NewSubject();
  Do(*jobs, JobWorkload::kSubmit, 6);
  const uint64_t hash = jobs->hash();
  const raft::FrozenState frozen = jobs->Freeze();
  Do(*jobs, JobWorkload::kKill, 7);
  EXPECT_NE(jobs->hash(), hash);
  master::testing::StringSink sink;
  ASSERT_TRUE(frozen(sink).ok());
  master::testing::StringSource source(sink.bytes);
  const auto other = workload_.NewSubject();
  ASSERT_TRUE(other->Load(source).ok());
  EXPECT_EQ(other->hash(), hash);
  EXPECT_EQ(Do(*other, JobWorkload::kStatus, 0), uint64_t{6} << 32);
}

}  // namespace
}  // namespace millrace::raftsim
