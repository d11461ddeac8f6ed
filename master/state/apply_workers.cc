// Entries about workers.
#include <utility>

#include "common/strings.h"
#include "master/state/applier.h"

namespace millrace::master {

const Worker* Applier::FindWorker(std::string_view incarnation) {
  const auto id = WorkerIncarnation::FromBytes(incarnation);
  if (!id.has_value()) return nullptr;
  return state_.FindWorker(*id);
}

void Applier::Apply(const proto::WorkerJoined& entry) {
  const auto incarnation = WorkerIncarnation::FromBytes(entry.incarnation());
  if (!incarnation.has_value() || incarnation->is_zero() ||
      entry.name().empty() || entry.slots() == 0) {
    return Refuse(Refusal::kMalformed);
  }
  if (const Worker* known = FindWorker(entry.incarnation())) {
    return Refuse(known->alive ? Refusal::kRepeated : Refusal::kWorkerNotAlive);
  }
  if (state_.alive_names_.count(entry.name()) > 0) {
    return Refuse(
        Refusal::kNameTaken,
        Cat("a worker named ", Printable(entry.name()), " is in the cluster"));
  }
  Worker worker;
  worker.incarnation = *incarnation;
  worker.name = entry.name();
  worker.host_id = entry.host_id();
  worker.address = entry.address();
  worker.slots = entry.slots();
  worker.version = entry.version();
  state_.AddWorker(std::move(worker));
}

void Applier::Apply(const proto::WorkerLost& entry) {
  const Worker* worker = FindWorker(entry.incarnation());
  if (worker == nullptr) return Refuse(Refusal::kWorkerNotAlive);
  if (!worker->alive) return Refuse(Refusal::kRepeated);
  const WorkerNumber number = worker->number;
  const std::string why = Cat("worker ", Printable(worker->name),
                              " was lost: ", Printable(entry.reason()));
  state_.alive_.erase(number);
  state_.alive_names_.erase(worker->name);
  state_.workers_.SetLost(number);

  // A copy, because losses may end jobs.
  const std::map<uint64_t, const Job*> live = state_.live_jobs_;
  bool forget = mutant_.forget_map_of_lost;
  for (const auto& [index, live_job] : live) {
    Job* job = state_.jobs_.find(live_job->id)->second.get();
    for (uint32_t i = 0;
         mutant_.lose_after_decided && job->decided && i < job->reduces.total;
         ++i) {
      const Task& reduce = job->reduces.tasks[i];
      if (reduce.has_winner && reduce.worker == number) {
        DropWinner(job, {proto::REDUCE_TASK, i});
      }
    }
    // A map-only job's winners are part files in the store; and where every
    // reduce has won, nobody needs the maps (OutputLost sees to the rest).
    if (job->reduces.all_done()) continue;
    for (uint32_t i = 0; i < job->maps.total && job->open(); ++i) {
      const Task& map = job->maps.tasks[i];
      if (!map.has_winner || map.worker != number) continue;
      if (forget) {
        forget = false;
        continue;
      }
      LoseWinner(job, {proto::MAP_TASK, i}, why);
    }
  }

  for (const proto::AttemptRef& attempt : entry.attempts()) {
    const auto id = JobId::FromBytes(attempt.job_id());
    const auto uid = AttemptUid::FromBytes(attempt.attempt_uid());
    if (!id.has_value() || !uid.has_value()) continue;
    const auto found = state_.jobs_.find(*id);
    if (found == state_.jobs_.end() || !found->second->open()) continue;
    Job* job = found->second.get();
    const TaskId task_id = TaskId::From(attempt.task());
    const Task* task = job->FindTask(task_id);
    if (task_id.kind == proto::PLAN_TASK) {
      if (job->planned) continue;
    } else if (task_id.kind != proto::CHECK_TASK) {
      if (task == nullptr) continue;
      // It has won, and maybe lost again just now.
      if (task->had_winner && task->uid == *uid) continue;
    }
    Trouble& trouble = job->troubles.Mutable(task_id);
    if (trouble.Counted(*uid)) continue;
    SeeAttempt(job, task_id, attempt.number());
    if (task == nullptr || !task->has_winner) {
      job->attempts_speculative += attempt.speculative();
    }
    trouble.counted.emplace_back(*uid, number);
    ++job->attempts_lost;
    CountInfrastructure(job, task_id, why);
  }
}

void Applier::Apply(const proto::WorkerDrained& entry) {
  if (entry.name().empty()) return Refuse(Refusal::kMalformed);
  if (entry.draining()) {
    state_.draining_.insert(entry.name());
  } else {
    state_.draining_.erase(entry.name());
  }
}

}  // namespace millrace::master
