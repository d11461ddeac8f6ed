#include "bench/scheduler_load.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <variant>

#include "bench/process_use.h"
#include "bench/task_reports.h"
#include "common/clock.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/scheduler/testing/index_check.h"
#include "master/state/testing/entries.h"

namespace millrace::master {
namespace {

constexpr uint64_t kRecordsPerMapAndPartition = 1000;
// What a worker takes to do what is no task, and a stream to bring it.
constexpr absl::Duration kSoon = absl::Milliseconds(1);
// Memory is looked at each so many entries.
constexpr uint64_t kLookAtMemory = 10'000;

}  // namespace

void Durations::Add(absl::Duration took) {
  ++count_;
  total_ += took;
  most_ = std::max(most_, took);
  const auto ns = static_cast<uint64_t>(
      std::max<int64_t>(kPerOctave, absl::ToInt64Nanoseconds(took)));
  const int octave = std::bit_width(ns) - std::bit_width(uint64_t{kPerOctave});
  const size_t number =
      octave * kPerOctave + static_cast<size_t>((ns >> octave) - kPerOctave);
  ++classes_[std::min(number, classes_.size() - 1)];
}

absl::Duration Durations::Of(double share) const {
  uint64_t below = 0;
  for (size_t i = 0; i < classes_.size(); ++i) {
    below += classes_[i];
    if (static_cast<double>(below) < share * static_cast<double>(count_)) {
      continue;
    }
    const uint64_t top = kPerOctave + i % kPerOctave + 1;
    return std::min(most_, absl::Nanoseconds(
                               static_cast<int64_t>(top << (i / kPerOctave))));
  }
  return most_;
}

struct SchedulerLoad::SimAttempt {
  proto::AttemptRef ref;
  uint32_t epoch = 0;
  proto::TaskKind kind = proto::MAP_TASK;
  uint32_t task = 0;
  proto::AttemptPhase phase = proto::PREPARING;
  // What the master was told last, and when.
  proto::AttemptPhase told = proto::PREPARING;
  absl::Duration told_at;
  absl::Duration started_at;
  absl::Duration takes;
  bool fails = false;
};

struct SchedulerLoad::SimWorker {
  uint32_t number = 0;  // From 0.
  bool alive = true;
  proto::Hello hello;
  SessionId session() const { return number + 1; }
  std::map<uint64_t, SimAttempt> attempts;  // In the order of their grants.
  uint32_t busy = 0;                        // Slots.
  absl::Duration last_sent;
  // Of the jobs that it reads: which maps it was told of, and how many.
  std::map<std::string, std::pair<std::vector<bool>, uint32_t>> told;
};

SchedulerLoad::SchedulerLoad(const LoadOptions& options)
    : options_(options),
      random_(Random::Seeded(options.seed)),
      ids_(Random::Seeded(options.seed + 1)),
      core_({}, state_, *ids_) {}

SchedulerLoad::~SchedulerLoad() = default;

absl::Duration SchedulerLoad::About(absl::Duration time) {
  return time / 2 + time * static_cast<double>(random_->Uniform(1000)) / 1000;
}

void SchedulerLoad::At(absl::Duration when, What what, uint32_t worker,
                       uint64_t attempt) {
  queue_.push({when, next_order_++, what, worker, attempt});
}

// ------------------------------------------------------------------ the master

void SchedulerLoad::Feed(Event event, const char* kind, absl::Duration before) {
  const absl::Duration start = ThreadTime();
  std::vector<Effect> effects = core_.Step(std::move(event), now_, 1'000'000);
  const absl::Duration took = ThreadTime() - start;
  result_.step += took;
  result_.turns.Add(before + took);
  result_.turns_by_kind[kind].Add(before + took);
  if (options_.turns_per_check > 0 &&
      result_.turns.count() % options_.turns_per_check == 0) {
    const std::string fault = testing::IndexFault(core_.soft_state());
    CHECK(fault.empty()) << "the index is wrong: " << fault;
  }
  for (Effect& effect : effects) Carry(effect);
  const absl::Duration due = std::max(core_.NextDeadline(), now_);
  if (due < tick_at_) {
    tick_at_ = due;
    At(due, What::kTick);
  }
}

void SchedulerLoad::Carry(Effect& effect) {
  if (auto* propose = std::get_if<Propose>(&effect)) {
    log_.push_back(propose->entry.SerializeAsString());
    At(now_ + options_.log_time, What::kCommitted);
  } else if (const auto* send = std::get_if<Send>(&effect)) {
    OnMessage(*workers_[send->session - 1], *send->message);
  } else if (const auto* reply = std::get_if<Reply>(&effect)) {
    CHECK(reply->status.ok()) << reply->status;
    const uint32_t first = submitted_++;
    SimJob& job = jobs_[std::string(reply->job.bytes())];
    // The rest goes to the first ones.
    const auto share = [&](uint32_t all) {
      return all / options_.jobs + (first < all % options_.jobs ? 1 : 0);
    };
    job = {share(options_.maps), share(options_.reduces)};
  } else {
    CHECK(!std::holds_alternative<CloseSession>(effect));
  }
}

void SchedulerLoad::ApplyNext() {
  proto::LogEntry entry;
  CHECK(entry.ParseFromString(log_.front()));
  log_.pop_front();
  const uint64_t index = state_.applied_index() + 1;
  const absl::Duration start = ThreadTime();
  const ApplyResult result = state_.Apply(index, core_.term(), entry);
  const absl::Duration took = ThreadTime() - start;
  // Of two attempts of a task one comes too late.
  CHECK(result.applied() || entry.has_map_won() || entry.has_reduce_won() ||
        entry.has_attempt_failed())
      << result.message;
  result_.apply += took;
  ++result_.entries;
  cleaned_ += entry.has_cleaned();
  if (entry.has_map_won() && result.applied() &&
      ++maps_won_ == options_.maps / 2) {
    for (uint32_t i = 0; i < options_.lost; ++i) {
      At(now_, What::kDie, i * (options_.workers / options_.lost));
    }
  }
  CHECK(!entry.has_failed()) << entry.failed().failure().message();
  if (result_.entries % kLookAtMemory == 0) {
    result_.grown_mib = std::max(result_.grown_mib, ResidentMiB());
  }
  const char* kind = "other entries";
  if (entry.has_map_won()) kind = "entry: a map has won";
  if (entry.has_reduce_won()) kind = "entry: a reduce has won";
  if (entry.has_worker_joined()) kind = "entry: a worker has joined";
  if (entry.has_worker_lost()) kind = "entry: a worker is lost";
  Feed(EntryApplied{index, core_.term(), &entry, &result}, kind, took);
}

void SchedulerLoad::RunNext() {
  const Item item = queue_.top();
  queue_.pop();
  now_ = item.when;
  if (!workers_[item.worker]->alive && item.what != What::kCommitted &&
      item.what != What::kTick) {
    return;
  }
  switch (item.what) {
    case What::kOpen:
      return Open(*workers_[item.worker]);
    case What::kBeat:
      return Beat(*workers_[item.worker]);
    case What::kEnds:
      return End(*workers_[item.worker], item.attempt);
    case What::kDropped: {
      proto::Update update;
      const auto job =
          std::next(jobs_.begin(), static_cast<std::ptrdiff_t>(item.attempt));
      update.add_dropped_jobs(job->first);
      return Say(*workers_[item.worker], std::move(update), "job dropped");
    }
    case What::kCommitted:
      return ApplyNext();
    case What::kDie:
      return Die(*workers_[item.worker]);
    case What::kTick:
      if (tick_at_ != item.when) return;
      tick_at_ = absl::InfiniteDuration();
      return Feed(Tick{}, "tick");
  }
}

void SchedulerLoad::RunUntil(const std::function<bool()>& condition) {
  while (!condition()) {
    CHECK(!queue_.empty());
    RunNext();
  }
}

// ----------------------------------------------------------------- the workers

void SchedulerLoad::Open(SimWorker& worker) {
  Feed(WorkerStreamOpened{worker.session()}, "stream opened");
  WorkerStreamMessage message{worker.session(), {}};
  *message.message.mutable_hello() = worker.hello;
  Feed(std::move(message), "hello");
  worker.last_sent = now_;
  At(now_ + options_.heartbeat_interval, What::kBeat, worker.number);
}

// With what is new of its attempts, whatever the message is about.
void SchedulerLoad::Say(SimWorker& worker, proto::Update update,
                        const char* kind) {
  for (auto& [number, attempt] : worker.attempts) {
    const bool runs = attempt.phase == proto::EXECUTING &&
                      now_ - attempt.told_at >= options_.heartbeat_interval;
    if (attempt.phase == attempt.told && !runs) continue;
    attempt.told = attempt.phase;
    attempt.told_at = now_;
    proto::AttemptProgress* progress = update.add_progress();
    progress->set_attempt_uid(attempt.ref.attempt_uid());
    progress->set_phase(attempt.phase);
    if (attempt.phase != proto::EXECUTING) continue;
    const SimJob& job = jobs_.at(attempt.ref.job_id());
    const uint64_t records =
        kRecordsPerMapAndPartition *
        (attempt.kind == proto::MAP_TASK ? job.reduces : job.maps);
    const double done = (now_ - attempt.started_at) / attempt.takes;
    progress->set_records(
        static_cast<uint64_t>(done * static_cast<double>(records)));
    progress->set_input_bytes(static_cast<uint64_t>(done * (64 << 20)));
    progress->set_executing_ms(static_cast<uint64_t>(
        absl::ToInt64Milliseconds(now_ - attempt.started_at)));
  }
  update.set_free_disk_bytes(uint64_t{1} << 40);
  worker.last_sent = now_;
  WorkerStreamMessage message{worker.session(), {}};
  *message.message.mutable_update() = std::move(update);
  Feed(std::move(message), kind);
}

void SchedulerLoad::Beat(SimWorker& worker) {
  if (now_ - worker.last_sent >= options_.heartbeat_interval) {
    Say(worker, {}, "heartbeat");
  }
  At(worker.last_sent + options_.heartbeat_interval, What::kBeat,
     worker.number);
}

void SchedulerLoad::OnMessage(SimWorker& worker,
                              const proto::MasterMessage& message) {
  if (!worker.alive) return;
  switch (message.message_case()) {
    case proto::MasterMessage::kWelcome:
      ++welcome_;
      break;
    case proto::MasterMessage::kGrant:
      OnGrant(worker, message.grant());
      break;
    case proto::MasterMessage::kLocations:
      OnLocations(worker, message.locations());
      break;
    case proto::MasterMessage::kDropJob:
      OnDrop(worker, message.drop_job().job_id());
      break;
    case proto::MasterMessage::kKill:
      for (auto& [number, attempt] : worker.attempts) {
        if (attempt.ref.attempt_uid() != message.kill().attempt_uid()) continue;
        attempt.fails = true;
        At(now_ + kSoon, What::kEnds, worker.number, number);
        break;
      }
      break;
    default:
      break;
  }
}

void SchedulerLoad::OnGrant(SimWorker& worker, const proto::Grant& grant) {
  ++result_.grants;
  result_.speculative += grant.attempt().speculative();
  const uint64_t number = next_attempt_++;
  SimAttempt& attempt = worker.attempts[number];
  attempt.ref = grant.attempt();
  attempt.epoch = grant.epoch();
  attempt.kind = grant.attempt().task().kind();
  attempt.task = grant.attempt().task().index();
  const bool slow = random_->Uniform(1'000'000) < options_.stragglers_ppm;
  switch (attempt.kind) {
    case proto::MAP_TASK:
      attempt.takes = (slow ? 10 : 1) * About(options_.map_time);
      if (random_->Uniform(1'000'000) < options_.failures_ppm) {
        attempt.fails =
            failed_.emplace(attempt.ref.job_id(), attempt.task).second;
      }
      break;
    case proto::REDUCE_TASK:
      attempt.takes = (slow ? 10 : 1) * About(options_.reduce_time);
      break;
    default:
      attempt.takes = About(absl::Milliseconds(20));
      break;
  }
  if (attempt.kind == proto::CHECK_TASK ||
      attempt.kind == proto::PUBLISH_TASK) {
    attempt.phase = proto::EXECUTING;
    attempt.started_at = now_;
    At(now_ + attempt.takes, What::kEnds, worker.number, number);
    return;
  }
  if (attempt.kind != proto::REDUCE_TASK) {
    attempt.phase = proto::WAITING;
  } else if (worker.told[attempt.ref.job_id()].second ==
             jobs_.at(attempt.ref.job_id()).maps) {
    attempt.phase = proto::WAITING;
  }
  FillSlots(worker);
}

void SchedulerLoad::OnLocations(SimWorker& worker,
                                const proto::Locations& locations) {
  auto& [known, count] = worker.told[locations.job_id()];
  const SimJob& job = jobs_.at(locations.job_id());
  known.resize(job.maps);
  result_.locations += locations.maps_size();
  for (const proto::MapLocation& map : locations.maps()) {
    const bool there = !map.lost();
    if (known[map.map_index()] == there) continue;
    known[map.map_index()] = there;
    count += there ? 1 : -1;
  }
  if (count != job.maps) return;
  for (auto& [number, attempt] : worker.attempts) {
    if (attempt.kind == proto::REDUCE_TASK &&
        attempt.ref.job_id() == locations.job_id() &&
        attempt.phase == proto::PREPARING) {
      attempt.phase = proto::WAITING;
    }
  }
  FillSlots(worker);
}

// In the order of their grants, maps before reduces, as the agent does.
void SchedulerLoad::FillSlots(SimWorker& worker) {
  for (const bool reduces : {false, true}) {
    for (auto& [number, attempt] : worker.attempts) {
      if (worker.busy == options_.slots) return;
      if (attempt.phase != proto::WAITING ||
          (attempt.kind == proto::REDUCE_TASK) != reduces) {
        continue;
      }
      ++worker.busy;
      attempt.phase = proto::EXECUTING;
      attempt.started_at = now_;
      At(now_ + attempt.takes, What::kEnds, worker.number, number);
    }
  }
}

void SchedulerLoad::Forget(SimWorker& worker, uint64_t number) {
  const auto found = worker.attempts.find(number);
  const SimAttempt& attempt = found->second;
  if (attempt.phase == proto::EXECUTING && attempt.kind <= proto::REDUCE_TASK) {
    --worker.busy;
  }
  worker.attempts.erase(found);
}

void SchedulerLoad::End(SimWorker& worker, uint64_t number) {
  const auto found = worker.attempts.find(number);
  if (found == worker.attempts.end()) return;  // Dropped, or killed before.
  const SimAttempt& attempt = found->second;
  const SimJob& job = jobs_.at(attempt.ref.job_id());
  proto::Update update;
  proto::AttemptOutcome* outcome = update.add_outcomes();
  *outcome->mutable_attempt() = attempt.ref;
  outcome->set_epoch(attempt.epoch);
  const char* kind = "outcome of a map";
  if (attempt.fails) {
    proto::AttemptFailure* failure = outcome->mutable_failed();
    failure->set_cause(proto::USER_EXCEPTION);
    failure->set_message("a record that it did not like");
    failure->set_retryable(true);
    kind = "failure";
  } else {
    proto::TaskDone* done = outcome->mutable_done();
    switch (attempt.kind) {
      case proto::PLAN_TASK:
        done->set_num_maps(job.maps);
        done->set_num_partitions(job.reduces);
        outcome->set_plan_sha256(std::string(32, 'p'));
        kind = "outcome of a plan";
        break;
      case proto::MAP_TASK:
        *done = MapReport(kRecordsPerMapAndPartition * job.reduces,
                          attempt.task, *random_);
        break;
      case proto::REDUCE_TASK:
        *done = testing::ReduceDone(kRecordsPerMapAndPartition * job.maps,
                                    Cat("/out/part-", attempt.task));
        kind = "outcome of a reduce";
        break;
      default:
        outcome->set_manifest_sha256(std::string(32, 'm'));
        kind = "outcome of a commit step";
        break;
    }
  }
  Forget(worker, number);
  FillSlots(worker);
  Say(worker, std::move(update), kind);
}

void SchedulerLoad::OnDrop(SimWorker& worker, const std::string& job) {
  std::vector<uint64_t> gone;
  for (const auto& [number, attempt] : worker.attempts) {
    if (attempt.ref.job_id() == job) gone.push_back(number);
  }
  for (uint64_t number : gone) Forget(worker, number);
  worker.told.erase(job);
  FillSlots(worker);
  const auto place = std::distance(jobs_.begin(), jobs_.find(job));
  At(now_ + kSoon + About(absl::Milliseconds(20)), What::kDropped,
     worker.number, static_cast<uint64_t>(place));
}

void SchedulerLoad::Die(SimWorker& worker) {
  worker.alive = false;
  worker.attempts.clear();
  worker.told.clear();
  Feed(WorkerStreamClosed{worker.session()}, "stream closed");
}

// --------------------------------------------------------------------- the run

LoadResult SchedulerLoad::Run() {
  const absl::Duration begun = Clock::Real().Monotonic();
  for (uint32_t i = 0; i < options_.workers; ++i) {
    workers_.push_back(std::make_unique<SimWorker>());
    SimWorker& worker = *workers_.back();
    worker.number = i;
    proto::Hello& hello = worker.hello;
    hello.set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
    hello.set_name(Cat("worker-", i));
    hello.set_host_id(Cat("host-", i));
    hello.set_incarnation(testing::Bytes(i + 1));
    hello.set_slots(options_.slots);
    hello.set_address(Cat("worker-", i, ":7000"));
    hello.set_spool_dir(Cat("/spool/worker-", i));
    At(now_ + options_.heartbeat_interval *
                  static_cast<double>(random_->Uniform(1000)) / 1000,
       What::kOpen, i);
  }
  Feed(BecameLeader{1, {}}, "other");
  RunUntil([&] { return welcome_ == options_.workers; });
  result_.joining = result_.apply + result_.step;

  // What follows is what counts.
  result_.apply = result_.step = absl::ZeroDuration();
  result_.entries = 0;
  result_.turns = {};
  result_.turns_by_kind.clear();
  const double before = ResidentMiB();
  const absl::Duration cpu_before = ThreadTime();
  const absl::Duration submitted = now_;
  for (uint32_t i = 0; i < options_.jobs; ++i) {
    ClientSubmit submit;
    submit.tag = i + 1;
    submit.request_id = testing::MakeId<RequestId>(i + 1);
    submit.spec.set_name(Cat("job-", i));
    submit.spec.set_program_sha256(std::string(32, 'x'));
    submit.spec.add_inputs("/in");
    submit.spec.set_output(Cat("/data/output/of/job-", i));
    Feed(submit, "submit");
  }
  RunUntil([&] { return cleaned_ == options_.jobs; });
  for (const auto& [index, job] : state_.jobs()) {
    CHECK(job->state == proto::SUCCEEDED) << job->spec->name();
    CHECK_EQ(job->totals.output_records,
             kRecordsPerMapAndPartition * job->maps.total * job->reduces.total);
  }
  result_.grown_mib = std::max(result_.grown_mib, ResidentMiB()) - before;
  result_.simulated = now_ - submitted;
  result_.cpu = ThreadTime() - cpu_before;
  result_.elapsed = Clock::Real().Monotonic() - begun;
  return std::move(result_);
}

}  // namespace millrace::master
