#include "master/scheduler/health.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "master/state/failure_class.h"

namespace millrace::master {
namespace {

void UpdateExclusions(SoftState& soft) {
  if (soft.exclusions.empty() || soft.options.mutant.never_exclude) return;
  const std::set<WorkerNumber>& sound = soft.index.sound();
  if (!soft.exclusions.UpdateDue(soft.now) &&
      soft.judged_sound == soft.index.sound_changes()) {
    return;
  }
  soft.judged_sound = soft.index.sound_changes();
  soft.exclusions.Update(sound, soft.now);
  const std::vector<WorkerNumber> not_good = soft.exclusions.NotGood();
  // Without any good one, those on probation have to do.
  const bool any_good =
      static_cast<size_t>(std::count_if(not_good.begin(), not_good.end(),
                                        [&sound](WorkerNumber number) {
                                          return sound.count(number) > 0;
                                        })) < sound.size();
  soft.judged.insert(not_good.begin(), not_good.end());
  for (WorkerNumber number : soft.judged) {
    SoftWorker* worker = soft.FindWorker(number);
    if (worker == nullptr) continue;
    const Exclusions::Standing standing = soft.exclusions.Of(number);
    worker->excluded = standing == Exclusions::Standing::kExcluded;
    worker->on_probation =
        standing == Exclusions::Standing::kProbation && any_good;
    soft.index.Update(*worker);
  }
  soft.judged = {not_good.begin(), not_good.end()};
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
  const size_t candidates = soft.index.eligible();
  const auto eligible = [&soft](WorkerNumber number) {
    const auto found = soft.workers.find(number);
    return found != soft.workers.end() && found->second.eligible();
  };
  size_t avoided = eligible(worker) ? 1 : 0;
  for (const auto& [number, blame] : job.blamed) {
    avoided +=
        number != worker && blame.excluded_at.has_value() && eligible(number);
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
