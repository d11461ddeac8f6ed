// Records on which a mapper crashes: the leader is asked, and the attempt
// begins anew without them.
#include <gmock/gmock.h>

#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

proto::BadRecord Record(uint64_t offset) {
  proto::BadRecord record;
  record.set_file(2);
  record.set_offset(offset);
  record.set_cause(proto::CRASHED);
  record.set_message("crashed");
  return record;
}

class AgentBadRecordsTest : public AgentTest {
 protected:
  void Start(uint32_t limit = 5) {
    Make();
    Open();
    Welcome();
    proto::JobSpec spec = Spec();
    spec.set_skip_bad_records(limit);
    Introduce(Job('a'), spec);
  }
  void Crash(ChildNumber child, uint64_t offset) {
    ChildExited exited = Exit(child, proto::CRASHED, "signal 11");
    exited.bad_record = Record(offset);
    Tell(exited);
  }
  void PassOver(int uid, const std::vector<uint64_t>& offsets) {
    proto::MasterMessage message;
    message.mutable_pass_over()->set_attempt_uid(std::string(Uid(uid).bytes()));
    for (const uint64_t offset : offsets) {
      *message.mutable_pass_over()->add_bad_records() = Record(offset);
    }
    Command(message);
  }
  // What the leader was asked in the last step.
  std::vector<uint64_t> Asked() const {
    std::vector<uint64_t> offsets;
    for (const proto::Update& update : Updates()) {
      for (const proto::BadRecordMet& met : update.bad_records()) {
        EXPECT_EQ(met.attempt().task().kind(), proto::MAP_TASK);
        offsets.push_back(met.record().offset());
      }
    }
    return offsets;
  }
  // Its files are there; the process it is given to.
  ChildNumber RunAgain(int uid) {
    Tell(AttemptPrepared{Uid(uid), Job('a'), std::nullopt});
    const ChildNumber child = Of<StartChild>().at(0).child;
    Tell(ChildReady{child});
    return child;
  }
  proto::TaskDone Done(uint64_t records) {
    proto::TaskDone done;
    done.set_map_output_root(std::string(16, 'r'));
    done.mutable_ledger()->set_skipped_records(records);
    done.mutable_dead_letter()->set_records(records);
    done.mutable_dead_letter()->set_path("/etc/passwd");
    return done;
  }
};

TEST_F(AgentBadRecordsTest, TheAttemptBeginsAnewWhenTheLeaderSaysSo) {
  Start();
  const ChildNumber first = RunMap(1);
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty());
  Crash(first, 30);
  EXPECT_THAT(Asked(), ElementsAre(30));
  EXPECT_THAT(Outcomes(), IsEmpty());
  EXPECT_THAT(Of<StartChild>(), IsEmpty());

  PassOver(1, {10, 30});
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_TRUE(Of<PrepareAttempt>()[0].begins_anew);
  EXPECT_TRUE(Of<PrepareAttempt>()[0].writes_output)
      << "the dead letters are output";
  const ChildNumber second = RunAgain(1);
  EXPECT_NE(second, first);
  ASSERT_THAT(Of<RunTask>(), SizeIs(1));
  const proto::RunTask task = Of<RunTask>()[0].task;
  EXPECT_EQ(task.attempt_uid(), Uid(1).bytes());
  ASSERT_THAT(task.map().bad_records(), SizeIs(2));
  EXPECT_EQ(task.map().bad_records(0).offset(), 10u);
  EXPECT_EQ(task.map().dead_letter_path(),
            DeadLetterPath("/out/dir", Job('a'), Uid(1), 0));
  EXPECT_EQ(task.map().output_path(),
            MapOutputPath("/w/spool", Job('a'), Uid(1)));

  Tell(ChildDone{second, Done(2)});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_TRUE(Outcomes()[0].has_done());
  EXPECT_EQ(Outcomes()[0].done().dead_letter().records(), 2u);
  EXPECT_EQ(Outcomes()[0].done().dead_letter().path(), "");
  EXPECT_THAT(Of<DeleteAttempt>(), IsEmpty()) << "they are needed";
}

TEST_F(AgentBadRecordsTest, AnExceptionIsAskedAboutToo) {
  Start();
  const ChildNumber child = RunMap(1);
  ChildFailed failed{child, {}, "", Record(7)};
  failed.failed.set_cause(proto::USER_EXCEPTION);
  Tell(failed);
  EXPECT_THAT(Asked(), ElementsAre(7));
  EXPECT_THAT(Of<StopChild>(), SizeIs(1)) << "a fresh process comes next";
  PassOver(1, {7});
  Tell(Exit(child));
  EXPECT_THAT(Outcomes(), IsEmpty());
  RunAgain(1);
  EXPECT_THAT(Of<RunTask>(), SizeIs(1));
}

TEST_F(AgentBadRecordsTest, AskedAgainUntilThereIsAnAnswer) {
  Start();
  Crash(RunMap(1), 30);
  now_ += options_.retell_interval;
  Tell(Tick{});
  EXPECT_THAT(Asked(), ElementsAre(30));
  PassOver(1, {10});
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty()) << "that is another record";
  // The next leader is asked as well.
  Reopen();
  EXPECT_THAT(Hello().running(), SizeIs(1));
  Welcome();
  EXPECT_THAT(Asked(), ElementsAre(30));
  PassOver(1, {30});
  EXPECT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  PassOver(1, {30});
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty()) << "said twice";
}

TEST_F(AgentBadRecordsTest, GrantsSayWhatIsKnownAlready) {
  Start();
  proto::Grant grant = GrantOf(proto::MAP_TASK, 1, 3, Job('a'));
  *grant.mutable_map()->add_bad_records() = Record(30);
  Give(grant);
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_TRUE(Of<PrepareAttempt>()[0].writes_output);
  EXPECT_FALSE(Of<PrepareAttempt>()[0].begins_anew);
  Supply(1);
  const ChildNumber child = Of<StartChild>().at(0).child;
  Tell(ChildReady{child});
  EXPECT_THAT(Of<RunTask>()[0].task.map().bad_records(), SizeIs(1));
  // A program that does not pass it over fails like any other.
  Crash(child, 30);
  EXPECT_THAT(Asked(), IsEmpty());
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CRASHED);
  ASSERT_THAT(Of<DeleteAttempt>(), SizeIs(1));
  EXPECT_EQ(Of<DeleteAttempt>()[0].output, "/out/dir") << "its dead letters go";
}

// The sample of a total order meets records that the maps will count.
TEST_F(AgentBadRecordsTest, APlanBeginsAnewUnasked) {
  Start(1);
  Give(proto::PLAN_TASK, 1);
  Tell(BlobReady{Sha('p')});
  Tell(AttemptPrepared{Uid(1), Job('a'), std::nullopt});
  const ChildNumber child = Of<StartChild>()[0].child;
  Tell(ChildReady{child});
  EXPECT_TRUE(Of<RunTask>()[0].task.plan().sample_map_output());
  Crash(child, 30);
  EXPECT_THAT(Asked(), IsEmpty());
  ASSERT_THAT(Of<PrepareAttempt>(), SizeIs(1));
  EXPECT_TRUE(Of<PrepareAttempt>()[0].begins_anew);
  EXPECT_FALSE(Of<PrepareAttempt>()[0].writes_output);
  const ChildNumber next = RunAgain(1);
  ASSERT_THAT(Of<RunTask>(), SizeIs(1));
  EXPECT_THAT(Of<RunTask>()[0].task.plan().bad_records(), SizeIs(1));
  EXPECT_FALSE(Of<RunTask>()[0].task.plan().sample_map_output());
  Crash(next, 40);
  ASSERT_THAT(Outcomes(), SizeIs(1)) << "more than the job may pass over";
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CRASHED);
}

TEST_F(AgentBadRecordsTest, WithoutTheFlagACrashIsAFailure) {
  Start(0);
  Crash(RunMap(1), 30);
  EXPECT_THAT(Asked(), IsEmpty());
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CRASHED);
}

TEST_F(AgentBadRecordsTest, OneThatAsksCanBeKilled) {
  Start();
  Crash(RunMap(1), 30);
  Kill(1);
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::CANCELLED);
  PassOver(1, {30});
  EXPECT_THAT(Of<PrepareAttempt>(), IsEmpty());
}

TEST_F(AgentBadRecordsTest, WhatWasNotPassedOverIsNotBelieved) {
  Start();
  Crash(RunMap(1), 30);
  PassOver(1, {30});
  Tell(ChildDone{RunAgain(1), Done(0)});
  ASSERT_THAT(Outcomes(), SizeIs(1));
  EXPECT_EQ(Outcomes()[0].failed().cause(), proto::INTERNAL);
  EXPECT_THAT(Outcomes()[0].failed().message(), HasSubstr("passed over 0"));
}

}  // namespace
}  // namespace millrace::worker
