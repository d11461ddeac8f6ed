// A worker's core under any commands of any masters, and answers that come
// late, in any order, or not at all. The world around it is a lawful one:
// processes and files do what they were told. Whatever comes: never more
// processes than slots, no task for a process that has one, nothing deleted
// under a process or while work on it is under way, one outcome for each
// attempt, which never changes, no message that is too long, no path outside of
// the worker's directory and the outputs of the jobs. At the end everything is
// answered, and nothing may hang.
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
#include "rpc/limits.h"
#include "tests/fuzz/any_master.h"
#include "tests/fuzz/dice.h"
#include "worker/agent/agent_core.h"

namespace millrace::worker {
namespace {

constexpr char kRoot[] = "/w";

class World {
 public:
  explicit World(Dice& dice) : dice_(dice) {
    options_.name = "w1";
    options_.version = "1";
    options_.address = "127.0.0.1:7";
    options_.slots = 1 + dice_.Below(3);
    options_.layout.root = kRoot;
    options_.spool.free_bytes_min = 1000;
    FoundSpool found;
    for (uint32_t i = dice_.Below(3); i > 0; --i) {
      found.outputs.push_back(
          {*JobId::FromBytes(IdBytes(dice_.Below(4))), dice_.Below(5),
           *AttemptUid::FromBytes(IdBytes(200 + i)), std::string(16, 'r')});
    }
    for (uint32_t i = dice_.Below(3); i > 0; --i) {
      found.jobs.push_back(*JobId::FromBytes(IdBytes(dice_.Below(6))));
    }
    core_ = std::make_unique<AgentCore>(options_, std::move(found), *random_);
    Obey(core_->Start());
    Do(DiskMeasured{1 << 30});
    Open();
  }

  void Live() {
    for (int i = 0; i < 500 && !dice_.Done() && !gave_up_; ++i) Step();
  }

  // A leader that acknowledges all; everything under way comes to its end.
  void ComeToRest() {
    if (gave_up_) return;
    resting_ = true;
    // Disk, stream and term are as they should be.
    Do(DiskMeasured{1 << 30});
    if (stream_open_) Close();
    Open();
    term_ = hello_.term_seen();
    Welcome(cluster_);
    CHECK(!gave_up_ && stream_open_);
    for (int round = 0; round < 40; ++round) {
      for (int i = 0; i < 10'000 && (!answers_.empty() || AnyBusy()); ++i) {
        Answer();
      }
      proto::MasterMessage ack;
      for (const auto& [uid, bytes] : outcomes_) {
        ack.mutable_ack()->add_attempt_uids(uid);
      }
      Command(std::move(ack));
      now_ += absl::Seconds(31);
      Do(Tick{});
    }
    Close();
    Open();
    CHECK(running_.empty()) << "an attempt hangs";
    CHECK(processes_.empty()) << "idle processes do not go";
    for (const std::string& job : dropped_) {
      CHECK(told_dropped_.count(job) > 0) << "a dropped job is not deleted";
    }
  }

 private:
  enum class Stage { kStarting, kIdle, kBusy, kLeaving };
  struct Process {
    JobId job;
    Stage stage = Stage::kStarting;
    AttemptUid attempt;
  };

  // ------------------------------------------------------------- the master

  void Open() {
    stream_open_ = true;
    hello_.Clear();
    running_.clear();
    Do(StreamOpened{++stream_});
    CHECK(!hello_.more()) << "a Hello without its end";
    for (const std::string& job : dropped_) {
      const auto& jobs = hello_.jobs();
      if (std::find(jobs.begin(), jobs.end(), job) == jobs.end()) {
        told_dropped_.insert(job);
      }
    }
    CHECK_EQ(hello_.incarnation(), core_->incarnation().bytes());
    for (const auto& running : hello_.running()) {
      const std::string& uid = running.attempt().attempt_uid();
      CHECK(running_.insert(uid).second);
      CHECK_EQ(outcomes_.count(uid), 0u) << "runs what is over";
    }
  }
  void Close() {
    stream_open_ = false;
    Do(StreamClosed{stream_});
  }
  void Command(proto::MasterMessage message) {
    if (message.term() == 0) message.set_term(term_);
    if (!stream_open_ || !Expect(message)) return;
    Do(MasterSays{stream_, std::move(message)});
  }
  // Notes what may become of it. False: not even a mad master says it, because
  // a uid never comes again.
  bool Expect(const proto::MasterMessage& message) {
    const auto forget = [this](const auto& which) {
      for (const auto& [uid, job] : granted_) {
        if (which(uid, job)) gone_.insert(uid);
      }
      for (const std::string& uid : gone_) outcomes_.erase(uid);
    };
    if (message.has_grant()) {
      const proto::AttemptRef& ref = message.grant().attempt();
      if (gone_.count(ref.attempt_uid()) > 0) return false;
      granted_.emplace(ref.attempt_uid(), ref.job_id());
    } else if (message.has_ack()) {
      const auto& uids = message.ack().attempt_uids();
      forget([&uids](const std::string& uid, const std::string&) {
        return std::find(uids.begin(), uids.end(), uid) != uids.end();
      });
    } else if (message.has_drop_job()) {
      forget([&message](const std::string&, const std::string& job) {
        return job == message.drop_job().job_id();
      });
    } else if (message.has_refused()) {
      forget([](const std::string&, const std::string&) { return true; });
    }
    return true;
  }
  void Welcome(const std::string& cluster) {
    proto::MasterMessage message;
    message.mutable_welcome()->set_cluster_id(cluster);
    message.mutable_welcome()->set_heartbeat_interval_ms(1000);
    message.mutable_welcome()->set_silence_limit_ms(10'000);
    Command(std::move(message));
  }

  // Of what is told, what the core must remember.
  void Carry(const Send& send) {
    const proto::WorkerMessage& message = send.message;
    CHECK_EQ(send.stream, stream_);
    CHECK(stream_open_);
    CHECK_LE(message.ByteSizeLong(), rpc::kMessageBytesMax);
    if (message.has_hello()) {
      const bool more = message.hello().more();
      hello_.MergeFrom(message.hello());
      hello_.set_more(more);
      Hear(message.hello().outcomes());
    } else {
      Hear(message.update().outcomes());
      for (const std::string& job : message.update().dropped_jobs()) {
        CHECK(dropped_.count(job) > 0) << "nobody dropped it";
        told_dropped_.insert(job);
      }
      for (const std::string& job : message.update().stopped_jobs()) {
        CHECK(dropped_.count(job) > 0) << "nobody dropped it";
        for (const auto& [number, process] : processes_) {
          CHECK(process.job.bytes() != job) << "a process of it is there";
        }
      }
    }
  }
  void Hear(
      const google::protobuf::RepeatedPtrField<proto::AttemptOutcome>& news) {
    for (const proto::AttemptOutcome& outcome : news) {
      const std::string& uid = outcome.attempt().attempt_uid();
      const std::string bytes = outcome.SerializeAsString();
      const auto [at, is_new] = outcomes_.emplace(uid, bytes);
      CHECK(at->second == bytes) << "an outcome changes";
      CHECK(outcome.has_done() ||
            outcome.failed().cause() != proto::FAILURE_CAUSE_UNSPECIFIED);
    }
  }

  // -------------------------------------------------------------- the world

  void Do(const Event& event) { Obey(core_->Step(event, now_)); }
  void Obey(const std::vector<Effect>& effects) {
    for (const Effect& effect : effects) {
      std::visit([this](const auto& e) { Carry(e); }, effect);
    }
  }
  template <typename E>
  void Carry(const E&) {}

  void Carry(const CloseStream& e) {
    CHECK_EQ(e.stream, stream_);
    stream_open_ = false;
  }
  void Carry(const JoinCluster& e) {
    cluster_ = std::string(e.cluster.bytes());
  }
  void Carry(const GiveUp&) { gave_up_ = true; }
  void Carry(const ForgetFetches& e) {  // DropJob was obeyed.
    dropped_.insert(std::string(e.job.bytes()));
    told_dropped_.erase(std::string(e.job.bytes()));
  }
  void Carry(const MeasureDisk&) {
    answers_.push_back(
        DiskMeasured{!resting_ && dice_.OneIn(8) ? 10u : 1u << 30});
  }
  void Carry(const FetchBlob& e) {
    if (!resting_ && dice_.OneIn(8)) {
      answers_.push_back(BlobFailed{
          e.sha256, dice_.OneIn(2) ? absl::UnavailableError("no masters")
                                   : absl::ResourceExhaustedError("disk")});
    } else {
      answers_.push_back(BlobReady{e.sha256});
    }
  }
  std::optional<proto::AttemptFailure> MaybeFailure() {
    if (resting_ || !dice_.OneIn(8)) return std::nullopt;
    proto::AttemptFailure failure;
    failure.set_cause(proto::OUTPUT_FAILED);
    failure.set_message(dice_.Text());
    return failure;
  }
  void Carry(const PrepareAttempt& e) {
    ++work_[e.job];
    answers_.push_back(AttemptPrepared{e.attempt, e.job, MaybeFailure()});
  }
  void Carry(const PutPlan& e) {
    ++work_[e.job];
    answers_.push_back(
        PlanStored{e.attempt, e.job, master_.AnySha(), MaybeFailure()});
  }
  void Carry(const RunCheck& e) {
    ++work_[e.job];
    CHECK_EQ(e.grant.num_winners(),
             e.winners == nullptr ? 0 : e.winners->size());
    answers_.push_back(
        OutputChecked{e.attempt, e.job, master_.AnySha(), MaybeFailure()});
  }
  void Carry(const RunPublish& e) {
    ++work_[e.job];
    CHECK_EQ(e.grant.num_winners(),
             e.winners == nullptr ? 0 : e.winners->size());
    answers_.push_back(OutputPublished{e.attempt, e.job, MaybeFailure()});
  }
  void Carry(const DeleteJob& e) {
    CHECK_EQ(work_[e.job], 0) << "deleted while work on it is under way";
    for (const auto& [number, process] : processes_) {
      CHECK(process.job != e.job) << "a job is deleted under a process";
    }
    answers_.push_back(JobDeleted{e.job, !resting_ && dice_.OneIn(4)
                                             ? absl::UnavailableError("store")
                                             : absl::OkStatus()});
  }
  void Carry(const DeleteAttempt& e) {
    for (const auto& [number, process] : processes_) {
      CHECK(process.job != e.job || process.attempt != e.attempt)
          << "an attempt is deleted under a process";
    }
  }

  static void CheckPath(const std::string& path) {
    CHECK(path.rfind(Cat(kRoot, "/"), 0) == 0 &&
          path.find("/../") == std::string::npos)
        << path;
  }
  void Carry(const StartChild& e) {
    CHECK(
        processes_.emplace(e.child, Process{e.job, Stage::kStarting, e.attempt})
            .second);
    CHECK_LE(processes_.size(), options_.slots);
    for (const proto::SideFile& side : e.configure.side_files()) {
      CHECK(side.name().find('/') == std::string::npos);
      CheckPath(side.path());
    }
    answers_.push_back(ChildReady{e.child});
  }
  void Carry(const RunTask& e) {
    Process& process = processes_.at(e.child);
    CHECK(process.stage == Stage::kIdle) << "a task for a process not free";
    CHECK(process.job == e.job);
    process.stage = Stage::kBusy;
    process.attempt = *AttemptUid::FromBytes(e.task.attempt_uid());
    CHECK_EQ(outcomes_.count(e.task.attempt_uid()), 0u);
    if (e.task.has_plan()) CheckPath(e.task.plan().plan_path());
    if (e.task.has_map()) {
      CheckPath(e.task.map().plan_path());
      CheckPath(e.task.map().scratch_dir());
    }
    if (e.task.has_reduce()) CheckPath(e.task.reduce().scratch_dir());
  }
  void Carry(const KillChild& e) { Leave(e.child); }
  void Carry(const StopChild& e) { Leave(e.child); }
  void Leave(ChildNumber number) {
    Process& process = processes_.at(number);
    CHECK(process.stage != Stage::kLeaving) << "told to go twice";
    process.stage = Stage::kLeaving;
    ChildExited exited;
    exited.child = number;
    exited.cause = proto::CANCELLED;
    answers_.push_back(std::move(exited));
  }
  void Carry(const StartFetch& e) {
    CHECK(fetching_.insert(e.input.attempt).second);
    CheckPath(e.input.directory);
    if (!resting_ && dice_.OneIn(4)) {
      FetchFailed failed;
      failed.attempt = e.input.attempt;
      failed.map_index = dice_.Below(4);
      failed.gone = dice_.OneIn(2);
      failed.source = core_->incarnation();
      answers_.push_back(FetchBroken{failed});
    }
    if (!resting_ && dice_.OneIn(6)) {
      answers_.push_back(
          FetchAborted{e.input.attempt, absl::ResourceExhaustedError("full")});
      return;
    }
    answers_.push_back(FetchProgressed{{e.input.attempt, 1, 2}});
    InputReady input{e.input.attempt, {}};
    input.map_outputs.emplace_back().set_path("/w/spool/m");
    answers_.push_back(InputArrived{std::move(input)});
  }
  void Carry(const CancelFetch& e) { fetching_.erase(e.attempt); }

  bool AnyBusy() const {
    return std::any_of(processes_.begin(), processes_.end(), [](const auto& p) {
      return p.second.stage == Stage::kBusy;
    });
  }
  void EndTask(ChildNumber number, Process& process) {
    const AttemptUid uid = process.attempt;
    process.stage = Stage::kIdle;
    if (dice_.OneIn(4)) {
      proto::TaskFailed failed;
      failed.set_cause(dice_.OneIn(2) ? proto::USER_EXCEPTION
                                      : proto::MAP_OUTPUT_LOST);
      failed.set_message(dice_.Text());
      failed.set_map_index(dice_.Number(3));
      Do(ChildFailed{number, dice_.Changed(std::move(failed)), dice_.Text()});
      return;
    }
    process.attempt = AttemptUid();
    proto::TaskDone done;
    done.set_attempt_uid(std::string(uid.bytes()));
    done.set_map_output_root(std::string(16, 'r'));
    done.mutable_output()->set_path(dice_.Text());
    Do(ChildDone{number, dice_.Changed(std::move(done))});
  }
  void Crash() {
    if (processes_.empty()) return;
    auto at = processes_.begin();
    std::advance(at, dice_.Below(static_cast<uint32_t>(processes_.size())));
    ChildExited exited;
    exited.child = at->first;
    exited.cause = proto::CRASHED;
    exited.program_invalid =
        at->second.stage == Stage::kStarting && dice_.OneIn(2);
    exited.log = dice_.Text();
    processes_.erase(at);
    Do(exited);
  }

  // The end of a task, or one of the answers under way.
  void Answer() {
    if (answers_.empty() || dice_.OneIn(3)) {
      for (auto& [number, process] : processes_) {
        if (process.stage != Stage::kBusy) continue;
        EndTask(number, process);
        return;
      }
    }
    if (answers_.empty()) return;
    const auto i = dice_.Below(static_cast<uint32_t>(answers_.size()));
    const Event event = answers_[i];
    answers_.erase(answers_.begin() + i);
    if (const auto* ready = std::get_if<ChildReady>(&event)) {
      const auto at = processes_.find(ready->child);
      if (at == processes_.end() || at->second.stage != Stage::kStarting)
        return;
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

  void Step() {
    now_ += absl::Milliseconds(dice_.Number(400) % 40'000);
    switch (dice_.Below(16)) {
      case 0:
        if (stream_open_ && !dice_.OneIn(3)) return;
        if (stream_open_) Close();
        return Open();
      case 1:
        if (!dice_.OneIn(3)) return Welcome(cluster_);
        term_ += dice_.Below(3);
        return;
      case 2:
        return Do(Tick{});
      case 3:
        if (dice_.OneIn(3)) Crash();
        return;
      case 4:
        if (!dice_.OneIn(6)) return;
        return Do(MasterSays{stream_ - 1, master_.AnyCommand(term_, cluster_)});
      case 5:
      case 6:
      case 7:
      case 8:
      case 9:
        return Command(master_.AnyCommand(term_, cluster_));
      default:
        return Answer();
    }
  }

  Dice& dice_;
  AnyMaster master_{dice_};
  AgentOptions options_;
  const std::unique_ptr<Random> random_ = Random::Seeded(1);
  std::unique_ptr<AgentCore> core_;
  absl::Duration now_ = absl::Seconds(1000);
  bool resting_ = false;
  bool gave_up_ = false;

  StreamId stream_ = 0;
  bool stream_open_ = false;
  uint64_t term_ = 5;
  std::string cluster_ = IdBytes(77);
  proto::Hello hello_;             // The last one.
  std::set<std::string> running_;  // By it.

  std::map<std::string, std::string> granted_;  // Uid -> job.
  std::set<std::string> gone_;  // Uids that nobody may speak of any more.
  std::map<std::string, std::string> outcomes_;
  std::set<std::string> dropped_;
  std::set<std::string> told_dropped_;

  std::deque<Event> answers_;
  std::map<ChildNumber, Process> processes_;
  std::map<JobId, int> work_;
  std::set<AttemptUid> fetching_;
};

}  // namespace
}  // namespace millrace::worker

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  millrace::Dice dice(data);
  millrace::worker::World world(dice);
  world.Live();
  world.ComeToRest();
  return 0;
}
