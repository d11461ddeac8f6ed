// An AgentCore against a world that answers late, in any order, and badly. The
// world knows the rules between the two and none of the core's reasons.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "worker/testing/agent_harness.h"

namespace millrace::worker {
namespace {

class AgentWorld : public AgentTest {
 protected:
  void TestBody() override {}

 public:
  explicit AgentWorld(uint64_t seed) : dice_(Random::Seeded(seed)) {
    options_.slots = static_cast<uint32_t>(1 + dice_->Uniform(3));
    Make();
    Obey();
    Connect();
  }

  void Live(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      now_ += absl::Milliseconds(dice_->Uniform(400));
      switch (dice_->Uniform(12)) {
        case 0:
        case 1:
        case 2:
          GrantSomething();
          break;
        case 3:
          KillSomething();
          break;
        case 4:
          if (Rarely(4)) DropSomething();
          break;
        case 5:
          if (Rarely(3)) Disconnect();
          break;
        case 6:
          if (stream_open_ && Rarely(20)) LoseIncarnation();
          break;
        case 7:
          if (Rarely(10)) CrashAChild();
          break;
        case 8:
          Do(Tick{});
          break;
        default:
          Answer();
          break;
      }
      // It has left a leader that said nothing for too long.
      if (hung_up_) Disconnect();
    }
  }

  // Everything is answered and acknowledged; then nothing may be left.
  void ComeToRest() {
    resting_ = true;
    if (!stream_open_) Connect();
    for (int round = 0; round < 20 && !testing::Test::HasFailure(); ++round) {
      while (!answers_.empty() || AnyBusy()) Answer();
      AckAll();
      now_ += absl::Seconds(31);
      Do(Tick{});
    }
    for (const auto& [uid, job] : granted_) {
      EXPECT_TRUE(outcomes_.contains(uid)) << uid.ToShort() << " has no end";
    }
    EXPECT_EQ(dropped_, told_dropped_);
    EXPECT_TRUE(processes_.empty()) << "idle ones go after a while";
    Disconnect();
    Connect();
    EXPECT_EQ(hello_.running_size(), 0);
    EXPECT_EQ(hello_.outcomes_size(), 0) << "all were acknowledged";
  }

  uint64_t done() const { return done_; }

 private:
  enum class Stage { kStarting, kIdle, kBusy, kLeaving };
  struct Process {
    JobId job;
    Stage stage = Stage::kStarting;
    AttemptUid attempt;
  };

  bool Rarely(uint64_t n) { return dice_->Uniform(n) == 0; }
  bool AnyBusy() const {
    for (const auto& [number, process] : processes_) {
      if (process.stage == Stage::kBusy) return true;
    }
    return false;
  }

  void Do(const Event& event) {
    Tell(event);
    Obey();
  }
  void DoCommand(proto::MasterMessage message) {
    Command(std::move(message));
    Obey();
  }

  void Connect() {
    Open();
    hello_ = Hello();
    stream_open_ = true;
    Hear(hello_.outcomes());
    for (const proto::RunningAttempt& running : hello_.running()) {
      const auto uid = AttemptUid::FromBytes(running.attempt().attempt_uid());
      EXPECT_TRUE(granted_.contains(*uid)) << "runs what nobody granted";
      EXPECT_FALSE(outcomes_.contains(*uid)) << "runs what is over";
    }
    Obey();
    Welcome();
    Obey();
    introduced_.clear();
    AckAll();
    // A leader that finds jobs it has dropped says so again; of the others
    // nothing is left.
    std::set<JobId> present;
    for (const std::string& bytes : hello_.jobs()) {
      present.insert(*JobId::FromBytes(bytes));
    }
    for (const JobId& job : dropped_) {
      if (!present.contains(job)) told_dropped_.insert(job);
    }
    for (const JobId& job : present) {
      if (dropped_.contains(job)) DropNow(job);
    }
  }
  void Disconnect() {
    hung_up_ = false;
    if (!stream_open_) return;
    stream_open_ = false;
    Do(StreamClosed{stream_});
    if (!resting_ && Rarely(2)) Do(Tick{});
    if (!resting_) Connect();
  }
  void LoseIncarnation() {
    proto::MasterMessage message;
    message.mutable_refused()->set_reason(proto::INCARNATION_LOST);
    Command(message);
    // Nothing of the old one will ever be told.
    std::erase_if(granted_, [&](const auto& entry) {
      return !outcomes_.contains(entry.first);
    });
    Obey();
    Disconnect();
  }

  JobId SomeJob() { return Job("abc"[dice_->Uniform(3)]); }

  void GrantSomething() {
    const JobId job = SomeJob();
    if (dropped_.contains(job)) return;
    if (introduced_.insert(job).second) {
      proto::JobSpec spec = Spec(job == Job('a') ? 'p' : 'q');
      spec.set_fresh_process(job == Job('c'));
      Introduce(job, spec);
      Obey();
    }
    const int uid = next_uid_++;
    granted_[Uid(uid)] = job;
    constexpr proto::TaskKind kKinds[] = {
        proto::PLAN_TASK,  proto::MAP_TASK,    proto::MAP_TASK,
        proto::MAP_TASK,   proto::REDUCE_TASK, proto::REDUCE_TASK,
        proto::CHECK_TASK, proto::PUBLISH_TASK};
    Give(kKinds[dice_->Uniform(8)], uid, 0, job);
    Obey();
  }
  void KillSomething() {
    if (next_uid_ == 1) return;
    Kill(static_cast<int>(1 + dice_->Uniform(next_uid_ - 1)));
    Obey();
  }
  void DropSomething() {
    const JobId job = SomeJob();
    if (dropped_.insert(job).second) DropNow(job);
  }
  void DropNow(const JobId& job) {
    std::erase_if(granted_,
                  [&](const auto& entry) { return entry.second == job; });
    Drop(job, true);
    Obey();
  }
  void CrashAChild() {
    if (processes_.empty()) return;
    auto at = processes_.begin();
    std::advance(at, dice_->Uniform(processes_.size()));
    const ChildNumber number = at->first;
    processes_.erase(at);
    Do(Exit(number, proto::CRASHED, "signal 11"));
  }

  void AckAll() {
    proto::MasterMessage message;
    for (const auto& uid : to_ack_) {
      message.mutable_ack()->add_attempt_uids(std::string(uid.bytes()));
    }
    to_ack_.clear();
    if (message.has_ack()) DoCommand(message);
  }

  void Hear(
      const google::protobuf::RepeatedPtrField<proto::AttemptOutcome>& news) {
    for (const proto::AttemptOutcome& outcome : news) {
      const auto uid = *AttemptUid::FromBytes(outcome.attempt().attempt_uid());
      if (!granted_.contains(uid) && !outcomes_.contains(uid)) continue;
      const std::string bytes = outcome.SerializeAsString();
      const auto [at, is_new] = outcomes_.emplace(uid, bytes);
      EXPECT_EQ(at->second, bytes) << "an outcome does not change";
      if (is_new && outcome.has_done()) ++done_;
      to_ack_.insert(uid);
    }
  }

  // Carries out the last step's effects, late: answers wait in answers_.
  void Obey() {
    for (const Effect& effect : std::exchange(effects_, {})) {
      std::visit([this](const auto& e) { Carry(e); }, effect);
    }
  }
  void Carry(const Send& send) {
    if (!send.message.has_update()) return;
    Hear(send.message.update().outcomes());
    for (const std::string& job : send.message.update().dropped_jobs()) {
      const JobId id = *JobId::FromBytes(job);
      EXPECT_TRUE(dropped_.contains(id));
      told_dropped_.insert(id);
    }
  }
  void Carry(const CloseStream& e) { hung_up_ = e.stream == stream_; }
  void Carry(const FetchBlob& e) {
    if (!resting_ && Rarely(10)) {
      answers_.push_back(
          BlobFailed{e.sha256, absl::UnavailableError("no masters")});
    } else {
      answers_.push_back(BlobReady{e.sha256});
    }
  }
  std::optional<proto::AttemptFailure> MaybeFailure() {
    if (!Rarely(8)) return std::nullopt;
    proto::AttemptFailure failure;
    failure.set_cause(proto::OUTPUT_FAILED);
    return failure;
  }
  void Carry(const PrepareAttempt& e) {
    ++work_[e.job];
    answers_.push_back(AttemptPrepared{e.attempt, e.job, MaybeFailure()});
  }
  void Carry(const PutPlan& e) {
    ++work_[e.job];
    answers_.push_back(PlanStored{e.attempt, e.job, Sha('P'), MaybeFailure()});
  }
  void Carry(const RunCheck& e) {
    ++work_[e.job];
    answers_.push_back(
        OutputChecked{e.attempt, e.job, Sha('M'), MaybeFailure()});
  }
  void Carry(const RunPublish& e) {
    ++work_[e.job];
    answers_.push_back(OutputPublished{e.attempt, e.job, MaybeFailure()});
  }
  void Carry(const DeleteJob& e) {
    EXPECT_EQ(work_[e.job], 0) << "deleted while work on it is under way";
    for (const auto& [number, process] : processes_) {
      EXPECT_NE(process.job, e.job) << "deleted under a process";
    }
    answers_.push_back(JobDeleted{e.job, !resting_ && Rarely(3)
                                             ? absl::UnavailableError("store")
                                             : absl::OkStatus()});
  }
  void Carry(const DeleteAttempt& e) {
    for (const auto& [number, process] : processes_) {
      EXPECT_NE(process.attempt, e.attempt) << "deleted under a process";
    }
  }
  void Carry(const StartChild& e) {
    processes_[e.child] = {e.job, Stage::kStarting, e.attempt};
    EXPECT_LE(processes_.size(), options_.slots);
    answers_.push_back(ChildReady{e.child});
  }
  void Carry(const RunTask& e) {
    ASSERT_TRUE(processes_.contains(e.child));
    Process& process = processes_[e.child];
    EXPECT_EQ(process.stage, Stage::kIdle) << "a task for a process not free";
    EXPECT_EQ(process.job, e.job);
    process.stage = Stage::kBusy;
    process.attempt = *AttemptUid::FromBytes(e.task.attempt_uid());
    EXPECT_TRUE(granted_.contains(process.attempt));
    EXPECT_FALSE(outcomes_.contains(process.attempt));
  }
  void Carry(const KillChild& e) { Leave(e.child); }
  void Carry(const StopChild& e) { Leave(e.child); }
  void Leave(ChildNumber number) {
    const auto at = processes_.find(number);
    ASSERT_TRUE(at != processes_.end());
    EXPECT_NE(at->second.stage, Stage::kLeaving) << "told to go twice";
    at->second.stage = Stage::kLeaving;
    answers_.push_back(Exit(number, proto::CANCELLED));
  }
  void Carry(const StartFetch& e) {
    EXPECT_TRUE(fetching_.insert(e.input.attempt).second);
    answers_.push_back(FetchProgressed{{e.input.attempt, 1, 2}});
    InputReady ready = TwoInputs(0);
    ready.attempt = e.input.attempt;
    answers_.push_back(InputArrived{ready});
  }
  void Carry(const CancelFetch& e) { fetching_.erase(e.attempt); }
  template <typename E>
  void Carry(const E&) {}

  // One answer of those under way, or the end of a task.
  void Answer() {
    AckAll();
    if (answers_.empty() || Rarely(3)) {
      for (auto& [number, process] : processes_) {
        if (process.stage != Stage::kBusy || Rarely(3)) continue;
        const ChildNumber child = number;
        const AttemptUid uid = process.attempt;
        process.attempt = AttemptUid();
        process.stage = Stage::kIdle;
        if (Rarely(4)) {
          proto::TaskFailed failed;
          failed.set_cause(proto::USER_EXCEPTION);
          process.attempt = uid;  // Its files are in use until it has ended.
          Do(ChildFailed{child, failed, "log"});
        } else {
          proto::TaskDone done;
          done.set_attempt_uid(std::string(uid.bytes()));
          Do(ChildDone{child, done});
        }
        return;
      }
    }
    if (answers_.empty()) return;
    const size_t i = dice_->Uniform(answers_.size());
    const Event event = answers_[i];
    answers_.erase(answers_.begin() + static_cast<std::ptrdiff_t>(i));
    if (const auto* ready = std::get_if<ChildReady>(&event)) {
      const auto at = processes_.find(ready->child);
      if (at == processes_.end() || at->second.stage != Stage::kStarting) {
        return;
      }
      at->second.stage = Stage::kIdle;
    } else if (const auto* exited = std::get_if<ChildExited>(&event)) {
      if (processes_.erase(exited->child) == 0) return;
    } else {
      std::visit([this](const auto& e) { Settle(e); }, event);
    }
    Do(event);
  }
  void Settle(const AttemptPrepared& e) { --work_[e.job]; }
  void Settle(const PlanStored& e) { --work_[e.job]; }
  void Settle(const OutputChecked& e) { --work_[e.job]; }
  void Settle(const OutputPublished& e) { --work_[e.job]; }
  template <typename E>
  void Settle(const E&) {}

  const std::unique_ptr<Random> dice_;
  bool stream_open_ = false;
  bool hung_up_ = false;
  bool resting_ = false;
  proto::Hello hello_;
  std::deque<Event> answers_;
  std::map<ChildNumber, Process> processes_;
  std::map<JobId, int> work_;
  std::set<AttemptUid> fetching_;
  std::set<JobId> introduced_;
  std::set<JobId> dropped_;
  std::set<JobId> told_dropped_;
  // Whose end is owed.
  std::map<AttemptUid, JobId> granted_;
  std::map<AttemptUid, std::string> outcomes_;
  std::set<AttemptUid> to_ack_;
  int next_uid_ = 1;
  uint64_t done_ = 0;
};

TEST(AgentRandomTest, EveryGrantEndsOnceWhateverHappens) {
  uint64_t done = 0;
  for (uint64_t seed = 0; seed < 1'500; ++seed) {
    SCOPED_TRACE(Cat("seed ", seed));
    AgentWorld world(seed);
    world.Live(250);
    if (!testing::Test::HasFailure()) world.ComeToRest();
    done += world.done();
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(done, 10'000u) << "the world is too bad to tell anything";
}

}  // namespace
}  // namespace millrace::worker
