#include "tests/sim/cluster_sim.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/testing/index_check.h"
#include "tests/sim/entry_text.h"

namespace millrace::sim {

using master::Event;

namespace {

constexpr absl::Duration kLivenessLimit = absl::Minutes(15);
constexpr size_t kEventsKept = 100;
constexpr uint64_t kStepsPerIndexCheck = 7;
// A leader that has been one for so long knows everybody.
constexpr absl::Duration kSettled = absl::Seconds(12);

}  // namespace

ClusterSim::ClusterSim(const SimOptions& options)
    : options_(options),
      random_(Random::Seeded(options.seed)),
      checker_(checked_workers_) {}

ClusterSim::~ClusterSim() = default;

bool ClusterSim::Chance(double p) {
  return random_->Uniform(1'000'000) < p * 1'000'000;
}

absl::Duration ClusterSim::Between(double low_ms, double high_ms) {
  const uint64_t span = static_cast<uint64_t>((high_ms - low_ms) * 1000) + 1;
  return absl::Microseconds(
      static_cast<int64_t>(low_ms * 1000 + random_->Uniform(span)));
}

ModelWorker& ClusterSim::AnyWorker() {
  return *workers_[random_->Uniform(workers_.size())];
}

void ClusterSim::Note(const std::string& what) {
  events_.push_back(
      Cat(absl::ToInt64Microseconds(queue_.now()), " us: ", what));
  if (events_.size() > kEventsKept) events_.pop_front();
}

// -------------------------------------------------------------------- master

void ClusterSim::StartMaster() {
  if (core_ != nullptr) return;
  RecoverState();
  master::SchedulerOptions scheduler;
  scheduler.mutant = options_.scheduler_mutant;
  core_ = std::make_unique<master::SchedulerCore>(scheduler, *state_, *random_);
  ++life_;
  tick_at_ = absl::InfiniteDuration();
  stalled_until_ = absl::ZeroDuration();
  leading_ = true;
  leader_since_ = queue_.now();
  ++term_;
  ++result_.terms;
  Note(Cat("master leads term ", term_));
  Feed(master::BecameLeader{term_, {}});
}

void ClusterSim::StopMaster() {
  if (core_ == nullptr) return;
  Note("master dies");
  hash_index_ = state_->applied_index();
  hash_ = state_->Hash();
  // What was proposed may or may not be durable, but not with holes.
  size_t durable = random_->Uniform(proposals_.size() + 1);
  for (Proposal& proposal : proposals_) {
    if (durable-- == 0) break;
    log_.push_back(std::move(proposal));
  }
  proposals_.clear();
  inbox_.clear();
  leading_ = false;
  ++life_;
  core_.reset();
  std::vector<master::SessionId> sessions;
  for (auto& [id, stream] : streams_) sessions.push_back(id);
  for (master::SessionId id : sessions) {
    streams_.at(id).master_open = false;
    BreakStream(id, absl::ZeroDuration());
  }
}

void ClusterSim::LoseTerm() {
  if (core_ == nullptr || !leading_) return;
  Note("master loses its term");
  leading_ = false;
  // The rest of what it proposed is never heard of again.
  proposals_.resize(random_->Uniform(proposals_.size() + 1));
  Feed(master::LostLeadership{});
  const uint64_t life = life_;
  queue_.After(Between(300, 3000), [this, life] {
    if (life != life_) return;
    const std::vector<Proposal> rest(proposals_.begin(), proposals_.end());
    proposals_.clear();
    log_.insert(log_.end(), rest.begin(), rest.end());
    if (snapshot_every_ > 0 && Chance(0.5)) {
      InstallSnapshot(rest);
    } else {
      for (const Proposal& proposal : rest) ApplyEntry(proposal);
    }
    leading_ = true;
    leader_since_ = queue_.now();
    ++term_;
    ++result_.terms;
    Note(Cat("master leads term ", term_));
    Feed(master::BecameLeader{term_, {}});
  });
}

void ClusterSim::Stall(absl::Duration how_long) {
  if (core_ == nullptr) return;
  Note(Cat("master loop stands still for ", absl::ToInt64Milliseconds(how_long),
           " ms"));
  stalled_until_ = std::max(stalled_until_, queue_.now() + how_long);
  leader_since_ = stalled_until_;
  const uint64_t life = life_;
  queue_.At(stalled_until_, [this, life] {
    while (life == life_ && !inbox_.empty() && core_ != nullptr &&
           queue_.now() >= stalled_until_) {
      auto what = std::move(inbox_.front());
      inbox_.pop_front();
      what();
    }
  });
}

void ClusterSim::Feed(const Event& event) {
  if (core_ == nullptr) return;
  if (queue_.now() < stalled_until_) {
    inbox_.push_back([this, event] { Feed(event); });
    return;
  }
  ++result_.steps;
  const int64_t wall =
      1'700'000'000'000 + static_cast<int64_t>(random_->Uniform(86'400'000));
  std::vector<master::Effect> effects = core_->Step(event, queue_.now(), wall);
  CheckIndex();
  for (const master::Effect& effect : effects) Carry(effect);
  ScheduleTick();
}

void ClusterSim::CheckIndex() {
  // A look at everything takes longer than a step.
  if (result_.steps % kStepsPerIndexCheck != 0) return;
  const std::string fault = master::testing::IndexFault(core_->soft_state());
  if (!fault.empty()) checker_.Violate(Cat("index: ", fault));
}

void ClusterSim::ScheduleTick() {
  const absl::Duration due = std::max(core_->NextDeadline(), queue_.now());
  if (due == absl::InfiniteDuration() || due >= tick_at_) return;
  tick_at_ = due;
  queue_.At(due, [this, due, life = life_] {
    if (life != life_ || tick_at_ != due) return;
    tick_at_ = absl::InfiniteDuration();
    Feed(master::Tick{});
  });
}

void ClusterSim::ApplyEntry(const Proposal& proposal) {
  if (queue_.now() < stalled_until_) {
    inbox_.push_back([this, proposal] { ApplyEntry(proposal); });
    return;
  }
  const uint64_t index = state_->applied_index() + 1;
  const master::ApplyResult result =
      state_->Apply(index, proposal.term, proposal.entry);
  Note(Cat(index, result.applied() ? " applied " : " refused ",
           Text(proposal.entry), result.applied() ? "" : ": ", result.message));
  ++result_.entries;
  result_.refused += !result.applied();
  if (result.applied()) {
    result_.workers_lost += proposal.entry.has_worker_lost();
    result_.reoffered += proposal.entry.has_map_reoffered();
    result_.epochs += result.epoch_raised;
    result_.speculative_won +=
        proposal.entry.map_won().attempt().speculative() ||
        proposal.entry.reduce_won().attempt().speculative();
    for (const master::LostWinner& lost : result.lost) {
      result_.maps_lost += lost.task.kind == proto::MAP_TASK;
    }
  }
  OnApplied(index, proposal, result, *state_);
  TakeSnapshotIfDue();
  Feed(master::EntryApplied{index, proposal.term, &proposal.entry, &result});
}

void ClusterSim::CommitNext() {
  if (commit_scheduled_ || proposals_.empty()) return;
  commit_scheduled_ = true;
  const bool slow = faults_ && Chance(0.01 * severity_);
  queue_.After(slow ? Between(100, 1500) : Between(0.1, log_ms_), [this] {
    commit_scheduled_ = false;
    if (proposals_.empty() || core_ == nullptr || !leading_) {
      return CommitNext();
    }
    const Proposal proposal = std::move(proposals_.front());
    proposals_.pop_front();
    log_.push_back(proposal);
    ApplyEntry(proposal);
    CommitNext();
  });
}

void ClusterSim::Carry(const master::Effect& effect) {
  if (const auto* propose = std::get_if<master::Propose>(&effect)) {
    if (!leading_) return;  // Its term is over.
    Note(Cat("proposed ", Text(propose->entry)));
    proposals_.push_back({term_, propose->entry});
    CommitNext();
  } else if (const auto* send = std::get_if<master::Send>(&effect)) {
    SendToWorker(send->session, *send->message);
  } else if (const auto* close = std::get_if<master::CloseSession>(&effect)) {
    CloseFromMaster(close->session);
  } else if (const auto* reply = std::get_if<master::Reply>(&effect)) {
    const auto found = submits_.find(reply->tag);
    if (found == submits_.end()) return;
    ClientJob& job = jobs_[found->second];
    const size_t index = found->second;
    submits_.erase(found);
    if (reply->not_leader) {
      queue_.After(Between(100, 500), [this, index] { Submit(index); });
    } else if (!reply->status.ok()) {
      job.refused = true;
      if (job.id.has_value()) {
        checker_.Violate("I4: an acknowledged submit is refused later");
      }
    } else {
      if (job.id.has_value() && *job.id != reply->job) {
        checker_.Violate("I4: one request made two jobs");
      }
      job.id = reply->job;
    }
  }
}

// ------------------------------------------------------------------- network

std::optional<master::SessionId> ClusterSim::StreamOf(
    const ModelWorker& worker) const {
  for (const auto& [id, stream] : streams_) {
    if (stream.worker == &worker && stream.worker_open) return id;
  }
  return std::nullopt;
}

void ClusterSim::Connect(ModelWorker& worker) {
  if (StreamOf(worker).has_value()) return;
  if (core_ == nullptr) {
    worker.OnClosed();
    return;
  }
  const master::SessionId id = next_session_++;
  Stream& stream = streams_[id];
  stream.worker = &worker;
  stream.to_master = queue_.now() + Between(0.1, 5);
  stream.to_worker = queue_.now() + Between(0.1, 5);
  queue_.At(stream.to_master, [this, id] {
    const auto found = streams_.find(id);
    if (found != streams_.end() && found->second.master_open) {
      Feed(master::WorkerStreamOpened{id});
    }
  });
  queue_.At(stream.to_worker, [this, id] {
    const auto found = streams_.find(id);
    if (found != streams_.end() && found->second.worker_open) {
      found->second.worker->OnOpened();
    }
  });
}

void ClusterSim::SendToMaster(ModelWorker& worker,
                              proto::WorkerMessage message) {
  const auto id = StreamOf(worker);
  if (!id.has_value()) return;
  Stream& stream = streams_.at(*id);
  stream.to_master = std::max(stream.to_master, queue_.now() + Between(0.1, 3));
  queue_.At(stream.to_master, [this, id = *id, message = std::move(message)] {
    const auto found = streams_.find(id);
    // What was under way when the stream broke is lost.
    if (found == streams_.end() || !found->second.master_open ||
        !found->second.worker_open) {
      return;
    }
    Feed(master::WorkerStreamMessage{id, message});
  });
}

void ClusterSim::SendToWorker(master::SessionId id,
                              proto::MasterMessage message) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || !found->second.master_open) return;
  if (message.has_grant()) checker_.OnGrantSent(id, message.grant());
  Stream& stream = found->second;
  stream.to_worker = std::max(stream.to_worker, queue_.now() + Between(0.1, 3));
  queue_.At(stream.to_worker, [this, id, message = std::move(message)] {
    const auto at = streams_.find(id);
    if (at != streams_.end() && at->second.worker_open) {
      at->second.worker->OnMessage(message);
    }
  });
}

void ClusterSim::CloseFromMaster(master::SessionId id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second.master_open = false;
  queue_.At(std::max(found->second.to_worker, queue_.now()), [this, id] {
    const auto at = streams_.find(id);
    if (at == streams_.end()) return;
    const bool open = at->second.worker_open;
    ModelWorker* worker = at->second.worker;
    streams_.erase(at);
    checker_.OnStreamGone(id);
    if (open && !worker->dead()) worker->OnClosed();
  });
}

void ClusterSim::BreakStream(master::SessionId id,
                             absl::Duration master_after) {
  Stream& stream = streams_.at(id);
  const bool was_open = stream.worker_open;
  stream.worker_open = false;
  if (was_open) {
    ModelWorker* worker = stream.worker;
    queue_.After(Between(0, 50), [this, worker] {
      if (!worker->dead() && !StreamOf(*worker).has_value()) worker->OnClosed();
    });
  }
  queue_.After(master_after, [this, id] {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    const bool open = found->second.master_open;
    streams_.erase(found);
    checker_.OnStreamGone(id);
    if (open) Feed(master::WorkerStreamClosed{id});
  });
}

ModelWorker* ClusterSim::FindIncarnation(const std::string& incarnation) {
  for (const auto& worker : workers_) {
    if (worker->incarnation().bytes() == incarnation) return worker.get();
  }
  return nullptr;
}

bool ClusterSim::Reachable(const ModelWorker& from, const ModelWorker& to) {
  return cut_.count({from.name(), to.name()}) == 0;
}

// --------------------------------------------------------------------- store

const SimJob* ClusterSim::FindJob(const JobId& id) {
  const master::Job* job = state_->FindJob(id);
  if (job != nullptr) sim_jobs_[id] = jobs_by_name_.at(job->spec->name());
  return sim_jobs_.at(id);
}

proto::FailureCause ClusterSim::Check(const JobId& /*job*/,
                                      const std::vector<AttemptUid>& winners,
                                      std::optional<size_t>* bad) {
  if (faults_ && !winners.empty() && Chance(0.05 * severity_)) {
    *bad = random_->Uniform(winners.size());
    return proto::COMMIT_DATA_LOST;
  }
  return proto::FAILURE_CAUSE_UNSPECIFIED;
}

proto::FailureCause ClusterSim::Publish(
    const JobId& job, const std::vector<AttemptUid>& winners) {
  if (store_ails_) return proto::OUTPUT_FAILED;
  const SimJob& sim = *FindJob(job);
  checker_.OnPublished(job, winners);
  const auto found = outputs_.find(sim.output);
  if (found != outputs_.end() && found->second == job) {
    return proto::FAILURE_CAUSE_UNSPECIFIED;
  }
  if (found != outputs_.end() || sim.foreign_output) {
    return proto::OUTPUT_CONFLICT;
  }
  outputs_[sim.output] = job;
  return proto::FAILURE_CAUSE_UNSPECIFIED;
}

void ClusterSim::OnGranted(ModelWorker& worker, const proto::Grant& grant) {
  Note(Cat(worker.name(), " is granted ", Text(grant.attempt())));
  result_.speculative += grant.attempt().speculative();
  checker_.OnGranted(worker, grant, *state_);
}

// -------------------------------------------------------------------- the run

bool ClusterSim::Finished() const {
  if (faults_ || core_ == nullptr || !core_->leading()) return false;
  for (const ClientJob& job : jobs_) {
    if (!job.settled()) return false;
  }
  for (const auto& [index, job] : state_->jobs()) {
    if (!job->ended() || !job->cleaned) return false;
  }
  // Late comers are told to drop what they have.
  return std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) {
    return worker->welcomed() && worker->Present().empty();
  });
}

void ClusterSim::EverySecond() {
  // A loop that stood still waits for its workers' reports once more.
  const absl::Duration since = std::max(leader_since_, stalled_until_);
  const bool settled = leading_ && core_ != nullptr && core_->leading() &&
                       proposals_.size() < 3 && queue_.now() - since > kSettled;
  if (state_ != nullptr) {
    checker_.OnSecond(queue_.now(), settled, *state_,
                      core_ != nullptr ? ShownBy(*core_, *state_) : Shown());
  }
  if (!faults_) {
    // Drains are lifted, also those that a lost term had swallowed.
    for (const auto& worker : workers_) {
      if (state_->IsDraining(worker->name())) {
        Feed(master::ClientDrain{next_tag_++, worker->name(), false});
      }
    }
  }
  queue_.After(absl::Seconds(1), [this] { EverySecond(); });
}

void ClusterSim::CheckCauses() {
  for (const auto& [index, job] : state_->jobs()) {
    if (job->state != proto::FAILED) continue;
    const SimJob& sim = *jobs_by_name_.at(job->spec->name());
    const bool shared_output =
        std::count_if(jobs_.begin(), jobs_.end(), [&](const ClientJob& other) {
          return other.job.output == sim.output;
        }) > 1;
    bool expected = false;
    switch (job->failure->cause()) {
      case proto::USER_EXCEPTION:
        expected = sim.user_failure > 0;
        break;
      case proto::CRASHED:
        expected = sim.poisoned;
        break;
      case proto::INPUT_INVALID:
        expected = sim.hopeless;
        break;
      case proto::LEDGER_MISMATCH:
        expected = sim.wrong_ledger;
        break;
      case proto::OUTPUT_CONFLICT:
        expected = sim.foreign_output || shared_output;
        break;
      case proto::NONDETERMINISTIC_MAP:
        expected = sim.other_records > 0;
        break;
      case proto::INFRASTRUCTURE:
        expected = true;  // So many losses can come together.
        break;
      default:
        break;
    }
    if (!expected) {
      checker_.Violate(Cat("I21: ", job->spec->name(),
                           " failed for no reason of its own: cause ",
                           job->failure->cause(), ", ",
                           job->failure->message()));
    }
  }
}

SimResult ClusterSim::Run() {
  const size_t count = 1 + random_->Uniform(7);
  for (size_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<ModelWorker>(
        Cat("w", i), static_cast<uint32_t>(1 + random_->Uniform(3)),
        static_cast<WorkerWorld&>(*this)));
    checked_workers_.push_back(workers_.back().get());
  }
  const double severities[] = {0.2, 1, 3};
  severity_ = severities[random_->Uniform(3)];
  // Where the log is slow, much is under way when it is judged.
  const double delays[] = {2, 8, 8, 60, 400};
  log_ms_ = options_.focus == Focus::kAny ? delays[random_->Uniform(5)] : 400;
  if (options_.snapshots && Chance(0.5)) {
    snapshot_every_ = 1 + random_->Uniform(Chance(0.5) ? 10 : 100);
  }
  MakeJobs();
  StartMaster();
  for (const auto& worker : workers_) {
    queue_.After(Between(0, 3000), [&worker] {
      if (worker->dead()) worker->Start();
    });
  }
  queue_.After(Between(0, 5000), [this] { Fault(); });
  const absl::Duration heal = absl::Seconds(20) + Between(0, 100'000);
  queue_.At(heal, [this] { Heal(); });
  EverySecond();
  while (checker_.violation().empty() && !Finished() &&
         queue_.now() < heal + kLivenessLimit) {
    queue_.RunNext();
  }
  if (checker_.violation().empty()) {
    checker_.OnEnd(*state_, staging_, outputs_);
    CheckCauses();
  }
  for (const auto& [index, job] : state_->jobs()) ++result_.jobs[job->state];
  result_.violation = checker_.violation();
  result_.events.assign(events_.begin(), events_.end());
  return std::move(result_);
}

}  // namespace millrace::sim
