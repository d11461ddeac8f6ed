#include "master/state/state.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "common/logging.h"
#include "common/strings.h"
#include "master/state/applier.h"

namespace millrace::master {

std::string_view ToString(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "applied";
    case Refusal::kVersion:
      return "entry of a later version";
    case Refusal::kMalformed:
      return "malformed entry";
    case Refusal::kUnknownJob:
      return "no such job";
    case Refusal::kJobEnded:
      return "the job has ended";
    case Refusal::kJobDecided:
      return "the job is being committed";
    case Refusal::kJobNotDecided:
      return "the job is not decided";
    case Refusal::kJobNotEnded:
      return "the job has not ended";
    case Refusal::kNotPlanned:
      return "the job is not planned";
    case Refusal::kAlreadyPlanned:
      return "the job is planned";
    case Refusal::kTooLarge:
      return "too many tasks";
    case Refusal::kNoSuchTask:
      return "no such task";
    case Refusal::kRepeated:
      return "repeated";
    case Refusal::kHasWinner:
      return "the task has a winner";
    case Refusal::kNotWinner:
      return "not the task's winner";
    case Refusal::kAttemptCounted:
      return "the attempt has failed before";
    case Refusal::kNotNeeded:
      return "no reduce needs it";
    case Refusal::kOldEpoch:
      return "of an old epoch";
    case Refusal::kWorkerNotAlive:
      return "the worker is not alive";
    case Refusal::kNameTaken:
      return "the name is taken";
    case Refusal::kRequestKnown:
      return "the request is known";
    case Refusal::kOutputReserved:
      return "the output path is reserved";
    case Refusal::kIncomplete:
      return "not every task has a winner";
    case Refusal::kWinnersDiffer:
      return "other winners";
    case Refusal::kLedger:
      return "the ledger does not balance";
  }
  return "unknown";
}

uint32_t VersionOf(const proto::LogEntry& entry) {
  if (entry.job_submitted().spec().output_bytes_max() > 0) return 3;
  return entry.has_record_passed_over() ? 2 : 1;
}

State::State(const StateMutant& mutant) : mutant_(mutant) {}
State::~State() = default;

ApplyResult State::Apply(uint64_t index, uint64_t term,
                         const proto::LogEntry& entry) {
  CHECK_GT(index, applied_index_);
  CHECK_GE(term, applied_term_);
  applied_index_ = index;
  applied_term_ = term;
  return Applier(*this, entry).Run(entry);
}

void State::AddJob(std::unique_ptr<Job> job) {
  jobs_by_index_.emplace(job->index, job.get());
  requests_.emplace(job->request_id, job->id);
  if (job->ended()) {
    ended_jobs_.emplace(std::pair(job->finished_index, job->index), job.get());
  } else {
    live_jobs_.emplace(job->index, job.get());
    outputs_[job->spec->output()] = job->id;
  }
  jobs_.emplace(job->id, std::move(job));
}

void State::AddWorker(Worker worker) {
  const Worker& added = workers_.Add(std::move(worker));
  worker_numbers_.emplace(added.incarnation, added.number);
  if (!added.alive) return;
  alive_names_.emplace(added.name, added.number);
  alive_.insert(added.number);
}

void State::Swap(State& other) {
  std::swap(applied_index_, other.applied_index_);
  std::swap(applied_term_, other.applied_term_);
  std::swap(cluster_id_, other.cluster_id_);
  jobs_.swap(other.jobs_);
  jobs_by_index_.swap(other.jobs_by_index_);
  live_jobs_.swap(other.live_jobs_);
  ended_jobs_.swap(other.ended_jobs_);
  requests_.swap(other.requests_);
  outputs_.swap(other.outputs_);
  std::swap(workers_, other.workers_);
  worker_numbers_.swap(other.worker_numbers_);
  alive_names_.swap(other.alive_names_);
  alive_.swap(other.alive_);
  draining_.swap(other.draining_);
}

std::shared_ptr<const StateSnapshot> State::Freeze() const {
  auto snapshot = std::make_shared<StateSnapshot>();
  snapshot->applied_index_ = applied_index_;
  snapshot->applied_term_ = applied_term_;
  snapshot->cluster_id_ = cluster_id_;
  snapshot->jobs_.reserve(jobs_by_index_.size());
  for (const auto& [index, job] : jobs_by_index_) {
    snapshot->jobs_.push_back(*job);
  }
  snapshot->outputs_ = outputs_;
  snapshot->workers_ = workers_;
  snapshot->draining_ = draining_;
  return snapshot;
}

uint64_t State::Hash() const { return Freeze()->Hash(); }

void Applier::Refuse(Refusal refusal, std::string message) {
  result_.refusal = refusal;
  result_.message =
      message.empty() ? std::string(ToString(refusal)) : std::move(message);
}

ApplyResult Applier::Run(const proto::LogEntry& entry) {
  using Entry = proto::LogEntry;
  if (entry.version() > kLogEntryVersion) {
    Refuse(Refusal::kVersion, Cat("entry of version ", entry.version(),
                                  ", this program knows ", kLogEntryVersion));
    return std::move(result_);
  }
  switch (entry.entry_case()) {
    case Entry::kTermStarted:
      Apply(entry.term_started());
      break;
    case Entry::kJobSubmitted:
      Apply(entry.job_submitted());
      break;
    case Entry::kPlanned:
      Apply(entry.planned());
      break;
    case Entry::kMapWon:
      Apply(entry.map_won());
      break;
    case Entry::kMapReoffered:
      Apply(entry.map_reoffered());
      break;
    case Entry::kReduceWon:
      Apply(entry.reduce_won());
      break;
    case Entry::kAttemptFailed:
      Apply(entry.attempt_failed());
      break;
    case Entry::kRecordPassedOver:
      Apply(entry.record_passed_over());
      break;
    case Entry::kMapLost:
      Apply(entry.map_lost());
      break;
    case Entry::kOutputLost:
      Apply(entry.output_lost());
      break;
    case Entry::kWorkerJoined:
      Apply(entry.worker_joined());
      break;
    case Entry::kWorkerLost:
      Apply(entry.worker_lost());
      break;
    case Entry::kWorkerDrained:
      Apply(entry.worker_drained());
      break;
    case Entry::kDecided:
      Apply(entry.decided());
      break;
    case Entry::kCommitted:
      Apply(entry.committed());
      break;
    case Entry::kCancelled:
      Apply(entry.cancelled());
      break;
    case Entry::kFailed:
      Apply(entry.failed());
      break;
    case Entry::kEvicted:
      Apply(entry.evicted());
      break;
    case Entry::kCleaned:
      Apply(entry.cleaned());
      break;
    case Entry::ENTRY_NOT_SET:
      Refuse(Refusal::kMalformed);
      break;
  }
  return std::move(result_);
}

// -------------------------------------------------------------------- queries

const Job* State::FindJob(const JobId& id) const {
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : found->second.get();
}

absl::StatusOr<const Job*> State::FindJobByPrefix(std::string_view hex) const {
  constexpr size_t kDigits = 2 * JobId::kBytes;
  std::string prefix = absl::AsciiStrToLower(Av(hex));
  const std::string first =
      prefix.substr(0, kDigits) +
      std::string(kDigits - std::min(kDigits, hex.size()), '0');
  const auto from = JobId::FromHex(first);
  if (hex.empty() || hex.size() > kDigits || !from.has_value()) {
    return absl::InvalidArgumentError(
        Av(Cat("\"", Printable(hex, 40),
               "\" is no beginning of a job id: 1 to 32 hexadecimal digits")));
  }
  auto matches = [&prefix](const JobId& id) {
    return id.ToHex().compare(0, prefix.size(), prefix) == 0;
  };
  auto at = jobs_.lower_bound(*from);
  if (at == jobs_.end() || !matches(at->first)) {
    return absl::NotFoundError(Av(Cat("no job begins with ", prefix)));
  }
  const Job* found = at->second.get();
  if (++at != jobs_.end() && matches(at->first)) {
    return absl::FailedPreconditionError(
        Av(Cat("several jobs begin with ", prefix, ": ", found->id.ToHex(),
               ", ", at->first.ToHex(), "...")));
  }
  return found;
}

const Job* State::FindJobByRequest(const RequestId& request) const {
  const auto found = requests_.find(request);
  return found == requests_.end() ? nullptr : FindJob(found->second);
}

const Job* State::FindJobByOutput(std::string_view output) const {
  const auto found = outputs_.find(output);
  return found == outputs_.end() ? nullptr : FindJob(found->second);
}

const Worker* State::FindWorker(const WorkerIncarnation& incarnation) const {
  const auto found = worker_numbers_.find(incarnation);
  return found == worker_numbers_.end() ? nullptr : &workers_[found->second];
}

const Worker* State::FindLastWorker(std::string_view name) const {
  for (WorkerNumber next = workers_.size(); next > 0; --next) {
    if (workers_[next - 1].name == name) return &workers_[next - 1];
  }
  return nullptr;
}

const Worker* State::FindAliveWorker(std::string_view name) const {
  const auto found = alive_names_.find(name);
  return found == alive_names_.end() ? nullptr : &workers_[found->second];
}

bool State::IsDraining(std::string_view name) const {
  return draining_.count(name) > 0;
}

}  // namespace millrace::master
