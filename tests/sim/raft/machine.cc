#include "tests/sim/raft/machine.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/file_system.h"
#include "common/logging.h"
#include "common/strings.h"

namespace millrace::raftsim {
namespace {

constexpr uint64_t kPlenty = uint64_t{1} << 40;

}  // namespace

Machine::Machine(int number, World& world)
    : number_(number),
      world_(world),
      disk_(std::make_unique<raft::SimDisk>()),
      ids_(Random::Seeded(world.random->Next64())) {}

Machine::~Machine() = default;

// ------------------------------------------------------------- starts and ends

void Machine::Boot(bool found) {
  founder_ = founder_ || found;
  ++boots_;
  if (running() || off_ || refused_) return;
  ++life_;
  disk_faulty_ = call_fault_.has_value();
  mutant_disk_ = std::make_unique<MutantDisk>(
      world_.mutant.driver, *disk_, [this](std::function<void()> what) {
        After(absl::Milliseconds(20), Step::kFlush, std::move(what));
      });
  MemberOptions options;
  options.scenario = world_.scenario;
  options.mutant = world_.mutant;
  options.cluster = world_.cluster;
  options.join = !founder_;
  in_event_ = true;
  ++world_.events;
  auto member =
      Member::Start(options, world_.workload->NewSubject(), *mutant_disk_,
                    *disk_, *ids_, *this, *world_.invariants);
  in_event_ = false;
  if (!member.ok()) {
    CheckStart(member.status());
    return;
  }
  member_ = *std::move(member);
  id_ = member_->id();
  suspect_ = false;
  trace().Note("starts", number_, {{"member", id_}});
  TickLater();
  EndEvent();
}

void Machine::CheckStart(const absl::Status& status) {
  trace().Note("does not start", number_,
               {{"code", static_cast<uint64_t>(status.code())}});
  trace().Say(ToStd(status.message()));
  const bool disk_failed = disk_->fault_happened();
  if (call_kill_.has_value() && disk_->calls() > call_kill_at_) {
    world_.counts->Add(call_kill_->first);
    End(call_kill_->second);
  } else if (call_fault_.has_value() && disk_failed) {
    world_.counts->Add(*call_fault_);
    End(Death::kKill);
  } else if (absl::IsDataLoss(status) && damaged_) {
    world_.counts->Add(Fault::kBitRot);
    refused_ = true;
    End(Death::kKill);
    // The operator sees to it.
    world_.queue->After(absl::Seconds(2), [this] {
      if (!refused_) return;
      LoseDisk();
      Boot(false);
    });
    return;
  } else {
    if (!absl::IsResourceExhausted(status) || !disk_full_) {
      world_.invariants->Violate(
          12, Cat("machine ", number_,
                  " does not start: ", ToStd(status.message())));
    }
    End(Death::kKill);
  }
  BootAfter(absl::Seconds(1));
}

void Machine::End(Death death) {
  ++life_;
  ++boots_;
  if (running()) world_.invariants->Stopped(id_);
  member_.reset();
  mutant_disk_.reset();
  waiting_.clear();
  waiting_messages_ = 0;
  paused_ = false;
  dying_.reset();
  call_kill_.reset();
  call_fault_.reset();
  trigger_.reset();
  disk_ = death == Death::kKill
              ? disk_->AfterProcessDeath()
              : disk_->AfterPowerCut([this](size_t options) {
                  return static_cast<size_t>(world_.random->Uniform(options));
                });
  disk_->SetFreeBytes(disk_full_ ? 0 : kPlenty);
}

void Machine::BootAfter(absl::Duration wait) {
  const uint64_t boot = ++boots_;
  world_.queue->After(wait, [this, boot] {
    if (boot == boots_) Boot(false);
  });
}

void Machine::Kill(Fault fault, Death death, absl::Duration off_for) {
  if (running()) {
    world_.counts->Add(fault);
    trace().Note(death == Death::kKill ? "killed" : "power cut", number_);
    End(death);
  } else if (death == Death::kPowerCut) {
    End(death);  // What an earlier process wrote.
  }
  BootAfter(off_for);
}

void Machine::KillAtCall(Fault fault, Death death, uint64_t calls) {
  call_kill_ = {fault, death};
  call_kill_at_ = disk_->calls() + calls;
  disk_->CutPowerAfter(call_kill_at_);
}

void Machine::KillAtStep(Fault fault, Death death, Step step, int count,
                         bool before) {
  trigger_ = {fault, death, step, count, before};
}

void Machine::FailCall(Fault fault, raft::SimFault how, uint64_t calls) {
  call_fault_ = fault;
  disk_faulty_ = true;
  disk_->FailCall(disk_->calls() + calls, how);
}

bool Machine::FlipBit() {
  CHECK(!running());
  std::vector<std::string> paths;
  for (const char* directory : {"/member/log", "/member/snap"}) {
    for (const std::string& name : disk_->Names(directory)) {
      paths.push_back(JoinPath(directory, name));
    }
  }
  if (paths.empty()) return false;
  const std::string& path = paths[random().Uniform(paths.size())];
  std::string bytes = disk_->Contents(path);
  while (!bytes.empty() && bytes.back() == '\0') bytes.pop_back();
  if (bytes.empty()) return false;
  const size_t at = random().Uniform(bytes.size());
  const size_t whole = disk_->Contents(path).size();
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << random().Uniform(8)));
  bytes.resize(whole);
  disk_->SetContents(path, bytes);
  damaged_ = suspect_ = true;
  trace().Note("a bit flips", number_, {{"offset", at}});
  trace().Say(path);
  return true;
}

void Machine::LoseDisk() {
  CHECK(!running());
  if (id_ != raft::kNobody) world_.invariants->Lost(id_);
  trace().Note("disk lost", number_, {{"member", id_}});
  ++boots_;
  disk_ = std::make_unique<raft::SimDisk>();
  disk_->SetFreeBytes(disk_full_ ? 0 : kPlenty);
  founder_ = false;
  damaged_ = suspect_ = refused_ = false;
  if (world_.mutant.driver.reuse_id) {
    const raft::NodeId again = id_;
    class Same final : public Random {
     public:
      explicit Same(uint64_t id) : id_(id) {}
      uint64_t Next64() override { return id_; }

     private:
      const uint64_t id_;
    };
    ids_ = std::make_unique<Same>(again);
  }
  id_ = raft::kNobody;
}

void Machine::Heal(bool off) {
  healed_ = true;
  trigger_.reset();
  // What was arranged for the disk and has not happened yet never will.
  if (call_kill_.has_value()) disk_->CutPowerAfter(UINT64_MAX);
  call_kill_.reset();
  if (call_fault_.has_value()) disk_->FailCall(0, raft::SimFault::kIoError);
  call_fault_.reset();
  clock_rate_ = 100;
  slow_disk_until_ = slow_state_until_ = now();
  disk_full_ = false;
  disk_->SetFreeBytes(kPlenty);
  if (paused_) Resume();
  if (off) {
    TurnOff();
    return;
  }
  if (refused_) LoseDisk();
  if (!running()) BootAfter(absl::Milliseconds(100));
}

void Machine::TurnOff() {
  if (running()) End(Death::kKill);
  off_ = true;
}

// --------------------------------------------------------------------- events

void Machine::Receive(Step step, std::function<void(Member&)> what) {
  if (!running()) return;
  if (paused_ && ++waiting_messages_ > world_.scenario->mailbox_max) {
    if (waiting_messages_ == world_.scenario->mailbox_max + 1) {
      world_.counts->Add(Fault::kMailboxFull);
    }
    return;
  }
  Run(step, [this, what = std::move(what)] { what(*member_); });
}

void Machine::After(absl::Duration wait, Step step,
                    std::function<void()> what) {
  world_.queue->After(wait, [this, life = life_, step, what = std::move(what)] {
    if (life == life_) Run(step, what);
  });
}

void Machine::Run(Step step, const std::function<void()>& what) {
  if (paused_) {
    if (!std::exchange(pause_counted_, true)) {
      world_.counts->Add(Fault::kPause);
    }
    waiting_.emplace_back(step, what);
    return;
  }
  if (Triggered(step, true)) return;
  ++world_.events;
  in_event_ = true;
  what();
  in_event_ = false;
  EndEvent();
  if (running()) Triggered(step, false);
}

bool Machine::Triggered(Step step, bool before) {
  if (!trigger_.has_value() || trigger_->step != step ||
      trigger_->before != before || --trigger_->count > 0) {
    return false;
  }
  const Trigger trigger = *std::exchange(trigger_, std::nullopt);
  Kill(trigger.fault, trigger.death,
       absl::Milliseconds(static_cast<int64_t>(random().Uniform(3000))));
  return true;
}

void Machine::EndEvent() {
  const absl::Duration off =
      absl::Milliseconds(static_cast<int64_t>(random().Uniform(3000)));
  if (call_kill_.has_value() && disk_->calls() > call_kill_at_) {
    const auto [fault, death] = *call_kill_;
    trace().Note("killed at a call of the disk", number_,
                 {{"call", call_kill_at_}});
    Kill(fault, death, off);
    return;
  }
  if (call_fault_.has_value() && disk_->fault_happened()) {
    world_.counts->Add(*call_fault_);
    call_fault_.reset();
  }
  if (dying_.has_value()) {
    trace().Note("ends", number_);
    trace().Say(ToStd(dying_->message()));
    if (!disk_faulty_ && !damaged_) {
      world_.invariants->Violate(
          12, Cat("machine ", number_, " ends: ", ToStd(dying_->message())));
    }
    End(Death::kKill);
    BootAfter(off);
    return;
  }
  if (member_->settled()) {
    world_.invariants->AfterEvent(id_, member_->view());
  }
}

void Machine::Die(const absl::Status& why) {
  if (dying_.has_value()) return;
  dying_ = why;
  // Whatever it does until the event is over comes to nothing.
  if (!call_kill_.has_value()) disk_->CutPowerAfter(disk_->calls());
}

bool Machine::alive() const {
  return !dying_.has_value() &&
         !(call_kill_.has_value() && disk_->calls() > call_kill_at_);
}

void Machine::Send(raft::Message message) {
  if (alive()) world_.send(number_, std::move(message));
}

void Machine::Send(SnapshotPiece piece) {
  piece.from = member_->id();
  if (alive()) world_.send_piece(number_, std::move(piece));
}

// ------------------------------------------------------------------------ time

absl::Duration Machine::UpTo(absl::Duration most) {
  return absl::Microseconds(static_cast<int64_t>(random().Uniform(
      static_cast<uint64_t>(absl::ToInt64Microseconds(most)) + 1)));
}

absl::Duration Machine::SyncTime() {
  if (now() < slow_disk_until_ && random().Uniform(3) == 0) {
    world_.counts->Add(Fault::kSlowDisk);
    return UpTo(absl::Seconds(5));
  }
  return UpTo(world_.scenario->sync_max);
}

absl::Duration Machine::ApplyTime() {
  if (now() < slow_state_until_ && random().Uniform(3) == 0) {
    world_.counts->Add(Fault::kStateSlow);
    return UpTo(absl::Seconds(2));
  }
  // A log from its beginning is applied in time, once all is well.
  return UpTo(healed_
                  ? std::min(world_.scenario->apply_max, absl::Milliseconds(1))
                  : world_.scenario->apply_max);
}

void Machine::TickLater() {
  After(kTickInterval * 100 / clock_rate_, Step::kTick, [this] {
    member_->Tick();
    TickLater();
  });
}

void Machine::Pause(absl::Duration wait) {
  if (!running() || paused_) return;
  paused_ = true;
  pause_counted_ = false;
  const uint64_t pause = ++pauses_;
  trace().Note("stands still", number_);
  world_.queue->After(wait, [this, pause] {
    if (paused_ && pause == pauses_) Resume();
  });
}

void Machine::Resume() {
  paused_ = false;
  trace().Note("goes on", number_);
  waiting_messages_ = 0;
  for (auto& [step, what] : std::exchange(waiting_, {})) {
    After(absl::ZeroDuration(), step, std::move(what));
  }
}

void Machine::Count(Fault fault) {
  // Each time that it fills up counts once.
  if (fault == Fault::kDiskFull && std::exchange(full_counted_, true)) return;
  world_.counts->Add(fault);
}

void Machine::FillDisk(absl::Duration wait) {
  disk_full_ = true;
  full_counted_ = false;
  disk_->SetFreeBytes(0);
  const uint64_t full = ++full_disks_;
  trace().Note("disk fills up", number_);
  world_.queue->After(wait, [this, full] {
    if (full != full_disks_) return;
    disk_full_ = false;
    disk_->SetFreeBytes(kPlenty);
    trace().Note("disk has room", number_);
  });
}

}  // namespace millrace::raftsim
