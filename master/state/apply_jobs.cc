// Entries about jobs as a whole.
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "master/state/applier.h"
#include "master/state/packed_done.h"

namespace millrace::master {
namespace {

// Of failed and killed jobs, so many tasks keep what befell them.
constexpr size_t kTroublesKept = 100;

}  // namespace

Job* Applier::FindJob(std::string_view bytes) {
  const auto id = JobId::FromBytes(bytes);
  if (!id.has_value()) {
    Refuse(Refusal::kMalformed);
    return nullptr;
  }
  result_.job = *id;
  const auto found = state_.jobs_.find(*id);
  if (found == state_.jobs_.end()) {
    Refuse(Refusal::kUnknownJob);
    return nullptr;
  }
  return found->second.get();
}

Job* Applier::FindOpenJob(std::string_view bytes) {
  Job* job = FindJob(bytes);
  if (job == nullptr || job->open()) return job;
  Refuse(job->ended() ? Refusal::kJobEnded : Refusal::kJobDecided);
  return nullptr;
}

void Applier::EndJob(Job* job, proto::JobState state) {
  CHECK(!job->ended() || mutant_.end_twice);
  if (!job->ended()) {
    state_.live_jobs_.erase(job->index);
    state_.outputs_.erase(job->spec->output());
    job->finished_index = state_.applied_index_;
    state_.ended_jobs_.emplace(std::pair(job->finished_index, job->index), job);
  }
  job->state = state;
  job->finished_at_ms = at_ms_;
  result_.ended.push_back(job->id);
  // What status and counters need stays: numbers, sums, recent failures.
  job->maps.tasks.Reset(0);
  job->reduces.tasks.Reset(0);
  job->troubles.Shorten(kTroublesKept);
  job->bad_records = Cow<BadRecordTable>();
}

void Applier::FailJob(Job* job, proto::JobFailure failure) {
  failure.set_message(CutText(failure.message(), kFailureTextBytesMax));
  failure.set_stack(CutText(failure.stack(), kFailureTextBytesMax));
  std::string* tail = failure.mutable_log_tail();  // Its end tells why.
  if (tail->size() > kFailureTextBytesMax) {
    tail->erase(0, tail->size() - kFailureTextBytesMax);
  }
  job->failure = std::make_shared<proto::JobFailure>(std::move(failure));
  EndJob(job, proto::FAILED);
}

void Applier::Apply(const proto::TermStarted& entry) {
  const auto id = ClusterId::FromBytes(entry.cluster_id());
  if (!id.has_value()) return Refuse(Refusal::kMalformed);
  if (state_.cluster_id_.is_zero()) state_.cluster_id_ = *id;
}

void Applier::Apply(const proto::JobSubmitted& entry) {
  const auto id = JobId::FromBytes(entry.job_id());
  const auto request = RequestId::FromBytes(entry.request_id());
  if (!id.has_value() || id->is_zero() || !request.has_value() ||
      entry.spec().output().empty()) {
    return Refuse(Refusal::kMalformed);
  }
  result_.job = *id;
  if (const Job* known = state_.FindJobByRequest(*request)) {
    result_.job = known->id;
    return Refuse(Refusal::kRequestKnown);
  }
  if (state_.jobs_.count(*id) > 0) return Refuse(Refusal::kMalformed);
  const Job* holder = state_.FindJobByOutput(entry.spec().output());
  if (holder != nullptr && !mutant_.skip_reserved_check) {
    result_.job = holder->id;
    return Refuse(
        Refusal::kOutputReserved,
        Cat("job ", holder->id.ToShort(), " (", Printable(holder->spec->name()),
            ") is writing to ", Printable(entry.spec().output())));
  }
  auto job = std::make_unique<Job>();
  job->id = *id;
  job->request_id = *request;
  job->index = state_.applied_index_;
  job->spec = std::make_shared<proto::JobSpec>(entry.spec());
  job->submitted_at_ms = at_ms_;
  state_.AddJob(std::move(job));
}

void Applier::Apply(const proto::Planned& entry) {
  const Candidate candidate =
      FindCandidate(entry.attempt(), entry.worker(), proto::PLAN_TASK);
  if (refused()) return;
  const uint64_t maps = entry.done().num_maps();
  const uint64_t partitions = entry.done().num_partitions();
  if (maps > kMapsMax || partitions > kPartitionsMax ||
      maps * partitions > kMapsTimesPartitionsMax) {
    return Refuse(Refusal::kTooLarge,
                  Cat(maps, " maps, ", partitions, " partitions"));
  }
  Job* job = candidate.job;
  SeeAttempt(job, candidate.id, candidate.number);
  job->planned = true;
  job->plan.Mutable() = entry.done();
  job->plan_sha256 = entry.plan_sha256();
  job->state = proto::RUNNING;
  job->started_at_ms = at_ms_;
  job->maps.total = entry.done().num_maps();
  job->maps.tasks.Reset(job->maps.total);
  job->reduces.total = entry.done().num_partitions();
  job->reduces.tasks.Reset(job->reduces.total);
}

void Applier::Apply(const proto::Decided& entry) {
  Job* job = FindOpenJob(entry.job_id());
  if (job == nullptr) return;
  if (!job->planned) return Refuse(Refusal::kNotPlanned);
  if (!job->complete()) return Refuse(Refusal::kIncomplete);
  if (entry.winners_hash() != WinnersHash(*job)) {
    return Refuse(Refusal::kWinnersDiffer);
  }
  if (const absl::Status ledger = CheckLedger(*job); !ledger.ok()) {
    return Refuse(Refusal::kLedger, std::string(ToStd(ledger.message())));
  }
  job->decided = true;
  job->state = proto::COMMITTING;
  job->decided_at_ms = at_ms_;
  job->manifest_sha256 = entry.manifest_sha256();
  uint32_t largest = 0;
  uint64_t most = 0;
  for (uint32_t i = 0; i < job->reduces.total; ++i) {
    const uint64_t records = UnpackDone(*job, {proto::REDUCE_TASK, i})
                                 .done.ledger()
                                 .merged()
                                 .records();
    if (records <= most) continue;
    largest = i;
    most = records;
  }
  job->largest_reduce = largest;
  job->largest_reduce_records = most;
}

void Applier::Apply(const proto::Committed& entry) {
  Job* job = FindJob(entry.job_id());
  if (job == nullptr) return;
  if (job->ended()) {
    return Refuse(job->state == proto::SUCCEEDED ? Refusal::kRepeated
                                                 : Refusal::kJobEnded);
  }
  if (!job->decided) return Refuse(Refusal::kJobNotDecided);
  EndJob(job, proto::SUCCEEDED);
}

void Applier::Apply(const proto::Cancelled& entry) {
  Job* job =
      mutant_.end_twice ? FindJob(entry.job_id()) : FindOpenJob(entry.job_id());
  if (job == nullptr) return;
  auto failure = std::make_shared<proto::JobFailure>();
  failure->set_cause(proto::CANCELLED);
  failure->set_message(CutText(entry.reason(), kFailureTextBytesMax));
  job->failure = std::move(failure);
  EndJob(job, proto::KILLED);
}

void Applier::Apply(const proto::Failed& entry) {
  Job* job = FindJob(entry.job_id());
  if (job == nullptr) return;
  if (job->ended()) return Refuse(Refusal::kJobEnded);
  const proto::FailureCause cause = entry.failure().cause();
  if (job->decided && cause != proto::OUTPUT_CONFLICT &&
      cause != proto::COMMIT_DATA_LOST) {
    return Refuse(Refusal::kJobDecided);
  }
  if (cause == proto::FAILURE_CAUSE_UNSPECIFIED) {
    return Refuse(Refusal::kMalformed, "a failure without a cause");
  }
  FailJob(job, entry.failure());
}

void Applier::Apply(const proto::Cleaned& entry) {
  Job* job = FindJob(entry.job_id());
  if (job == nullptr) return;
  if (!job->ended()) return Refuse(Refusal::kJobNotEnded);
  if (job->cleaned) return Refuse(Refusal::kRepeated);
  job->cleaned = true;
}

void Applier::Apply(const proto::Evicted& entry) {
  Job* job = FindJob(entry.job_id());
  if (job == nullptr) return;
  if (!job->ended()) return Refuse(Refusal::kJobNotEnded);
  state_.jobs_by_index_.erase(job->index);
  state_.ended_jobs_.erase({job->finished_index, job->index});
  state_.requests_.erase(job->request_id);
  state_.jobs_.erase(job->id);
}

}  // namespace millrace::master
