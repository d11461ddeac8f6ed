#include "master/scheduler/outcomes.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "master/scheduler/admission.h"
#include "master/scheduler/bad_records.h"
#include "master/scheduler/fetch_failures.h"
#include "master/scheduler/health.h"
#include "master/scheduler/locations.h"
#include "master/scheduler/placement.h"
#include "master/scheduler/speculation.h"
#include "master/state/failure_class.h"
#include "master/state/limits.h"

namespace millrace::master {
namespace {

// The attempt of a report, which another leader may have granted: then it is
// not `known`.
Attempt* KnownOrAdopted(SoftState& soft, SoftWorker& worker,
                        const proto::AttemptOutcome& outcome, Attempt* known,
                        const AttemptUid& uid, const JobId& job) {
  if (known != nullptr) {
    return known->worker == worker.entry->number ? known : nullptr;
  }
  return &soft.AddAttempt(uid, job, TaskId::From(outcome.attempt().task()),
                          worker.entry->number, outcome.epoch(),
                          outcome.attempt().number(),
                          outcome.attempt().speculative());
}

// What the log says already makes this report needless.
bool Settled(const Job& job, const TaskId& id, const AttemptUid& uid) {
  const Trouble* trouble = job.FindTrouble(id);
  if (trouble != nullptr && trouble->Counted(uid)) return true;
  switch (id.kind) {
    case proto::PLAN_TASK:
      return job.planned;
    case proto::MAP_TASK:
    case proto::REDUCE_TASK: {
      const Task* task = job.FindTask(id);
      return !job.open() || task == nullptr || task->has_winner;
    }
    case proto::CHECK_TASK:
      return !job.open();
    default:
      return !job.decided;
  }
}

// It is over for this attempt; the log has nothing of it.
void AckAndForget(SoftState& soft, WorkerNumber worker, const AttemptUid& uid) {
  soft.Ack(worker, uid);
  ForgetAttempt(soft, uid);
}

void FailJob(SoftState& soft, SoftJob& job, proto::FailureCause cause,
             const std::string& message, const Attempt* attempt) {
  if (job.failing) return;
  job.failing = true;
  proto::LogEntry entry;
  proto::Failed* failed = entry.mutable_failed();
  failed->set_job_id(std::string(job.job->id.bytes()));
  failed->mutable_failure()->set_cause(cause);
  failed->mutable_failure()->set_message(message);
  if (attempt != nullptr) {
    proto::AttemptRef* ref = failed->mutable_failure()->mutable_attempt();
    ref->set_job_id(std::string(job.job->id.bytes()));
    attempt->task.To(ref->mutable_task());
    ref->set_attempt_uid(std::string(attempt->uid.bytes()));
    ref->set_number(attempt->number);
    failed->mutable_failure()->set_worker(
        soft.state.workers()[attempt->worker].name);
  }
  soft.Propose(std::move(entry));
}

JobSize SizeOf(const proto::TaskDone& plan) {
  return {plan.num_maps(), plan.num_partitions(), /*planned=*/true};
}

void ProposePlanned(SoftState& soft, SoftJob& job, Attempt& attempt,
                    proto::AttemptOutcome outcome, const std::string& worker) {
  const uint64_t maps = outcome.done().num_maps();
  const uint64_t partitions = outcome.done().num_partitions();
  if (maps > kMapsMax || partitions > kPartitionsMax ||
      maps * partitions > kMapsTimesPartitionsMax) {
    FailJob(soft, job, proto::INPUT_UNFIT,
            Cat("the plan has ", maps, " maps and ", partitions,
                " reduces; at most ", kMapsMax, " and ", kPartitionsMax,
                ", and ", kMapsTimesPartitionsMax,
                " for their product, are allowed: larger splits or fewer "
                "reducers are needed"),
            &attempt);
    return;
  }
  if (const absl::Status fits =
          CheckJobSize(SizeOf(outcome.done()), soft.options);
      !fits.ok()) {
    FailJob(soft, job, proto::INPUT_UNFIT, std::string(ToStd(fits.message())),
            &attempt);
    return;
  }
  job.tasks_proposed = maps + partitions;
  job.tasks_wanted = 0;
  proto::LogEntry entry;
  proto::Planned* planned = entry.mutable_planned();
  *planned->mutable_attempt() = std::move(*outcome.mutable_attempt());
  planned->set_worker(worker);
  planned->set_plan_sha256(outcome.plan_sha256());
  *planned->mutable_done() = std::move(*outcome.mutable_done());
  soft.Propose(std::move(entry));
}

// False: the job waits for room and is planned again when there is some.
bool HasRoom(SoftState& soft, SoftJob& job, const proto::TaskDone& plan) {
  const JobSize size = SizeOf(plan);
  // One that is too large has nothing to wait for: it fails.
  if (!CheckJobSize(size, soft.options).ok() ||
      RoomForPlan(soft, job, size.tasks())) {
    return true;
  }
  job.tasks_wanted = size.tasks();
  soft.changed.insert(job.job->id);
  return false;
}

// Of the others of its task: they will be beaten.
template <typename Won>
void NameBeaten(const SoftJob& job, const Attempt& winner, Won* won) {
  const auto [begin, end] = job.live.equal_range(winner.task);
  for (auto at = begin; at != end; ++at) {
    const Attempt& other = *at->second;
    if (other.uid == winner.uid) continue;
    proto::AttemptRef* ref = won->add_beaten();
    ref->set_attempt_uid(std::string(other.uid.bytes()));
    ref->set_number(other.number);
    ref->set_speculative(other.speculative);
  }
}

// How long the attempt took: a map from its slot on, a reduce since it could
// have had one.
template <typename Won>
void NoteTime(SoftState& soft, SoftJob& job, const Attempt& attempt, Won* won) {
  if (!attempt.in_live) return;  // Another leader's: not known.
  const absl::Duration took = soft.now - RanSince(job, attempt);
  won->set_took_ms(static_cast<uint64_t>(
      std::max<int64_t>(1, absl::ToInt64Milliseconds(took))));
  if (attempt.task.kind == proto::REDUCE_TASK) {
    return job.reduce_times.Add(attempt.worker, took);
  }
  job.map_times.Add(attempt.worker, took);
  job.map_time =
      job.map_time.has_value() ? (3 * *job.map_time + took) / 4 : took;
}

void OnDone(SoftState& soft, SoftWorker& worker, SoftJob& job, Attempt& attempt,
            proto::AttemptOutcome outcome) {
  const std::string incarnation(worker.entry->incarnation.bytes());
  const AttemptUid uid = attempt.uid;
  const TaskId task = attempt.task;
  switch (task.kind) {
    case proto::PLAN_TASK:
      if (!HasRoom(soft, job, outcome.done())) {
        AckAndForget(soft, worker.entry->number, uid);
        return soft.Drop(worker.entry->number, job.job->id, task, uid);
      }
      ProposePlanned(soft, job, attempt, std::move(outcome), incarnation);
      break;
    case proto::MAP_TASK: {
      proto::LogEntry entry;
      proto::MapWon* won = entry.mutable_map_won();
      NoteTime(soft, job, attempt, won);
      NameBeaten(job, attempt, won);
      *won->mutable_attempt() = std::move(*outcome.mutable_attempt());
      won->set_worker(incarnation);
      *won->mutable_done() = std::move(*outcome.mutable_done());
      soft.Propose(std::move(entry));
      break;
    }
    case proto::REDUCE_TASK: {
      if (outcome.epoch() != job.job->epoch &&
          !soft.options.mutant.believe_reports) {
        AckAndForget(soft, worker.entry->number, uid);
        return soft.Drop(worker.entry->number, job.job->id, task, uid);
      }
      proto::LogEntry entry;
      proto::ReduceWon* won = entry.mutable_reduce_won();
      NoteTime(soft, job, attempt, won);
      NameBeaten(job, attempt, won);
      *won->mutable_attempt() = std::move(*outcome.mutable_attempt());
      won->set_worker(incarnation);
      won->set_epoch(outcome.epoch());
      *won->mutable_done() = std::move(*outcome.mutable_done());
      soft.Propose(std::move(entry));
      break;
    }
    case proto::CHECK_TASK: {
      if (attempt.winners_hash.empty()) {  // Another leader's.
        return AckAndForget(soft, worker.entry->number, uid);
      }
      proto::LogEntry entry;
      proto::Decided* decided = entry.mutable_decided();
      decided->set_job_id(std::string(job.job->id.bytes()));
      decided->set_winners_hash(attempt.winners_hash);
      decided->set_manifest_sha256(outcome.manifest_sha256());
      soft.Propose(std::move(entry));
      break;
    }
    default: {
      proto::LogEntry entry;
      entry.mutable_committed()->set_job_id(std::string(job.job->id.bytes()));
      soft.Propose(std::move(entry));
      break;
    }
  }
  soft.SetReported(attempt);
}

void OnPublishFailed(SoftState& soft, SoftWorker& worker, SoftJob& job,
                     Attempt& attempt, const proto::AttemptFailure& failure) {
  if (failure.cause() == proto::OUTPUT_CONFLICT ||
      failure.cause() == proto::COMMIT_DATA_LOST) {
    FailJob(soft, job, failure.cause(), failure.message(), &attempt);
    soft.SetReported(attempt);
    return;
  }
  // The job is decided: whatever ails the store, it is tried again.
  const absl::Duration wait =
      std::min(soft.options.retry_backoff *
                   (1 << std::min<uint32_t>(job.publish_failures, 20)),
               soft.options.publish_backoff_max);
  ++job.publish_failures;
  job.publish_error = failure.message();
  const TaskId task = attempt.task;
  AckAndForget(soft, worker.entry->number, attempt.uid);
  soft.MakeRunnableAt(&job, task, soft.now + wait);
}

void OnFailed(SoftState& soft, SoftWorker& worker, SoftJob& job,
              Attempt& attempt, const proto::AttemptOutcome& outcome) {
  const proto::AttemptFailure& failure = outcome.failed();
  // Told to stop, by this leader or another.
  if ((attempt.killed || failure.cause() == proto::CANCELLED) &&
      !soft.options.mutant.blame_beaten) {
    return AckAndForget(soft, worker.entry->number, attempt.uid);
  }
  if (attempt.task.kind == proto::PUBLISH_TASK) {
    return OnPublishFailed(soft, worker, job, attempt, failure);
  }
  const auto named = AttemptUid::FromBytes(failure.map_uid());
  const TaskId map{proto::MAP_TASK, failure.map_index()};
  if (failure.cause() == proto::MAP_OUTPUT_LOST && named.has_value()) {
    const Task* task = job.job->FindTask(map);
    if (task != nullptr && task->has_winner && task->uid == *named) {
      ProposeMapLost(soft, job, map.index, *named, failure.message());
    }
  }
  if (failure.cause() == proto::COMMIT_DATA_LOST && named.has_value() &&
      attempt.task.kind == proto::CHECK_TASK) {
    proto::LogEntry entry;
    proto::OutputLost* lost = entry.mutable_output_lost();
    lost->set_job_id(std::string(job.job->id.bytes()));
    const bool by_map = job.job->map_only() || failure.dead_letter();
    TaskId{by_map ? proto::MAP_TASK : proto::REDUCE_TASK, failure.map_index()}
        .To(lost->mutable_task());
    lost->set_attempt_uid(failure.map_uid());
    lost->set_message(failure.message());
    soft.Propose(std::move(entry));
  }
  proto::LogEntry entry;
  proto::AttemptFailed* failed = entry.mutable_attempt_failed();
  *failed->mutable_attempt() = outcome.attempt();
  failed->set_worker(std::string(worker.entry->incarnation.bytes()));
  // A job that ends by it must be able to say why.
  failed->set_cause(failure.cause() == proto::FAILURE_CAUSE_UNSPECIFIED
                        ? proto::INTERNAL
                        : failure.cause());
  failed->set_message(failure.message());
  failed->set_stack(failure.stack());
  failed->set_log_tail(failure.log_tail());
  failed->set_retryable(failure.retryable());
  soft.Propose(std::move(entry));
  soft.SetReported(attempt, TellsOfMachine(failure.cause()));
}

// The entry of `uid`'s outcome was applied or refused.
void Resolve(SoftState& soft, const proto::AttemptRef& ref,
             const ApplyResult& result, bool failed) {
  const auto uid = AttemptUid::FromBytes(ref.attempt_uid());
  const auto job_id = JobId::FromBytes(ref.job_id());
  if (!uid.has_value() || !job_id.has_value()) return;
  const TaskId task = TaskId::From(ref.task());
  SoftJob* job = soft.FindJob(*job_id);
  if (Attempt* attempt = soft.FindAttempt(*uid); attempt != nullptr) {
    const WorkerNumber worker = attempt->worker;
    soft.Ack(worker, *uid);
    if (result.applied()) {
      if (job != nullptr) job->vanished.erase(task);
      soft.RemoveAttempt(*uid);
    } else {
      if (result.refusal != Refusal::kRepeated) {
        soft.Drop(worker, *job_id, task, *uid);
      }
      ForgetAttempt(soft, *uid);
    }
  }
  if (job == nullptr || job->job->ended()) return;
  soft.changed.insert(*job_id);
  StopBeaten(soft, *job, task);
  if (!failed) return soft.MakeRunnable(job, task);
  // What failed through no fault of its own fails again if nothing is given
  // time to change.
  const Trouble* trouble = job->job->FindTrouble(task);
  absl::Duration wait;
  if (trouble != nullptr && trouble->infrastructure_failures > 0) {
    const uint32_t doublings =
        std::min<uint32_t>(trouble->infrastructure_failures - 1, 20);
    wait = std::min(soft.options.retry_backoff * (1 << doublings),
                    soft.options.retry_backoff_max);
  }
  soft.MakeRunnableAt(job, task, soft.now + wait);
}

void NoteWinner(SoftState& soft, SoftJob& job, const proto::AttemptRef& ref) {
  const TaskId id = TaskId::From(ref.task());
  const Task* task = job.job->FindTask(id);
  if (task != nullptr) NoteSuccess(soft, job, id, task->worker);
}

// Reduces that read what is no more must not go on.
void KillOldEpoch(SoftState& soft, SoftJob& job) {
  for (const auto& [task, attempt] : job.live) {
    if (task.kind == proto::REDUCE_TASK && attempt->epoch != job.job->epoch) {
      soft.Kill(*attempt, "a map output changed under it");
    }
  }
}

void OnDecided(SoftState& soft, const proto::Decided& entry) {
  const auto job_id = JobId::FromBytes(entry.job_id());
  if (!job_id.has_value()) return;
  SoftJob* job = soft.FindJob(*job_id);
  if (job == nullptr) return;
  soft.changed.insert(*job_id);
  const auto live = job->live.find({proto::CHECK_TASK, 0});
  if (live == job->live.end()) return;
  Attempt& attempt = *live->second;
  if (!attempt.reported) {
    // The entry was another check's, whose worker is lost by now.
    if (job->job->decided) soft.Kill(attempt, "the job is decided");
    return;
  }
  const AttemptUid uid = attempt.uid;
  soft.Ack(attempt.worker, uid);
  soft.RemoveAttempt(uid);
}

}  // namespace

void ForgetAttempt(SoftState& soft, AttemptUid uid) {
  Attempt* attempt = soft.FindAttempt(uid);
  if (attempt == nullptr) return;
  const TaskId task = attempt->task;
  const bool live = attempt->in_live;
  const uint32_t number = attempt->number;
  SoftJob* job = soft.FindJob(attempt->job);
  soft.RemoveAttempt(uid);
  if (job == nullptr || !live) return;
  // The log may know it: as one that has failed, or that was beaten.
  const Trouble* trouble = job->job->FindTrouble(task);
  const Task* known = job->job->FindTask(task);
  if ((trouble == nullptr || !trouble->Counted(uid)) &&
      (known == nullptr || number >= known->attempts)) {
    ++job->vanished[task];
  }
  soft.MakeRunnable(job, task);
}

void OnOutcome(SoftState& soft, SoftWorker& worker,
               proto::AttemptOutcome outcome) {
  const auto uid = AttemptUid::FromBytes(outcome.attempt().attempt_uid());
  const auto job_id = JobId::FromBytes(outcome.attempt().job_id());
  if (!uid.has_value() || !job_id.has_value()) return;
  const WorkerNumber number = worker.entry->number;
  SoftJob* job = soft.FindJob(*job_id);
  if (job == nullptr) {  // Ended or forgotten; DropJob clears what is left.
    return AckAndForget(soft, number, *uid);
  }
  const TaskId task = TaskId::From(outcome.attempt().task());
  if (task.kind < proto::PLAN_TASK || task.kind > proto::PUBLISH_TASK) return;
  Attempt* known = soft.FindAttempt(*uid);
  if (known != nullptr && known->reported) return;  // Acked when applied.
  if (Settled(*job->job, task, *uid) && !soft.options.mutant.believe_reports) {
    AckAndForget(soft, number, *uid);
    if (outcome.has_done()) soft.Drop(number, *job_id, task, *uid);
    return;
  }
  Attempt* attempt =
      KnownOrAdopted(soft, worker, outcome, known, *uid, *job_id);
  if (attempt == nullptr || attempt->task != task) return;
  if (outcome.has_done()) {
    OnDone(soft, worker, *job, *attempt, std::move(outcome));
  } else if (outcome.has_failed()) {
    OnFailed(soft, worker, *job, *attempt, outcome);
  }
}

void OnBlobLost(SoftState& soft, const BlobLost& lost) {
  Attempt* attempt = nullptr;
  if (lost.entry.has_planned()) {
    const auto uid =
        AttemptUid::FromBytes(lost.entry.planned().attempt().attempt_uid());
    if (uid.has_value()) attempt = soft.FindAttempt(*uid);
  } else if (lost.entry.has_decided()) {
    const auto id = JobId::FromBytes(lost.entry.decided().job_id());
    SoftJob* job = id.has_value() ? soft.FindJob(*id) : nullptr;
    if (job == nullptr) return;
    const auto live = job->live.find({proto::CHECK_TASK, 0});
    if (live != job->live.end()) attempt = live->second;
  }
  if (attempt == nullptr || !attempt->reported) return;
  SoftWorker* worker = soft.FindWorker(attempt->worker);
  SoftJob* job = soft.FindJob(attempt->job);
  if (worker == nullptr || job == nullptr) return;  // Lost; forgotten by that.
  if (lost.entry.has_planned()) job->tasks_proposed = 0;
  proto::AttemptOutcome outcome;
  proto::AttemptRef* ref = outcome.mutable_attempt();
  ref->set_job_id(std::string(attempt->job.bytes()));
  attempt->task.To(ref->mutable_task());
  ref->set_attempt_uid(std::string(attempt->uid.bytes()));
  ref->set_number(attempt->number);
  outcome.mutable_failed()->set_cause(proto::BLOB_UNAVAILABLE);
  outcome.mutable_failed()->set_message(lost.message);
  outcome.mutable_failed()->set_retryable(true);
  OnFailed(soft, *worker, *job, *attempt, outcome);
}

void OnWinnersLost(SoftState& soft, const ApplyResult& result) {
  for (const LostWinner& lost : result.lost) {
    SoftJob* job = soft.FindJob(lost.job);
    if (job == nullptr || job->job->ended()) continue;
    soft.changed.insert(lost.job);
    soft.Drop(lost.worker, lost.job, lost.task, lost.uid);
    if (lost.task.kind == proto::MAP_TASK) {
      job->fetch_evidence.Forget(lost.task.index);
      job->losing.erase(lost.task.index);
      MapMoved(soft, *job, lost.task.index);
    }
    soft.MakeRunnable(job, lost.task);
  }
  if (!result.epoch_raised) return;
  if (SoftJob* job = soft.FindJob(result.job); job != nullptr) {
    KillOldEpoch(soft, *job);
    soft.raised_jobs.push_back(job->job->index);
  }
}

void OnTaskEntry(SoftState& soft, const proto::LogEntry& entry,
                 const ApplyResult& result) {
  switch (entry.entry_case()) {
    case proto::LogEntry::kPlanned:
      if (SoftJob* job = soft.FindJob(result.job)) job->tasks_proposed = 0;
      Resolve(soft, entry.planned().attempt(), result, false);
      if (SoftJob* job = soft.FindJob(result.job);
          job != nullptr && result.applied()) {
        for (uint32_t i = 0; i < job->job->reduces.total; ++i) {
          job->reduces.insert(job->reduces.end(), i);
        }
      }
      break;
    case proto::LogEntry::kMapWon:
      Resolve(soft, entry.map_won().attempt(), result, false);
      if (SoftJob* job = soft.FindJob(result.job);
          job != nullptr && result.applied()) {
        NoteWinner(soft, *job, entry.map_won().attempt());
        MapMoved(soft, *job, entry.map_won().attempt().task().index());
      }
      break;
    case proto::LogEntry::kMapReoffered: {
      SoftJob* job = soft.FindJob(result.job);
      if (job == nullptr) break;
      const uint32_t map = entry.map_reoffered().map_index();
      if (result.applied()) {
        soft.changed.insert(result.job);
        MapMoved(soft, *job, map);
        StopBeaten(soft, *job, {proto::MAP_TASK, map});
        break;
      }
      const auto uid =
          AttemptUid::FromBytes(entry.map_reoffered().attempt_uid());
      const auto worker =
          WorkerIncarnation::FromBytes(entry.map_reoffered().worker());
      if (result.refusal == Refusal::kRepeated || !uid || !worker) break;
      if (const Worker* from = soft.state.FindWorker(*worker)) {
        soft.Drop(from->number, result.job, {proto::MAP_TASK, map}, *uid);
      }
      break;
    }
    case proto::LogEntry::kReduceWon:
      Resolve(soft, entry.reduce_won().attempt(), result, false);
      if (SoftJob* job = soft.FindJob(result.job);
          job != nullptr && result.applied()) {
        NoteWinner(soft, *job, entry.reduce_won().attempt());
      }
      break;
    case proto::LogEntry::kAttemptFailed:
      if (result.applied()) BlameWorker(soft, entry.attempt_failed());
      Resolve(soft, entry.attempt_failed().attempt(), result, true);
      break;
    case proto::LogEntry::kRecordPassedOver:
      OnRecordPassedOver(soft, entry.record_passed_over(), result);
      break;
    case proto::LogEntry::kMapLost:
      for (const LostWinner& lost : result.lost) {
        BlameHolder(soft, lost, entry.map_lost().message());
      }
      if (SoftJob* job = soft.FindJob(result.job); job != nullptr) {
        job->fetch_evidence.Forget(entry.map_lost().map_index());
        job->losing.erase(entry.map_lost().map_index());
      }
      break;
    case proto::LogEntry::kDecided:
      OnDecided(soft, entry.decided());
      break;
    case proto::LogEntry::kFailed:
      if (SoftJob* job = soft.FindJob(result.job);
          job != nullptr && !result.applied()) {
        job->failing = false;
      }
      break;
    default:
      break;
  }
}

}  // namespace millrace::master
