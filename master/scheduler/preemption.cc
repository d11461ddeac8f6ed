#include "master/scheduler/preemption.h"

#include <algorithm>

#include "common/strings.h"
#include "master/scheduler/grants.h"
#include "master/scheduler/placement.h"

namespace millrace::master {
namespace {

// The first lost map of the job that could run now.
std::optional<uint32_t> FirstLost(SoftJob& job) {
  while (!job.lost_maps.empty()) {
    const uint32_t map = *job.lost_maps.begin();
    if (SoftState::Runnable(job, {proto::MAP_TASK, map})) return map;
    job.lost_maps.erase(job.lost_maps.begin());
  }
  return std::nullopt;
}

// Where a reduce waits for a slot that the map can have first. As many maps at
// most overtake as there are to overtake.
SoftWorker* BeforeWaiting(SoftState& soft, SoftJob& job, uint32_t map) {
  for (const auto& place : soft.index.with_waiting().places()) {
    if (Fits(soft, job, {proto::MAP_TASK, map}, *place.worker)) {
      return place.worker;
    }
  }
  return nullptr;
}

// The reduce of the job that has been running shortest there. Null: a slot is
// or will be free without force.
Attempt* Youngest(SoftState& soft, const SoftJob& job,
                  const SoftWorker& worker) {
  Attempt* youngest = nullptr;
  uint32_t executing = 0;
  for (const auto& [order, attempt] : worker.attempts) {
    if (!attempt->takes_slot()) continue;
    if (attempt->killed) return nullptr;
    if (attempt->phase != proto::EXECUTING) continue;
    if (attempt->task.kind != proto::REDUCE_TASK) return nullptr;
    ++executing;
    if (attempt->job != job.job->id) continue;
    if (youngest == nullptr || attempt->started_at.value_or(soft.now) >
                                   youngest->started_at.value_or(soft.now)) {
      youngest = attempt;
    }
  }
  return executing < worker.slots() ? nullptr : youngest;
}

void Stop(SoftState& soft, Attempt& reduce, uint32_t map) {
  soft.Kill(reduce, Cat("map ", map,
                        " was lost and has to run again first; no other slot "
                        "is free"));
}

// Those that overtook waiting reduces, but not those that run.
void MakeWayForQueued(SoftState& soft, SoftJob& job) {
  for (auto at = job.queued_lost.begin(); at != job.queued_lost.end();) {
    const uint32_t map = *at;
    const auto live = job.live.find({proto::MAP_TASK, map});
    if (live == job.live.end() || live->second->killed ||
        !live->second->takes_slot() ||
        live->second->phase == proto::EXECUTING) {
      at = job.queued_lost.erase(at);
      continue;
    }
    ++at;
    const absl::Duration due =
        live->second->granted_at + soft.options.preempt_after;
    if (soft.now < due) {
      soft.WakeAt(due);
      continue;
    }
    SoftWorker* worker = soft.FindWorker(live->second->worker);
    if (worker == nullptr || !worker->session.has_value()) continue;
    Attempt* reduce = Youngest(soft, job, *worker);
    if (reduce != nullptr) Stop(soft, *reduce, map);
  }
}

// Where no reduce waits: one of those that run. Null: nobody has to make way.
Attempt* YoungestOfAll(SoftState& soft, SoftJob& job, uint32_t map) {
  // Somebody has a free slot, and no such reduce (Youngest); that the map may
  // not go there will pass.
  if (soft.index.free() > 0) return nullptr;
  Attempt* youngest = nullptr;
  for (const auto& [number, attempts] : job.on) {
    SoftWorker& worker = soft.workers.at(number);
    if (!worker.eligible()) continue;
    Attempt* one = Youngest(soft, job, worker);
    // Reduces of other jobs alone: their end is awaited, as without a loss.
    if (one == nullptr) continue;
    if (!Fits(soft, job, {proto::MAP_TASK, map}, worker)) continue;
    if (youngest == nullptr || one->started_at.value_or(soft.now) >
                                   youngest->started_at.value_or(soft.now)) {
      youngest = one;
    }
  }
  return youngest;
}

void MakeWayFor(SoftState& soft, SoftJob& job) {
  std::optional<uint32_t> map = FirstLost(job);
  while (map.has_value()) {
    SoftWorker* worker = BeforeWaiting(soft, job, *map);
    if (worker == nullptr) break;
    job.lost_maps.erase(*map);
    GrantMap(soft, job, *map, *worker);
    job.queued_lost.insert(*map);
    map = FirstLost(job);
  }
  if (!map.has_value()) {
    job.lost_waits_since.reset();
    return;
  }
  if (!job.lost_waits_since.has_value()) job.lost_waits_since = soft.now;
  const absl::Duration due = *job.lost_waits_since + soft.options.preempt_after;
  if (soft.now < due) return soft.WakeAt(due);
  Attempt* reduce = YoungestOfAll(soft, job, *map);
  if (reduce == nullptr) return;
  Stop(soft, *reduce, *map);
  job.lost_maps.erase(*map);
  job.lost_waits_since.reset();
  GrantMap(soft, job, *map, *soft.FindWorker(reduce->worker));
}

}  // namespace

void MakeWay(SoftState& soft) {
  if (soft.options.mutant.never_preempt) return;
  for (auto& [index, job] : soft.jobs) {
    if (job.lost_maps.empty() && job.queued_lost.empty()) {
      job.lost_waits_since.reset();
      continue;
    }
    if (!job.job->open() || job.failing || !GrantsOpen(soft, job)) continue;
    MakeWayFor(soft, job);
    MakeWayForQueued(soft, job);
  }
}

}  // namespace millrace::master
