#include "tests/sim/whole/masters.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/testing/index_check.h"
#include "master/state/state_snapshot.h"
#include "master/state/testing/byte_strings.h"
#include "tests/sim/whole/worker.h"

namespace millrace::wholesim {

using master::Event;
using master::SessionId;

namespace {

constexpr uint64_t kHashEvery = 64;  // Entries.
constexpr uint64_t kStepsPerIndexCheck = 7;

std::string_view NameOf(const proto::LogEntry& entry) {
  static constexpr std::string_view kNames[] = {
      "nothing",      "TermStarted", "JobSubmitted",  "Planned", "MapWon",
      "MapReoffered", "ReduceWon",   "AttemptFailed", "MapLost", "OutputLost",
      "WorkerJoined", "WorkerLost",  "WorkerDrained"};
  if (entry.has_decided()) return "Decided";
  if (entry.has_committed()) return "Committed";
  if (entry.has_cancelled()) return "Cancelled";
  if (entry.has_failed()) return "Failed";
  if (entry.has_evicted()) return "Evicted";
  if (entry.has_record_passed_over()) return "RecordPassedOver";
  if (entry.has_cleaned()) return "Cleaned";
  if (entry.has_term_started()) return kNames[1];
  if (entry.has_job_submitted()) return kNames[2];
  if (entry.has_planned()) return kNames[3];
  if (entry.has_map_won()) return kNames[4];
  if (entry.has_map_reoffered()) return kNames[5];
  if (entry.has_reduce_won()) return kNames[6];
  if (entry.has_attempt_failed()) return kNames[7];
  if (entry.has_map_lost()) return kNames[8];
  if (entry.has_output_lost()) return kNames[9];
  if (entry.has_worker_joined()) return kNames[10];
  if (entry.has_worker_lost()) return kNames[11];
  if (entry.has_worker_drained()) return kNames[12];
  return kNames[0];
}

// Of Planned and Decided: what the masters must hold first. "": nothing.
std::string BlobOf(const proto::LogEntry& entry) {
  if (entry.has_planned()) return entry.planned().plan_sha256();
  if (entry.has_decided()) return entry.decided().manifest_sha256();
  return "";
}

// An entry in one line.
std::string Text(const proto::LogEntry& entry) {
  std::string text(NameOf(entry));
  const proto::AttemptRef* ref = nullptr;
  if (entry.has_map_won()) ref = &entry.map_won().attempt();
  if (entry.has_reduce_won()) ref = &entry.reduce_won().attempt();
  if (entry.has_planned()) ref = &entry.planned().attempt();
  if (entry.has_attempt_failed()) ref = &entry.attempt_failed().attempt();
  if (ref != nullptr) {
    text.append(Cat(" ", HexEncode(ref->job_id().substr(0, 3)), " ",
                    master::ToString(master::TaskId::From(ref->task())), " ",
                    HexEncode(ref->attempt_uid().substr(0, 3))));
  }
  if (entry.has_attempt_failed()) {
    text.append(Cat(" cause ", entry.attempt_failed().cause(), ": ",
                    entry.attempt_failed().message()));
  }
  if (entry.has_failed()) {
    text.append(Cat(" cause ", entry.failed().failure().cause(), ": ",
                    entry.failed().failure().message()));
  }
  if (entry.has_worker_lost()) {
    text.append(Cat(" ",
                    HexEncode(entry.worker_lost().incarnation().substr(0, 3)),
                    ": ", entry.worker_lost().reason()));
  }
  if (entry.has_worker_joined()) {
    text.append(Cat(" ", entry.worker_joined().name()));
  }
  if (entry.has_map_lost()) {
    text.append(Cat(" map ", entry.map_lost().map_index(), ": ",
                    entry.map_lost().message()));
  }
  return text;
}

}  // namespace

Masters::Masters(World& world, int count)
    : world_(world), truth_(world.options.mutant.state) {
  for (int i = 0; i < count; ++i) {
    masters_.push_back(std::make_unique<Master>());
    masters_.back()->index = i;
    masters_.back()->clock.offset = world.Between(0, 1e9);
  }
}

Masters::~Masters() = default;

void Masters::Start() {
  for (const auto& master : masters_) StartMaster(*master);
  ElectLater(world_.Between(10, 500));
}

// ------------------------------------------------------------- life of masters

std::unique_ptr<master::State> Masters::Restored(const std::string& bytes) {
  master::testing::StringSource source(
      bytes, static_cast<size_t>(1 + world_.Pick(5000)));
  auto state = master::State::Restore(source, world_.options.mutant.state);
  if (state.ok()) return *std::move(state);
  world_.Violate(Cat("I17: ", ToStd(state.status().message())));
  return std::make_unique<master::State>(world_.options.mutant.state);
}

void Masters::RecoverState(Master& master) {
  if (master.snapshot.has_value()) {
    master.state = Restored(master.snapshot->second);
  } else {
    master.state = std::make_unique<master::State>(world_.options.mutant.state);
  }
  for (uint64_t i = master.state->applied_index(); i < log_.size(); ++i) {
    master.state->Apply(i + 1, log_[i].term, log_[i].entry);
    const auto hash = hashes_.find(i + 1);
    if (hash != hashes_.end() && hash->second != master.state->Hash()) {
      world_.Violate("I17: a replayed state is another");
    }
  }
}

void Masters::StartMaster(Master& master) {
  if (master.alive) return;
  ++master.life;
  master.alive = true;
  master.cut_off = false;
  master.term = 0;
  master.stalled_until = absl::ZeroDuration();
  master.tick_at = absl::InfiniteDuration();
  master.apply_scheduled = false;
  RecoverState(master);
  master::SchedulerOptions options;
  options.mutant = world_.options.mutant.scheduler;
  Random* random = world_.random.get();
  if (world_.options.mutant.edge.reuse_uids) {
    master.random = Random::Seeded(7);
    random = master.random.get();
  }
  master.core =
      std::make_unique<master::SchedulerCore>(options, *master.state, *random);
  world_.Note(Cat("master ", master.index, " starts"));
}

void Masters::StopMaster(Master& master) {
  if (!master.alive) return;
  world_.Note(Cat("master ", master.index, " dies"));
  const bool led = leader_ == master.index;
  ++master.life;
  master.alive = false;
  if (led) {
    leader_ = -1;
    SettleProposals();
  }
  master.term = 0;
  master.inbox.clear();
  master.core.reset();
  std::vector<SessionId> sessions;
  for (const auto& [id, stream] : streams_) {
    if (stream.master == master.index) sessions.push_back(id);
  }
  for (SessionId id : sessions) {
    streams_.at(id).master_open = false;
    BreakStream(id, absl::ZeroDuration());
  }
  if (led) ElectLater(world_.Between(300, 3000));
}

void Masters::ElectLater(absl::Duration wait) {
  if (std::exchange(electing_, true)) return;
  world_.queue.After(wait, [this] {
    electing_ = false;
    Elect();
  });
}

void Masters::Elect() {
  if (leader_ >= 0) return;
  std::vector<int> able;
  for (const auto& master : masters_) {
    if (master->alive && !master->cut_off &&
        master->stalled_until <= world_.queue.now()) {
      able.push_back(master->index);
    }
  }
  if (able.size() * 2 <= masters_.size()) {
    // A deposed leader counts for a quorum once it has heard of it.
    return ElectLater(world_.Between(200, 1000));
  }
  leader_ = able[world_.Pick(able.size())];
  leader_since_ = world_.queue.now();
  ++term_;
  Master& master = leader();
  ApplyAll(master);
  world_.Note(Cat("master ", leader_, " leads term ", term_));
  Feed(master, master::BecameLeader{term_, {}});
}

void Masters::SettleProposals() {
  std::deque<Logged> proposals = std::exchange(proposals_, {});
  size_t kept = world_.Pick(proposals.size() + 1);
  for (Logged& proposal : proposals) {
    if (kept-- == 0) break;
    Append(std::move(proposal));
  }
}

bool Masters::KillOne(bool want_leader, absl::Duration down) {
  const size_t index = want_leader && leader_ >= 0
                           ? static_cast<size_t>(leader_)
                           : world_.Pick(masters_.size());
  Master& master = *masters_[index];
  if (!master.alive) return false;
  StopMaster(master);
  world_.queue.After(down, [this, &master] { StartMaster(master); });
  return true;
}

bool Masters::Depose(absl::Duration goes_on) {
  if (leader_ < 0 || masters_.size() < 3) return false;
  Master& old = leader();
  world_.Note(Cat("master ", leader_, " is deposed and goes on for ",
                  absl::ToInt64Milliseconds(goes_on), " ms"));
  old.cut_off = true;
  leader_ = -1;
  SettleProposals();
  ElectLater(world_.Between(100, 2000));
  world_.queue.After(goes_on, [this, &old, life = old.life] {
    if (life != old.life) return;
    old.cut_off = false;
    Feed(old, master::LostLeadership{});
    ApplyLater(old);
  });
  return true;
}

bool Masters::StallLeader(absl::Duration how_long) {
  if (leader_ < 0) return false;
  Master& master = leader();
  world_.Note(Cat("master ", master.index, " stands still for ",
                  absl::ToInt64Milliseconds(how_long), " ms"));
  master.stalled_until =
      std::max(master.stalled_until, world_.queue.now() + how_long);
  world_.queue.At(master.stalled_until, [this, &master, life = master.life] {
    while (life == master.life && !master.inbox.empty() &&
           world_.queue.now() >= master.stalled_until) {
      const auto what = std::move(master.inbox.front());
      master.inbox.pop_front();
      what();
    }
  });
  leader_since_ = master.stalled_until;
  return true;
}

void Masters::SlowLog(absl::Duration until) {
  log_slow_until_ = until;
  unsettled_until_ = std::max(unsettled_until_, until + kSettled);
}

void Masters::JumpClocks(absl::Duration by) {
  Master& master = *masters_[world_.Pick(masters_.size())];
  master.clock.offset += by;
  if (!master.alive) return;
  Feed(master, master::Tick{});
  if (leader_ == master.index) leader_since_ = world_.queue.now();
}

void Masters::SetClockRates(double low, double high) {
  for (const auto& master : masters_) {
    const absl::Duration now = world_.queue.now();
    const double rate =
        low + (high - low) * static_cast<double>(world_.Pick(1000)) / 1000;
    master->clock.offset += now * (master->clock.rate - rate);
    master->clock.rate = rate;
    if (master->alive) Feed(*master, master::Tick{});
  }
}

void Masters::Heal() {
  log_slow_until_ = absl::ZeroDuration();
  for (const auto& master : masters_) StartMaster(*master);
  slowness_.clear();
  cuts_.clear();
  if (leader_ < 0) ElectLater(world_.Between(10, 500));
}

bool Masters::leading() const {
  if (leader_ < 0) return false;
  const Master& master = *masters_[static_cast<size_t>(leader_)];
  return master.core->leading();
}

sim::Shown Masters::shown() const {
  if (!leading()) return {};
  const Master& master = *masters_[static_cast<size_t>(leader_)];
  return sim::ShownBy(*master.core, *master.state);
}

bool Masters::settled() const {
  if (!leading()) return false;
  const Master& master = *masters_[static_cast<size_t>(leader_)];
  const absl::Duration since = std::max(leader_since_, master.stalled_until);
  const absl::Duration now = world_.queue.now();
  return proposals_.size() < 3 && now > since + kSettled &&
         now > unsettled_until_;
}

// --------------------------------------------------------------------- steps

void Masters::Run(Master& master, std::function<void()> what) {
  if (world_.queue.now() < master.stalled_until) {
    master.inbox.push_back(
        [this, &master, what = std::move(what)] { Run(master, what); });
    return;
  }
  what();
}

void Masters::Feed(Master& master, const Event& event) {
  if (!master.alive) return;
  if (world_.queue.now() < master.stalled_until) {
    master.inbox.push_back([this, &master, event] { Feed(master, event); });
    return;
  }
  if (const auto* became = std::get_if<master::BecameLeader>(&event)) {
    master.term = became->term;
  } else if (std::holds_alternative<master::LostLeadership>(event)) {
    master.term = 0;
  }
  const int64_t wall =
      1'700'000'000'000 + static_cast<int64_t>(world_.Pick(86'400'000));
  const std::vector<master::Effect> effects =
      master.core->Step(event, master.clock.Local(world_.queue.now()), wall);
  // A look at everything takes longer than a step.
  if (++steps_ % kStepsPerIndexCheck == 0) {
    const std::string fault =
        master::testing::IndexFault(master.core->soft_state());
    if (!fault.empty()) world_.checker.Violate(Cat("index: ", fault));
  }
  for (const master::Effect& effect : effects) Carry(master, effect);
  if (master.alive) ScheduleTick(master);
}

void Masters::ScheduleTick(Master& master) {
  const absl::Duration due = master.core->NextDeadline();
  if (due == absl::InfiniteDuration()) return;
  const absl::Duration at =
      world_.queue.now() + master.clock.Until(due, world_.queue.now());
  if (at >= master.tick_at) return;
  master.tick_at = at;
  world_.queue.At(at, [this, &master, at, life = master.life] {
    if (life != master.life || master.tick_at != at) return;
    master.tick_at = absl::InfiniteDuration();
    Feed(master, master::Tick{});
  });
}

void Masters::Carry(Master& master, const master::Effect& effect) {
  if (const auto* propose = std::get_if<master::Propose>(&effect)) {
    Propose(master, propose->entry);
  } else if (const auto* send = std::get_if<master::Send>(&effect)) {
    SendToWorker(send->session, *send->message);
  } else if (const auto* close = std::get_if<master::CloseSession>(&effect)) {
    CloseFromMaster(close->session);
  } else if (const auto* reply = std::get_if<master::Reply>(&effect)) {
    OnReply(*reply);
  } else if (const auto* changed = std::get_if<master::JobChanged>(&effect)) {
    Watch(master, changed->job);
  }
}

void Masters::Propose(Master& master, const proto::LogEntry& entry) {
  if (leader_ != master.index || master.term != term_) return;
  // Planned and Decided wait until the masters hold what they name.
  const std::string blob = BlobOf(entry);
  if (!blob.empty() && world_.May(Fault::kBlobLost) && world_.Chance(0.05)) {
    world_.blobs.Lose(blob);
    world_.Hit(Fault::kBlobLost,
               Only(entry.has_planned() ? Step::kPlan : Step::kCheck));
  }
  if (!blob.empty() && !world_.blobs.Has(blob)) {
    world_.queue.After(world_.Between(1, 500),
                       [this, &master, entry, life = master.life] {
                         if (life != master.life || master.term == 0) return;
                         Feed(master, master::BlobLost{entry, "lost"});
                       });
    return;
  }
  proposals_.push_back({term_, entry});
  CommitNext();
}

void Masters::CommitNext() {
  if (commit_scheduled_ || proposals_.empty()) return;
  commit_scheduled_ = true;
  const bool slow = world_.queue.now() < log_slow_until_;
  const absl::Duration wait = slow
                                  ? world_.Between(100, 1500)
                                  : world_.Between(0.1, world_.scenario.log_ms);
  world_.queue.After(wait, [this] {
    commit_scheduled_ = false;
    if (proposals_.empty()) return;
    size_t alive = 0;
    for (const auto& master : masters_) {
      alive += master->alive && !master->cut_off;
    }
    if (alive * 2 > masters_.size() && leader_ >= 0) {
      Logged next = std::move(proposals_.front());
      proposals_.pop_front();
      Append(std::move(next));
    }
    CommitNext();
  });
}

void Masters::Append(Logged logged) {
  log_.push_back(std::move(logged));
  const Logged& last = log_.back();
  const uint64_t index = log_.size();
  const master::ApplyResult result = truth_.Apply(index, last.term, last.entry);
  world_.Note(Cat(index, result.applied() ? " applied " : " refused ",
                  Text(last.entry), result.applied() ? "" : ": ",
                  result.message));
  world_.result.epochs += result.epoch_raised;
  if (result.applied()) {
    world_.result.speculative_won +=
        last.entry.map_won().attempt().speculative() ||
        last.entry.reduce_won().attempt().speculative();
  }
  world_.checker.OnApplied(last.entry, result, truth_);
  if (index % kHashEvery == 0) hashes_[index] = truth_.Hash();
  for (const auto& master : masters_) {
    if (!master->alive || master->cut_off) continue;
    if (leader_ == master->index) {
      ApplyAll(*master);
    } else {
      ApplyLater(*master);
    }
  }
}

void Masters::ApplyLater(Master& master) {
  if (std::exchange(master.apply_scheduled, true)) return;
  world_.queue.After(world_.Between(1, world_.Chance(0.02) ? 3000 : 50),
                     [this, &master, life = master.life] {
                       if (life != master.life) return;
                       master.apply_scheduled = false;
                       if (!master.cut_off) ApplyAll(master);
                     });
}

void Masters::ApplyAll(Master& master) {
  Run(master, [this, &master] {
    if (!master.alive || master.cut_off) return;
    const bool behind =
        log_.size() > master.state->applied_index() + 20 && master.term == 0;
    if (behind && world_.scenario.snapshot_every > 0 && world_.Chance(0.3)) {
      // The leader sends what it has instead of entries.
      master::testing::StringSink sink;
      truth_.Freeze()->WriteTo(sink).IgnoreError();
      master.state->Swap(*Restored(sink.bytes));
      Feed(master, master::StateRestored{});
    }
    while (master.alive && master.state->applied_index() < log_.size()) {
      const uint64_t index = master.state->applied_index() + 1;
      const Logged logged = log_[index - 1];
      // It has not heard yet that another leads in the entry's term.
      if (master.term != 0 && logged.term > master.term) return;
      const master::ApplyResult result =
          master.state->Apply(index, logged.term, logged.entry);
      TakeSnapshotIfDue(master);
      Feed(master,
           master::EntryApplied{index, logged.term, &logged.entry, &result});
    }
  });
}

void Masters::TakeSnapshotIfDue(Master& master) {
  const uint64_t every = world_.scenario.snapshot_every;
  const uint64_t index = master.state->applied_index();
  if (every == 0 || index < master.last_snapshot + every) return;
  master.last_snapshot = index;
  world_.queue.After(
      world_.Between(0.1, 3000),
      [this, &master, life = master.life, frozen = master.state->Freeze()] {
        if (life != master.life) return;
        master::testing::StringSink sink;
        const absl::Status written = frozen->WriteTo(sink);
        if (!written.ok()) world_.Violate("I17: a snapshot cannot be written");
        master.snapshot = {frozen->applied_index(), std::move(sink.bytes)};
      });
}

}  // namespace millrace::wholesim
