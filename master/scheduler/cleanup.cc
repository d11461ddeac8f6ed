#include "master/scheduler/cleanup.h"

#include <utility>
#include <vector>

#include "master/scheduler/locations.h"
#include "master/scheduler/outcomes.h"

namespace millrace::master {
namespace {

void SendDropJob(SoftState& soft, SoftWorker& worker, const JobId& id,
                 const Job* job, bool remove_staging) {
  proto::MasterMessage message;
  proto::DropJob* drop = message.mutable_drop_job();
  drop->set_job_id(std::string(id.bytes()));
  if (job != nullptr) {
    drop->set_output(job->spec->output());
    drop->set_remove_staging(remove_staging);
  }
  if (!soft.options.mutant.forget_drop_job) {
    soft.SendTo(worker, std::move(message));
  }
  // Should the job come back, it is a stranger.
  worker.introduced.erase(id);
  ForgetLocated(soft, worker, id);
}

// The worker with the least to do, so that it answers soon.
SoftWorker* ChooseRemover(SoftState& soft) {
  const auto& connected = soft.index.by_taken().places();
  return connected.empty() ? nullptr : connected.begin()->worker;
}

// The next step for one job.
void Advance(SoftState& soft, const JobId& id, Cleaning& cleaning) {
  if (cleaning.proposed || cleaning.remover.has_value()) return;
  const Job* job = soft.state.FindJob(id);
  if (job == nullptr || !soft.all_heard) return;
  SoftWorker* remover = nullptr;
  if (cleaning.waiting.empty()) {
    remover = ChooseRemover(soft);
  } else if (cleaning.waiting.size() == 1 && cleaning.told.empty()) {
    // The only one that has anything may do all at once.
    remover = soft.FindWorker(*cleaning.waiting.begin());
    if (remover != nullptr && !remover->session.has_value()) remover = nullptr;
  }
  if (remover != nullptr) {
    cleaning.remover = remover->entry->number;
    cleaning.told.insert(remover->entry->number);
    soft.Hold(*remover, id);
    SendDropJob(soft, *remover, id, job, /*remove_staging=*/true);
    return;
  }
  // One that is not connected is told when it says Hello.
  for (WorkerNumber number : std::exchange(cleaning.untold, {})) {
    SoftWorker* worker = soft.FindWorker(number);
    if (worker == nullptr || !worker->session.has_value()) continue;
    if (!cleaning.told.insert(number).second) continue;
    SendDropJob(soft, *worker, id, job, /*remove_staging=*/false);
  }
}

// Of a job that has not ended they run again: a worker that drops such a job is
// wrong, and costs no more than its attempts.
void ForgetAttemptsOf(SoftState& soft, SoftWorker& worker, const JobId& job) {
  std::vector<AttemptUid> gone;
  for (const auto& [order, attempt] : worker.attempts) {
    if (attempt->job == job) gone.push_back(attempt->uid);
  }
  for (const AttemptUid& uid : gone) ForgetAttempt(soft, uid);
}

void Evict(SoftState& soft) {
  const auto& ended = soft.state.ended_jobs();
  const size_t kept = soft.options.finished_jobs_kept;
  if (ended.size() <= kept + soft.evicting.size()) return;
  size_t surplus = ended.size() - kept - soft.evicting.size();
  for (const auto& [index, job] : ended) {
    if (surplus == 0) return;
    if (soft.evicting.count(job->id) > 0) continue;
    // One that is not clean stays for a while: what is left of it would have no
    // name any more. But not for ever.
    if (!job->cleaned && ended.size() <= 2 * kept) continue;
    soft.evicting.insert(job->id);
    proto::LogEntry entry;
    entry.mutable_evicted()->set_job_id(std::string(job->id.bytes()));
    soft.Propose(std::move(entry));
    --surplus;
  }
}

}  // namespace

void StartCleanup(SoftState& soft) {
  for (const auto& [index, job] : soft.state.ended_jobs()) {
    if (job->cleaned) continue;
    // Everybody may have something, until his Hello says otherwise.
    Cleaning& cleaning = soft.cleanings[job->id];
    const auto& alive = soft.state.alive_workers();
    cleaning.waiting.insert(alive.begin(), alive.end());
    cleaning.untold = cleaning.waiting;
  }
}

void OnJobEnded(SoftState& soft, const JobId& id) {
  const Job* job = soft.state.FindJob(id);
  if (job == nullptr) return;
  decltype(SoftJob::on) on;
  if (const SoftJob* soft_job = soft.FindJob(id)) on = soft_job->on;
  soft.ForgetJob(job->index);
  soft.changed.insert(id);
  Cleaning& cleaning = soft.cleanings[id];
  if (const auto holders = soft.holders.find(id);
      holders != soft.holders.end()) {
    cleaning.waiting = holders->second;
  }
  // Those that have not said Hello may have something, too.
  cleaning.waiting.insert(soft.unheard.begin(), soft.unheard.end());
  cleaning.untold = cleaning.waiting;
  for (const auto& [number, attempts] : on) {
    for (auto& [order, attempt] : soft.workers.at(number).attempts) {
      if (attempt->job != id) continue;
      if (attempt->reported) soft.Ack(number, attempt->uid);
      // Its slot is free when the worker has stopped the job.
      soft.SetKilled(*attempt, true);
    }
  }
}

void ReadPresentJobs(SoftState& soft, SoftWorker& worker,
                     const proto::Hello& hello) {
  const WorkerNumber number = worker.entry->number;
  std::set<JobId> present;
  for (const std::string& bytes : hello.jobs()) {
    if (const auto id = JobId::FromBytes(bytes)) present.insert(*id);
  }
  for (const auto& [order, attempt] : worker.attempts) {
    if (!attempt->reported) present.insert(attempt->job);
  }
  const std::set<JobId> before = worker.present;
  for (const JobId& id : before) {
    if (present.count(id) == 0) soft.Unhold(worker, id);
  }
  for (const JobId& id : present) soft.Hold(worker, id);
  for (auto& [id, cleaning] : soft.cleanings) {
    if (cleaning.remover == number ||
        (cleaning.remover.has_value() && present.count(id) > 0)) {
      // Also to one that comes when the others are done: it may have written
      // since.
      SendDropJob(soft, worker, id, soft.state.FindJob(id), true);
    } else if (present.count(id) == 0) {
      cleaning.waiting.erase(number);
      cleaning.untold.erase(number);
    } else {
      cleaning.waiting.insert(number);
      cleaning.untold.insert(number);
      cleaning.told.erase(number);
    }
  }
  for (const JobId& id : present) {
    const Job* job = soft.state.FindJob(id);
    if ((job != nullptr && !job->ended()) || soft.cleanings.count(id) > 0) {
      continue;
    }
    // A worker that was lost while the job ended, for instance.
    SendDropJob(soft, worker, id, job, true);
  }
}

void OnDropped(SoftState& soft, SoftWorker& worker, const JobId& id) {
  const WorkerNumber number = worker.entry->number;
  soft.Unhold(worker, id);
  ForgetAttemptsOf(soft, worker, id);
  const auto found = soft.cleanings.find(id);
  if (found == soft.cleanings.end()) return;
  Cleaning& cleaning = found->second;
  cleaning.waiting.erase(number);
  cleaning.untold.erase(number);
  if (cleaning.remover != number || cleaning.proposed) return;
  cleaning.proposed = true;
  proto::LogEntry entry;
  entry.mutable_cleaned()->set_job_id(std::string(id.bytes()));
  soft.Propose(std::move(entry));
}

void OnStopped(SoftState& soft, SoftWorker& worker, const JobId& id) {
  const Job* job = soft.state.FindJob(id);
  if (job == nullptr || job->ended()) ForgetAttemptsOf(soft, worker, id);
}

void OnWorkerGone(SoftState& soft, WorkerNumber number) {
  for (auto& [id, cleaning] : soft.cleanings) {
    cleaning.waiting.erase(number);
    cleaning.untold.erase(number);
    if (cleaning.remover == number && !cleaning.proposed) {
      cleaning.remover.reset();
    }
  }
}

void OnCleaned(SoftState& soft, const JobId& job) { soft.cleanings.erase(job); }

void OnEvicted(SoftState& soft, const JobId& job) {
  soft.cleanings.erase(job);
  soft.evicting.erase(job);
}

void Clean(SoftState& soft) {
  for (auto& [id, cleaning] : soft.cleanings) Advance(soft, id, cleaning);
  Evict(soft);
}

}  // namespace millrace::master
