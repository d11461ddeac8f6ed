#include "tests/sim/model_worker.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"

namespace millrace::sim {

using master::TaskId;

namespace {

constexpr int64_t kRecordsOfMap = 1000;

}  // namespace

ModelWorker::ModelWorker(std::string name, uint32_t slots, WorkerWorld& world)
    : name_(std::move(name)), slots_(slots), world_(world) {}

absl::Duration ModelWorker::Between(double low_ms, double high_ms) {
  const uint64_t span = static_cast<uint64_t>((high_ms - low_ms) * 1000) + 1;
  return absl::Microseconds(
      static_cast<int64_t>(low_ms * 1000 + world_.random().Uniform(span)));
}

bool ModelWorker::Chance(double p) {
  return world_.random().Uniform(1'000'000) < p * 1'000'000;
}

void ModelWorker::Later(absl::Duration wait, std::function<void()> what) {
  world_.queue().After(wait, [this, life = life_, what = std::move(what)] {
    if (life != life_) return;
    if (paused_) {
      held_back_.push_back(what);
      return;
    }
    what();
  });
}

// ---------------------------------------------------------------- processes

void ModelWorker::NewIncarnation() {
  ++life_;
  held_back_.clear();
  attempts_.clear();
  outcomes_.clear();
  locations_.clear();
  waiting_.clear();
  executing_ = 0;
  draining_ = false;
  incarnation_ = WorkerIncarnation::Generate(world_.random());
}

void ModelWorker::Start() {
  running_ = true;
  paused_ = false;
  there_since_ = world_.queue().now();
  term_seen_ = 0;
  NewIncarnation();
  Later(Between(1, 100), [this] { world_.Connect(*this); });
  Later(absl::Seconds(1), [this] { Heartbeat(); });
}

void ModelWorker::Die() {
  running_ = false;
  paused_ = false;
  connected_ = welcomed_ = false;
  ++life_;
  held_back_.clear();
  attempts_.clear();
  outcomes_.clear();
  waiting_.clear();
  made_staging_.clear();
  executing_ = 0;
}

void ModelWorker::Pause() { paused_ = true; }

void ModelWorker::Resume() {
  paused_ = false;
  there_since_ = world_.queue().now();
  // One after the other, since each may put others off again.
  std::deque<std::function<void()>> missed = std::move(held_back_);
  held_back_.clear();
  const uint64_t life = life_;
  for (auto& what : missed) {
    if (life != life_) return;
    what();
  }
}

void ModelWorker::LoseSpoolFile() {
  if (spool_.empty()) return;
  auto at = spool_.begin();
  std::advance(at, world_.random().Uniform(spool_.size()));
  spool_.erase(at);
}

std::set<JobId> ModelWorker::Present() const {
  std::set<JobId> present = jobs_;
  for (const auto& [uid, held] : spool_) present.insert(held.job);
  for (const auto& [uid, attempt] : attempts_) present.insert(attempt.job);
  return present;
}

std::vector<CheckedAttempt> ModelWorker::Live() const {
  std::vector<CheckedAttempt> live;
  for (const auto& [uid, attempt] : attempts_) {
    live.push_back({uid, attempt.job, attempt.task,
                    attempt.grant.attempt().speculative(),
                    attempt.phase == proto::EXECUTING});
  }
  return live;
}

bool ModelWorker::HasUnacked(const JobId& job, const TaskId& task) const {
  return std::any_of(outcomes_.begin(), outcomes_.end(), [&](const auto& one) {
    return one.second.attempt().job_id() == job.bytes() &&
           TaskId::From(one.second.attempt().task()) == task;
  });
}

// ------------------------------------------------------------------- stream

void ModelWorker::OnOpened() {
  if (paused_) {
    held_back_.push_back([this] { OnOpened(); });
    return;
  }
  connected_ = true;
  welcomed_ = false;
  introduced_.clear();
  winners_.clear();
  SayHello();
}

void ModelWorker::OnClosed() {
  if (paused_) {
    held_back_.push_back([this] { OnClosed(); });
    return;
  }
  connected_ = welcomed_ = false;
  Later(Between(20, 400), [this] {
    if (!connected_) world_.Connect(*this);
  });
}

void ModelWorker::SayHello() {
  proto::WorkerMessage message;
  proto::Hello* hello = message.mutable_hello();
  hello->set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
  hello->set_name(name_);
  hello->set_incarnation(std::string(incarnation_.bytes()));
  hello->set_slots(slots_);
  hello->set_term_seen(term_seen_);
  for (const auto& [uid, attempt] : attempts_) {
    proto::RunningAttempt* running = hello->add_running();
    *running->mutable_attempt() = attempt.grant.attempt();
    running->set_epoch(attempt.grant.epoch());
    running->mutable_progress()->set_attempt_uid(std::string(uid.bytes()));
    FillProgress(attempt, running->mutable_progress());
  }
  for (const auto& [uid, outcome] : outcomes_) {
    *hello->add_outcomes() = outcome;
  }
  for (const auto& [uid, held] : spool_) {
    proto::HeldOutput* out = hello->add_held();
    out->set_job_id(std::string(held.job.bytes()));
    out->set_map_index(held.map);
    out->set_attempt_uid(std::string(uid.bytes()));
    out->set_root(held.root);
  }
  for (const JobId& job : Present()) {
    hello->add_jobs(std::string(job.bytes()));
  }
  world_.SendToMaster(*this, std::move(message));
}

void ModelWorker::SendUpdate(proto::Update update) {
  if (!connected_) return;
  proto::WorkerMessage message;
  *message.mutable_update() = std::move(update);
  world_.SendToMaster(*this, std::move(message));
}

void ModelWorker::Heartbeat() {
  proto::Update update;
  for (const auto& [uid, attempt] : attempts_) {
    FillProgress(attempt, update.add_progress());
  }
  SendUpdate(std::move(update));
  Later(absl::Seconds(1), [this] { Heartbeat(); });
}

void ModelWorker::FillProgress(const Attempt& attempt,
                               proto::AttemptProgress* progress) {
  progress->set_attempt_uid(std::string(attempt.uid.bytes()));
  progress->set_phase(attempt.phase);
  if (attempt.phase != proto::EXECUTING || !TakesSlot(attempt)) return;
  const absl::Duration since = world_.queue().now() - attempt.executing_since;
  progress->set_executing_ms(
      static_cast<uint64_t>(absl::ToInt64Milliseconds(since)));
  if (attempt.task.kind == proto::MAP_TASK) {
    progress->set_records(static_cast<uint64_t>(
        kRecordsOfMap *
        std::min(1.0, absl::FDivDuration(since, attempt.execution_time))));
  }
}

void ModelWorker::SendPhase(const Attempt& attempt) {
  if (attempt.task.kind != proto::REDUCE_TASK) return;
  proto::Update update;
  FillProgress(attempt, update.add_progress());
  SendUpdate(std::move(update));
}

void ModelWorker::OnMessage(const proto::MasterMessage& message) {
  if (paused_) {
    held_back_.push_back([this, message] { OnMessage(message); });
    return;
  }
  if (!connected_) return;
  if (message.has_refused()) {
    connected_ = welcomed_ = false;
    if (message.refused().reason() == proto::INCARNATION_LOST) {
      NewIncarnation();
      jobs_ = Present();
      Later(absl::Seconds(1), [this] { Heartbeat(); });
    } else if (message.refused().reason() == proto::WRONG_CLUSTER ||
               message.refused().reason() == proto::PROTOCOL_VERSION) {
      world_.OnViolation(
          Cat(name_, " was refused: ", message.refused().message()));
    }
    Later(Between(50, 500), [this] {
      if (!connected_) world_.Connect(*this);
    });
    return;
  }
  if (message.term() < term_seen_) return;  // A stale leader.
  term_seen_ = message.term();
  if (!welcomed_ && !message.has_welcome()) {
    world_.OnViolation(Cat(name_, " got a command before a welcome"));
  }
  switch (message.message_case()) {
    case proto::MasterMessage::kWelcome:
      welcomed_ = true;
      break;
    case proto::MasterMessage::kJob: {
      const JobId job = *JobId::FromBytes(message.job().job_id());
      introduced_.insert(job);
      jobs_.insert(job);
      break;
    }
    case proto::MasterMessage::kWinners: {
      const proto::Winners& winners = message.winners();
      auto& named = winners_[*AttemptUid::FromBytes(winners.attempt_uid())];
      for (size_t at = 0; at < winners.winner_uids().size();
           at += AttemptUid::kBytes) {
        named.push_back(*AttemptUid::FromBytes(
            winners.winner_uids().substr(at, AttemptUid::kBytes)));
      }
      break;
    }
    case proto::MasterMessage::kGrant:
      OnGrant(message.grant());
      break;
    case proto::MasterMessage::kLocations:
      OnLocations(message.locations());
      break;
    case proto::MasterMessage::kKill: {
      const AttemptUid uid =
          *AttemptUid::FromBytes(message.kill().attempt_uid());
      Later(Between(0, 20), [this, uid] {
        if (attempts_.count(uid) > 0) Fail(uid, proto::CANCELLED, true);
      });
      break;
    }
    case proto::MasterMessage::kDropAttempt:
      spool_.erase(
          *AttemptUid::FromBytes(message.drop_attempt().attempt_uid()));
      break;
    case proto::MasterMessage::kDropJob:
      OnDropJob(message.drop_job());
      break;
    case proto::MasterMessage::kAck:
      for (const std::string& uid : message.ack().attempt_uids()) {
        outcomes_.erase(*AttemptUid::FromBytes(uid));
      }
      break;
    case proto::MasterMessage::kDrain:
      draining_ = message.drain().draining();
      break;
    default:
      break;
  }
}

void ModelWorker::ForgetAttempts(
    const std::function<bool(const Attempt&)>& which) {
  for (auto at = attempts_.begin(); at != attempts_.end();) {
    if (!which(at->second)) {
      ++at;
      continue;
    }
    const AttemptUid uid = at->first;
    if (at->second.phase == proto::EXECUTING && TakesSlot(at->second)) {
      --executing_;
    }
    waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), uid),
                   waiting_.end());
    at = attempts_.erase(at);
  }
}

void ModelWorker::OnDropJob(const proto::DropJob& drop) {
  const JobId job = *JobId::FromBytes(drop.job_id());
  const bool remove_staging =
      drop.remove_staging() || made_staging_.count(job) > 0;
  ForgetAttempts([&](const Attempt& attempt) { return attempt.job == job; });
  introduced_.erase(job);
  // Killing and deleting take some time.
  Later(Between(0, 50), [this, job, remove_staging] {
    for (auto at = spool_.begin(); at != spool_.end();) {
      at = at->second.job == job ? spool_.erase(at) : std::next(at);
    }
    for (auto at = outcomes_.begin(); at != outcomes_.end();) {
      at = at->second.attempt().job_id() == job.bytes() ? outcomes_.erase(at)
                                                        : std::next(at);
    }
    locations_.erase(job);
    jobs_.erase(job);
    made_staging_.erase(job);
    if (remove_staging) world_.RemoveStaging(job);
    proto::Update update;
    update.add_dropped_jobs(std::string(job.bytes()));
    SendUpdate(std::move(update));
    StartNext();
  });
}

// ----------------------------------------------------------------- attempts

bool ModelWorker::TakesSlot(const Attempt& attempt) {
  return attempt.task.kind != proto::CHECK_TASK &&
         attempt.task.kind != proto::PUBLISH_TASK;
}

void ModelWorker::OnGrant(const proto::Grant& grant) {
  const AttemptUid uid = *AttemptUid::FromBytes(grant.attempt().attempt_uid());
  const JobId job = *JobId::FromBytes(grant.attempt().job_id());
  if (introduced_.count(job) == 0) {
    world_.OnViolation(Cat(name_, " was granted a task of a stranger"));
    return;
  }
  world_.OnGranted(*this, grant);
  Attempt& attempt = attempts_[uid];
  attempt.grant = grant;
  attempt.job = job;
  attempt.uid = uid;
  attempt.task = TaskId::From(grant.attempt().task());
  if (const auto named = winners_.find(uid); named != winners_.end()) {
    attempt.winners = std::move(named->second);
    winners_.erase(named);
  }
  if (attempt.winners.size() !=
      grant.check().num_winners() + grant.publish().num_winners()) {
    world_.OnViolation(Cat(name_, " was named ", attempt.winners.size(),
                           " winners before a grant of others"));
  }
  const absl::Duration prepare = Between(0.2, Chance(0.1) ? 300 : 10);
  if (attempt.task.kind == proto::REDUCE_TASK) {
    Later(prepare, [this, uid] { Fetch(uid); });
  } else {
    Later(prepare, [this, uid] { Ready(uid); });
  }
}

void ModelWorker::OnLocations(const proto::Locations& locations) {
  auto& known = locations_[*JobId::FromBytes(locations.job_id())];
  for (const proto::MapLocation& map : locations.maps()) {
    if (!map.lost()) {
      known[map.map_index()] = map;
      continue;
    }
    const auto at = known.find(map.map_index());
    if (at != known.end() && at->second.attempt_uid() == map.attempt_uid()) {
      known.erase(at);
    }
  }
}

// Reads what there is to read, and comes back for the rest.
void ModelWorker::Fetch(const AttemptUid& uid) {
  const auto found = attempts_.find(uid);
  if (found == attempts_.end()) return;
  Attempt& attempt = found->second;
  const uint32_t maps = attempt.grant.reduce().num_maps();
  const auto& known = locations_[attempt.job];
  proto::Update update;
  for (const auto& [map, location] : known) {
    if (map >= maps || attempt.read.count(map) > 0) continue;
    const AttemptUid source = *AttemptUid::FromBytes(location.attempt_uid());
    ModelWorker* holder = world_.FindIncarnation(location.worker());
    const bool reachable = holder != nullptr && !holder->dead() &&
                           !holder->paused() &&
                           world_.Reachable(*this, *holder);
    if (reachable && holder->Serves(source)) {
      attempt.read[map] = location.root();
      continue;
    }
    // The fetcher has retries of its own.
    if (!reachable && ++attempt.fetch_tries[map] % 3 != 0) continue;
    proto::FetchFailure* failure = update.add_fetch_failures();
    *failure->mutable_reduce() = attempt.grant.attempt();
    failure->set_map_index(map);
    failure->set_map_uid(location.attempt_uid());
    failure->set_source(location.worker());
    failure->set_gone(reachable);
    failure->set_message(reachable ? "gone" : "unreachable");
  }
  if (update.fetch_failures_size() > 0) SendUpdate(std::move(update));
  if (attempt.read.size() >= maps) return Ready(uid);
  const bool idle = update.fetch_failures_size() > 0;
  Later(idle ? absl::Seconds(1) : Between(10, 200),
        [this, uid] { Fetch(uid); });
}

void ModelWorker::Ready(const AttemptUid& uid) {
  const auto found = attempts_.find(uid);
  if (found == attempts_.end()) return;
  Attempt& attempt = found->second;
  if (!TakesSlot(attempt)) {
    attempt.phase = proto::EXECUTING;
    Later(Between(0.5, 30), [this, uid] { Finish(uid); });
    return;
  }
  attempt.phase = proto::WAITING;
  waiting_.push_back(uid);
  StartNext();
  if (attempt.phase == proto::WAITING) SendPhase(attempt);
}

void ModelWorker::StartNext() {
  while (executing_ < slots_ && !waiting_.empty()) {
    // Maps first, as a worker does.
    auto next = std::find_if(
        waiting_.begin(), waiting_.end(), [this](const AttemptUid& one) {
          return attempts_.at(one).task.kind != proto::REDUCE_TASK;
        });
    if (next == waiting_.end()) next = waiting_.begin();
    const AttemptUid uid = *next;
    waiting_.erase(next);
    Attempt& attempt = attempts_.at(uid);
    attempt.phase = proto::EXECUTING;
    ++executing_;
    attempt.executing_since = world_.queue().now();
    attempt.execution_time = ExecutionTime(attempt);
    SendPhase(attempt);
    Later(attempt.execution_time, [this, uid] { Finish(uid); });
  }
}

absl::Duration ModelWorker::ExecutionTime(const Attempt& attempt) {
  if (sick_) return Between(1, 50);
  const SimJob* job = world_.FindJob(attempt.job);
  const double mean = absl::ToDoubleMilliseconds(job->task_time);
  const double factor = (Chance(job->long_task) ? 20 : 1) * slowness_;
  return Between(0.2 * mean * factor, 1.8 * mean * factor);
}

void ModelWorker::Report(const AttemptUid& uid, proto::AttemptOutcome outcome) {
  const Attempt& attempt = attempts_.at(uid);
  *outcome.mutable_attempt() = attempt.grant.attempt();
  outcome.set_epoch(attempt.grant.epoch());
  ForgetAttempts([&](const Attempt& one) { return one.uid == uid; });
  outcomes_[uid] = outcome;
  proto::Update update;
  *update.add_outcomes() = std::move(outcome);
  SendUpdate(std::move(update));
  StartNext();
}

void ModelWorker::Fail(const AttemptUid& uid, proto::FailureCause cause,
                       bool retryable) {
  proto::AttemptOutcome outcome;
  outcome.mutable_failed()->set_cause(cause);
  outcome.mutable_failed()->set_message(Cat("cause ", cause));
  outcome.mutable_failed()->set_retryable(retryable);
  Report(uid, std::move(outcome));
}

void ModelWorker::FinishMap(const Attempt& attempt,
                            proto::AttemptOutcome* outcome) {
  const SimJob& job = *world_.FindJob(attempt.job);
  proto::TaskDone* done = outcome->mutable_done();
  proto::Counter* read = done->add_counters();
  read->set_group("map");
  read->set_name("MAP_INPUT_RECORDS");
  read->set_value(kRecordsOfMap);
  if (job.partitions == 0) {
    done->mutable_output()->set_path(Cat(job.output, ".staging/part"));
    done->mutable_output()->set_records(7);
    return;
  }
  const uint64_t salt =
      Chance(job.other_records) ? 1 + world_.random().Uniform(1000) : 0;
  const std::string root = RootOf(attempt.job, attempt.task.index, salt);
  proto::Ledger* ledger = done->mutable_ledger();
  for (uint32_t p = 0; p < job.partitions; ++p) {
    AddSum(PartitionOf(root, p), ledger->mutable_written());
  }
  ledger->set_emitted_records(ledger->written().records());
  done->set_map_output_root(root);
  spool_[attempt.uid] = Held{attempt.job, attempt.task.index, root};
}

void ModelWorker::FinishReduce(const Attempt& attempt,
                               proto::AttemptOutcome* outcome) {
  const SimJob& job = *world_.FindJob(attempt.job);
  world_.OnConsumed(attempt.uid, attempt.read);
  proto::TaskDone* done = outcome->mutable_done();
  proto::RecordSum sum;
  for (const auto& [map, root] : attempt.read) {
    AddSum(PartitionOf(root, attempt.task.index), &sum);
  }
  *done->mutable_ledger()->mutable_fetched() = sum;
  if (job.wrong_ledger) sum.set_records(sum.records() - 1);
  *done->mutable_ledger()->mutable_merged() = sum;
  done->mutable_output()->set_path(Cat(job.output, ".staging/part"));
}

void ModelWorker::Finish(const AttemptUid& uid) {
  const auto found = attempts_.find(uid);
  if (found == attempts_.end()) return;
  const Attempt& attempt = found->second;
  const SimJob& job = *world_.FindJob(attempt.job);
  if (Chance(job.user_failure)) return Fail(uid, proto::USER_EXCEPTION, true);
  if (sick_ && TakesSlot(attempt)) return Fail(uid, proto::DISK_FULL, true);
  if (Chance(job.infra_failure)) return Fail(uid, proto::DISK_FULL, true);
  const bool last =
      attempt.task.kind ==
          (job.partitions > 0 ? proto::REDUCE_TASK : proto::MAP_TASK) &&
      attempt.task.index + 1 ==
          (job.partitions > 0 ? job.partitions : job.maps);
  if (job.poisoned && last) return Fail(uid, proto::CRASHED, true);
  proto::AttemptOutcome outcome;
  switch (attempt.task.kind) {
    case proto::PLAN_TASK:
      if (job.hopeless) return Fail(uid, proto::INPUT_INVALID, false);
      // The directory is made here alone: what a task that was thought lost
      // writes afterwards does not bring it back.
      world_.MakeStaging(attempt.job);
      made_staging_.insert(attempt.job);
      outcome.mutable_done()->set_num_maps(job.maps);
      outcome.mutable_done()->set_num_partitions(job.partitions);
      outcome.set_plan_sha256(std::string(32, 'p'));
      break;
    case proto::MAP_TASK:
      FinishMap(attempt, &outcome);
      break;
    case proto::REDUCE_TASK:
      FinishReduce(attempt, &outcome);
      break;
    case proto::CHECK_TASK: {
      std::optional<size_t> bad;
      const proto::FailureCause cause =
          world_.Check(attempt.job, attempt.winners, &bad);
      if (cause == proto::FAILURE_CAUSE_UNSPECIFIED) {
        outcome.mutable_done();
        outcome.set_manifest_sha256(std::string(32, 'm'));
        break;
      }
      outcome.mutable_failed()->set_cause(cause);
      outcome.mutable_failed()->set_retryable(true);
      if (bad.has_value()) {
        outcome.mutable_failed()->set_map_index(static_cast<uint32_t>(*bad));
        outcome.mutable_failed()->set_map_uid(
            std::string(attempt.winners[*bad].bytes()));
      }
      break;
    }
    default: {
      const proto::FailureCause cause =
          world_.Publish(attempt.job, attempt.winners);
      if (cause != proto::FAILURE_CAUSE_UNSPECIFIED) {
        return Fail(uid, cause, true);
      }
      outcome.mutable_done();
      break;
    }
  }
  Report(uid, std::move(outcome));
}

}  // namespace millrace::sim
