#include "master/scheduler/health.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "master/state/failure_class.h"

namespace millrace::master {
namespace {

void UpdateExclusions(SoftState& soft) {
  if (soft.exclusions.empty() || soft.options.mutant.never_exclude) return;
  std::set<WorkerNumber> candidates;
  for (const auto& [number, worker] : soft.workers) {
    if (worker.sound()) candidates.insert(number);
  }
  soft.exclusions.Update(candidates, soft.now);
  for (auto& [number, worker] : soft.workers) {
    const Exclusions::Standing standing = soft.exclusions.Of(number);
    worker.excluded = standing == Exclusions::Standing::kExcluded;
    worker.on_probation = standing == Exclusions::Standing::kProbation;
  }
  // Without any good one, those on probation have to do.
  const bool any_good = std::any_of(
      soft.workers.begin(), soft.workers.end(), [](const auto& entry) {
        return entry.second.sound() && !entry.second.excluded &&
               !entry.second.on_probation;
      });
  if (!any_good) {
    for (auto& [number, worker] : soft.workers) worker.on_probation = false;
  }
  const absl::Duration next = soft.exclusions.NextUpdate();
  if (next != absl::InfiniteDuration()) soft.WakeAt(next);
}

// One more task that fails there alone is enough the next time.
void ForgiveAvoided(const SoftState& soft, SoftJob& job) {
  for (auto& [worker, blame] : job.blamed) {
    if (!blame.excluded_at.has_value() ||
        soft.now < *blame.excluded_at + soft.options.job_exclusion) {
      continue;
    }
    blame.excluded_at.reset();
    if (!blame.tasks.empty()) blame.tasks.erase(blame.tasks.begin());
  }
}

}  // namespace

bool TellsOfMachine(proto::FailureCause cause) {
  switch (cause) {
    case proto::DISK_FULL:
    case proto::NO_DESCRIPTORS:
    case proto::NO_MEMORY:
    case proto::SPAWN_FAILED:
    case proto::INFRASTRUCTURE:
    case proto::BLOB_UNAVAILABLE:
      return true;
    default:
      return false;
  }
}

void BlameWorker(SoftState& soft, const proto::AttemptFailed& failed) {
  const auto job = JobId::FromBytes(failed.attempt().job_id());
  const auto incarnation = WorkerIncarnation::FromBytes(failed.worker());
  if (!job.has_value() || !incarnation.has_value()) return;
  const Worker* worker = soft.state.FindWorker(*incarnation);
  if (worker == nullptr) return;
  const TaskId task = TaskId::From(failed.attempt().task());
  if (!TellsOfMachine(failed.cause())) {
    SoftJob* live = soft.FindJob(*job);
    if (live != nullptr && !IsInfrastructure(failed.cause())) {
      live->failed_on[task].insert(worker->number);
    }
    return;
  }
  soft.exclusions.OnFailure(
      worker->number, *job, task,
      Cat(ToString(task), " of job ", job->ToShort(), ": ", failed.message()),
      soft.now);
}

void BlameHolder(SoftState& soft, const LostWinner& lost,
                 const std::string& why) {
  soft.exclusions.OnFailure(lost.worker, lost.job, lost.task,
                            Cat("the output of ", ToString(lost.task),
                                " of job ", lost.job.ToShort(), ": ", why),
                            soft.now);
}

void NoteSuccess(SoftState& soft, SoftJob& job, const TaskId& task,
                 WorkerNumber worker) {
  soft.exclusions.OnSuccess(worker);
  // A program that fails now and then fails everywhere: as for all jobs, each
  // success takes a failure back.
  if (const auto here = job.blamed.find(worker); here != job.blamed.end()) {
    SoftJob::Blame& blame = here->second;
    if (!blame.tasks.empty()) blame.tasks.erase(blame.tasks.begin());
    if (blame.tasks.empty() && !blame.excluded_at.has_value()) {
      job.blamed.erase(here);
    }
  }
  const auto failed = job.failed_on.find(task);
  if (failed == job.failed_on.end()) return;
  const std::set<WorkerNumber> elsewhere = std::move(failed->second);
  job.failed_on.erase(failed);
  const Trouble* trouble = job.job->FindTrouble(task);
  for (WorkerNumber other : elsewhere) {
    if (other == worker) continue;
    SoftJob::Blame& blame = job.blamed[other];
    if (trouble != nullptr) blame.why = trouble->last_message;
    if (!blame.tasks.insert(task).second ||
        blame.tasks.size() < soft.options.job_exclusion_failures ||
        blame.excluded_at.has_value()) {
      continue;
    }
    blame.excluded_at = soft.now;
  }
}

void UpdateHealth(SoftState& soft) {
  UpdateExclusions(soft);
  for (auto& [index, job] : soft.jobs) ForgiveAvoided(soft, job);
}

std::optional<absl::Duration> AvoidedUntil(const SoftState& soft,
                                           const SoftJob& job,
                                           WorkerNumber worker) {
  const auto at = job.blamed.find(worker);
  if (at == job.blamed.end() || !at->second.excluded_at.has_value()) {
    return std::nullopt;
  }
  const absl::Duration until =
      *at->second.excluded_at + soft.options.job_exclusion;
  if (soft.now >= until || !CanAvoid(soft, job, worker)) return std::nullopt;
  return until;
}

bool AvoidedBy(SoftState& soft, const SoftJob& job, WorkerNumber worker) {
  const std::optional<absl::Duration> until = AvoidedUntil(soft, job, worker);
  if (until.has_value()) soft.WakeAt(*until);
  return until.has_value();
}

bool CanAvoid(const SoftState& soft, const SoftJob& job, WorkerNumber worker) {
  // As many others have to be left as when it is excluded for all.
  size_t candidates = 0;
  size_t avoided = 0;
  for (const auto& [number, one] : soft.workers) {
    if (!one.eligible()) continue;
    ++candidates;
    const auto at = job.blamed.find(number);
    avoided += number == worker ||
               (at != job.blamed.end() && at->second.excluded_at.has_value());
  }
  return avoided < candidates &&
         avoided <= Exclusions::Most(soft.options.exclusion, candidates);
}

void Avoid(SoftState& soft, SoftJob& job, WorkerNumber worker,
           const std::string& why) {
  SoftJob::Blame& blame = job.blamed[worker];
  blame.excluded_at = soft.now;
  blame.why = why;
}

}  // namespace millrace::master
