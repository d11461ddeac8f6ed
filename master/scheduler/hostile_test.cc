// Workers that say anything: the core must not fall over, whatever comes, and
// the state must be what its log says.
#include <gtest/gtest.h>

#include "common/random.h"
#include "common/strings.h"
#include "master/scheduler/testing/harness.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using testing::Harness;

class Hostile {
 public:
  explicit Hostile(uint64_t seed) : random_(Random::Seeded(seed)) {}

  void Run() {
    for (int i = 0; i < 4; ++i) jobs_.push_back(Bytes(i));
    sessions_.push_back(h_.Join(1, "w1", 2));
    for (int i = 0; i < 3; ++i) {
      jobs_.emplace_back(h_.SubmitJob(Cat("/out", i)).bytes());
    }
    for (int step = 0; step < 200; ++step) {
      Step();
      for (SessionId session : sessions_) {
        for (const proto::Grant& grant : h_.TakeGrants(session)) {
          attempts_.push_back(grant.attempt());
          if (Pick(2) == 0) h_.Finish(session, grant, 3, Pick(3));
        }
      }
    }
    h_.Pass(absl::Seconds(15));
  }

 private:
  uint32_t Pick(uint32_t bound) {
    return static_cast<uint32_t>(random_->Uniform(bound));
  }

  proto::AttemptRef AnyAttempt() {
    proto::AttemptRef ref;
    if (!attempts_.empty() && Pick(4) != 0) {
      ref = attempts_[Pick(static_cast<uint32_t>(attempts_.size()))];
    }
    if (Pick(3) == 0) ref.set_job_id(jobs_[Pick(jobs_.size())]);
    if (Pick(5) == 0) {
      ref.mutable_task()->set_kind(static_cast<proto::TaskKind>(Pick(8)));
    }
    if (Pick(5) == 0) ref.mutable_task()->set_index(Pick(2) ? Pick(4) : ~0u);
    if (Pick(5) == 0) ref.set_attempt_uid(Pick(2) ? Bytes(Pick(9)) : "short");
    return ref;
  }

  void Outcome(proto::AttemptOutcome* outcome) {
    *outcome->mutable_attempt() = AnyAttempt();
    outcome->set_epoch(Pick(3));
    if (Pick(2) == 0) {
      *outcome->mutable_done() = Pick(2) ? testing::MapDone(Pick(5), Pick(3))
                                         : testing::ReduceDone(Pick(5), "/p");
      outcome->mutable_done()->set_num_maps(Pick(9) ? Pick(6) : ~0u);
      outcome->mutable_done()->set_num_partitions(Pick(9) ? Pick(3) : ~0u);
    } else if (Pick(8) != 0) {
      proto::AttemptFailure* failed = outcome->mutable_failed();
      failed->set_cause(static_cast<proto::FailureCause>(Pick(30)));
      failed->set_retryable(Pick(9) != 0);
      failed->set_map_index(Pick(2) ? Pick(4) : ~0u);
      *failed->mutable_map_uid() = AnyAttempt().attempt_uid();
    }
  }

  proto::Hello AnyHello() {
    const uint32_t who = Pick(4);
    proto::Hello hello =
        h_.HelloOf(1 + who + 4 * Pick(3), Cat("w", who), Pick(4));
    for (uint32_t i = Pick(4); i > 0; --i) {
      proto::RunningAttempt* running = hello.add_running();
      *running->mutable_attempt() = AnyAttempt();
      running->mutable_progress()->set_phase(
          static_cast<proto::AttemptPhase>(Pick(5)));
    }
    for (uint32_t i = Pick(3); i > 0; --i) Outcome(hello.add_outcomes());
    for (uint32_t i = Pick(4); i > 0; --i) {
      proto::HeldOutput* held = hello.add_held();
      const proto::AttemptRef ref = AnyAttempt();
      held->set_job_id(ref.job_id());
      held->set_map_index(ref.task().index());
      held->set_attempt_uid(ref.attempt_uid());
      held->set_root(Pick(2) ? Bytes(Pick(3)) : "short");
    }
    for (uint32_t i = Pick(4); i > 0; --i) {
      hello.add_jobs(Pick(5) ? jobs_[Pick(jobs_.size())] : "short");
    }
    return hello;
  }

  proto::Update AnyUpdate() {
    proto::Update update;
    for (uint32_t i = Pick(3); i > 0; --i) Outcome(update.add_outcomes());
    for (uint32_t i = Pick(3); i > 0; --i) {
      proto::AttemptProgress* progress = update.add_progress();
      progress->set_attempt_uid(AnyAttempt().attempt_uid());
      progress->set_phase(static_cast<proto::AttemptPhase>(Pick(5)));
    }
    for (uint32_t i = Pick(3); i > 0; --i) {
      proto::FetchFailure* failure = update.add_fetch_failures();
      *failure->mutable_reduce() = AnyAttempt();
      failure->set_map_index(Pick(2) ? Pick(4) : ~0u);
      failure->set_map_uid(AnyAttempt().attempt_uid());
      failure->set_source(Bytes(1 + Pick(9)));
      failure->set_gone(Pick(2));
    }
    for (uint32_t i = Pick(2); i > 0; --i) {
      update.add_dropped_jobs(Pick(5) ? jobs_[Pick(jobs_.size())] : "short");
    }
    return update;
  }

  void Step() {
    const SessionId session = sessions_[Pick(sessions_.size())];
    switch (Pick(12)) {
      case 0:
      case 1:
        sessions_.push_back(h_.Open(AnyHello()));
        break;
      case 2:
        h_.Close(session);
        break;
      case 3: {  // A second Hello on a stream.
        WorkerStreamMessage message{session, {}};
        *message.message.mutable_hello() = AnyHello();
        h_.Feed(message);
        break;
      }
      case 4:
        h_.Feed(WorkerStreamMessage{session, {}});
        break;
      case 5:
        h_.Pass(absl::Milliseconds(Pick(3000)));
        break;
      case 6:
        if (Pick(4) == 0) h_.Restart();
        break;
      default:
        h_.Update(session, AnyUpdate());
        break;
    }
  }

  std::unique_ptr<Random> random_;
  Harness h_;
  std::vector<std::string> jobs_;
  std::vector<SessionId> sessions_;
  std::vector<proto::AttemptRef> attempts_;
};

TEST(HostileTest, AJobThatAWorkerDropsTooEarlyGoesOn) {
  Harness h;
  const SessionId w1 = h.Join(1, "w1");
  const JobId job = h.SubmitJob("/out");
  ASSERT_EQ(h.TakeGrants(w1).size(), 1u);
  proto::Update update;
  update.add_dropped_jobs(std::string(job.bytes()));
  h.Update(w1, update);
  const std::vector<proto::Grant> grants = h.TakeGrants(w1);
  ASSERT_EQ(grants.size(), 1u) << "nobody plans it any more";
  h.Finish(w1, grants[0], 2, 1);
  h.RunAll({w1}, 2, 1);
  EXPECT_EQ(h.job(job).state, proto::SUCCEEDED);
}

TEST(HostileTest, AFailureWithoutACauseIsOneAllTheSame) {
  Harness h;
  const SessionId w1 = h.Join(1, "w1");
  const JobId job = h.SubmitJob("/out");
  const std::vector<proto::Grant> grants = h.TakeGrants(w1);
  ASSERT_EQ(grants.size(), 1u);
  h.Fail(w1, grants[0], proto::FAILURE_CAUSE_UNSPECIFIED, /*retryable=*/false);
  ASSERT_EQ(h.job(job).state, proto::FAILED);
  EXPECT_EQ(h.job(job).failure->cause(), proto::INTERNAL);
}

TEST(HostileTest, NothingThatAWorkerSaysBringsTheLeaderDown) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    Hostile(seed).Run();
  }
}

}  // namespace
}  // namespace millrace::master
