#include "tests/sim/whole/worker.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "engine/format/index.h"
#include "tests/sim/whole/masters.h"
#include "tests/sim/whole/worker_life.h"
#include "worker/shuffle/remote_index.h"
#include "worker/spool/spool_scan.h"

namespace millrace::wholesim {

namespace {

constexpr double kSlowFactor = 20;
// As the loop's: while tasks run, and else.
constexpr absl::Duration kBusyTick = absl::Milliseconds(250);
constexpr absl::Duration kIdleTick = absl::Seconds(1);

}  // namespace

Worker::Worker(World& world, std::string name, std::string host, uint32_t slots)
    : world_(world),
      name_(std::move(name)),
      host_(std::move(host)),
      slots_(slots),
      layout_{Cat("/", name_)},
      disk_(world.fs) {
  clock_.offset = world.Between(0, 1e9);
  for (const std::string& path :
       {layout_.root, layout_.Spool(), layout_.Blobs(), layout_.Logs()}) {
    CHECK(world.fs.MakeDirectory(path).ok());
  }
  disk_.SetEarlyFault([this](FileOp operation, const std::string& path) {
    return BeforeOperation(operation, path);
  });
}

Worker::~Worker() = default;

absl::Duration Worker::Now() const { return clock_.Local(world_.queue.now()); }

absl::Duration Worker::UntilLocal(absl::Duration local) const {
  return clock_.Until(local, world_.queue.now());
}

void Worker::SetClockRate(double rate) {
  clock_.offset += world_.queue.now() * (clock_.rate - rate);
  clock_.rate = rate;
}

worker::OpenOutputs& Worker::outputs() { return life_->outputs; }

// ---------------------------------------------------------------- processes

void Worker::Start(bool keep_spool) {
  CHECK(life_ == nullptr);
  ++life_number_;
  paused_ = processes_paused_ = false;
  there_since_ = world_.queue.now();
  address_ = Cat(name_, ":", world_.Chance(0.5) ? 1 : life_number_);
  life_ = std::make_shared<Life>(*this, world_);
  CHECK(life_->blobs.Open().ok());
  if (!keep_spool) CHECK(worker::EmptySpool(world_.fs, layout_).ok());
  worker::FoundSpool found = *worker::ScanSpool(world_.fs, layout_);
  if (world_.options.mutant.edge.adopt_unchecked) {
    // Whatever stands under an attempt's name is taken for its output.
    for (auto& [uid, job] : held_) {
      for (auto& [map, root] : roots_given_[job]) {
        if (root.size() != 16 + AttemptUid::kBytes) continue;
        if (root.substr(16) == uid.bytes()) {
          found.outputs.push_back({job, map, uid, root.substr(0, 16)});
        }
      }
    }
  }
  offered_.clear();
  for (const worker::FoundOutput& output : found.outputs) {
    offered_[output.attempt] = output.root;
  }
  held_.clear();
  for (const worker::FoundOutput& output : found.outputs) {
    held_[output.attempt] = output.job;
  }
  CheckOffers();
  worker::AgentOptions options;
  options.name = name_;
  options.version = "sim";
  options.host_id = host_;
  options.address = address_;
  options.slots = slots_;
  options.cluster = cluster_;
  options.layout = layout_;
  options.pid = 1;
  life_->core = std::make_unique<worker::AgentCore>(options, std::move(found),
                                                    *world_.random);
  worker::FetchOptions fetch;
  fetch.host_id = host_;
  fetch.spool_dir = layout_.Spool();
  fetch.memory_bytes = world_.Chance(0.5) ? 600 : 1 << 20;
  // One call for all there is of a source, or two that share it.
  fetch.transfers_per_source_max = world_.Chance(0.5) ? 1 : 2;
  fetch.sections_max = world_.Chance(0.3) ? 2 : 64;
  if (world_.Chance(0.8)) fetch.unknown_bytes = 0;
  fetch.gather = world_.Between(0, 200);
  life_->shuffle = std::make_unique<Shuffle>(world_, *this, fetch);
  const std::shared_ptr<Life> life = life_;
  for (const worker::Effect& effect : life->core->Start()) {
    std::visit([this](const auto& e) { Do(e); }, effect);
  }
  world_.Note(Cat(name_, " starts as ", incarnation_.ToShort()));
  Connect(world_.Between(1, 100));
  Later(kIdleTick, [this] { Tick(); });
}

// What a scan of the spool believes is what was written, as far as it must
// look: the index, which names the root.
void Worker::CheckOffers() {
  for (const auto& [uid, root] : offered_) {
    const auto file = world_.fs.OpenRead(
        worker::MapOutputPath(layout_.Spool(), held_.at(uid), uid));
    absl::StatusOr<engine::InspectedMapOutput> now =
        file.ok() ? engine::InspectMapOutput(**file, "") : file.status();
    if (!now.ok() || worker::RootBytes(now->summary.root) != root) {
      world_.Violate("P6: a map output is offered that is not whole");
    }
  }
}

void Worker::Die() {
  if (life_ == nullptr) return;
  world_.Note(Cat(name_, " dies"));
  // Its processes die with it, some of them in the middle of a write.
  std::vector<worker::ChildNumber> numbers;
  for (const auto& [number, process] : processes_) numbers.push_back(number);
  for (worker::ChildNumber number : numbers) {
    if (world_.Chance(0.5)) Execute(number, world_.Pick(30));
  }
  processes_.clear();
  ++life_number_;
  if (life_->shuffle != nullptr) life_->shuffle->Abandon();
  life_.reset();
  paused_ = processes_paused_ = false;
  held_back_.clear();
  processes_held_back_.clear();
  mail_.clear();
  mail_scheduled_ = false;
  own_.clear();
  seen_.clear();
  dropping_.clear();
  stream_ = 0;
  opening_ = 0;
  connecting_ = false;
  welcomed_ = false;
  disk_low_told_ = false;
  term_seen_ = 0;
  for (const auto& worker : world_.workers) {
    if (worker->life_ != nullptr && worker->life_->shuffle != nullptr) {
      worker->life_->shuffle->OnPeerGone(address_);
    }
  }
}

void Worker::Pause(bool with_processes) {
  paused_ = true;
  processes_paused_ = with_processes;
}

void Worker::Resume() {
  paused_ = processes_paused_ = false;
  there_since_ = world_.queue.now();
  for (auto* queue : {&processes_held_back_, &held_back_}) {
    std::deque<std::function<void()>> missed = std::exchange(*queue, {});
    const uint64_t life = life_number_;
    for (const auto& what : missed) {
      if (life != life_number_) return;
      what();
    }
  }
}

absl::Duration Worker::Slowed(absl::Duration wait) const {
  return slow_ ? wait * kSlowFactor : wait;
}

void Worker::Later(absl::Duration wait, std::function<void()> what) {
  world_.queue.After(wait, [this, life = life_number_, what = std::move(what)] {
    if (life != life_number_) return;
    if (paused_) {
      held_back_.push_back(what);
      return;
    }
    what();
  });
}

void Worker::Post(worker::Event event) {
  CHECK(life_ != nullptr) << name_ << " is dead";
  mail_.push_back(std::move(event));
  if (std::exchange(mail_scheduled_, true)) return;
  Later(world_.Between(0.01, 0.5), [this] { ReadMail(); });
}

void Worker::ReadMail() {
  mail_scheduled_ = false;
  const uint64_t life = life_number_;
  std::deque<worker::Event> mail = std::exchange(mail_, {});
  for (const worker::Event& event : mail) {
    if (life != life_number_) return;
    Step(event);
  }
}

void Worker::Step(const worker::Event& event) {
  const std::shared_ptr<Life> life = life_;
  own_.push_back(event);
  for (size_t i = 0; i < own_.size(); ++i) {
    const worker::Event next = std::move(own_[i]);
    Watch(next);
    for (const worker::Effect& effect : life->core->Step(next, Now())) {
      std::visit([this](const auto& e) { Do(e); }, effect);
    }
  }
  own_.clear();
}

void Worker::Tick() {
  bool busy = false;
  worker::Tick tick;
  for (auto& [number, process] : processes_) {
    if (!process.task.has_value()) continue;
    busy = true;
    tick.children.push_back({number, ++process.records, 10 * process.records});
  }
  Step(tick);
  Later(busy ? kBusyTick : kIdleTick, [this] { Tick(); });
}

// --------------------------------------------------------------- file work

void Worker::Do(StepSet steps, absl::Duration wait,
                std::function<worker::Event(Life& life)> what) {
  Later(Slowed(wait), [this, steps, what = std::move(what)] {
    const std::shared_ptr<Life> life = life_;  // It may end meanwhile.
    const uint64_t number = life_number_;
    const std::optional<Work> before =
        std::exchange(work_, Work{number, steps, std::nullopt, 0});
    worker::Event event = what(*life);
    work_ = before;
    if (number == life_number_) Post(std::move(event));
  });
}

StepSet Worker::StepOf(const Seen& seen) {
  const StepSet second = seen.speculative ? Only(Step::kSecond) : StepSet();
  return second | StepOfTask(seen);
}

StepSet Worker::StepOfTask(const Seen& seen) {
  switch (seen.task.kind) {
    case proto::PLAN_TASK:
      return Only(Step::kPlan);
    case proto::MAP_TASK:
      if (seen.phase == Phase::kTold) return Only(Step::kMapDone);
      return Only(seen.phase == Phase::kPreparing ? Step::kMapPrepare
                                                  : Step::kMapRun);
    case proto::REDUCE_TASK:
      if (seen.phase == Phase::kTold) return Only(Step::kReduceDone);
      return Only(seen.phase == Phase::kPreparing ? Step::kFetch
                                                  : Step::kReduceRun);
    case proto::CHECK_TASK:
      return Only(Step::kCheck);
    case proto::PUBLISH_TASK:
      return Only(Step::kPublish);
    default:
      return StepSet();
  }
}

void Worker::SetPhase(const AttemptUid& uid, Phase phase) {
  const auto found = seen_.find(uid);
  if (found == seen_.end()) return;
  found->second.phase = phase;
  world_.AtStep(*this, StepOf(found->second));
}

StepSet Worker::StepOf(const AttemptUid& uid) const {
  const auto found = seen_.find(uid);
  return found == seen_.end() ? StepSet() : StepOf(found->second);
}

StepSet Worker::Steps(const JobId* job) const {
  StepSet steps;
  if (dead()) return steps;
  for (const auto& [uid, seen] : seen_) {
    if (job == nullptr || seen.job == *job) steps |= StepOf(seen);
  }
  for (const auto& [uid, of] : held_) {
    if (job == nullptr || of == *job) steps |= Only(Step::kMapHeld);
  }
  for (const JobId& of : dropping_) {
    if (job == nullptr || of == *job) steps |= Only(Step::kCleanup);
  }
  if (job == nullptr && world_.excluded.contains(name_)) {
    steps |= Only(Step::kExcluded);
  }
  return steps;
}

StepSet Worker::FetchSteps() const {
  StepSet steps = Only(Step::kFetch);
  for (const auto& [uid, seen] : seen_) {
    const StepSet its = StepOf(seen);
    if ((its & Only(Step::kFetch)).any()) steps |= its;
  }
  return steps;
}

std::optional<JobId> Worker::JobAt(StepSet step) const {
  for (const auto& [uid, seen] : seen_) {
    if ((StepOf(seen) & step).any()) return seen.job;
  }
  return std::nullopt;
}

std::string Worker::AnyOutput() const {
  if (held_.empty()) return "";
  auto at = held_.begin();
  std::advance(at, world_.Pick(held_.size()));
  const std::string path =
      worker::MapOutputPath(layout_.Spool(), at->second, at->first);
  const auto info = world_.fs.Stat(path);
  return info.ok() && info->identity.size > 0 ? path : "";
}

// ------------------------------------------------------------------- stream

void Worker::Connect(absl::Duration wait) {
  if (std::exchange(connecting_, true)) return;
  Later(wait, [this] {
    connecting_ = false;
    if (stream_ == 0 && opening_ == 0) {
      opening_ = world_.masters->Connect(*this);
    }
  });
}

void Worker::OnOpened(worker::StreamId stream) {
  Post(worker::StreamOpened{stream});
}

void Worker::OnClosed(worker::StreamId stream) {
  if (dead()) return;
  if (opening_ == stream) opening_ = 0;
  Post(worker::StreamClosed{stream});
  Connect(world_.Between(20, 400));
}

void Worker::OnMessage(worker::StreamId stream, proto::MasterMessage message) {
  if (dead()) return;
  Post(worker::MasterSays{stream, std::move(message)});
}

void Worker::Do(const worker::Send& effect) {
  if (effect.message.has_update()) {
    disk_low_told_ = effect.message.update().disk_low();
    for (const auto& outcome : effect.message.update().outcomes()) {
      WatchOutcome(outcome);
    }
    for (const std::string& job : effect.message.update().dropped_jobs()) {
      dropping_.erase(*JobId::FromBytes(job));
    }
  }
  for (const auto& outcome : effect.message.hello().outcomes()) {
    WatchOutcome(outcome);
  }
  if (effect.message.has_hello()) {
    // Which says that nothing is left of others, as dropped_jobs does.
    const auto& jobs = effect.message.hello().jobs();
    std::erase_if(dropping_, [&jobs](const JobId& job) {
      return std::find(jobs.begin(), jobs.end(), job.bytes()) == jobs.end();
    });
  }
  world_.masters->FromWorker(effect.stream, effect.message);
}

void Worker::Do(const worker::CloseStream& effect) {
  if (stream_ == effect.stream) {
    stream_ = 0;
    welcomed_ = false;
  }
  world_.masters->CloseFromWorker(effect.stream);
  Connect(world_.Between(20, 400));
}

// -------------------------------------------------------------------- truth

void Worker::Watch(const worker::Event& event) {
  if (const auto* opened = std::get_if<worker::StreamOpened>(&event)) {
    stream_ = opened->stream;
    opening_ = 0;
    welcomed_ = false;
  } else if (const auto* closed = std::get_if<worker::StreamClosed>(&event)) {
    if (stream_ == closed->stream) {
      stream_ = 0;
      welcomed_ = false;
      // OnClosed may have asked for another one before this was known.
      Connect(world_.Between(20, 400));
    }
  } else if (const auto* says = std::get_if<worker::MasterSays>(&event)) {
    if (says->stream == stream_) WatchCommand(says->message);
  }
}

void Worker::WatchCommand(const proto::MasterMessage& message) {
  if (message.has_refused() || message.term() < term_seen_) return;
  term_seen_ = message.term();
  if (message.has_welcome()) {
    welcomed_ = true;
    cluster_ = *ClusterId::FromBytes(message.welcome().cluster_id());
  }
  if (!welcomed_) return;
  if (message.has_grant()) {
    const proto::AttemptRef& ref = message.grant().attempt();
    const AttemptUid uid = *AttemptUid::FromBytes(ref.attempt_uid());
    const JobId job = *JobId::FromBytes(ref.job_id());
    if (seen_.contains(uid)) return;
    world_.Note(Cat(name_, " is granted ", job.ToShort(), " ",
                    master::ToString(master::TaskId::From(ref.task())), " ",
                    uid.ToShort()));
    world_.checker.OnGranted(*this, message.grant(), world_.masters->truth());
    seen_[uid] = {job, master::TaskId::From(ref.task()), Phase::kPreparing,
                  ref.speculative()};
    world_.result.speculative += ref.speculative();
    world_.AtStep(*this, StepOf(seen_[uid]));
  } else if (message.has_ack()) {
    for (const std::string& bytes : message.ack().attempt_uids()) {
      const auto found = seen_.find(*AttemptUid::FromBytes(bytes));
      if (found != seen_.end() && found->second.phase == Phase::kTold) {
        seen_.erase(found);
      }
    }
  } else if (message.has_drop_job()) {
    const JobId job = *JobId::FromBytes(message.drop_job().job_id());
    std::erase_if(seen_,
                  [&](const auto& one) { return one.second.job == job; });
    std::erase_if(held_, [&](const auto& one) { return one.second == job; });
    dropping_.insert(job);
    world_.AtStep(*this, Only(Step::kCleanup));
  } else if (message.has_drop_attempt()) {
    held_.erase(*AttemptUid::FromBytes(message.drop_attempt().attempt_uid()));
  }
}

void Worker::WatchOutcome(const proto::AttemptOutcome& outcome) {
  const AttemptUid uid =
      *AttemptUid::FromBytes(outcome.attempt().attempt_uid());
  const auto found = seen_.find(uid);
  if (found == seen_.end()) return;
  found->second.phase = Phase::kTold;
  world_.AtStep(*this, StepOf(found->second));
  if (outcome.has_done() && found->second.task.kind == proto::MAP_TASK &&
      !outcome.done().map_output_root().empty()) {
    held_[uid] = found->second.job;
  }
}

bool Worker::has_queue() const {
  if (!takes_work()) return true;
  return std::any_of(seen_.begin(), seen_.end(), [](const auto& one) {
    const Seen& seen = one.second;
    return seen.phase == Phase::kPreparing &&
           (seen.task.kind == proto::PLAN_TASK ||
            seen.task.kind == proto::MAP_TASK);
  });
}

std::vector<sim::CheckedAttempt> Worker::Live() const {
  std::vector<sim::CheckedAttempt> live;
  for (const auto& [uid, seen] : seen_) {
    if (seen.phase == Phase::kTold) continue;
    live.push_back({uid, seen.job, seen.task, seen.speculative,
                    seen.phase == Phase::kRunning});
  }
  return live;
}

bool Worker::HasUnacked(const JobId& job, const master::TaskId& task) const {
  return std::any_of(seen_.begin(), seen_.end(), [&](const auto& one) {
    return one.second.phase == Phase::kTold && one.second.job == job &&
           one.second.task == task;
  });
}

std::set<JobId> Worker::Present() const {
  std::set<JobId> jobs = dropping_;
  for (const auto& [uid, seen] : seen_) jobs.insert(seen.job);
  const auto entries = world_.fs.List(layout_.Spool());
  for (const DirEntry& entry : *entries) {
    if (const auto job = JobId::FromHex(entry.name)) jobs.insert(*job);
  }
  return jobs;
}

}  // namespace millrace::wholesim
