// Attempts up to their slot, beside slots, and their ends.
#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "supervisor/shortage_cause.h"
#include "worker/agent/agent_core.h"
#include "worker/agent/job_setup.h"

namespace millrace::worker {
namespace {

constexpr size_t kMessageTextBytesMax = 4 << 10;
constexpr size_t kStackTextBytesMax = 16 << 10;
// A job process that reports more has made counters without end. Messages have
// room for several of these (rpc/limits.h).
constexpr size_t kDoneBytesMax = 512 << 10;

// What a message can carry: not too long, and UTF-8.
std::string Shown(const std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max && IsUtf8(text)) return text;
  size_t end = std::min(text.size(), bytes_max);
  // Not in the middle of a character.
  while (end > 0 && end < text.size() &&
         (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
    --end;
  }
  const std::string cut = text.substr(0, end);
  return IsUtf8(cut) ? cut + "..." : Printable(text, bytes_max / 4);
}

}  // namespace

AgentCore::Attempt* AgentCore::FindIn(const AttemptUid& uid, State state) {
  const auto at = attempts_.find(uid);
  if (at == attempts_.end() || at->second.state != state) return nullptr;
  return &at->second;
}

AgentCore::Attempt* AgentCore::WorkDone(const JobId& job, const AttemptUid& uid,
                                        State state) {
  const auto at = jobs_.find(job);
  if (at != jobs_.end() && at->second.work > 0) {
    --at->second.work;
    DeleteIfAlone(job);
  }
  return FindIn(uid, state);
}

// ---------------------------------------------------------------- preparing

void AgentCore::Prepare(Attempt& attempt) {
  const proto::Grant& grant = attempt.grant;
  const proto::JobSpec& spec = *SpecOf(attempt.job);
  attempt.state = State::kPreparing;
  if (grant.has_check() || grant.has_publish()) {
    attempt.prepared = true;
    if (grant.has_publish()) {
      WantBlob(attempt, grant.publish().manifest_sha256());
    }
  } else {
    for (const std::string& sha256 : JobBlobs(spec)) WantBlob(attempt, sha256);
    if (grant.has_map()) WantBlob(attempt, grant.map().plan_sha256());
    attempt.input_missing = grant.has_reduce() && grant.reduce().num_maps() > 0;
    attempt.bad_records.assign(grant.map().bad_records().begin(),
                               grant.map().bad_records().end());
    if (spool_.Reserve(attempt.uid, grant.has_reduce(), grant.spool_bytes())) {
      PrepareFiles(attempt, /*begins_anew=*/false);
    } else {
      attempt.room_missing = true;
      attempt.room_missing_since = now_;
    }
  }
  GoOnIfPrepared(attempt);
}

void AgentCore::PrepareFiles(Attempt& attempt, bool begins_anew) {
  PrepareAttempt prepare;
  prepare.attempt = attempt.uid;
  prepare.job = attempt.job;
  prepare.output = SpecOf(attempt.job)->output();
  prepare.makes_staging = attempt.grant.has_plan();
  prepare.writes_output =
      WritesPart(attempt.grant) ||
      (attempt.grant.has_map() && !attempt.bad_records.empty());
  prepare.needs_scratch = !attempt.grant.has_map();
  prepare.begins_anew = begins_anew;
  Job& job = jobs_[attempt.job];
  job.made_staging |= prepare.makes_staging;
  ++job.work;
  Do(std::move(prepare));
}

void AgentCore::BeginAnew(Attempt& attempt) {
  attempt.state = State::kPreparing;
  attempt.prepared = false;
  attempt.progress_news = true;
  PrepareFiles(attempt, /*begins_anew=*/true);
}

void AgentCore::WantBlob(Attempt& attempt, const std::string& sha256) {
  jobs_[attempt.job].blobs.insert(sha256);
  if (blobs_ready_.contains(sha256)) return;
  attempt.blobs_missing.insert(sha256);
  if (blobs_coming_.insert(sha256).second) Do(FetchBlob{sha256});
}

void AgentCore::GoOnIfPrepared(Attempt& attempt) {
  if (attempt.state != State::kPreparing || !attempt.prepared ||
      attempt.input_missing || !attempt.blobs_missing.empty()) {
    return;
  }
  attempt.progress_news = true;
  const proto::Grant& grant = attempt.grant;
  if (grant.has_check() || grant.has_publish()) {
    attempt.state = State::kStoring;
    ++jobs_[attempt.job].work;
    const proto::JobSpec& spec = *SpecOf(attempt.job);
    if (grant.has_check()) {
      Do(RunCheck{attempt.uid, attempt.job, spec, grant.check(),
                  attempt.winners});
    } else {
      Do(RunPublish{attempt.uid, attempt.job, spec, grant.publish(),
                    attempt.winners});
    }
    return;
  }
  attempt.state = State::kWaiting;
  attempt.place = next_place_++;
}

void AgentCore::On(const BlobReady& event) {
  blobs_coming_.erase(event.sha256);
  blobs_ready_.insert(event.sha256);
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.blobs_missing.erase(event.sha256) > 0) GoOnIfPrepared(attempt);
  }
}

void AgentCore::On(const BlobFailed& event) {
  blobs_coming_.erase(event.sha256);
  proto::AttemptFailure failure;
  failure.set_cause(supervisor::CauseOf(event.status, proto::BLOB_UNAVAILABLE));
  failure.set_message(Cat("blob ", HexEncode(event.sha256).substr(0, 12), ": ",
                          ToStd(event.status.message())));
  failure.set_retryable(true);
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.state == State::kPreparing &&
        attempt.blobs_missing.contains(event.sha256)) {
      Fail(attempt, failure);
    }
  }
}

void AgentCore::On(const AttemptPrepared& event) {
  Attempt* attempt = WorkDone(event.job, event.attempt, State::kPreparing);
  if (attempt == nullptr) {
    // It was killed meanwhile, and its directories made after they had been
    // deleted.
    const auto job = jobs_.find(event.job);
    const proto::JobSpec* spec = SpecOf(event.job);
    if (spec != nullptr && !job->second.dropping) {
      Do(DeleteAttempt{event.attempt, event.job, spec->output()});
    }
    return;
  }
  if (event.failure.has_value()) {
    Fail(*attempt, *event.failure);
    return;
  }
  attempt->prepared = true;
  if (attempt->input_missing) {
    const proto::ReduceGrant& reduce = attempt->grant.reduce();
    ReduceInput input;
    input.attempt = attempt->uid;
    input.job = attempt->job;
    input.partition = attempt->grant.attempt().task().index();
    input.num_maps = reduce.num_maps();
    input.num_partitions = reduce.num_partitions();
    input.directory =
        AttemptScratch(options_.layout.Spool(), attempt->job, attempt->uid);
    Do(StartFetch{std::move(input)});
  }
  GoOnIfPrepared(*attempt);
}

void AgentCore::On(const FetchProgressed& event) {
  Attempt* attempt = FindIn(event.progress.attempt, State::kPreparing);
  if (attempt == nullptr) return;
  attempt->progress.set_fetched_maps(event.progress.fetched_maps);
  attempt->progress.set_fetched_bytes(event.progress.fetched_bytes);
  attempt->progress_news = true;
}

void AgentCore::On(const InputArrived& event) {
  Attempt* attempt = FindIn(event.input.attempt, State::kPreparing);
  if (attempt == nullptr || !attempt->input_missing) return;
  attempt->inputs = event.input.map_outputs;
  attempt->input_missing = false;
  attempt->progress.set_fetched_maps(
      static_cast<uint32_t>(attempt->inputs.size()));
  GoOnIfPrepared(*attempt);
}

void AgentCore::On(const FetchBroken& event) {
  const FetchFailed& failed = event.failed;
  const Attempt* attempt = FindIn(failed.attempt, State::kPreparing);
  if (attempt == nullptr) return;
  // One per map output: the last one says it best.
  proto::FetchFailure& failure =
      fetch_failures_[{failed.attempt, failed.map_index}];
  *failure.mutable_reduce() = attempt->grant.attempt();
  failure.set_map_index(failed.map_index);
  failure.set_map_uid(std::string(failed.map_uid.bytes()));
  failure.set_source(std::string(failed.source.bytes()));
  failure.set_gone(failed.gone);
  failure.set_message(failed.message);
  // It was to be read in place, and is not there.
  if (failed.gone && failed.source == incarnation_) {
    ForgetHeld(jobs_[attempt->job], failed.map_uid);
  }
}

void AgentCore::On(const FetchAborted& event) {
  Attempt* attempt = FindIn(event.attempt, State::kPreparing);
  if (attempt == nullptr) return;
  proto::AttemptFailure failure;
  // What keeps this worker from storing its input is nobody's code's fault.
  failure.set_cause(supervisor::CauseOf(event.status, proto::INFRASTRUCTURE));
  failure.set_message(Cat("fetch: ", ToStd(event.status.message())));
  failure.set_retryable(true);
  Fail(*attempt, std::move(failure));
}

// ------------------------------------------------------- work beside slots

void AgentCore::On(const PlanStored& event) {
  Attempt* attempt = WorkDone(event.job, event.attempt, State::kStoring);
  if (attempt == nullptr) return;
  if (event.failure.has_value()) {
    Fail(*attempt, *event.failure);
    return;
  }
  blobs_ready_.insert(event.sha256);
  jobs_[event.job].blobs.insert(event.sha256);
  attempt->outcome.set_plan_sha256(event.sha256);
  Succeed(*attempt, std::move(attempt->done));
}

void AgentCore::On(const OutputChecked& event) {
  Attempt* attempt = WorkDone(event.job, event.attempt, State::kStoring);
  if (attempt == nullptr) return;
  if (event.failure.has_value()) {
    Fail(*attempt, *event.failure);
    return;
  }
  blobs_ready_.insert(event.manifest_sha256);
  jobs_[event.job].blobs.insert(event.manifest_sha256);
  attempt->outcome.set_manifest_sha256(event.manifest_sha256);
  Succeed(*attempt, proto::TaskDone());
}

void AgentCore::On(const OutputPublished& event) {
  Attempt* attempt = WorkDone(event.job, event.attempt, State::kStoring);
  if (attempt == nullptr) return;
  if (event.failure.has_value()) {
    Fail(*attempt, *event.failure);
    return;
  }
  Succeed(*attempt, proto::TaskDone());
}

// --------------------------------------------------------------------- ends

void AgentCore::Succeed(Attempt& attempt, proto::TaskDone done) {
  const proto::Grant& grant = attempt.grant;
  done.set_attempt_uid(std::string(attempt.uid.bytes()));
  if (done.ByteSizeLong() > kDoneBytesMax) {
    proto::AttemptFailure failure;
    failure.set_cause(proto::INVALID_OUTPUT);
    failure.set_message(Cat(
        "its report is ", done.ByteSizeLong(), " bytes long, most of them for ",
        done.counters_size(), " counters; ", kDoneBytesMax, " are allowed"));
    Fail(attempt, std::move(failure));
    return;
  }
  if (WritesPart(grant)) {
    // Paths are ours to name, not the job process's.
    done.mutable_output()->set_path(OutputPath(SpecOf(attempt.job)->output(),
                                               attempt.job, attempt.uid,
                                               grant.attempt().task().index()));
  } else {
    done.clear_output();
  }
  if (grant.has_map() &&
      (done.dead_letter().records() != attempt.bad_records.size() ||
       done.ledger().skipped_records() != attempt.bad_records.size())) {
    proto::AttemptFailure failure;
    failure.set_cause(proto::INTERNAL);
    failure.set_message(Cat("passed over ", done.ledger().skipped_records(),
                            " bad records and wrote ",
                            done.dead_letter().records(), ", of ",
                            attempt.bad_records.size()));
    Fail(attempt, std::move(failure));
    return;
  }
  done.mutable_dead_letter()->clear_path();  // Follows from the attempt.
  if (!grant.has_map() || attempt.bad_records.empty()) {
    done.clear_dead_letter();
  }
  const bool stays = grant.has_map() && !WritesPart(grant);
  const uint64_t bytes = done.map_output_bytes();
  if (stays) {
    jobs_[attempt.job].held[attempt.uid] = {grant.attempt().task().index(),
                                            done.map_output_root()};
  }
  *attempt.outcome.mutable_done() = std::move(done);
  Release(attempt, true);
  if (stays) spool_.Keep(attempt.uid, bytes);
  Finish(attempt);
}

void AgentCore::Fail(Attempt& attempt, proto::AttemptFailure failure) {
  if (failure.cause() == proto::DISK_FULL) LookAtDisk();
  failure.set_message(Shown(failure.message(), kMessageTextBytesMax));
  failure.set_stack(Shown(failure.stack(), kStackTextBytesMax));
  *attempt.outcome.mutable_failed() = std::move(failure);
  Release(attempt, false);
  Finish(attempt);
}

void AgentCore::Finish(Attempt& attempt) {
  attempt.state = State::kOver;
  *attempt.outcome.mutable_attempt() = attempt.grant.attempt();
  attempt.outcome.set_epoch(attempt.grant.epoch());
  attempt.told_at = -absl::InfiniteDuration();
  attempt.inputs.clear();
  attempt.winners.reset();
  attempt.done.Clear();
}

void AgentCore::Release(Attempt& attempt, bool keep_output) {
  const proto::Grant& grant = attempt.grant;
  spool_.Release(attempt.uid);
  if (grant.has_reduce()) Do(CancelFetch{attempt.uid});
  std::optional<DeleteAttempt> wish;
  const auto job = jobs_.find(attempt.job);
  const bool has_files =
      grant.has_plan() || grant.has_map() || grant.has_reduce();
  const bool is_map_output = grant.has_map() && !WritesPart(grant);
  if (has_files && job != jobs_.end() && !job->second.dropping &&
      !(keep_output && is_map_output)) {
    const proto::JobSpec* spec = SpecOf(attempt.job);
    wish = DeleteAttempt{attempt.uid, attempt.job, ""};
    const bool in_staging =
        WritesPart(grant) || (grant.has_map() && !attempt.bad_records.empty());
    if (!keep_output && in_staging && spec != nullptr) {
      wish->output = spec->output();
    }
  }
  const auto child = children_.find(attempt.child);
  attempt.child = 0;
  if (child == children_.end()) {
    if (wish.has_value()) Do(*std::move(wish));
    return;
  }
  child->second.last_wish = std::move(wish);
  if (child->second.state != ChildState::kLeaving) {
    child->second.state = ChildState::kLeaving;
    Do(KillChild{child->first, "its attempt is no longer wanted"});
  }
}

}  // namespace millrace::worker
