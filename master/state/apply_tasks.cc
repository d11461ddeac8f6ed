// Entries about attempts of tasks.
#include <algorithm>
#include <limits>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "master/state/applier.h"
#include "master/state/failure_class.h"
#include "master/state/ledger.h"
#include "master/state/packed_done.h"

namespace millrace::master {
namespace {

std::string Cut(const std::string& text) {
  return CutText(text, kFailureTextBytesMax);
}

// Of a log, which need not be text. The end is what tells why.
std::string CutFront(const std::string& text) {
  if (text.size() <= kFailureTextBytesMax) return text;
  return text.substr(text.size() - kFailureTextBytesMax);
}

}  // namespace

Stage& Applier::StageOf(Job* job, const TaskId& id) {
  return id.kind == proto::MAP_TASK ? job->maps : job->reduces;
}

Applier::Candidate Applier::FindCandidate(const proto::AttemptRef& attempt,
                                          std::string_view worker_bytes,
                                          proto::TaskKind kind) {
  Candidate candidate;
  const auto uid = AttemptUid::FromBytes(attempt.attempt_uid());
  const auto incarnation = WorkerIncarnation::FromBytes(worker_bytes);
  if (!uid.has_value() || uid->is_zero() || !incarnation.has_value() ||
      attempt.task().kind() != kind) {
    Refuse(Refusal::kMalformed);
    return candidate;
  }
  candidate.job = FindOpenJob(attempt.job_id());
  if (candidate.job == nullptr) return candidate;
  candidate.id = TaskId::From(attempt.task());
  candidate.uid = *uid;
  candidate.number = attempt.number();
  if (kind == proto::PLAN_TASK) {
    if (candidate.job->planned) {
      Refuse(Refusal::kAlreadyPlanned);
      return candidate;
    }
  } else {
    if (!candidate.job->planned) {
      Refuse(Refusal::kNotPlanned);
      return candidate;
    }
    candidate.task = candidate.job->FindTask(candidate.id);
    if (candidate.task == nullptr) {
      Refuse(Refusal::kNoSuchTask);
      return candidate;
    }
    if (candidate.task->has_winner && !mutant_.skip_has_winner_check) {
      Refuse(candidate.task->uid == *uid ? Refusal::kRepeated
                                         : Refusal::kHasWinner);
      return candidate;
    }
  }
  const Worker* worker = FindWorker(worker_bytes);
  if (worker == nullptr || (!worker->alive && !mutant_.skip_alive_check)) {
    Refuse(Refusal::kWorkerNotAlive);
    return candidate;
  }
  candidate.worker = worker->number;
  const Trouble* trouble = candidate.job->FindTrouble(candidate.id);
  if (trouble != nullptr && trouble->Counted(*uid)) {
    Refuse(Refusal::kAttemptCounted);
  }
  return candidate;
}

void Applier::SeeAttempt(Job* job, const TaskId& id, uint32_t number) {
  constexpr uint32_t kMost = std::numeric_limits<uint16_t>::max();
  const uint32_t seen = std::min(number, kMost - 1) + 1;
  if (id.kind == proto::PLAN_TASK) {
    if (seen <= job->plan_attempts) return;
    job->attempts_seen += seen - job->plan_attempts;
    job->plan_attempts = seen;
  } else if (const Task* task = job->FindTask(id); task != nullptr) {
    if (seen <= task->attempts) return;
    job->attempts_seen += seen - task->attempts;
    MutableTask(job, id).attempts = static_cast<uint16_t>(seen);
  }
}

void Applier::CountReport(Job* job, const TaskId& id,
                          const proto::TaskDone& done,
                          const NumberedCounters& counters, bool gained) {
  StageOf(job, id).done += gained ? 1 : ~uint32_t{0};
  master::CountReport(*job, id.kind, done, counters, gained, &job->totals);
}

void Applier::CountWinner(Job* job, const TaskId& id, bool gained) {
  const UnpackedDone report = UnpackDone(*job, id);
  CountReport(job, id, report.done, report.counters, gained);
}

void Applier::SeeAttempts(const Candidate& winner, const proto::AttemptRef& ref,
                          const BeatenAttempts& beaten, uint64_t took_ms) {
  Job* job = winner.job;
  job->attempts_speculative += ref.speculative();
  for (const proto::AttemptRef& other : beaten) {
    SeeAttempt(job, winner.id, other.number());
    job->attempts_speculative += other.speculative();
  }
  if (took_ms == 0) return;
  Stage& stage = StageOf(job, winner.id);
  ++stage.timed;
  stage.took_ms += took_ms;
}

void Applier::Win(const Candidate& candidate, const proto::TaskDone& done) {
  TaskTable& tasks = StageOf(candidate.job, candidate.id).tasks;
  const PackedDone packed = PackDone(done, candidate.job);
  tasks.SetReport(candidate.id.index, packed.bytes);
  Task& task = tasks.Mutable(candidate.id.index);
  task.uid = candidate.uid;
  task.root.fill(0);
  const std::string& root = done.map_output_root();
  std::copy_n(root.data(), std::min(root.size(), task.root.size()),
              task.root.data());
  task.worker = candidate.worker;
  task.has_winner = task.had_winner = true;
  SeeAttempt(candidate.job, candidate.id, candidate.number);
  CountReport(candidate.job, candidate.id, done, packed.counters,
              /*gained=*/true);
}

void Applier::CheckOutputLimit(const Candidate& candidate) {
  Job* job = candidate.job;
  const uint64_t limit = job->spec->output_bytes_max();
  if (limit == 0 || job->totals.output_bytes <= limit || job->ended()) return;
  proto::JobFailure failure;
  failure.set_cause(proto::OUTPUT_LIMIT);
  // Of no attempt: that one has done what it was told.
  failure.set_message(Cat("the part files have ", job->totals.output_bytes,
                          " bytes together, that of ", ToString(candidate.id),
                          " included; --output-limit allows ", limit));
  FailJob(job, std::move(failure));
}

void Applier::DropWinner(Job* job, const TaskId& id) {
  Task& task = MutableTask(job, id);
  CHECK(task.has_winner);
  CountWinner(job, id, /*gained=*/false);
  task.has_winner = false;
  result_.lost.push_back({job->id, id, task.uid, task.worker});
}

void Applier::CountInfrastructure(Job* job, const TaskId& id,
                                  std::string_view why) {
  Trouble& trouble = job->troubles.Mutable(id);
  trouble.last_message = Cut(std::string(why));
  if (++trouble.infrastructure_failures < kInfrastructureFailuresMax) return;
  proto::JobFailure failure;
  failure.set_cause(proto::INFRASTRUCTURE);
  failure.set_message(Cat(ToString(id), " was lost or failed ",
                          trouble.infrastructure_failures,
                          " times through no fault of the program; the last "
                          "time: ",
                          why));
  id.To(failure.mutable_attempt()->mutable_task());
  failure.mutable_attempt()->set_job_id(std::string(job->id.bytes()));
  FailJob(job, std::move(failure));
}

void Applier::LoseWinner(Job* job, const TaskId& id, std::string_view why) {
  DropWinner(job, id);
  ++job->attempts_lost;
  CountInfrastructure(job, id, why);
}

void Applier::LoseMapsOfLostWorkers(Job* job) {
  if (job->reduces.total == 0) return;
  for (uint32_t i = 0; i < job->maps.total && job->open(); ++i) {
    const Task& map = job->maps.tasks[i];
    if (!map.has_winner || state_.workers_[map.worker].alive) continue;
    LoseWinner(job, {proto::MAP_TASK, i}, "its worker was lost");
  }
}

void Applier::RaiseEpoch(Job* job, uint32_t map, const AttemptUid& before,
                         const AttemptUid& after) {
  result_.epoch_raised = true;
  if (++job->epoch > kEpochRaisesMax) {
    proto::JobFailure failure;
    failure.set_cause(proto::NONDETERMINISTIC_MAP);
    failure.set_message(
        Cat("runs of map ", map, " on the same input wrote different records ",
            kEpochRaisesMax + 1, " times, last attempts ", before.ToShort(),
            " and ", after.ToShort(),
            "; make the mapper a function of its input (no time, no random "
            "numbers but the context's seed)"));
    proto::AttemptRef* attempt = failure.mutable_attempt();
    attempt->set_job_id(std::string(job->id.bytes()));
    TaskId{proto::MAP_TASK, map}.To(attempt->mutable_task());
    attempt->set_attempt_uid(std::string(after.bytes()));
    FailJob(job, std::move(failure));
    return;
  }
  if (mutant_.keep_reduces_on_raise) return;
  for (uint32_t i = 0; i < job->reduces.total; ++i) {
    if (job->reduces.tasks[i].has_winner) {
      DropWinner(job, {proto::REDUCE_TASK, i});
    }
  }
  LoseMapsOfLostWorkers(job);
}

void Applier::Apply(const proto::MapWon& entry) {
  const Candidate candidate =
      FindCandidate(entry.attempt(), entry.worker(), proto::MAP_TASK);
  if (refused()) return;
  Job* job = candidate.job;
  const Task& task = *candidate.task;
  const bool partitioned = job->reduces.total > 0;
  if (partitioned && entry.done().map_output_root().size() != 16) {
    return Refuse(Refusal::kMalformed, "no root of the map output");
  }
  const bool differs = partitioned && task.had_winner &&
                       task.root_bytes() != entry.done().map_output_root() &&
                       !mutant_.ignore_roots;
  const AttemptUid before = task.uid;
  if (task.has_winner) DropWinner(job, candidate.id);  // Mutants alone.
  Win(candidate, entry.done());
  SeeAttempts(candidate, entry.attempt(), entry.beaten(), entry.took_ms());
  if (differs) RaiseEpoch(job, candidate.id.index, before, candidate.uid);
  CheckOutputLimit(candidate);
}

void Applier::Apply(const proto::MapReoffered& entry) {
  const auto uid = AttemptUid::FromBytes(entry.attempt_uid());
  if (!uid.has_value()) return Refuse(Refusal::kMalformed);
  Job* job = FindOpenJob(entry.job_id());
  if (job == nullptr) return;
  if (!job->planned) return Refuse(Refusal::kNotPlanned);
  const TaskId id{proto::MAP_TASK, entry.map_index()};
  const Task* known = job->FindTask(id);
  if (known == nullptr) return Refuse(Refusal::kNoSuchTask);
  if (known->has_winner) {
    return Refuse(known->uid == *uid ? Refusal::kRepeated
                                     : Refusal::kHasWinner);
  }
  if (!known->had_winner || known->uid != *uid ||
      known->root_bytes() != entry.root() || job->reduces.total == 0) {
    return Refuse(Refusal::kNotWinner);
  }
  const Worker* worker = FindWorker(entry.worker());
  if (worker == nullptr || !worker->alive) {
    return Refuse(Refusal::kWorkerNotAlive);
  }
  Task& task = MutableTask(job, id);
  task.worker = worker->number;
  task.has_winner = true;
  CountWinner(job, id, /*gained=*/true);
}

void Applier::Apply(const proto::ReduceWon& entry) {
  const Candidate candidate =
      FindCandidate(entry.attempt(), entry.worker(), proto::REDUCE_TASK);
  if (refused()) return;
  if (entry.epoch() != candidate.job->epoch && !mutant_.skip_epoch_check) {
    return Refuse(Refusal::kOldEpoch,
                  Cat("it consumed epoch ", entry.epoch(), ", the job is at ",
                      candidate.job->epoch));
  }
  if (candidate.task->has_winner) {
    DropWinner(candidate.job, candidate.id);  // Mutants alone.
  }
  Win(candidate, entry.done());
  SeeAttempts(candidate, entry.attempt(), entry.beaten(), entry.took_ms());
  CheckOutputLimit(candidate);
}

void Applier::Apply(const proto::AttemptFailed& entry) {
  const auto uid = AttemptUid::FromBytes(entry.attempt().attempt_uid());
  if (!uid.has_value() || uid->is_zero()) return Refuse(Refusal::kMalformed);
  Job* job = FindOpenJob(entry.attempt().job_id());
  if (job == nullptr) return;
  const TaskId id = TaskId::From(entry.attempt().task());
  const Task* task = job->FindTask(id);
  switch (id.kind) {
    case proto::PLAN_TASK:
      if (job->planned) return Refuse(Refusal::kAlreadyPlanned);
      break;
    case proto::MAP_TASK:
    case proto::REDUCE_TASK:
      if (!job->planned) return Refuse(Refusal::kNotPlanned);
      if (task == nullptr) return Refuse(Refusal::kNoSuchTask);
      if (task->has_winner && task->uid == *uid) {
        return Refuse(Refusal::kHasWinner, "the attempt has won");
      }
      break;
    case proto::CHECK_TASK:
      if (!job->planned) return Refuse(Refusal::kNotPlanned);
      break;
    default:
      return Refuse(Refusal::kMalformed);
  }
  const Worker* worker = FindWorker(entry.worker());
  if (worker == nullptr) return Refuse(Refusal::kWorkerNotAlive);
  const Trouble* known = job->FindTrouble(id);
  if (known != nullptr && known->Counted(*uid)) {
    return Refuse(Refusal::kAttemptCounted);
  }

  SeeAttempt(job, id, entry.attempt().number());
  // The winner's entry has counted it if there is one.
  if (task == nullptr || !task->has_winner) {
    job->attempts_speculative += entry.attempt().speculative();
  }
  Trouble& trouble = job->troubles.Mutable(id);
  trouble.counted.emplace_back(*uid, worker->number);
  trouble.last_message = Cut(entry.message());
  std::deque<FailedAttempt>& recent = job->recent_failures.Mutable();
  FailedAttempt& failed = recent.emplace_back();
  failed.task = id;
  failed.uid = *uid;
  failed.number = entry.attempt().number();
  failed.worker = worker->number;
  failed.cause = entry.cause();
  failed.message = Cut(entry.message());
  failed.stack = Cut(entry.stack());
  failed.log_tail = CutFront(entry.log_tail());
  failed.at_ms = at_ms_;
  if (recent.size() > kRecentFailuresMax) recent.pop_front();

  const bool infrastructure = IsInfrastructure(entry.cause());
  const uint32_t limit = job->spec->max_attempts() != 0
                             ? job->spec->max_attempts()
                             : kMaxAttemptsDefault;
  ++job->attempts_failed;
  if (entry.retryable() && infrastructure) {
    return CountInfrastructure(job, id, entry.message());
  }
  if (!infrastructure) ++trouble.user_failures;
  if (entry.retryable() && trouble.user_failures < limit) return;
  proto::JobFailure failure;
  failure.set_cause(entry.cause());
  failure.set_message(entry.message());
  failure.set_stack(entry.stack());
  *failure.mutable_attempt() = entry.attempt();
  failure.set_worker(worker->name);
  failure.set_log_tail(entry.log_tail());
  FailJob(job, std::move(failure));
}

void Applier::Apply(const proto::RecordPassedOver& entry) {
  const Candidate candidate =
      FindCandidate(entry.attempt(), entry.worker(), proto::MAP_TASK);
  if (refused()) return;
  Job* job = candidate.job;
  const uint32_t limit = job->spec->skip_bad_records();
  if (limit == 0)
    return Refuse(Refusal::kMalformed, "the job passes over none");
  const BadRecordPlace place =
      BadRecordPlace::Of(candidate.id.index, entry.record());
  // Whoever met it first: it is one record.
  if (job->bad_records->contains(place)) return Refuse(Refusal::kRepeated);
  if (job->bad_records->size() >= limit) {
    proto::JobFailure failure;
    failure.set_cause(proto::BAD_RECORD_LIMIT);
    failure.set_message(Cat("more bad records than the ", limit,
                            " that --skip-bad-records allows; the last one: ",
                            entry.record().message()));
    failure.set_stack(entry.record().stack());
    *failure.mutable_attempt() = entry.attempt();
    failure.set_worker(state_.workers_[candidate.worker].name);
    return FailJob(job, std::move(failure));
  }
  proto::BadRecord& record = job->bad_records.Mutable()[place];
  record = entry.record();
  record.set_message(CutText(record.message(), kBadRecordMessageBytesMax));
  record.set_stack(CutText(record.stack(), kBadRecordStackBytesMax));
  ++job->bad_records_count;
}

void Applier::Apply(const proto::MapLost& entry) {
  const auto uid = AttemptUid::FromBytes(entry.attempt_uid());
  if (!uid.has_value()) return Refuse(Refusal::kMalformed);
  Job* job = FindOpenJob(entry.job_id());
  if (job == nullptr) return;
  if (!job->planned) return Refuse(Refusal::kNotPlanned);
  const TaskId id{proto::MAP_TASK, entry.map_index()};
  const Task* task = job->FindTask(id);
  if (task == nullptr) return Refuse(Refusal::kNoSuchTask);
  if (!task->has_winner || task->uid != *uid) {
    return Refuse(Refusal::kNotWinner);
  }
  if (job->reduces.all_done()) return Refuse(Refusal::kNotNeeded);
  Trouble& trouble = job->troubles.Mutable(id);
  if (!trouble.Counted(*uid)) trouble.counted.emplace_back(*uid, task->worker);
  LoseWinner(job, id, entry.message());
}

void Applier::Apply(const proto::OutputLost& entry) {
  const auto uid = AttemptUid::FromBytes(entry.attempt_uid());
  if (!uid.has_value()) return Refuse(Refusal::kMalformed);
  Job* job = FindOpenJob(entry.job_id());
  if (job == nullptr) return;
  if (!job->planned) return Refuse(Refusal::kNotPlanned);
  const TaskId id = TaskId::From(entry.task());
  // The outputs of other maps are not job output: MapLost is for those. But the
  // records that a map has passed over are.
  const bool dead_letter = id.kind == proto::MAP_TASK && !job->map_only() &&
                           !job->BadRecordsOf(id.index).empty();
  const bool makes_output = id.kind == proto::REDUCE_TASK || dead_letter ||
                            (id.kind == proto::MAP_TASK && job->map_only());
  const Task* task = job->FindTask(id);
  if (task == nullptr || !makes_output) return Refuse(Refusal::kNoSuchTask);
  if (!task->has_winner || task->uid != *uid) {
    return Refuse(Refusal::kNotWinner);
  }
  Trouble& trouble = job->troubles.Mutable(id);
  if (!trouble.Counted(*uid)) trouble.counted.emplace_back(*uid, task->worker);
  LoseWinner(job, id, entry.message());
  if (job->open() && !dead_letter) LoseMapsOfLostWorkers(job);
}

}  // namespace millrace::master
