#include "api/src/local/local_job_core.h"

#include <tuple>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::local {
namespace {

constexpr int kFailedStartsMax = 3;

// Failures that are nobody's code's fault: they cost the job, not the task.
bool IsInfrastructure(proto::FailureCause cause) {
  return cause == proto::MAP_OUTPUT_LOST || cause == proto::SPAWN_FAILED;
}

// Something that the machine has run out of, which has an advice of its own.
bool IsShortage(proto::FailureCause cause) {
  return cause == proto::NO_DESCRIPTORS || cause == proto::NO_MEMORY;
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
  planning_.Reset(1);
}

LocalJobCore::Stage& LocalJobCore::stage(proto::TaskKind kind) {
  switch (kind) {
    case proto::MAP_TASK:
      return maps_;
    case proto::REDUCE_TASK:
      return reduces_;
    default:
      return planning_;
  }
}

void LocalJobCore::Stage::Reset(uint32_t count) {
  CHECK(tasks.empty());
  tasks.resize(count);
  for (uint32_t i = 0; i < count; ++i) pending.insert(pending.end(), i);
}

void LocalJobCore::Stage::SetWinner(uint32_t index, Winner winner) {
  output_bytes += winner.done.output().bytes();
  tasks[index].winner = std::move(winner);
}

void LocalJobCore::Stage::LoseWinner(uint32_t index) {
  CHECK(tasks[index].winner.has_value());
  output_bytes -= tasks[index].winner->done.output().bytes();
  tasks[index].winner.reset();
  pending.insert(index);
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
      if (!IsShortage(failure.cause)) failure.cause = proto::SPAWN_FAILED;
      // A program that cannot start once will not start the next time; three
      // tries cover a machine that is short of processes for a moment.
      if (++failed_starts_ >= kFailedStartsMax) {
        Fail(std::nullopt, failure, effects);
      }
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
  Stage& of = stage(slot.task.kind);
  Task& t = of.tasks[slot.task.index];
  --of.running;
  if (options_.fresh_process) {
    slot.state = SlotState::kRetiring;
    effects.push_back(RetireSlot{slot_index});
  } else {
    slot.state = SlotState::kIdle;
  }
  if (phase_ == Phase::kFailed) return;

  switch (slot.task.kind) {
    case proto::MAP_TASK: {
      if (done.dead_letter().records() != t.bad_records.size() ||
          done.ledger().skipped_records() != t.bad_records.size()) {
        Failure failure;
        failure.message =
            Cat("passed over ", done.ledger().skipped_records(),
                " bad records and wrote ", done.dead_letter().records(),
                ", of ", t.bad_records.size());
        Fail(slot.task, failure, effects);
        return;
      }
      const bool differs =
          t.root.has_value() && *t.root != done.map_output_root();
      of.SetWinner(slot.task.index, {slot.uid, done});
      t.root = done.map_output_root();
      if (differs) RaiseEpoch(slot.task.index, effects);
      break;
    }
    case proto::REDUCE_TASK:
      if (slot.epoch != epoch_) {
        effects.push_back(DropAttempt{slot.uid});
        of.pending.insert(slot.task.index);
        return;
      }
      of.SetWinner(slot.task.index, {slot.uid, done});
      break;
    default:
      t.winner = Winner{slot.uid, done};
      planned_ = true;
      plan_ = done;
      maps_.Reset(done.num_maps());
      reduces_.Reset(done.num_partitions());
      phase_ = Phase::kRunning;
      break;
  }

  const uint64_t output_bytes = maps_.output_bytes + reduces_.output_bytes;
  if (options_.output_bytes_max > 0 &&
      output_bytes > options_.output_bytes_max) {
    Failure limit;
    limit.cause = proto::OUTPUT_LIMIT;
    // Of no attempt: this one has done what it was told.
    limit.message =
        Cat("the part files have ", output_bytes, " bytes together, that of ",
            ToString(slot.task), " included; --output-limit allows ",
            options_.output_bytes_max);
    Fail(std::nullopt, limit, effects);
    return;
  }
  if (phase_ != Phase::kRunning || !maps_.all_done() || !reduces_.all_done()) {
    return;
  }
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
  Stage& of = stage(slot.task.kind);
  Task& t = of.tasks[slot.task.index];
  --of.running;
  of.pending.insert(slot.task.index);
  effects.push_back(DropAttempt{slot.uid});
  if (PassOver(slot, failure, effects)) return;
  ++attempts_.failed;
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
  // There is no other disk to go to here, and nobody to wait for.
  const bool hopeless = !failure.retryable || failure.cause == proto::DISK_FULL;
  if (hopeless || t.user_failures >= options_.max_attempts) {
    Fail(slot.task, failure, effects);
  }
}

bool LocalJobCore::PassOver(const Slot& slot, const Failure& failure,
                            std::vector<Effect>& effects) {
  if (phase_ == Phase::kFailed || options_.skip_bad_records == 0 ||
      slot.task.kind == proto::REDUCE_TASK || !failure.bad_record.has_value()) {
    return false;
  }
  // A sample meets a record before its map does; the map counts it.
  const bool counts = slot.task.kind == proto::MAP_TASK;
  Task& t = stage(slot.task.kind).tasks[slot.task.index];
  const proto::BadRecord& record = *failure.bad_record;
  const auto [at, is_new] =
      t.bad_records.try_emplace({record.file(), record.offset()}, record);
  // It was told to pass this one over.
  if (!is_new) return false;
  const size_t known = counts ? bad_records_ : t.bad_records.size() - 1;
  if (known == options_.skip_bad_records) {
    t.bad_records.erase(at);
    Failure limit = failure;
    limit.cause = proto::BAD_RECORD_LIMIT;
    limit.retryable = false;
    limit.message =
        Cat("more bad records than the ", known,
            " that --skip-bad-records allows; the last one: ", failure.message);
    Fail(slot.task, limit, effects);
    return false;
  }
  bad_records_ += counts;
  ++attempts_.restarted;
  t.restart = {slot.uid, slot.attempt};
  return true;
}

void LocalJobCore::LoseMap(uint32_t map, std::vector<Effect>& effects) {
  Task& lost = maps_.tasks[map];
  // Several reduces may report the same loss; the first report acts.
  if (!lost.winner.has_value()) return;
  ++attempts_.lost;
  effects.push_back(DropAttempt{lost.winner->uid});
  maps_.LoseWinner(map);
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
  for (uint32_t i = 0; i < reduces_.size(); ++i) {
    if (!reduces_.tasks[i].winner.has_value()) continue;
    effects.push_back(DropAttempt{reduces_.tasks[i].winner->uid});
    reduces_.LoseWinner(i);
  }
}

void LocalJobCore::Fail(const std::optional<TaskName>& task,
                        const Failure& failure, std::vector<Effect>& effects) {
  if (phase_ == Phase::kFailed) return;
  phase_ = Phase::kFailed;
  effects.push_back(FailJob{task, failure});
}

std::optional<TaskName> LocalJobCore::NextTask() const {
  switch (phase_) {
    case Phase::kPlanning:
      if (planning_.pending.empty()) break;
      return TaskName{proto::PLAN_TASK, 0};
    case Phase::kRunning:
      if (!maps_.pending.empty()) {
        return TaskName{proto::MAP_TASK, *maps_.pending.begin()};
      }
      if (!maps_.all_done() || reduces_.pending.empty()) break;
      return TaskName{proto::REDUCE_TASK, *reduces_.pending.begin()};
    case Phase::kCommitting:
    case Phase::kFailed:
      break;
  }
  return std::nullopt;
}

void LocalJobCore::Schedule(std::vector<Effect>& effects) {
  for (int i = 0; i < options_.slots; ++i) {
    Slot& slot = slots_[i];
    if (slot.state != SlotState::kIdle) continue;
    const std::optional<TaskName> next = NextTask();
    if (!next.has_value()) return;
    Stage& of = stage(next->kind);
    of.pending.erase(next->index);
    ++of.running;
    slot.state = SlotState::kBusy;
    slot.task = *next;
    slot.epoch = epoch_;
    Task& t = of.tasks[next->index];
    if (t.restart.has_value()) {
      std::tie(slot.uid, slot.attempt) = *t.restart;
      t.restart.reset();
    } else {
      slot.uid = AttemptUid::Generate(random_);
      slot.attempt = t.attempts++;
      ++attempts_.launched;
    }
    RunAttempt run{i, *next, slot.uid, slot.attempt, {}};
    // What crashes or hangs in a sample does so once.
    run.sample_map_output = next->kind == proto::PLAN_TASK &&
                            t.user_failures == 0 && t.bad_records.empty();
    for (const auto& [place, record] : t.bad_records) {
      run.bad_records.push_back(record);
    }
    effects.push_back(std::move(run));
  }
  // Processes are started for tasks that would wait otherwise, so a small job
  // does not pay for a large machine.
  size_t waiting = 0;
  if (phase_ == Phase::kPlanning) {
    waiting = planning_.pending.size();
  } else if (phase_ == Phase::kRunning) {
    waiting = maps_.all_done() ? reduces_.pending.size() : maps_.pending.size();
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

LargestReduce LocalJobCore::largest_reduce() const {
  LargestReduce largest;
  largest.reduces = reduces_.size();
  for (uint32_t i = 0; i < reduces_.size(); ++i) {
    if (!reduces_.tasks[i].winner.has_value()) continue;
    const uint64_t records =
        reduces_.tasks[i].winner->done.ledger().merged().records();
    largest.records_of_all += records;
    if (records <= largest.records) continue;
    largest.reduce = i;
    largest.records = records;
  }
  return largest;
}

absl::Status LocalJobCore::CheckLedger() const {
  proto::RecordSum written;
  proto::RecordSum fetched;
  proto::RecordSum merged;
  for (uint32_t i = 0; i < maps_.size(); ++i) {
    const proto::Ledger& ledger = maps_.tasks[i].winner->done.ledger();
    if (ledger.has_combine_out()) {
      if (ledger.combine_in_records() != ledger.emitted_records()) {
        return absl::InternalError(Av(Cat(
            "ledger of map ", i,
            " does not balance: ", ledger.emitted_records(),
            " records emitted, ", ledger.combine_in_records(), " combined")));
      }
      if (!Equal(ledger.combine_out(), ledger.written())) {
        return absl::InternalError(
            Av(Cat("ledger of map ", i, " does not balance: combiner gave ",
                   RecordsText(ledger.combine_out()), ", file holds ",
                   RecordsText(ledger.written()))));
      }
    } else if (reduces_.size() > 0 &&
               ledger.emitted_records() != ledger.written().records()) {
      return absl::InternalError(Av(Cat(
          "ledger of map ", i, " does not balance: ", ledger.emitted_records(),
          " records emitted, file holds ", RecordsText(ledger.written()))));
    }
    Accumulate(ledger.written(), &written);
  }
  for (const Task& reduce : reduces_.tasks) {
    Accumulate(reduce.winner->done.ledger().fetched(), &fetched);
    Accumulate(reduce.winner->done.ledger().merged(), &merged);
  }
  if (reduces_.size() > 0 &&
      (!Equal(written, fetched) || !Equal(fetched, merged))) {
    return absl::InternalError(
        Av(Cat("ledger of the job does not balance: maps wrote ",
               RecordsText(written), ", reduces fetched ", RecordsText(fetched),
               ", merged ", RecordsText(merged))));
  }
  return absl::OkStatus();
}

}  // namespace millrace::local
