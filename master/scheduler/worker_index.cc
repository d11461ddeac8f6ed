#include "master/scheduler/worker_index.h"

#include <algorithm>
#include <cmath>

#include "common/logging.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {
namespace {

template <typename Key>
std::optional<Key> If(bool condition, Key key) {
  return condition ? std::optional<Key>(key) : std::nullopt;
}

// The last map that stands in the queue and that nobody has told to stop.
std::optional<std::pair<absl::Duration, uint64_t>> LastQueued(
    const SoftWorker& worker) {
  for (auto at = worker.attempts.rbegin(); at != worker.attempts.rend(); ++at) {
    const Attempt& attempt = *at->second;
    if (attempt.task.kind == proto::MAP_TASK && attempt.takes_slot() &&
        !attempt.killed && attempt.phase != proto::EXECUTING) {
      return std::make_pair(attempt.granted_at, attempt.order);
    }
  }
  return std::nullopt;
}

}  // namespace

WorkerKeys KeysOf(const SchedulerOptions& options, const SoftWorker& worker) {
  WorkerKeys keys;
  const uint32_t slots = worker.slots();
  keys.sound = worker.sound();
  keys.eligible = worker.eligible();
  const uint32_t without_reduces = worker.taken - worker.waiting;
  keys.queued = without_reduces - std::min(without_reduces, slots);
  keys.stopping = worker.taken > slots ? worker.stopping : 0;
  if (worker.session.has_value() && worker.taken > slots &&
      worker.taken - worker.stopping > slots) {
    keys.last_queued = LastQueued(worker);
  }
  if (!keys.eligible) return keys;

  keys.slots = slots;
  keys.free = slots - std::min(worker.taken, slots);
  keys.spare = slots - std::min(worker.taken + worker.due_reduces, slots);
  keys.most_free = If(keys.free > 0, -int64_t{keys.free});
  const uint32_t most =
      slots + static_cast<uint32_t>(
                  std::ceil(std::max(0.0, options.queue_per_slot) * slots));
  keys.queue_room =
      If(worker.waiting == 0 && worker.taken >= slots && worker.taken < most,
         true);
  keys.overtakes =
      If(worker.waiting > 0 && worker.taken < slots + 2 * worker.waiting, true);
  return keys;
}

LaterKeys LaterKeysOf(const SoftWorker& worker, const WorkerKeys& keys) {
  LaterKeys later;
  later.taken = If(worker.session.has_value() && !worker.losing, worker.taken);
  if (!keys.eligible) return later;

  const uint32_t slots = keys.slots;
  later.most_spare = If(keys.spare > 0, -int64_t{keys.spare});
  later.attempts = worker.attempts.size();
  // At most one reduce more than slots.
  const double load =
      (worker.taken + worker.early_reduces + worker.preparing_reduces) /
      static_cast<double>(slots);
  later.early_reduce =
      If(worker.early_reduces <= slots, ReduceKey{false, load});
  later.ready_reduce =
      If(worker.ready_reduces <= slots,
         ReduceKey{worker.taken + worker.preparing_reduces >= slots, load});
  return later;
}

std::optional<JobReduceKey> JobReduceKeyOf(const SoftWorker& worker,
                                           const LaterKeys& keys,
                                           uint32_t of_job, bool ready) {
  const auto& key = ready ? keys.ready_reduce : keys.early_reduce;
  if (!key.has_value()) return std::nullopt;
  return JobReduceKey{key->waits, of_job / static_cast<double>(worker.slots()),
                      key->load};
}

void WorkerIndex::Count(const WorkerKeys& keys, int sign) {
  queued_ += sign * int64_t{keys.queued};
  stopping_ += sign * int64_t{keys.stopping};
  if (!keys.eligible) return;
  eligible_ += sign;
  slots_ += sign * keys.slots;
  free_ += sign * int64_t{keys.free};
  spare_ += sign * int64_t{keys.spare};
}

// What changes rarely.
void WorkerIndex::CountSound(WorkerNumber number, const WorkerKeys& from,
                             const WorkerKeys& to) {
  sound_changes_ += from.sound != to.sound;
  if (from.sound && !to.sound) sound_.erase(number);
  if (!from.sound && to.sound) sound_.insert(number);
  if (from.slots == to.slots) return;
  if (to.slots > 0) ++sizes_[to.slots];
  if (from.slots == 0) return;
  const auto size = sizes_.find(from.slots);
  if (--size->second == 0) sizes_.erase(size);
}

void WorkerIndex::Move(SoftWorker& worker, const WorkerKeys& from,
                       const WorkerKeys& to) {
  const WorkerNumber number = worker.entry->number;
  by_free_.Move(number, &worker, from.most_free, to.most_free);
  with_queue_room_.Move(number, &worker, from.queue_room, to.queue_room);
  with_waiting_.Move(number, &worker, from.overtakes, to.overtakes);
  by_last_queued_.Move(number, &worker, from.last_queued, to.last_queued);
}

void WorkerIndex::MoveLater(SoftWorker& worker, const LaterKeys& to) const {
  const WorkerNumber number = worker.entry->number;
  const LaterKeys& from = worker.later_keys;
  by_spare_.Move(number, &worker, from.most_spare, to.most_spare);
  by_attempts_.Move(number, &worker, from.attempts, to.attempts);
  by_taken_.Move(number, &worker, from.taken, to.taken);
  for_early_reduce_.Move(number, &worker, from.early_reduce, to.early_reduce);
  for_ready_reduce_.Move(number, &worker, from.ready_reduce, to.ready_reduce);
  worker.later_keys = to;
}

void WorkerIndex::Update(SoftWorker& worker) {
  const WorkerKeys keys = KeysOf(options_, worker);
  if (!(keys == worker.keys)) {
    Count(worker.keys, -1);
    Count(keys, +1);
    CountSound(worker.entry->number, worker.keys, keys);
    Move(worker, worker.keys, keys);
    worker.keys = keys;
  }
  if (worker.unsettled) return;
  worker.unsettled = true;
  unsettled_.push_back(&worker);
}

void WorkerIndex::Settle() const {
  for (SoftWorker* one : unsettled_) {
    SoftWorker& worker = *one;
    worker.unsettled = false;
    MoveLater(worker, LaterKeysOf(worker, worker.keys));
    for (auto& [job, reduces] : worker.reduces) {
      JobReduces& of_job = jobs_[job];
      const auto key = JobReduceKeyOf(worker, worker.later_keys, reduces.count,
                                      of_job.ready);
      of_job.order.Move(worker.entry->number, &worker, reduces.key, key);
      reduces.key = key;
    }
  }
  unsettled_.clear();
}

void WorkerIndex::Remove(SoftWorker& worker) {
  CHECK(worker.attempts.empty() && worker.reduces.empty());
  Settle();
  MoveLater(worker, {});
  Count(worker.keys, -1);
  CountSound(worker.entry->number, worker.keys, WorkerKeys());
  Move(worker, worker.keys, WorkerKeys());
  worker.keys = WorkerKeys();
}

void WorkerIndex::Clear() {
  eligible_ = slots_ = 0;
  sizes_.clear();
  free_ = spare_ = queued_ = stopping_ = 0;
  sound_.clear();
  ++sound_changes_;
  by_free_.clear();
  by_spare_.clear();
  by_attempts_.clear();
  by_taken_.clear();
  with_queue_room_.clear();
  with_waiting_.clear();
  for_early_reduce_.clear();
  for_ready_reduce_.clear();
  by_last_queued_.clear();
  unsettled_.clear();
  jobs_.clear();
}

void WorkerIndex::AddReduce(SoftWorker& worker, uint64_t job) {
  ++worker.reduces[job].count;
}

void WorkerIndex::RemoveReduce(SoftWorker& worker, uint64_t job) {
  const auto found = worker.reduces.find(job);
  CHECK(found != worker.reduces.end());
  if (--found->second.count > 0) return;
  jobs_[job].order.Move(worker.entry->number, &worker, found->second.key, {});
  worker.reduces.erase(found);
}

const WorkerOrder<JobReduceKey>& WorkerIndex::for_reduce_of(
    uint64_t job) const {
  static const WorkerOrder<JobReduceKey>* const none =
      new WorkerOrder<JobReduceKey>();
  Settle();
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? *none : found->second.order;
}

}  // namespace millrace::master
