#include "local/local_job_core.h"

#include <algorithm>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::local {
namespace {

// Failures that are nobody's code's fault: they cost the job, not the task.
bool IsInfrastructure(proto::FailureCause cause) {
  return cause == proto::MAP_OUTPUT_LOST || cause == proto::SPAWN_FAILED;
}

std::string RecordsText(const proto::RecordSum& sum) {
  return Cat(sum.records(), " records (hash ", absl::Hex(sum.hash()), ")");
}

void Accumulate(const proto::RecordSum& from, proto::RecordSum* to) {
  to->set_records(to->records() + from.records());
  to->set_hash(to->hash() + from.hash());
}

bool Equal(const proto::RecordSum& a, const proto::RecordSum& b) {
  return a.records() == b.records() && a.hash() == b.hash();
}

}  // namespace

std::string ToString(const TaskName& task) {
  switch (task.kind) {
    case proto::MAP_TASK:
      return Cat("map ", task.index);
    case proto::REDUCE_TASK:
      return Cat("reduce ", task.index);
    default:
      return "plan";
  }
}

LocalJobCore::LocalJobCore(const Options& options, Random& random)
    : options_(options), random_(random), slots_(options.slots) {
  CHECK_GE(options.slots, 1);
  CHECK_GE(options.max_attempts, 1);
}

LocalJobCore::Task& LocalJobCore::task(const TaskName& name) {
  switch (name.kind) {
    case proto::MAP_TASK:
      return maps_[name.index];
    case proto::REDUCE_TASK:
      return reduces_[name.index];
    default:
      return plan_task_;
  }
}

TaskCounts LocalJobCore::Count(const std::vector<Task>& tasks) {
  TaskCounts counts;
  counts.total = static_cast<uint32_t>(tasks.size());
  for (const Task& t : tasks) {
    if (t.winner.has_value()) ++counts.done;
    if (t.running) ++counts.running;
  }
  return counts;
}

std::vector<Effect> LocalJobCore::Start() {
  std::vector<Effect> effects;
  Schedule(effects);
  return effects;
}

std::vector<Effect> LocalJobCore::Step(const Event& event) {
  std::vector<Effect> effects;
  if (const auto* ready = std::get_if<SlotReady>(&event)) {
    Slot& slot = slots_[ready->slot];
    if (slot.state == SlotState::kStarting) slot.state = SlotState::kIdle;
  } else if (const auto* done = std::get_if<AttemptSucceeded>(&event)) {
    OnSuccess(done->slot, done->done, effects);
  } else if (const auto* failed = std::get_if<AttemptFailed>(&event)) {
    OnFailure(failed->slot, failed->failure, effects);
    slots_[failed->slot].state = SlotState::kRetiring;
    effects.push_back(RetireSlot{failed->slot});
  } else if (const auto* gone = std::get_if<SlotGone>(&event)) {
    const SlotState state = slots_[gone->slot].state;
    if (state == SlotState::kBusy) {
      Failure failure;
      if (gone->failure.has_value()) {
        failure = *gone->failure;
      } else {
        failure.cause = proto::EXITED;
        failure.message = "the task process ended before its task did";
      }
      OnFailure(gone->slot, failure, effects);
    } else if (state == SlotState::kStarting) {
      Failure failure;
      if (gone->failure.has_value()) failure = *gone->failure;
      failure.cause = proto::SPAWN_FAILED;
      // A program that cannot start once will not start the next time; three
      // tries cover a machine that is short of processes for a moment.
      if (++infrastructure_failures_ >= 3) Fail(TaskName{}, failure, effects);
    }
    slots_[gone->slot] = Slot();
  }
  Schedule(effects);
  return effects;
}

void LocalJobCore::OnSuccess(int slot_index, const proto::TaskDone& done,
                             std::vector<Effect>& effects) {
  Slot& slot = slots_[slot_index];
  if (slot.state != SlotState::kBusy) return;
  slot.state = SlotState::kIdle;
  Task& t = task(slot.task);
  t.running = false;
  if (phase_ == Phase::kFailed) return;

  switch (slot.task.kind) {
    case proto::MAP_TASK: {
      const bool differs = t.root.has_value() &&
                           *t.root != done.map_output_root();
      t.winner = Winner{slot.uid, done};
      t.root = done.map_output_root();
      if (differs) RaiseEpoch(slot.task.index, effects);
      break;
    }
    case proto::REDUCE_TASK:
      if (slot.epoch != epoch_) {
        effects.push_back(DropAttempt{slot.uid});
        return;
      }
      t.winner = Winner{slot.uid, done};
      break;
    default:
      t.winner = Winner{slot.uid, done};
      planned_ = true;
      plan_ = done;
      maps_.resize(done.num_maps());
      reduces_.resize(done.num_partitions());
      phase_ = Phase::kRunning;
      break;
  }

  const bool all_done =
      planned_ &&
      std::all_of(maps_.begin(), maps_.end(),
                  [](const Task& m) { return m.winner.has_value(); }) &&
      std::all_of(reduces_.begin(), reduces_.end(),
                  [](const Task& r) { return r.winner.has_value(); });
  if (phase_ != Phase::kRunning || !all_done) return;
  if (absl::Status ledger = CheckLedger(); !ledger.ok()) {
    Failure failure;
    failure.cause = proto::INTERNAL;
    failure.message = std::string(ToStd(ledger.message()));
    Fail(slot.task, failure, effects);
    return;
  }
  phase_ = Phase::kCommitting;
  effects.push_back(CommitJob{});
}

void LocalJobCore::OnFailure(int slot_index, const Failure& failure,
                             std::vector<Effect>& effects) {
  Slot& slot = slots_[slot_index];
  if (slot.state != SlotState::kBusy) return;
  Task& t = task(slot.task);
  t.running = false;
  ++attempts_.failed;
  effects.push_back(DropAttempt{slot.uid});
  if (phase_ == Phase::kFailed) return;

  if (failure.cause == proto::MAP_OUTPUT_LOST &&
      slot.task.kind == proto::REDUCE_TASK &&
      failure.map_index < maps_.size() && slot.epoch == epoch_) {
    LoseMap(failure.map_index, effects);
  }
  if (IsInfrastructure(failure.cause)) {
    if (++infrastructure_failures_ > kInfrastructureFailuresMax) {
      Fail(slot.task, failure, effects);
    }
    return;
  }
  ++t.user_failures;
  if (!failure.retryable || t.user_failures >= options_.max_attempts) {
    Fail(slot.task, failure, effects);
  }
}

void LocalJobCore::LoseMap(uint32_t map, std::vector<Effect>& effects) {
  Task& lost = maps_[map];
  // Several reduces may report the same loss; the first report acts.
  if (!lost.winner.has_value()) return;
  ++attempts_.lost;
  effects.push_back(DropAttempt{lost.winner->uid});
  lost.winner.reset();
}

void LocalJobCore::RaiseEpoch(uint32_t map, std::vector<Effect>& effects) {
  if (++epoch_ > kEpochRaisesMax) {
    Failure failure;
    failure.cause = proto::INVALID_OUTPUT;
    failure.message = Cat(
        "NONDETERMINISTIC_MAP: runs of map ", map,
        " on the same input wrote different records ", kEpochRaisesMax + 1,
        " times; make the mapper a function of its input (no time, no random "
        "numbers but the context's seed)");
    Fail(TaskName{proto::MAP_TASK, map}, failure, effects);
    return;
  }
  // What runs in an older epoch is recognised by its number when it ends.
  for (Task& reduce : reduces_) {
    if (!reduce.winner.has_value()) continue;
    effects.push_back(DropAttempt{reduce.winner->uid});
    reduce.winner.reset();
  }
}

void LocalJobCore::Fail(const TaskName& name, const Failure& failure,
                        std::vector<Effect>& effects) {
  if (phase_ == Phase::kFailed) return;
  phase_ = Phase::kFailed;
  effects.push_back(FailJob{name, failure});
}

std::optional<TaskName> LocalJobCore::NextTask() const {
  const auto runnable = [](const Task& t) {
    return !t.winner.has_value() && !t.running;
  };
  if (phase_ == Phase::kPlanning) {
    if (runnable(plan_task_)) return TaskName{proto::PLAN_TASK, 0};
    return std::nullopt;
  }
  if (phase_ != Phase::kRunning) return std::nullopt;
  bool maps_done = true;
  for (uint32_t i = 0; i < maps_.size(); ++i) {
    if (runnable(maps_[i])) return TaskName{proto::MAP_TASK, i};
    maps_done = maps_done && maps_[i].winner.has_value();
  }
  if (!maps_done) return std::nullopt;
  for (uint32_t i = 0; i < reduces_.size(); ++i) {
    if (runnable(reduces_[i])) return TaskName{proto::REDUCE_TASK, i};
  }
  return std::nullopt;
}

void LocalJobCore::Schedule(std::vector<Effect>& effects) {
  for (int i = 0; i < options_.slots; ++i) {
    Slot& slot = slots_[i];
    if (slot.state != SlotState::kIdle) continue;
    const std::optional<TaskName> next = NextTask();
    if (!next.has_value()) return;
    Task& t = task(*next);
    t.running = true;
    slot.state = SlotState::kBusy;
    slot.task = *next;
    slot.uid = AttemptUid::Generate(random_);
    slot.epoch = epoch_;
    ++attempts_.launched;
    effects.push_back(RunAttempt{i, *next, slot.uid, t.attempts++});
  }
  // Processes are started for tasks that would wait otherwise, so a small job
  // does not pay for a large machine.
  uint32_t waiting = 0;
  if (phase_ == Phase::kPlanning) {
    waiting = plan_task_.running || plan_task_.winner.has_value() ? 0 : 1;
  } else if (phase_ == Phase::kRunning) {
    const TaskCounts m = Count(maps_);
    const TaskCounts r = Count(reduces_);
    waiting = m.done < m.total ? m.total - m.done - m.running
                               : r.total - r.done - r.running;
  }
  for (const Slot& slot : slots_) {
    if (slot.state == SlotState::kStarting && waiting > 0) --waiting;
  }
  for (int i = 0; i < options_.slots && waiting > 0; ++i) {
    if (slots_[i].state != SlotState::kNone) continue;
    slots_[i].state = SlotState::kStarting;
    --waiting;
    effects.push_back(StartSlot{i});
  }
}

absl::Status LocalJobCore::CheckLedger() const {
  proto::RecordSum written;
  proto::RecordSum fetched;
  proto::RecordSum merged;
  for (uint32_t i = 0; i < maps_.size(); ++i) {
    const proto::Ledger& ledger = maps_[i].winner->done.ledger();
    if (ledger.has_combine_out()) {
      if (ledger.combine_in_records() != ledger.emitted_records()) {
        return absl::InternalError(
            Av(Cat("ledger of map ", i, " does not balance: ",
                   ledger.emitted_records(), " records emitted, ",
                   ledger.combine_in_records(), " combined")));
      }
      if (!Equal(ledger.combine_out(), ledger.written())) {
        return absl::InternalError(
            Av(Cat("ledger of map ", i, " does not balance: combiner gave ",
                   RecordsText(ledger.combine_out()), ", file holds ",
                   RecordsText(ledger.written()))));
      }
    } else if (!reduces_.empty() &&
               ledger.emitted_records() != ledger.written().records()) {
      return absl::InternalError(
          Av(Cat("ledger of map ", i, " does not balance: ",
                 ledger.emitted_records(), " records emitted, file holds ",
                 RecordsText(ledger.written()))));
    }
    Accumulate(ledger.written(), &written);
  }
  for (const Task& reduce : reduces_) {
    Accumulate(reduce.winner->done.ledger().fetched(), &fetched);
    Accumulate(reduce.winner->done.ledger().merged(), &merged);
  }
  if (!reduces_.empty() &&
      (!Equal(written, fetched) || !Equal(fetched, merged))) {
    return absl::InternalError(
        Av(Cat("ledger of the job does not balance: maps wrote ",
               RecordsText(written), ", reduces fetched ",
               RecordsText(fetched), ", merged ", RecordsText(merged))));
  }
  return absl::OkStatus();
}

}  // namespace millrace::local
