// Records on which mappers crash: counted once in the log, and told to every
// attempt of their task.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using ::testing::ElementsAre;
using testing::Harness;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class BadRecordsSchedulerTest : public ::testing::Test {
 protected:
  // A planned job of one map and one reduce, its map granted to worker a.
  void Begin(uint32_t limit) {
    a_ = h_.Join(1, "a");
    proto::JobSpec spec = h_.Spec("/out");
    spec.set_skip_bad_records(limit);
    job_ = h_.Submit(spec).job;
    for (const proto::Grant& grant : h_.TakeGrants(a_)) {
      h_.Finish(a_, grant, 1, 1);
    }
    const std::vector<proto::Grant> grants = h_.TakeGrants(a_);
    map_ = MapOf(grants);
    for (const proto::Grant& grant : grants) {
      if (grant.has_reduce()) reduce_ = grant;
    }
  }
  static proto::Grant MapOf(const std::vector<proto::Grant>& grants) {
    for (const proto::Grant& grant : grants) {
      if (grant.has_map()) return grant;
    }
    ADD_FAILURE() << "no map was granted";
    return {};
  }
  void Meet(SessionId session, const proto::Grant& grant, uint64_t offset) {
    proto::Update update;
    proto::BadRecordMet* met = update.add_bad_records();
    *met->mutable_attempt() = grant.attempt();
    met->mutable_record()->set_offset(offset);
    met->mutable_record()->set_message("crashed");
    h_.Update(session, update);
  }
  // Of each PassOver that was sent, the offsets.
  std::vector<std::vector<uint64_t>> PassedOver(SessionId session,
                                                const proto::Grant& grant) {
    std::vector<std::vector<uint64_t>> all;
    for (const proto::MasterMessage& message : h_.Take(session)) {
      killed_ |= message.has_kill();
      dropped_ |= message.has_drop_job();
      if (!message.has_pass_over()) continue;
      EXPECT_EQ(message.pass_over().attempt_uid(),
                grant.attempt().attempt_uid());
      all.push_back(OffsetsOf(message.pass_over().bad_records()));
    }
    return all;
  }
  template <typename List>
  static std::vector<uint64_t> OffsetsOf(const List& records) {
    std::vector<uint64_t> offsets;
    for (const proto::BadRecord& record : records) {
      offsets.push_back(record.offset());
    }
    return offsets;
  }
  proto::TaskDone Done(uint64_t bad_records) {
    proto::TaskDone done = testing::MapDone(10, 0);
    done.mutable_ledger()->set_skipped_records(bad_records);
    done.mutable_dead_letter()->set_records(bad_records);
    done.mutable_dead_letter()->set_bytes(100);
    done.mutable_dead_letter()->set_inode(7);
    return done;
  }

  Harness h_;
  SessionId a_ = 0;
  JobId job_;
  proto::Grant map_;
  proto::Grant reduce_;
  bool killed_ = false;
  bool dropped_ = false;
};

TEST_F(BadRecordsSchedulerTest, AnAttemptIsToldOnceTheLogHasIt) {
  Begin(5);
  EXPECT_THAT(map_.map().bad_records(), IsEmpty());
  h_.hold = true;
  Meet(a_, map_, 30);
  EXPECT_THAT(PassedOver(a_, map_), IsEmpty());
  ASSERT_THAT(h_.proposed, SizeIs(1));
  EXPECT_EQ(h_.proposed[0].version(), 2u);
  h_.hold = false;
  h_.Release();
  EXPECT_THAT(PassedOver(a_, map_), ElementsAre(ElementsAre(30)));
  Meet(a_, map_, 20);
  EXPECT_THAT(PassedOver(a_, map_), ElementsAre(ElementsAre(20, 30)));
  EXPECT_EQ(h_.Status(job_).bad_records(), 2u);
  EXPECT_EQ(h_.Status(job_).attempts().failed(), 0u);
  EXPECT_EQ(h_.Status(job_).attempts().launched(), 3u) << "plan, map, reduce";
}

TEST_F(BadRecordsSchedulerTest, AQuestionMayBeRepeated) {
  Begin(1);
  Meet(a_, map_, 30);
  Meet(a_, map_, 30);
  EXPECT_THAT(PassedOver(a_, map_),
              ElementsAre(ElementsAre(30), ElementsAre(30)));
  EXPECT_EQ(h_.Applied(proto::LogEntry::kRecordPassedOver), 1u);
}

TEST_F(BadRecordsSchedulerTest, AlsoWhileItIsOnItsWayIntoTheLog) {
  Begin(1);
  h_.hold = true;
  Meet(a_, map_, 40);
  Meet(a_, map_, 40);
  h_.hold = false;
  h_.Release();
  EXPECT_THAT(PassedOver(a_, map_),
              ElementsAre(ElementsAre(40), ElementsAre(40)));
  EXPECT_EQ(h_.Status(job_).bad_records(), 1u);
}

TEST_F(BadRecordsSchedulerTest, TheLimitEndsTheJob) {
  Begin(1);
  Meet(a_, map_, 30);
  Meet(a_, map_, 40);
  EXPECT_THAT(PassedOver(a_, map_), ElementsAre(ElementsAre(30)));
  EXPECT_TRUE(dropped_);
  EXPECT_EQ(h_.Status(job_).state(), proto::FAILED);
  EXPECT_EQ(h_.Status(job_).failure().cause(), proto::BAD_RECORD_LIMIT);
  EXPECT_EQ(h_.Status(job_).bad_records(), 1u);
}

TEST_F(BadRecordsSchedulerTest, LaterAttemptsAreGrantedWithoutThem) {
  Begin(5);
  Meet(a_, map_, 30);
  h_.Fail(a_, map_, proto::CRASHED);
  h_.Pass(absl::Seconds(10));
  const proto::Grant again = MapOf(h_.TakeGrants(a_));
  EXPECT_NE(again.attempt().attempt_uid(), map_.attempt().attempt_uid());
  EXPECT_THAT(OffsetsOf(again.map().bad_records()), ElementsAre(30));
  EXPECT_EQ(again.map().bad_records(0).message(), "crashed");
}

TEST_F(BadRecordsSchedulerTest, TheNextLeaderKnowsThem) {
  Begin(5);
  Meet(a_, map_, 30);
  h_.Restart();
  proto::Hello hello = h_.HelloOf(1, "a");
  proto::RunningAttempt* running = hello.add_running();
  *running->mutable_attempt() = map_.attempt();
  running->mutable_progress()->set_phase(proto::EXECUTING);
  const SessionId session = h_.Open(hello);
  h_.Take(session);
  Meet(session, map_, 30);  // Its answer was lost with the leader.
  EXPECT_THAT(PassedOver(session, map_), ElementsAre(ElementsAre(30)));
  EXPECT_EQ(h_.Status(job_).bad_records(), 1u);
}

TEST_F(BadRecordsSchedulerTest, AJobThatPassesOverNoneKillsWhoAsks) {
  Begin(0);
  Meet(a_, map_, 30);
  EXPECT_THAT(PassedOver(a_, map_), IsEmpty());
  EXPECT_TRUE(killed_);
}

TEST_F(BadRecordsSchedulerTest, TheirFilesAreCheckedAndPublished) {
  Begin(5);
  Meet(a_, map_, 30);
  h_.Take(a_);
  h_.Done(a_, map_, Done(1));
  proto::Grant check;
  h_.Done(a_, reduce_, testing::ReduceDone(10, "/part"));
  for (const proto::Grant& grant : h_.TakeGrants(a_)) {
    if (grant.has_check()) check = grant;
  }
  ASSERT_THAT(check.check().dead_letters(), SizeIs(1));
  const proto::DeadLetter& letter = check.check().dead_letters(0);
  EXPECT_EQ(letter.map_index(), 0u);
  EXPECT_EQ(letter.attempt_uid(), map_.attempt().attempt_uid());
  EXPECT_EQ(letter.bytes(), 100u);
  EXPECT_EQ(letter.records(), 1u);
  EXPECT_EQ(letter.inode(), 7u);
  EXPECT_EQ(check.check().ledger().at("skipped_records"), 1u);

  // One that has gone bad makes its map run again, and nothing else.
  proto::Update update;
  proto::AttemptOutcome* outcome = update.add_outcomes();
  *outcome->mutable_attempt() = check.attempt();
  outcome->mutable_failed()->set_cause(proto::COMMIT_DATA_LOST);
  outcome->mutable_failed()->set_retryable(true);
  outcome->mutable_failed()->set_dead_letter(true);
  outcome->mutable_failed()->set_map_index(0);
  outcome->mutable_failed()->set_map_uid(map_.attempt().attempt_uid());
  h_.Update(a_, update);
  const proto::Grant again = MapOf(h_.TakeGrants(a_));
  EXPECT_THAT(OffsetsOf(again.map().bad_records()), ElementsAre(30));
  h_.Done(a_, again, Done(1));
  h_.Pass(absl::Seconds(10));
  for (const proto::Grant& grant : h_.TakeGrants(a_)) {
    ASSERT_TRUE(grant.has_check()) << grant.attempt().task().kind();
    EXPECT_EQ(grant.check().dead_letters(0).attempt_uid(),
              again.attempt().attempt_uid());
    h_.Done(a_, grant);
  }
  proto::Grant publish;
  for (const proto::Grant& grant : h_.TakeGrants(a_)) publish = grant;
  EXPECT_THAT(publish.publish().dead_letters(), SizeIs(1));
}

// The part files do not need the map any more, but its records are output too.
TEST_F(BadRecordsSchedulerTest, WhatAWinnerPassedOverStaysWhenItsWorkerIsNew) {
  Begin(5);
  Meet(a_, map_, 30);
  h_.Take(a_);
  h_.Done(a_, map_, Done(1));
  h_.Done(a_, reduce_, testing::ReduceDone(10, "/part"));
  for (const proto::Grant& grant : h_.TakeGrants(a_)) {
    ASSERT_TRUE(grant.has_check());
    h_.Done(a_, grant);
  }
  ASSERT_EQ(h_.Applied(proto::LogEntry::kDecided), 1u);
  h_.Close(a_);
  h_.Pass(absl::Seconds(2));
  ASSERT_EQ(h_.Applied(proto::LogEntry::kWorkerLost), 1u);

  proto::Hello hello = h_.HelloOf(2, "a");
  hello.add_jobs(std::string(job_.bytes()));
  for (const std::string& uid : {map_.attempt().attempt_uid(), Bytes(88)}) {
    proto::HeldOutput* held = hello.add_held();
    held->set_job_id(std::string(job_.bytes()));
    held->set_attempt_uid(uid);
    held->set_root(std::string(h_.job(job_).maps.tasks[0].root_bytes()));
  }
  std::vector<std::string> dropped;
  for (const auto& message : h_.Take(h_.Open(hello))) {
    if (message.has_drop_attempt()) {
      dropped.push_back(message.drop_attempt().attempt_uid());
    }
  }
  EXPECT_THAT(dropped, ElementsAre(Bytes(88)));
}

}  // namespace
}  // namespace millrace::master
