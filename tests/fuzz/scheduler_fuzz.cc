// What a leader makes of anything that workers and clients say, over a log in
// memory that is slow, loses its tail and is replayed. The checker of the
// simulation judges the log; beside it: a task has one live attempt, no uid
// comes twice, every call gets one answer, no message is too long, a replay
// comes to the same state. At the end the liars are gone, and one honest worker
// must bring every job to an end.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/logging.h"
#include "common/random.h"
#include "common/strings.h"
#include "master/scheduler/scheduler_core.h"
#include "master/scheduler/testing/index_check.h"
#include "master/state/limits.h"
#include "master/state/testing/entries.h"
#include "rpc/limits.h"
#include "tests/fuzz/dice.h"
#include "tests/sim/checker.h"

namespace millrace::master {
namespace {

using testing::Bytes;
using testing::MakeId;
using TaskKey = std::pair<JobId, TaskId>;

class World {
 public:
  explicit World(Dice& dice) : dice_(dice) {
    options_.live_jobs_max = 5;
    options_.finished_jobs_kept = 3;
    options_.session_backlog_max = 5;
    for (uint64_t i = 0; i < 3; ++i) jobs_.push_back(Bytes(i));
    StartMaster();
  }

  void Live() {
    for (int step = 0; step < 400 && !dice_.Done(); ++step) Step();
  }

  // Everybody is gone, and somebody honest comes.
  void ComeToRest() {
    if (!leading_) Lead();
    Commit(log_delay_.size());
    const std::vector<SessionId> gone(open_.begin(), open_.end());
    for (SessionId session : gone) Close(session);
    honest_ = OpenStream();
    Say(honest_, HelloOf(99, "honest", 2));
    for (int round = 0; round < 400 && !state_->live_jobs().empty(); ++round) {
      Commit(log_delay_.size());
      Pass(absl::Milliseconds(500));
      WorkHonestly();
    }
    for (const auto& [index, job] : state_->live_jobs()) {
      LOG(FATAL) << "job " << job->id.ToShort() << " of state " << job->state
                 << " does not end";
    }
    Commit(log_delay_.size());
    CHECK(asked_.empty()) << "a call without an answer: " << *asked_.begin();
  }

 private:
  struct Logged {
    uint64_t term = 0;
    proto::LogEntry entry;
  };

  void Judge() { CHECK(checker_.violation().empty()) << checker_.violation(); }

  // ---------------------------------------------------------------- the log

  void StartMaster() {
    const uint64_t hash = state_ == nullptr ? 0 : state_->Hash();
    const uint64_t known = state_ == nullptr ? 0 : state_->applied_index();
    core_.reset();
    state_ = std::make_unique<State>();
    for (size_t i = 0; i < log_.size(); ++i) {
      state_->Apply(i + 1, log_[i].term, log_[i].entry);
      if (i + 1 == known) CHECK_EQ(state_->Hash(), hash);
    }
    core_ = std::make_unique<SchedulerCore>(options_, *state_, *random_);
    open_.clear();
    asked_.clear();  // Their connections are gone too.
    Lead();
  }
  void Lead() {
    leading_ = true;
    live_.clear();  // A new leader hears of them in Hellos.
    Feed(BecameLeader{++term_, {}});
  }
  void LoseTerm() {
    if (!leading_) return;
    leading_ = false;
    log_delay_.resize(
        dice_.Below(static_cast<uint32_t>(log_delay_.size()) + 1));
    Feed(LostLeadership{"other:1"});
    CHECK(asked_.empty()) << "nobody answers for a leader of the past";
  }

  void Commit(size_t count) {
    for (; count > 0 && !log_delay_.empty(); --count) {
      const Logged logged = std::move(log_delay_.front());
      log_delay_.pop_front();
      log_.push_back(logged);
      const ApplyResult result =
          state_->Apply(log_.size(), logged.term, logged.entry);
      NoteEntry(logged.entry, result);
      checker_.OnApplied(logged.entry, result, *state_);
      Judge();
      CHECK(result.refusal != Refusal::kVersion) << result.message;
      Feed(EntryApplied{log_.size(), logged.term, &logged.entry, &result});
    }
  }

  // What a reduce of an epoch has read are the roots of that epoch, whoever
  // says that it is done.
  void NoteEntry(const proto::LogEntry& entry, const ApplyResult& result) {
    if (entry.has_decided() && result.applied()) {
      const Job& job = *state_->FindJob(result.job);
      std::map<uint32_t, std::string> roots;
      for (uint32_t i = 0; i < job.maps.total; ++i) {
        roots[i] = job.maps.tasks[i].root_bytes();
      }
      for (const Task& reduce : job.reduces.tasks) {
        checker_.OnConsumed(reduce.uid, roots);
      }
      live_.erase({result.job, {proto::CHECK_TASK, 0}});
    }
    if (entry.has_decided()) live_.erase({result.job, {proto::CHECK_TASK, 0}});
    if (entry.has_committed()) {
      live_.erase({result.job, {proto::PUBLISH_TASK, 0}});
    }
    const auto over = [this](const proto::AttemptRef& ref) {
      Over(ref.attempt_uid());
    };
    if (entry.has_planned()) over(entry.planned().attempt());
    if (entry.has_map_won()) over(entry.map_won().attempt());
    if (entry.has_reduce_won()) over(entry.reduce_won().attempt());
    if (entry.has_attempt_failed()) over(entry.attempt_failed().attempt());
    if (entry.has_job_submitted() && result.applied()) {
      jobs_.emplace_back(result.job.bytes());
    }
  }
  void Over(const std::string& uid) {
    std::erase_if(live_, [&uid](const auto& item) {
      return item.second.uid.bytes() == uid;
    });
  }

  // ------------------------------------------------------------- the leader

  void Feed(const Event& event) {
    std::set<JobId> changed;
    const std::vector<Effect> effects = core_->Step(event, now_, 1'000'000);
    const std::string fault = testing::IndexFault(core_->soft_state());
    CHECK(fault.empty()) << "the index is wrong: " << fault;
    for (const Effect& effect : effects) {
      if (const auto* propose = std::get_if<Propose>(&effect)) {
        CHECK_LE(propose->entry.ByteSizeLong(), rpc::kMessageBytesMax);
        if (leading_) log_delay_.push_back({term_, propose->entry});
      } else if (const auto* send = std::get_if<Send>(&effect)) {
        OnSent(*send);
      } else if (const auto* close = std::get_if<CloseSession>(&effect)) {
        open_.erase(close->session);
      } else if (const auto* reply = std::get_if<Reply>(&effect)) {
        CHECK_EQ(asked_.erase(reply->tag), 1u) << "answered twice";
      } else if (const auto* job = std::get_if<JobChanged>(&effect)) {
        CHECK(changed.insert(job->job).second);
      }
    }
  }

  void OnSent(const Send& send) {
    CHECK_EQ(send.message->term(), term_);
    CHECK_LE(send.message->ByteSizeLong(), rpc::kMessageBytesMax);
    for (const std::string& uid : send.message->ack().attempt_uids()) Over(uid);
    if (send.session == honest_) told_.push_back(*send.message);
    if (!send.message->has_grant()) return;
    const proto::Grant& grant = send.message->grant();
    const proto::AttemptRef& ref = grant.attempt();
    const auto uid = AttemptUid::FromBytes(ref.attempt_uid());
    CHECK(granted_.insert(*uid).second) << "I6: a uid comes twice";
    const TaskKey key{*JobId::FromBytes(ref.job_id()),
                      TaskId::From(ref.task())};
    const auto speaker = speakers_.find(send.session);
    CHECK(speaker != speakers_.end()) << "a command before any Hello";
    // One, or two of which one is speculative, on different workers.
    int others = 0;
    bool speculative = ref.speculative();
    const auto [first, last] = live_.equal_range(key);
    for (auto at = first; at != last; ++at) {
      const Worker* worker = state_->FindWorker(at->second.worker);
      if (worker == nullptr || !worker->alive) continue;
      CHECK(at->second.worker != speaker->second)
          << "I11: " << ToString(key.second) << " beside itself";
      ++others;
      speculative |= at->second.speculative;
    }
    CHECK_LE(others, speculative ? 1 : 0)
        << "I11: " << ToString(key.second) << " has too many live attempts";
    live_.insert({key, {*uid, speaker->second, ref.speculative()}});
    attempts_.push_back(ref);
    grants_.push_back({send.session, grant});
  }

  void Pass(absl::Duration how_long) {
    const absl::Duration end = now_ + how_long;
    for (int i = 0; i < 1000 && now_ < end; ++i) {
      now_ = std::min(
          end, std::max(now_ + absl::Milliseconds(20), core_->NextDeadline()));
      if (core_->NextDeadline() <= now_) Feed(Tick{});
    }
    now_ = end;
  }

  // ------------------------------------------------------------ the workers

  SessionId OpenStream() {
    const SessionId session = next_session_++;
    open_.insert(session);
    Feed(WorkerStreamOpened{session});
    return session;
  }
  void Close(SessionId session) {
    if (open_.erase(session) > 0) Feed(WorkerStreamClosed{session});
  }
  // A plan of a size that this can run to its end, or one that is too large.
  static void Bound(
      google::protobuf::RepeatedPtrField<proto::AttemptOutcome>* outcomes) {
    for (proto::AttemptOutcome& outcome : *outcomes) {
      if (!outcome.has_done()) continue;
      proto::TaskDone* done = outcome.mutable_done();
      if (done->num_maps() <= kMapsMax)
        done->set_num_maps(done->num_maps() % 6);
      if (done->num_partitions() <= kPartitionsMax) {
        done->set_num_partitions(done->num_partitions() % 4);
      }
    }
  }
  void Say(SessionId session, proto::Hello hello) {
    if (open_.count(session) == 0) return;
    Bound(hello.mutable_outcomes());
    if (const auto who = WorkerIncarnation::FromBytes(hello.incarnation())) {
      speakers_[session] = *who;
      std::set<std::string> known;
      for (const auto& running : hello.running()) {
        known.insert(running.attempt().attempt_uid());
      }
      for (const auto& outcome : hello.outcomes()) {
        known.insert(outcome.attempt().attempt_uid());
      }
      std::erase_if(live_, [&](const auto& item) {
        return item.second.worker == *who &&
               known.count(std::string(item.second.uid.bytes())) == 0;
      });
    }
    proto::WorkerMessage message;
    *message.mutable_hello() = std::move(hello);
    Feed(WorkerStreamMessage{session, std::move(message)});
  }
  void Tell(SessionId session, proto::Update update) {
    if (open_.count(session) == 0) return;
    Bound(update.mutable_outcomes());
    for (const std::string& job : update.dropped_jobs()) {
      std::erase_if(live_, [&](const auto& item) {
        return item.first.first.bytes() == job &&
               speakers_.count(session) > 0 &&
               item.second.worker == speakers_[session];
      });
    }
    proto::WorkerMessage message;
    *message.mutable_update() = std::move(update);
    Feed(WorkerStreamMessage{session, std::move(message)});
  }

  static proto::Hello HelloOf(uint64_t worker, const std::string& name,
                              uint32_t slots) {
    proto::Hello hello;
    hello.set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
    hello.set_name(name);
    hello.set_incarnation(Bytes(worker));
    hello.set_slots(slots);
    hello.set_address(name + ":1");
    hello.set_spool_dir("/spool/" + name);
    return hello;
  }

  // What an honest worker says of a grant that it has carried out.
  static proto::AttemptOutcome Honest(const proto::Grant& grant) {
    proto::AttemptOutcome outcome;
    *outcome.mutable_attempt() = grant.attempt();
    outcome.set_epoch(grant.epoch());
    outcome.set_plan_sha256(std::string(32, 'p'));
    outcome.set_manifest_sha256(std::string(32, 'm'));
    proto::TaskDone* done = outcome.mutable_done();
    if (grant.has_plan()) {
      done->set_num_maps(2);
      done->set_num_partitions(2);
    } else if (grant.has_map()) {
      *done = testing::MapDone(10 * grant.map().num_partitions(),
                               grant.attempt().task().index());
    } else if (grant.has_reduce()) {
      *done = testing::ReduceDone(10 * grant.reduce().num_maps(), "/part");
    }
    return outcome;
  }
  void WorkHonestly() {
    proto::Update update;
    for (const proto::MasterMessage& message : std::exchange(told_, {})) {
      if (message.has_grant()) *update.add_outcomes() = Honest(message.grant());
      if (message.has_drop_job()) {
        update.add_dropped_jobs(message.drop_job().job_id());
      }
      CHECK(!message.has_refused()) << message.refused().message();
    }
    Tell(honest_, update);
  }

  // -------------------------------------------------------------- the liars

  proto::AttemptRef AnyAttempt() {
    proto::AttemptRef ref;
    if (!attempts_.empty()) ref = dice_.Of(attempts_);
    if (attempts_.empty() || dice_.OneIn(6)) {
      ref.set_job_id(dice_.Of(jobs_));
      ref.mutable_task()->set_kind(
          static_cast<proto::TaskKind>(dice_.Number(7)));
      ref.mutable_task()->set_index(dice_.Number(5));
    }
    if (dice_.OneIn(8)) ref.set_attempt_uid(Bytes(dice_.Below(20)));
    return ref;
  }

  proto::AttemptOutcome AnyOutcome() {
    proto::AttemptOutcome outcome;
    if (!grants_.empty() && !dice_.OneIn(3)) {
      outcome = Honest(dice_.Of(grants_).second);
      if (dice_.OneIn(4)) return outcome;
    }
    if (dice_.OneIn(3)) *outcome.mutable_attempt() = AnyAttempt();
    if (dice_.OneIn(4)) outcome.set_epoch(dice_.Number(4));
    switch (dice_.Below(4)) {
      case 0:
        *outcome.mutable_done() =
            testing::MapDone(dice_.Number(20), dice_.Below(3));
        outcome.mutable_done()->set_num_maps(dice_.Number(6));
        outcome.mutable_done()->set_num_partitions(dice_.Number(4));
        break;
      case 1:
        *outcome.mutable_done() = testing::ReduceDone(dice_.Number(30), "/p");
        break;
      case 2: {
        proto::AttemptFailure* failed = outcome.mutable_failed();
        failed->set_cause(static_cast<proto::FailureCause>(dice_.Number(32)));
        failed->set_retryable(!dice_.OneIn(4));
        failed->set_message(dice_.Text());
        failed->set_map_index(dice_.Number(4));
        failed->set_map_uid(AnyAttempt().attempt_uid());
        break;
      }
      default:
        break;
    }
    return dice_.Changed(std::move(outcome));
  }

  proto::Hello AnyHello() {
    const uint32_t who = dice_.Below(4);
    proto::Hello hello =
        HelloOf(1 + who + 4 * dice_.Below(3), Cat("w", who), dice_.Number(4));
    for (uint32_t i = dice_.Below(4); i > 0; --i) {
      proto::RunningAttempt* running = hello.add_running();
      *running->mutable_attempt() = AnyAttempt();
      running->set_epoch(dice_.Number(3));
      running->mutable_progress()->set_phase(
          static_cast<proto::AttemptPhase>(dice_.Number(5)));
    }
    for (uint32_t i = dice_.Below(3); i > 0; --i) {
      *hello.add_outcomes() = AnyOutcome();
    }
    for (uint32_t i = dice_.Below(4); i > 0; --i) {
      proto::HeldOutput* held = hello.add_held();
      const proto::AttemptRef ref = AnyAttempt();
      held->set_job_id(ref.job_id());
      held->set_map_index(ref.task().index());
      held->set_attempt_uid(ref.attempt_uid());
      held->set_root(Bytes(dice_.Below(4)));
    }
    for (uint32_t i = dice_.Below(4); i > 0; --i) {
      hello.add_jobs(dice_.Of(jobs_));
    }
    hello.set_more(dice_.OneIn(10));
    return dice_.Changed(std::move(hello));
  }

  proto::Update AnyUpdate() {
    proto::Update update;
    for (uint32_t i = dice_.Below(3); i > 0; --i) {
      *update.add_outcomes() = AnyOutcome();
    }
    for (uint32_t i = dice_.Below(3); i > 0; --i) {
      proto::AttemptProgress* progress = update.add_progress();
      progress->set_attempt_uid(AnyAttempt().attempt_uid());
      progress->set_phase(static_cast<proto::AttemptPhase>(dice_.Number(5)));
    }
    for (uint32_t i = dice_.Below(3); i > 0; --i) {
      proto::FetchFailure* failure = update.add_fetch_failures();
      *failure->mutable_reduce() = AnyAttempt();
      failure->set_map_index(dice_.Number(4));
      failure->set_map_uid(AnyAttempt().attempt_uid());
      failure->set_source(Bytes(1 + dice_.Below(12)));
      failure->set_gone(dice_.OneIn(2));
      failure->set_message(dice_.Text());
    }
    for (uint32_t i = dice_.Below(2); i > 0; --i) {
      update.add_dropped_jobs(dice_.Of(jobs_));
    }
    for (uint32_t i = dice_.Below(2); i > 0; --i) {
      update.add_stopped_jobs(dice_.Of(jobs_));
    }
    if (dice_.OneIn(8)) update.set_disk_low(dice_.OneIn(2));
    return dice_.Changed(std::move(update));
  }

  // ------------------------------------------------------------ the clients

  void Ask() {
    const ReplyTag tag = next_tag_++;
    asked_.insert(tag);
    switch (dice_.Below(6)) {
      case 0:
        return Feed(
            ClientKill{tag, *JobId::FromBytes(dice_.Of(jobs_)), dice_.Text()});
      case 1:
        return Feed(ClientDrain{tag, Cat("w", dice_.Below(5)), dice_.OneIn(2)});
      default: {
        proto::JobSpec spec;
        spec.set_name("job");
        spec.set_program_sha256(std::string(32, 'x'));
        spec.add_inputs("/in");
        spec.set_output(Cat("/out", dice_.Below(6)));
        spec.set_max_attempts(dice_.Number(4));
        return Feed(ClientSubmit{tag, MakeId<RequestId>(dice_.Below(12)),
                                 dice_.Changed(std::move(spec))});
      }
    }
  }

  template <typename Reply>
  static void Page(const Reply& reply) {
    CHECK_LE(reply.ByteSizeLong(), rpc::kMessageBytesMax);
  }
  void Look() {
    proto::ListJobsReply jobs;
    core_->FillJobs(dice_.Number(4), dice_.Number(60), &jobs);
    Page(jobs);
    proto::ListWorkersReply workers;
    core_->FillWorkers(dice_.Number(8), &workers);
    Page(workers);
    proto::WorkerStatus worker;
    core_->FillWorker(Cat("w", dice_.Below(5)), &worker).IgnoreError();
    const TaskId after{static_cast<proto::TaskKind>(dice_.Number(7)),
                       dice_.Number(5)};
    for (const auto& [index, job] : state_->jobs()) {
      proto::JobStatus status;
      core_->FillJobStatus(*job, &status);
      proto::GetJobReply reply;
      core_->FillCounters(*job, &reply);
      core_->FillTasks(*job, dice_.OneIn(2) ? &after : nullptr, &reply);
      Page(reply);
      proto::LogCursor cursor;
      cursor.set_list(dice_.Number(4));
      *cursor.mutable_after() = AnyAttempt().task();
      proto::LocateLogsReply logs;
      core_->FillLogs(*job, dice_.OneIn(2) ? &after : nullptr,
                      dice_.Changed(std::move(cursor)), &logs);
      Page(logs);
    }
  }

  // ---------------------------------------------------------------- a step

  SessionId AnySession() {
    if (open_.empty()) return OpenStream();
    auto at = open_.begin();
    std::advance(at, dice_.Below(static_cast<uint32_t>(open_.size())));
    return *at;
  }
  void Step() {
    switch (dice_.Below(16)) {
      case 0:
        return Say(OpenStream(), AnyHello());
      case 1:
        return Say(AnySession(), AnyHello());
      case 2:
        return Close(AnySession());
      case 3:
        return Ask();
      case 4:
        return Pass(absl::Milliseconds(dice_.Number(3000) % 20'000));
      case 5:
        if (dice_.OneIn(3)) return LoseTerm();
        return leading_ ? Look() : Lead();
      case 6:
        if (!dice_.OneIn(8)) return Commit(log_delay_.size());
        log_delay_.resize(
            dice_.Below(static_cast<uint32_t>(log_delay_.size()) + 1));
        return StartMaster();
      case 7:
      case 8:
        return Commit(dice_.Below(4));
      case 9:  // The one that was asked answers, well.
        if (grants_.empty()) return;
        {
          const auto& [session, grant] = dice_.Of(grants_);
          proto::Update update;
          *update.add_outcomes() = Honest(grant);
          return Tell(session, update);
        }
      case 10:  // All of them do.
        for (const auto& [session, grant] : std::exchange(grants_, {})) {
          proto::Update update;
          *update.add_outcomes() = Honest(grant);
          Tell(session, update);
        }
        return;
      default:
        return Tell(AnySession(), AnyUpdate());
    }
  }

  Dice& dice_;
  SchedulerOptions options_;
  const std::unique_ptr<Random> random_ = Random::Seeded(7);
  std::unique_ptr<State> state_;
  std::unique_ptr<SchedulerCore> core_;
  const std::vector<sim::CheckedWorker*> no_workers_;
  sim::Checker checker_{no_workers_};
  absl::Duration now_ = absl::Seconds(1000);

  std::vector<Logged> log_;
  std::deque<Logged> log_delay_;  // Proposed, not committed.
  uint64_t term_ = 0;
  bool leading_ = false;

  SessionId next_session_ = 1;
  std::set<SessionId> open_;
  std::map<SessionId, WorkerIncarnation> speakers_;
  SessionId honest_ = 0;
  std::vector<proto::MasterMessage> told_;  // The honest one.
  ReplyTag next_tag_ = 1;
  std::set<ReplyTag> asked_;

  std::vector<std::string> jobs_;
  std::vector<proto::AttemptRef> attempts_;
  std::vector<std::pair<SessionId, proto::Grant>> grants_;
  std::set<AttemptUid> granted_;
  struct LiveAttempt {
    AttemptUid uid;
    WorkerIncarnation worker;
    bool speculative = false;
  };
  // That the leader must think to be under way.
  std::multimap<TaskKey, LiveAttempt> live_;
};

}  // namespace
}  // namespace millrace::master

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::Dice dice(data);
  millrace::master::World world(dice);
  world.Live();
  world.ComeToRest();
  return 0;
}
