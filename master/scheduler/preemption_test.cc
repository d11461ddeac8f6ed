// Lost maps run before reduces, whatever holds the slots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/strings.h"
#include "master/scheduler/scheduler_core.h"
#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using testing::Harness;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::Duration kSecond = absl::Seconds(1);

// Two workers with one slot each, a job of two maps and three reduces.
class PreemptionTest : public ::testing::Test {
 protected:
  struct Granted {
    SessionId session = 0;
    proto::Grant grant;
  };

  void SetUp() override {
    sessions_ = {h_.Join(1, "w1"), h_.Join(2, "w2")};
    job_ = h_.SubmitJob("/out");
    for (int round = 0; round < 4; ++round) {
      for (const Granted& one : Collect()) {
        if (one.grant.has_reduce()) {
          reduces_.push_back(one);
          continue;
        }
        if (one.grant.has_map()) maps_.push_back(one);
        h_.Finish(one.session, one.grant, 2, 3);
      }
      h_.Pass(kSecond / 10);
    }
    ASSERT_EQ(maps_.size(), 2u);
    ASSERT_EQ(reduces_.size(), 3u);
  }

  std::vector<Granted> Collect() {
    std::vector<Granted> grants;
    for (SessionId session : sessions_) {
      for (const proto::MasterMessage& message : h_.Take(session)) {
        if (message.has_grant()) {
          grants.push_back({session, message.grant()});
        } else if (message.has_kill()) {
          kills_.push_back({session, message.kill()});
        }
      }
    }
    return grants;
  }
  void Pass(absl::Duration how_long) {
    for (; how_long > absl::ZeroDuration(); how_long -= kSecond / 2) {
      h_.Pass(kSecond / 2);
      h_.Beat();
    }
  }
  void Execute(const Granted& one) {
    h_.Phase(one.session, one.grant, proto::EXECUTING);
  }
  // The worker has lost the output that it holds; it will not be granted the
  // map again as long as another may take it.
  void LoseMapOf(SessionId holder) {
    lost_ = maps_[0].session == holder ? maps_[0] : maps_[1];
    ASSERT_EQ(lost_.session, holder);
    proto::Update update;
    proto::FetchFailure* failure = update.add_fetch_failures();
    failure->mutable_reduce()->set_job_id(lost_.grant.attempt().job_id());
    failure->set_map_index(lost_.grant.attempt().task().index());
    failure->set_map_uid(lost_.grant.attempt().attempt_uid());
    failure->set_source(Bytes(holder == sessions_[0] ? 1 : 2));
    failure->set_gone(true);
    h_.Update(sessions_[0], update);
    ASSERT_EQ(h_.Applied(proto::LogEntry::kMapLost), 1u);
  }
  // The reduces, by whether they are alone on their worker.
  std::pair<std::vector<Granted>, std::vector<Granted>> ByWorker() {
    std::pair<std::vector<Granted>, std::vector<Granted>> result;
    for (const Granted& one : reduces_) {
      const auto here = std::count_if(
          reduces_.begin(), reduces_.end(),
          [&](const Granted& other) { return other.session == one.session; });
      (here == 1 ? result.first : result.second).push_back(one);
    }
    return result;
  }

  Harness h_;
  std::vector<SessionId> sessions_;
  JobId job_;
  std::vector<Granted> maps_;
  std::vector<Granted> reduces_;
  Granted lost_;
  std::vector<std::pair<SessionId, proto::Kill>> kills_;
};

TEST_F(PreemptionTest, LostMapOvertakesAReduceThatWaits) {
  const auto [alone, pair] = ByWorker();
  ASSERT_EQ(pair.size(), 2u);
  Execute(alone[0]);
  Execute(pair[0]);
  h_.Phase(pair[1].session, pair[1].grant, proto::WAITING);
  LoseMapOf(alone[0].session);
  const auto grants = Collect();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_TRUE(grants[0].grant.has_map());
  EXPECT_EQ(grants[0].session, pair[0].session);
  EXPECT_THAT(kills_, IsEmpty());
  // The reduce before it ends in time: nobody has to make way.
  Pass(2 * kSecond);
  h_.Finish(pair[0].session, pair[0].grant, 2, 3);
  Execute(grants[0]);
  Pass(5 * kSecond);
  Collect();
  EXPECT_THAT(kills_, IsEmpty());
}

TEST_F(PreemptionTest, MapThatWaitsInTheQueueTakesTheSlotOfTheYoungest) {
  const auto [alone, pair] = ByWorker();
  Execute(alone[0]);
  Execute(pair[0]);
  h_.Phase(pair[1].session, pair[1].grant, proto::WAITING);
  LoseMapOf(alone[0].session);
  const auto grants = Collect();
  ASSERT_EQ(grants.size(), 1u);
  h_.Phase(grants[0].session, grants[0].grant, proto::WAITING);
  Pass(4 * kSecond);
  Collect();
  ASSERT_EQ(kills_.size(), 1u);
  EXPECT_EQ(kills_[0].first, pair[0].session);
  EXPECT_EQ(kills_[0].second.attempt_uid(),
            pair[0].grant.attempt().attempt_uid());
  EXPECT_THAT(kills_[0].second.reason(),
              HasSubstr("was lost and has to run again"));
  // No second one while the first is being stopped.
  Pass(5 * kSecond);
  Collect();
  EXPECT_EQ(kills_.size(), 1u);
  // To be stopped is no failure.
  h_.Fail(pair[0].session, pair[0].grant, proto::CANCELLED);
  EXPECT_EQ(h_.job(job_).FindTrouble({proto::REDUCE_TASK, 0}), nullptr);
  EXPECT_EQ(h_.Applied(proto::LogEntry::kAttemptFailed), 0u);
}

TEST_F(PreemptionTest, WithoutAQueueTheYoungestOfAllMakesWay) {
  const auto [alone, pair] = ByWorker();
  // One is done, two run.
  h_.Finish(pair[1].session, pair[1].grant, 2, 3);
  Execute(pair[0]);
  Pass(kSecond);
  Execute(alone[0]);
  LoseMapOf(pair[0].session);
  EXPECT_TRUE(Collect().empty());
  Pass(2 * kSecond);
  EXPECT_THAT(kills_, IsEmpty());
  Pass(2 * kSecond);
  const auto grants = Collect();
  ASSERT_EQ(kills_.size(), 1u);
  EXPECT_EQ(kills_[0].second.attempt_uid(),
            alone[0].grant.attempt().attempt_uid());
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_TRUE(grants[0].grant.has_map());
  EXPECT_EQ(grants[0].session, alone[0].session);
}

TEST_F(PreemptionTest, FreeSlotNeedsNoForce) {
  const auto [alone, pair] = ByWorker();
  h_.Finish(pair[0].session, pair[0].grant, 2, 3);
  h_.Finish(pair[1].session, pair[1].grant, 2, 3);
  Execute(alone[0]);
  LoseMapOf(alone[0].session);
  const auto grants = Collect();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].session, pair[0].session);
  Pass(10 * kSecond);
  Collect();
  EXPECT_THAT(kills_, IsEmpty());
}

}  // namespace
}  // namespace millrace::master
