#include "master/scheduler/placement.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/admission.h"
#include "master/scheduler/grants.h"
#include "master/scheduler/health.h"
#include "master/scheduler/preemption.h"
#include "master/scheduler/speculation.h"

namespace millrace::master {
namespace {

// A task that has failed looks at so many others of its kind at most before
// its turn is over; bounds the work of one step.
constexpr int kLookMax = 64;
// Attempts on one worker after which a task goes elsewhere, if there is an
// elsewhere.
constexpr int kFailuresPerWorkerMax = 2;

int FailuresOn(const Trouble& trouble, WorkerNumber worker) {
  return static_cast<int>(std::count_if(
      trouble.counted.begin(), trouble.counted.end(),
      [worker](const auto& one) { return one.second == worker; }));
}

// Takes from `maps` the first that is runnable and fits.
bool TakeFrom(SoftState& soft, SoftJob& job, const SoftWorker& worker,
              std::set<uint32_t>* maps, uint32_t* map) {
  int looks = 0;
  for (auto at = maps->begin(); at != maps->end() && looks < kLookMax;) {
    const TaskId task{proto::MAP_TASK, *at};
    if (!SoftState::Runnable(job, task)) {
      at = maps->erase(at);
      continue;
    }
    ++looks;
    if (Fits(soft, job, task, worker)) {
      *map = *at;
      maps->erase(at);
      return true;
    }
    ++at;
  }
  return false;
}

// Moves next_map on to a map that has not been granted in this term.
bool AdvanceMaps(SoftJob& job) {
  for (; job.next_map < job.job->maps.total; ++job.next_map) {
    const TaskId task{proto::MAP_TASK, job.next_map};
    if (SoftState::Runnable(job, task) && job.delayed.count(task) == 0 &&
        job.lost_maps.count(job.next_map) == 0) {
      return true;
    }
  }
  return false;
}

bool TakeMap(SoftState& soft, SoftJob& job, const SoftWorker& worker,
             uint32_t* map) {
  if (TakeFrom(soft, job, worker, &job.lost_maps, map) ||
      TakeFrom(soft, job, worker, &job.retry_maps, map)) {
    return true;
  }
  int looks = 0;
  while (AdvanceMaps(job) && looks++ < kLookMax) {
    *map = job.next_map++;
    if (Fits(soft, job, {proto::MAP_TASK, *map}, worker)) return true;
    job.retry_maps.insert(*map);
  }
  return false;
}

bool PlanDue(const SoftJob& job, const PlanRoom& room) {
  const TaskId plan{proto::PLAN_TASK, 0};
  return !job.job->planned && job.live.count(plan) == 0 &&
         job.delayed.count(plan) == 0 && room.Has(job);
}

bool HasMaps(SoftJob& job) {
  return job.job->open() && (!job.lost_maps.empty() ||
                             !job.retry_maps.empty() || AdvanceMaps(job));
}

// By fairness; `order` holds jobs with something to run.
void SortByShare(std::vector<SoftJob*>* order) {
  std::stable_sort(order->begin(), order->end(),
                   [](const SoftJob* a, const SoftJob* b) {
                     if (a->running != b->running) {
                       return a->running < b->running;
                     }
                     return a->job->index < b->job->index;
                   });
}

bool GrantOne(SoftState& soft, std::vector<SoftJob*>* jobs,
              const PlanRoom& room, SoftWorker& worker) {
  SortByShare(jobs);
  for (SoftJob* job : *jobs) {
    if (PlanDue(*job, room) &&
        Fits(soft, *job, {proto::PLAN_TASK, 0}, worker)) {
      GrantPlan(soft, *job, worker);
      return true;
    }
    uint32_t map = 0;
    if (job->job->planned && TakeMap(soft, *job, worker, &map)) {
      GrantMap(soft, *job, map, worker);
      return true;
    }
  }
  return false;
}

void FillSlots(SoftState& soft) {
  std::vector<SoftJob*> jobs;
  const PlanRoom room = PlanRoomOf(soft);  // Nothing here changes it.
  for (auto& [index, job] : soft.jobs) {
    if (!job.job->open() || job.failing || !GrantsOpen(soft, job)) continue;
    if (PlanDue(job, room) || (job.job->planned && HasMaps(job))) {
      jobs.push_back(&job);
    }
  }
  // The worker with the most free slots. Those that nothing fits stand before
  // `at`: what is granted makes workers move back alone.
  const auto& free = soft.index.by_free().places();
  auto at = free.begin();
  while (!jobs.empty() && at != free.end()) {
    const auto place = *at;
    if (GrantOne(soft, &jobs, room, *place.worker)) {
      at = free.lower_bound(place);
    } else {
      ++at;
    }
    jobs.erase(std::remove_if(jobs.begin(), jobs.end(),
                              [&room](SoftJob* job) {
                                return !PlanDue(*job, room) &&
                                       !(job->job->planned && HasMaps(*job));
                              }),
               jobs.end());
  }
}

// ------------------------------------------------------------------- reduces

// A free slot first, if the reduce could use one now; then evenly.
SoftWorker* BestForReduce(SoftState& soft, SoftJob& job, const TaskId& task) {
  const bool ready = job.inputs_there;
  const uint64_t index = job.job->index;
  const auto& with = soft.index.for_reduce_of(index).places();
  const auto& all = soft.index.for_reduce(ready).places();
  const auto best_with = std::find_if(
      with.begin(), with.end(),
      [&](const auto& place) { return Fits(soft, job, task, *place.worker); });
  SoftWorker* const fallback =
      best_with == with.end() ? nullptr : best_with->worker;
  if (with.size() == all.size()) return fallback;
  // One that has none of the job is better than all that have, unless the
  // reduce would wait there and not elsewhere.
  for (const auto& place : all) {
    if (fallback != nullptr && place.key.waits && !best_with->key.waits) break;
    if (place.worker->reduces.count(index) > 0) continue;
    if (Fits(soft, job, task, *place.worker)) return place.worker;
  }
  return fallback;
}

bool PlaceOneReduce(SoftState& soft, SoftJob& job) {
  int looks = 0;
  for (auto at = job.reduces.begin();
       at != job.reduces.end() && looks < kLookMax;) {
    const TaskId task{proto::REDUCE_TASK, *at};
    if (!SoftState::Runnable(job, task) || job.delayed.count(task) > 0) {
      at = job.reduces.erase(at);
      continue;
    }
    ++looks;
    if (SoftWorker* worker = BestForReduce(soft, job, task)) {
      job.reduces.erase(at);
      GrantReduce(soft, job, task.index, *worker);
      return true;
    }
    // Without failures of its own it fits where any other would.
    if (job.job->FindTrouble(task) == nullptr) return false;
    ++at;
  }
  return false;
}

void PlaceReduces(SoftState& soft) {
  std::vector<SoftJob*> jobs;
  for (auto& [index, job] : soft.jobs) {
    if (!job.reduces.empty() && job.job->open() && !job.failing &&
        GrantsOpen(soft, job) && ReducesDue(soft, job)) {
      jobs.push_back(&job);
    }
  }
  while (!jobs.empty()) {
    const auto fewest = std::min_element(
        jobs.begin(), jobs.end(), [](const SoftJob* a, const SoftJob* b) {
          return a->live_reduces < b->live_reduces;
        });
    if (!PlaceOneReduce(soft, **fewest)) jobs.erase(fewest);
  }
}

// -------------------------------------------------------------------- queues

void FillQueues(SoftState& soft) {
  if (soft.options.queue_per_slot <= 0) return;
  std::vector<SoftJob*> jobs;
  const uint32_t slots = soft.index.slots();
  auto may_queue = [&soft, slots](SoftJob& job) {
    return job.job->open() && !job.failing && GrantsOpen(soft, job) &&
           job.map_time.has_value() && *job.map_time < soft.options.short_map &&
           UngrantedMaps(job) > slots && HasMaps(job);
  };
  for (auto& [index, job] : soft.jobs) {
    if (may_queue(job)) jobs.push_back(&job);
  }
  if (jobs.empty()) return;
  const PlanRoom room = PlanRoomOf(soft);
  const auto& with_room = soft.index.with_queue_room().places();
  for (auto at = with_room.begin(); at != with_room.end();) {
    const auto place = *at;
    while (place.worker->keys.queue_room.has_value()) {
      jobs.erase(std::remove_if(jobs.begin(), jobs.end(),
                                [&](SoftJob* job) { return !may_queue(*job); }),
                 jobs.end());
      if (jobs.empty()) return;
      if (!GrantOne(soft, &jobs, room, *place.worker)) break;
    }
    at = with_room.upper_bound(place);
  }
}

// -------------------------------------------------------------------- steals

// The youngest attempt that stands in a queue and not in a slot, of those that
// have waited long enough.
Attempt* YoungestQueued(SoftState& soft) {
  const auto& queued = soft.index.by_last_queued().places();
  const absl::Duration before = soft.now - soft.options.steal_after;
  auto at = queued.lower_bound({{before, UINT64_MAX}, 0, nullptr});
  if (at != queued.end()) {
    soft.WakeAt(at->key.first + soft.options.steal_after);
  }
  if (at == queued.begin()) return nullptr;
  --at;
  return at->worker->attempts.at(at->key.second);
}

void Steal(SoftState& soft) {
  // Slots for which nothing is left, less what is being taken back already.
  int64_t idle = soft.index.free() - soft.index.stopping();
  for (; idle > 0; --idle) {
    Attempt* queued = YoungestQueued(soft);
    if (queued == nullptr) return;
    soft.Kill(*queued, "a free slot elsewhere can run it now");
  }
}

// ------------------------------------------------------- check and publication

// The worker with the fewest attempts of any kind.
SoftWorker* LeastBusy(SoftState& soft, SoftJob& job, const TaskId& task) {
  for (const auto& place : soft.index.by_attempts().places()) {
    if (Fits(soft, job, task, *place.worker)) return place.worker;
  }
  return nullptr;
}

void GrantCommitSteps(SoftState& soft) {
  for (auto& [index, job] : soft.jobs) {
    if (job.failing || job.job->ended() || !job.job->complete()) continue;
    const TaskId task{
        job.job->decided ? proto::PUBLISH_TASK : proto::CHECK_TASK, 0};
    if (job.live.count(task) > 0 || job.delayed.count(task) > 0 ||
        !GrantsOpen(soft, job)) {
      continue;
    }
    if (!job.job->decided) {
      if (const absl::Status ledger = CheckLedger(*job.job); !ledger.ok()) {
        job.failing = true;
        proto::LogEntry entry;
        entry.mutable_failed()->set_job_id(std::string(job.job->id.bytes()));
        proto::JobFailure* failure = entry.mutable_failed()->mutable_failure();
        failure->set_cause(proto::LEDGER_MISMATCH);
        failure->set_message(std::string(ToStd(ledger.message())));
        soft.Propose(std::move(entry));
        continue;
      }
    }
    SoftWorker* worker = LeastBusy(soft, job, task);
    if (worker == nullptr) continue;
    if (job.job->decided) {
      GrantPublish(soft, job, *worker);
    } else {
      GrantCheck(soft, job, *worker);
    }
  }
}

// Tasks whose time of waiting after a failure is over; and when the reduces
// could begin.
void NoteTimes(SoftState& soft) {
  for (auto& [index, job] : soft.jobs) {
    if (!job.job->planned || !job.job->maps.all_done()) {
      job.maps_done_since.reset();
    } else if (!job.maps_done_since.has_value()) {
      job.maps_done_since = soft.now;
    }
    soft.SetInputs(job, job.job->maps.all_done());
    if (soft.now < job.next_delayed) continue;
    std::vector<TaskId> due;
    job.next_delayed = absl::InfiniteDuration();
    for (const auto& [task, when] : job.delayed) {
      if (when <= soft.now) {
        due.push_back(task);
      } else {
        job.next_delayed = std::min(job.next_delayed, when);
      }
    }
    for (const TaskId& task : due) soft.MakeRunnable(&job, task);
  }
}

}  // namespace

std::optional<absl::Duration> KeptElsewhereUntil(const SoftState& soft,
                                                 const SoftJob& job,
                                                 const TaskId& task,
                                                 const SoftWorker& worker) {
  const Trouble* trouble = job.job->FindTrouble(task);
  if (trouble == nullptr) return std::nullopt;
  const int here = FailuresOn(*trouble, worker.entry->number);
  if (here == 0) return std::nullopt;
  const auto& eligible = soft.index.by_attempts().places();
  const bool elsewhere =
      std::any_of(eligible.begin(), eligible.end(), [&](const auto& place) {
        return FailuresOn(*trouble, place.number) < here &&
               !AvoidedUntil(soft, job, place.number).has_value();
      });
  if (!elsewhere) return std::nullopt;
  if (here >= kFailuresPerWorkerMax) return absl::InfiniteDuration();
  const auto since = job.runnable_since.find(task);
  if (since == job.runnable_since.end()) return std::nullopt;
  // Others get a slot about as soon as a task ends.
  const absl::Duration patience =
      std::clamp(job.map_time.value_or(absl::ZeroDuration()),
                 soft.options.avoid_for, soft.options.avoid_for_max);
  const absl::Duration until = since->second + patience;
  if (soft.now >= until) return std::nullopt;
  return until;
}

bool Fits(SoftState& soft, SoftJob& job, const TaskId& task,
          const SoftWorker& worker) {
  if (AvoidedBy(soft, job, worker.entry->number)) return false;
  const std::optional<absl::Duration> until =
      KeptElsewhereUntil(soft, job, task, worker);
  if (!until.has_value()) return true;
  if (*until != absl::InfiniteDuration()) soft.WakeAt(*until);
  return false;
}

absl::Duration RanSince(const SoftJob& job, const Attempt& attempt) {
  if (attempt.task.kind != proto::REDUCE_TASK) {
    return attempt.started_at.value_or(attempt.granted_at);
  }
  const absl::Duration ready = std::max(
      attempt.granted_at, job.maps_done_since.value_or(attempt.granted_at));
  return std::min(ready, attempt.started_at.value_or(ready));
}

bool GrantsOpen(const SoftState& soft, const SoftJob& job) {
  return job.fresh || soft.all_heard || soft.options.mutant.grant_unheard;
}

uint32_t UngrantedMaps(const SoftJob& job) {
  const uint32_t spoken_for = job.job->maps.done + job.live_maps;
  return job.job->maps.total - std::min(job.job->maps.total, spoken_for);
}

bool ReducesDue(const SoftState& soft, SoftJob& job) {
  const Stage& maps = job.job->maps;
  const double share = std::ceil(soft.options.slow_start * maps.total);
  return maps.all_done() || maps.done >= std::max(1.0, share) || !HasMaps(job);
}

void Place(SoftState& soft) {
  if (!soft.leading() || soft.workers.empty()) return;
  UpdateHealth(soft);
  NoteTimes(soft);
  GrantCommitSteps(soft);
  FillSlots(soft);
  MakeWay(soft);
  PlaceReduces(soft);
  FillQueues(soft);
  Steal(soft);
  Speculate(soft);
}

}  // namespace millrace::master
