#include "master/scheduler/speculation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "master/scheduler/grants.h"
#include "master/scheduler/placement.h"

namespace millrace::master {
namespace {

struct Candidate {
  SoftJob* job = nullptr;
  const Attempt* attempt = nullptr;
  absl::Duration left;
  absl::Duration typical;
};

// Records that an attempt of the stage has to read on the average; 0: not
// known.
double RecordsOf(const Job& job, proto::TaskKind kind) {
  if (kind == proto::REDUCE_TASK) {
    return static_cast<double>(job.totals.ledger.written().records()) /
           job.reduces.total;
  }
  if (job.maps.done == 0) return 0;
  return static_cast<double>(CounterValue(job, "MAP_INPUT_RECORDS")) /
         job.maps.done;
}

// One attempt each, of tasks that have no other.
void FindStragglers(SoftState& soft, SoftJob& job, proto::TaskKind kind,
                    std::vector<Candidate>* found) {
  const bool maps = kind == proto::MAP_TASK;
  const StageTimes& times = maps ? job.map_times : job.reduce_times;
  const auto typical = TypicalTime(soft, job, kind);
  if (!typical.has_value()) return;
  const double records = RecordsOf(*job.job, kind);
  auto at = job.live.lower_bound({kind, 0});
  while (at != job.live.end() && at->first.kind == kind) {
    const TaskId task = at->first;
    const Attempt& attempt = *at->second;
    bool alone = true;
    while (++at != job.live.end() && at->first == task) alone = false;
    // What waits for a slot is taken back (Steal); what waits for maps is not
    // slow itself.
    const bool runs = maps ? attempt.takes_slot() && attempt.started_at
                           : job.job->maps.all_done() || attempt.started_at;
    if (!runs || attempt.reported || attempt.killed || !alone ||
        !SoftState::Wanted(job, task)) {
      continue;
    }
    Standing standing;
    standing.elapsed = soft.now - RanSince(job, attempt);
    standing.executing = soft.now - attempt.started_at.value_or(soft.now);
    standing.worker_takes = times.On(attempt.worker);
    if (records > 0 && attempt.progress.records() > 0) {
      standing.done = static_cast<double>(attempt.progress.records()) / records;
    }
    if (!IsStraggler(standing, *typical)) continue;
    found->push_back({&job, &attempt, TimeLeft(standing, *typical), *typical});
  }
}

SoftWorker* BestFor(SoftState& soft, const Candidate& candidate) {
  SoftJob& job = *candidate.job;
  const Attempt& attempt = *candidate.attempt;
  const StageTimes& times =
      attempt.task.kind == proto::MAP_TASK ? job.map_times : job.reduce_times;
  const std::string& host = soft.state.workers()[attempt.worker].host_id;
  // With the most slots that nobody has and that no reduce is about to want.
  SoftWorker* same_host = nullptr;
  for (const auto& place : soft.index.by_spare().places()) {
    SoftWorker& worker = *place.worker;
    const bool same = worker.entry->host_id == host;
    if (place.number == attempt.worker || (same && same_host != nullptr) ||
        !Fits(soft, job, attempt.task, worker)) {
      continue;
    }
    const auto takes = times.On(place.number);
    if (takes.has_value() && *takes >= kSlowFactor * candidate.typical) {
      continue;
    }
    if (!same) return &worker;
    same_host = &worker;
  }
  return same_host;
}

// Tasks that may be given a second attempt now.
int64_t Allowance(const SoftState& soft) {
  const uint32_t slots = soft.index.slots();
  if (soft.options.mutant.speculate_freely) return slots;
  int64_t allowance = std::max(
      static_cast<int64_t>(std::ceil(soft.options.speculative_share * slots)),
      int64_t{soft.index.largest()});
  for (const auto& [index, job] : soft.jobs) {
    allowance -= static_cast<int64_t>(job.live.size()) - job.live_tasks;
  }
  return allowance;
}

}  // namespace

std::optional<absl::Duration> TypicalTime(const SoftState& soft,
                                          const SoftJob& job,
                                          proto::TaskKind kind) {
  const bool maps = kind == proto::MAP_TASK;
  const Stage& stage = maps ? job.job->maps : job.job->reduces;
  const double sample = soft.options.speculation_sample * stage.total;
  if (stage.done == 0 || stage.done < sample) return std::nullopt;
  const StageTimes& times = maps ? job.map_times : job.reduce_times;
  if (const auto typical = times.Typical()) return typical;
  // None has finished under this leader.
  if (stage.timed == 0) return std::nullopt;
  return absl::Milliseconds(static_cast<double>(stage.took_ms) /
                            static_cast<double>(stage.timed));
}

void Speculate(SoftState& soft) {
  // Slots with nothing to do, less the maps that stand in queues: those will be
  // taken back and run there.
  const int64_t idle = soft.index.spare() - soft.index.queued();
  // The first slot that is idle does not wait for the interval.
  if (idle <= 0 || soft.now < soft.next_speculation) return;
  soft.next_speculation = soft.now + soft.options.speculation_interval;
  std::vector<Candidate> found;
  for (auto& [index, job] : soft.jobs) {
    if (!job.job->planned || !job.job->open() || job.failing ||
        job.job->spec->speculation_off() || !GrantsOpen(soft, job)) {
      continue;
    }
    FindStragglers(soft, job, proto::MAP_TASK, &found);
    FindStragglers(soft, job, proto::REDUCE_TASK, &found);
  }
  if (found.empty()) return;
  std::stable_sort(
      found.begin(), found.end(),
      [](const Candidate& a, const Candidate& b) { return a.left > b.left; });
  int64_t allowance = std::min(Allowance(soft), idle);
  for (const Candidate& candidate : found) {
    if (allowance <= 0) return;
    SoftWorker* worker = BestFor(soft, candidate);
    if (worker == nullptr) continue;
    const TaskId task = candidate.attempt->task;
    if (task.kind == proto::MAP_TASK) {
      GrantMap(soft, *candidate.job, task.index, *worker, true);
    } else {
      GrantReduce(soft, *candidate.job, task.index, *worker, true);
    }
    --allowance;
  }
}

void StopBeaten(SoftState& soft, SoftJob& job, const TaskId& task) {
  if (soft.options.mutant.keep_beaten) return;
  const Task* known = job.job->FindTask(task);
  if (known == nullptr || !known->has_winner) return;
  const auto [begin, end] = job.live.equal_range(task);
  for (auto at = begin; at != end; ++at) {
    Attempt& attempt = *at->second;
    if (attempt.uid == known->uid || attempt.reported || attempt.killed) {
      continue;
    }
    if (attempt.started_at.has_value()) {
      StageTimes& times =
          task.kind == proto::MAP_TASK ? job.map_times : job.reduce_times;
      times.AddBeaten(attempt.worker, soft.now - *attempt.started_at);
    }
    soft.Kill(attempt, "another attempt of its task has won");
  }
}

}  // namespace millrace::master
