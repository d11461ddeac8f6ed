#include "tests/sim/cluster_sim.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"

namespace millrace::sim {

using master::Event;

namespace {

constexpr absl::Duration kLivenessLimit = absl::Minutes(15);
constexpr size_t kEventsKept = 60;
// A leader that has been one for so long knows everybody.
constexpr absl::Duration kSettled = absl::Seconds(12);

}  // namespace

ClusterSim::ClusterSim(const SimOptions& options)
    : options_(options),
      random_(Random::Seeded(options.seed)),
      checker_(workers_) {}

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
  state_ = std::make_unique<master::State>(options_.state_mutant);
  for (size_t i = 0; i < log_.size(); ++i) {
    const Proposal& proposal = log_[i];
    const master::ApplyResult result =
        state_->Apply(i + 1, proposal.term, proposal.entry);
    if (i + 1 > checked_) {
      checked_ = i + 1;
      checker_.OnApplied(proposal.entry, result, *state_);
    }
    if (i + 1 == hash_index_ && state_->Hash() != hash_) {
      checker_.Violate("I17: the replayed state is another");
    }
  }
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
  Feed(master::BecameLeader{term_});
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
    while (!proposals_.empty()) {
      const Proposal proposal = std::move(proposals_.front());
      proposals_.pop_front();
      log_.push_back(proposal);
      ApplyEntry(proposal);
    }
    leading_ = true;
    leader_since_ = queue_.now();
    ++term_;
    ++result_.terms;
    Note(Cat("master leads term ", term_));
    Feed(master::BecameLeader{term_});
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
  for (const master::Effect& effect : effects) Carry(effect);
  ScheduleTick();
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
  ++result_.entries;
  result_.refused += !result.applied();
  if (result.applied()) {
    result_.workers_lost += proposal.entry.has_worker_lost();
    result_.reoffered += proposal.entry.has_map_reoffered();
    result_.epochs += result.epoch_raised;
    for (const master::LostWinner& lost : result.lost) {
      result_.maps_lost += lost.task.kind == proto::MAP_TASK;
    }
  }
  checked_ = std::max(checked_, index);
  checker_.OnApplied(proposal.entry, result, *state_);
  Feed(master::EntryApplied{index, proposal.term, &proposal.entry, &result});
}

void ClusterSim::CommitNext() {
  if (commit_scheduled_ || proposals_.empty()) return;
  commit_scheduled_ = true;
  const bool slow = faults_ && Chance(0.01 * severity_);
  queue_.After(slow ? Between(100, 1500) : Between(0.1, 8), [this] {
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
    Note(Cat("proposed ", static_cast<int>(propose->entry.entry_case())));
    proposals_.push_back({term_, propose->entry});
    CommitNext();
  } else if (const auto* send = std::get_if<master::Send>(&effect)) {
    SendToWorker(send->session, send->message);
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
  if (job != nullptr) sim_jobs_[id] = jobs_by_name_.at(job->spec.name());
  return sim_jobs_.at(id);
}

proto::FailureCause ClusterSim::Check(const JobId& /*job*/,
                                      const proto::CheckGrant& grant,
                                      const proto::WinnerFile** bad) {
  if (faults_ && grant.winners_size() > 0 && Chance(0.05 * severity_)) {
    *bad = &grant.winners(
        static_cast<int>(random_->Uniform(grant.winners_size())));
    return proto::COMMIT_DATA_LOST;
  }
  return proto::FAILURE_CAUSE_UNSPECIFIED;
}

proto::FailureCause ClusterSim::Publish(const JobId& job,
                                        const proto::PublishGrant& grant) {
  if (store_ails_) return proto::OUTPUT_FAILED;
  const SimJob& sim = *FindJob(job);
  checker_.OnPublished(job, grant);
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
  Note(Cat(worker.name(), " is granted ",
           master::ToString(master::TaskId::From(grant.attempt().task()))));
  checker_.OnGranted(worker, grant, *state_);
}

// ------------------------------------------------------------------- clients

void ClusterSim::MakeJobs() {
  const size_t count = 1 + random_->Uniform(4);
  jobs_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    ClientJob& client = jobs_[i];
    client.request = RequestId::Generate(*random_);
    SimJob& job = client.job;
    job.name = Cat("job", i);
    // Now and then two jobs want one path.
    job.output = i > 0 && Chance(0.1) ? jobs_[i - 1].job.output : Cat("/o", i);
    job.maps = static_cast<uint32_t>(
        Chance(0.05) ? 0 : 1 + random_->Uniform(Chance(0.2) ? 40 : 10));
    job.partitions =
        static_cast<uint32_t>(Chance(0.2) ? 0 : 1 + random_->Uniform(5));
    const double mean[] = {1, 20, 300, 2000, 6000};
    job.task_time = absl::Milliseconds(mean[random_->Uniform(5)]);
    // One slot alone must get through in the time that liveness allows.
    if (job.task_time > absl::Seconds(3)) job.maps = std::min(job.maps, 8u);
    job.long_task = job.task_time < absl::Seconds(1) && Chance(0.2) ? 0.1 : 0;
    job.user_failure = Chance(0.3) ? 0.1 : 0;
    job.infra_failure = Chance(0.2) ? 0.2 : 0;
    job.other_records = Chance(0.25) ? 0.3 : 0;
    job.poisoned = Chance(0.05);
    job.hopeless = Chance(0.03);
    job.wrong_ledger = Chance(0.03);
    job.foreign_output = Chance(0.03);
    jobs_by_name_[job.name] = &job;
    queue_.After(Between(0, 20'000), [this, i] { Submit(i); });
    if (Chance(0.15)) {
      queue_.After(Between(0, 60'000), [this, i] { Kill(i); });
    }
  }
}

void ClusterSim::Submit(size_t index) {
  ClientJob& job = jobs_[index];
  if (job.settled() && !Chance(0.1)) return;
  // Without an answer the client asks again.
  queue_.After(absl::Seconds(2), [this, index] { Submit(index); });
  if (core_ == nullptr) return;
  master::ClientSubmit submit;
  submit.tag = next_tag_++;
  submit.request_id = job.request;
  submit.spec.set_name(job.job.name);
  submit.spec.set_output(job.job.output);
  submit.spec.add_inputs("/in");
  submit.spec.set_program_sha256(std::string(32, 'x'));
  submit.spec.set_max_attempts(job.job.max_attempts);
  submits_[submit.tag] = index;
  Feed(submit);
  if (Chance(0.1)) {  // The network repeats it.
    submit.tag = next_tag_++;
    submits_[submit.tag] = index;
    Feed(submit);
  }
}

void ClusterSim::Kill(size_t index) {
  if (!jobs_[index].id.has_value() || core_ == nullptr) return;
  Note(Cat("client kills job", index));
  Feed(master::ClientKill{next_tag_++, *jobs_[index].id, "test"});
}

// -------------------------------------------------------------------- faults

void ClusterSim::KillWorker(ModelWorker& worker, absl::Duration down) {
  if (worker.dead()) return;
  Note(
      Cat(worker.name(), " dies for ", absl::ToInt64Milliseconds(down), " ms"));
  if (const auto id = StreamOf(worker)) {
    streams_.at(*id).worker_open = false;
    BreakStream(*id, Between(0, 20));
  }
  worker.Die();
  queue_.After(down, [this, &worker] {
    if (!worker.dead()) return;
    worker.Start();
    Note(Cat(worker.name(), " starts as ", worker.incarnation().ToShort()));
  });
}

void ClusterSim::Fault() {
  if (!faults_) return;
  queue_.After(Between(50, 8000 / severity_), [this] { Fault(); });
  ModelWorker& worker = AnyWorker();
  switch (random_->Uniform(14)) {
    case 0:
    case 1:
      return KillWorker(worker, Between(100, 15'000));
    case 2:
      return KillWorker(worker, Between(5, 800));
    case 3:
    case 4: {
      if (worker.dead() || worker.paused()) return;
      const absl::Duration stop = Between(100, 20'000);
      Note(Cat(worker.name(), " stops for ", absl::ToInt64Milliseconds(stop),
               " ms"));
      worker.Pause();
      queue_.After(stop, [this, &worker] {
        Note(Cat(worker.name(), " goes on"));
        if (worker.paused()) worker.Resume();
      });
      return;
    }
    case 5:
    case 6:
      if (const auto id = StreamOf(worker)) {
        const bool half_open = Chance(0.3);
        Note(Cat("the stream of ", worker.name(), " breaks",
                 half_open ? ", unnoticed" : ""));
        BreakStream(*id, half_open ? Between(1000, 20'000) : Between(0, 50));
      }
      return;
    case 7:
      Note(Cat(worker.name(), " loses a file"));
      return worker.LoseSpoolFile();
    case 8: {
      const auto link = std::make_pair(worker.name(), AnyWorker().name());
      Note(Cat(link.first, " cannot reach ", link.second));
      cut_.insert(link);
      queue_.After(Between(500, 30'000), [this, link] { cut_.erase(link); });
      return;
    }
    case 9:
      StopMaster();
      queue_.After(Between(50, 5000), [this] { StartMaster(); });
      return;
    case 10:
      return LoseTerm();
    case 11:
      return Stall(Between(100, Chance(0.3) ? 14'000 : 1500));
    case 12:
      Feed(master::ClientDrain{next_tag_++, worker.name(), Chance(0.5)});
      return;
    default:
      store_ails_ = !store_ails_;
      return;
  }
}

void ClusterSim::Heal() {
  Note("the faults stop");
  faults_ = false;
  store_ails_ = false;
  cut_.clear();
  StartMaster();
  for (const auto& worker : workers_) {
    if (worker->dead()) worker->Start();
    if (worker->paused()) worker->Resume();
  }
}

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
  const bool settled = leading_ && core_ != nullptr && core_->leading() &&
                       proposals_.size() < 3 &&
                       queue_.now() >= stalled_until_ &&
                       queue_.now() - leader_since_ > kSettled;
  if (state_ != nullptr) checker_.OnSecond(queue_.now(), settled, *state_);
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

SimResult ClusterSim::Run() {
  const size_t count = 1 + random_->Uniform(5);
  for (size_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<ModelWorker>(
        Cat("w", i), static_cast<uint32_t>(1 + random_->Uniform(3)),
        static_cast<WorkerWorld&>(*this)));
  }
  const double severities[] = {0.2, 1, 3};
  severity_ = severities[random_->Uniform(3)];
  MakeJobs();
  StartMaster();
  for (const auto& worker : workers_) {
    queue_.After(Between(0, 3000), [&worker] {
      if (worker->dead()) worker->Start();
    });
  }
  queue_.After(Between(0, 5000), [this] { Fault(); });
  const absl::Duration heal = absl::Seconds(20) + Between(0, 60'000);
  queue_.At(heal, [this] { Heal(); });
  EverySecond();
  while (checker_.violation().empty() && !Finished() &&
         queue_.now() < heal + kLivenessLimit) {
    queue_.RunNext();
  }
  if (checker_.violation().empty()) {
    checker_.OnEnd(*state_, staging_, outputs_);
  }
  for (const auto& [index, job] : state_->jobs()) ++result_.jobs[job->state];
  result_.violation = checker_.violation();
  result_.events.assign(events_.begin(), events_.end());
  return std::move(result_);
}

}  // namespace millrace::sim
