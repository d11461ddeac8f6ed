#include "worker/agent/agent_core.h"

#include <algorithm>
#include <utility>

#include "common/strings.h"
#include "proto/messages/job.pb.h"

namespace millrace::worker {
namespace {

// Of heartbeats that a leader may miss.
constexpr int kSilentBeats = 3;
// Ticks that are so far apart: this process, or its machine, stood still, and
// what the leader said meanwhile is still to be read.
constexpr absl::Duration kTicksApartMax = absl::Seconds(2);

proto::AttemptPhase PhaseOf(bool preparing, bool waiting) {
  if (preparing) return proto::PREPARING;
  return waiting ? proto::WAITING : proto::EXECUTING;
}

}  // namespace

AgentCore::AgentCore(AgentOptions options, FoundSpool found, Random& random)
    : options_(std::move(options)),
      random_(random),
      incarnation_(WorkerIncarnation::Generate(random)),
      cluster_(options_.cluster),
      spool_(options_.spool) {
  for (const JobId& job : found.jobs) jobs_[job];  // Masters are told of it.
  for (FoundOutput& output : found.outputs) {
    spool_.Keep(output.attempt, output.bytes);
    jobs_[output.job].held[output.attempt] = {output.map_index,
                                              std::move(output.root)};
  }
}

std::vector<Effect> AgentCore::Start() {
  Do(BecomeIncarnation{incarnation_});
  Do(MeasureDisk{});
  return std::exchange(effects_, {});
}

std::vector<Effect> AgentCore::Step(const Event& event, absl::Duration now) {
  now_ = now;
  std::visit([this](const auto& e) { On(e); }, event);
  GiveRoom();
  Schedule();
  NoteDisk();
  TellNews();
  return std::exchange(effects_, {});
}

const proto::JobSpec* AgentCore::SpecOf(const JobId& job) const {
  const auto at = jobs_.find(job);
  if (at == jobs_.end() || !at->second.spec.has_value()) return nullptr;
  return &*at->second.spec;
}

// ------------------------------------------------------------------ streams

void AgentCore::On(const StreamOpened& event) {
  stream_ = event.stream;
  welcomed_ = false;
  last_heard_ = now_;
  if (last_tick_ == absl::InfiniteDuration()) last_tick_ = now_;
  // News of the old stream: Hello has all that matters, and the fetcher reports
  // again what still fails.
  fetch_failures_.clear();
  dropped_jobs_.clear();
  for (auto& [uid, attempt] : attempts_) {
    attempt.told_at = -absl::InfiniteDuration();
    attempt.progress_news = true;
  }
  disk_news_ = true;
  winners_.clear();
  Do(ForgetLocations{});
  for (proto::Hello& part : MakeHello()) {
    proto::WorkerMessage message;
    *message.mutable_hello() = std::move(part);
    Do(Send{stream_, std::move(message)});
  }
  last_sent_ = now_;
}

void AgentCore::On(const StreamClosed& event) {
  if (event.stream != stream_) return;
  if (welcomed_) away_since_ = now_;
  stream_ = 0;
  welcomed_ = false;
}

void AgentCore::HangUp() {
  if (stream_ == 0) return;
  Do(CloseStream{stream_});
  if (welcomed_) away_since_ = now_;
  stream_ = 0;
  welcomed_ = false;
}

void AgentCore::LeaveSilentLeader() {
  if (now_ - last_tick_ > kTicksApartMax) last_heard_ = now_;
  last_tick_ = now_;
  const absl::Duration silence = now_ - last_heard_;
  if (stream_ == 0 || silence < kSilentBeats * heartbeat_interval_) return;
  Say(true,
      Cat("the leader has said nothing for ",
          absl::ToInt64Milliseconds(silence), " ms; looking for another"));
  HangUp();
}

std::vector<proto::Hello> AgentCore::MakeHello() {
  rpc::Parts<proto::Hello> parts;
  proto::Hello& hello = parts.first();
  hello.set_protocol_version(proto::WORKER_PROTOCOL_VERSION);
  hello.set_version(options_.version);
  if (!cluster_.is_zero()) {
    hello.set_cluster_id(std::string(cluster_.bytes()));
  }
  hello.set_name(options_.name);
  hello.set_incarnation(std::string(incarnation_.bytes()));
  hello.set_host_id(options_.host_id);
  hello.set_address(options_.address);
  hello.set_spool_dir(options_.layout.Spool());
  hello.set_slots(options_.slots);
  hello.set_pid(options_.pid);
  hello.set_term_seen(term_seen_);
  hello.set_memory_guard(options_.memory_guard);
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.state == State::kOver) {
      *parts.For(attempt.outcome).add_outcomes() = attempt.outcome;
      attempt.told_at = now_;
      continue;
    }
    proto::RunningAttempt running;
    *running.mutable_attempt() = attempt.grant.attempt();
    running.set_epoch(attempt.grant.epoch());
    NoteStanding(attempt);
    *running.mutable_progress() = attempt.progress;
    *parts.For(running).add_running() = std::move(running);
  }
  for (const auto& [id, job] : jobs_) {
    parts.For(JobId::kBytes).add_jobs(std::string(id.bytes()));
  }
  AddHeld(&parts);
  std::vector<proto::Hello> told = parts.Take();
  for (size_t i = 0; i + 1 < told.size(); ++i) told[i].set_more(true);
  return told;
}

void AgentCore::AddHeld(rpc::Parts<proto::Hello>* parts) {
  for (const auto& [id, job] : jobs_) {
    if (job.dropping) continue;  // It is being deleted.
    for (const auto& [uid, output] : job.held) {
      if (parts->bytes() >= options_.hello_bytes_max) {
        Say(true,
            "not all map outputs of the spool are offered to the leader: "
            "there are too many");
        return;
      }
      proto::HeldOutput held;
      held.set_job_id(std::string(id.bytes()));
      held.set_map_index(output.first);
      held.set_attempt_uid(std::string(uid.bytes()));
      held.set_root(output.second);
      *parts->For(held).add_held() = std::move(held);
    }
  }
}

void AgentCore::On(const MasterSays& event) {
  if (stream_ == 0 || event.stream != stream_) return;
  last_heard_ = now_;
  const proto::MasterMessage& message = event.message;
  if (message.has_refused()) {
    // Whoever refuses commands nothing; a standby does not even know the term.
    OnRefused(message.refused());
    return;
  }
  if (message.term() < term_seen_) {
    Say(true, Cat("a master of term ", message.term(), " commands, but term ",
                  term_seen_, " has been seen; looking for its leader"));
    HangUp();
    return;
  }
  term_seen_ = message.term();
  if (message.has_welcome()) {
    OnWelcome(message.welcome());
    return;
  }
  if (!welcomed_) {
    Say(true, "a master commands before it has said Welcome");
    HangUp();
    return;
  }
  switch (message.message_case()) {
    case proto::MasterMessage::kJob:
      OnJob(message.job());
      break;
    case proto::MasterMessage::kWinners:
      OnWinners(message.winners());
      break;
    case proto::MasterMessage::kGrant:
      OnGrant(message.grant());
      break;
    case proto::MasterMessage::kLocations:
      OnLocations(message.locations());
      break;
    case proto::MasterMessage::kKill:
      OnKill(message.kill());
      break;
    case proto::MasterMessage::kPassOver:
      OnPassOver(message.pass_over());
      break;
    case proto::MasterMessage::kDropAttempt:
      OnDropAttempt(message.drop_attempt());
      break;
    case proto::MasterMessage::kDropJob:
      OnDropJob(message.drop_job());
      break;
    case proto::MasterMessage::kAck:
      OnAck(message.ack());
      break;
    case proto::MasterMessage::kDrain:
      Say(false, message.drain().draining() ? "draining: no new attempts"
                                            : "no longer draining");
      break;
    case proto::MasterMessage::kAlive:
    case proto::MasterMessage::kRefused:
    case proto::MasterMessage::kWelcome:
    case proto::MasterMessage::MESSAGE_NOT_SET:
      break;
  }
}

void AgentCore::OnWelcome(const proto::Welcome& welcome) {
  const auto cluster = ClusterId::FromBytes(welcome.cluster_id());
  if (!cluster.has_value() || cluster->is_zero()) {
    Say(true, "a master says Welcome without a cluster id");
    HangUp();
    return;
  }
  if (cluster_.is_zero()) {
    cluster_ = *cluster;
    Do(JoinCluster{cluster_});
  } else if (cluster_ != *cluster) {
    Do(GiveUp{Cat(options_.layout.root, " belongs to cluster ",
                  cluster_.ToShort(), ", the masters to cluster ",
                  cluster->ToShort(),
                  "; name another directory or other masters")});
    return;
  }
  const auto or_default = [](int64_t ms, absl::Duration otherwise) {
    return ms > 0 ? absl::Milliseconds(ms) : otherwise;
  };
  heartbeat_interval_ =
      or_default(welcome.heartbeat_interval_ms(), heartbeat_interval_);
  silence_limit_ = or_default(welcome.silence_limit_ms(), silence_limit_);
  welcomed_ = true;
  Say(false, Cat("joined cluster ", cluster_.ToShort(), " in term ", term_seen_,
                 " as ", incarnation_.ToShort()));
}

void AgentCore::OnRefused(const proto::Refused& refused) {
  switch (refused.reason()) {
    case proto::INCARNATION_LOST:
      Say(true, Cat("declared lost (", refused.message(),
                    "): everything is stopped, and comes back as new"));
      LoseIncarnation();
      break;
    case proto::WRONG_CLUSTER:
      Do(GiveUp{Cat(options_.layout.root,
                    " belongs to another cluster than the masters: ",
                    refused.message())});
      break;
    case proto::PROTOCOL_VERSION:
      Do(GiveUp{Cat("the masters speak another version of the worker ",
                    "protocol: ", refused.message())});
      break;
    case proto::NAME_TAKEN:
      Say(true, Cat("refused: ", refused.message(), "; tried again until the ",
                    "worker of this name is gone"));
      break;
    case proto::NOT_LEADER:  // The link finds the leader.
    default:
      break;
  }
}

void AgentCore::LoseIncarnation() {
  // Its children go with it; what they wrote is garbage, except finished map
  // outputs, which the new incarnation may offer.
  while (!attempts_.empty()) {
    Attempt& attempt = attempts_.begin()->second;
    if (attempt.state != State::kOver) Release(attempt, false);
    attempts_.erase(attempts_.begin());
  }
  fetch_failures_.clear();
  incarnation_ = WorkerIncarnation::Generate(random_);
  Do(BecomeIncarnation{incarnation_});
  HangUp();
}

// --------------------------------------------------------------------- news

void AgentCore::NoteStanding(Attempt& attempt) const {
  attempt.progress.set_phase(PhaseOf(attempt.state == State::kPreparing,
                                     attempt.state == State::kWaiting));
  if (attempt.state == State::kExecuting) {
    attempt.progress.set_executing_ms(static_cast<uint64_t>(
        absl::ToInt64Milliseconds(now_ - attempt.executing_since)));
  }
}

void AgentCore::FillProgress(rpc::Parts<proto::Update>* updates) {
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.state == State::kOver || !attempt.progress_news) continue;
    attempt.progress_news = false;
    NoteStanding(attempt);
    *updates->For(attempt.progress).add_progress() = attempt.progress;
  }
}

// Outcomes, failed fetches, dropped jobs and a disk that fills go out at once;
// progress waits for the heartbeat.
void AgentCore::TellNews() {
  if (!connected()) return;
  rpc::Parts<proto::Update> updates;
  bool urgent = disk_news_;
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.state != State::kOver ||
        now_ - attempt.told_at < options_.retell_interval) {
      continue;
    }
    *updates.For(attempt.outcome).add_outcomes() = attempt.outcome;
    attempt.told_at = now_;
    urgent = true;
  }
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.state != State::kAsking ||
        now_ - attempt.told_at < options_.retell_interval) {
      continue;
    }
    proto::BadRecordMet met;
    *met.mutable_attempt() = attempt.grant.attempt();
    *met.mutable_record() = attempt.met;
    *updates.For(met).add_bad_records() = std::move(met);
    attempt.told_at = now_;
    urgent = true;
  }
  for (auto& [key, failure] : fetch_failures_) {
    *updates.For(failure).add_fetch_failures() = std::move(failure);
    urgent = true;
  }
  fetch_failures_.clear();
  for (const JobId& job : dropped_jobs_) {
    updates.For(JobId::kBytes).add_dropped_jobs(std::string(job.bytes()));
    urgent = true;
  }
  dropped_jobs_.clear();
  if (!urgent && now_ - last_sent_ < heartbeat_interval_) return;
  disk_news_ = false;
  FillProgress(&updates);
  for (auto& [id, job] : jobs_) {
    if (!job.dropping || job.stopped_told || HasChild(id)) continue;
    updates.For(JobId::kBytes).add_stopped_jobs(std::string(id.bytes()));
    job.stopped_told = true;
  }
  updates.first().set_free_disk_bytes(spool_.free_bytes());
  updates.first().set_disk_low(disk_low_);
  updates.first().set_disk_why(spool_.Why());
  updates.first().set_spool_bytes(spool_.spool_bytes());
  updates.first().set_spool_bytes_max(spool_.spool_bytes_max());
  for (proto::Update& update : updates.Take()) {
    proto::WorkerMessage message;
    *message.mutable_update() = std::move(update);
    Do(Send{stream_, std::move(message)});
  }
  last_sent_ = now_;
}

// -------------------------------------------------------------------- clock

void AgentCore::On(const Tick& event) {
  for (const ChildStanding& standing : event.children) {
    const auto at = children_.find(standing.child);
    if (at == children_.end() || at->second.state != ChildState::kBusy) {
      continue;
    }
    Attempt* attempt = AttemptOf(at->second);
    if (attempt == nullptr) continue;
    proto::AttemptProgress& progress = attempt->progress;
    if (progress.records() == standing.records &&
        progress.input_bytes() == standing.input_bytes) {
      continue;
    }
    progress.set_records(standing.records);
    progress.set_input_bytes(standing.input_bytes);
    attempt->progress_news = true;
  }
  LeaveSilentLeader();
  for (auto& [number, child] : children_) {
    if (child.state == ChildState::kIdle &&
        now_ - child.idle_since >= options_.idle_child_max) {
      Vacate(number, child);
    }
  }
  for (auto& [id, job] : jobs_) {
    if (now_ < job.delete_again) continue;
    job.delete_again = absl::InfiniteDuration();
    DeleteIfAlone(id);
  }
  if (now_ - disk_measured_ >= (spool_.tight() && !attempts_.empty()
                                    ? options_.tight_disk_check_interval
                                    : options_.disk_check_interval)) {
    LookAtDisk();
  }
}

void AgentCore::On(const JobDeleted& event) {
  const auto at = jobs_.find(event.job);
  if (at == jobs_.end() || !at->second.deleting.has_value()) return;
  Job& job = at->second;
  const bool all = *job.deleting == job.drop_output;
  job.deleting.reset();
  if (!event.status.ok()) {
    Say(true, Cat("[job=", event.job.ToShort(),
                  "] not yet deleted: ", ToStd(event.status.message())));
    job.delete_again = now_ + options_.delete_retry_interval;
    return;
  }
  if (!all) {  // Told meanwhile to delete more.
    DeleteIfAlone(event.job);
    return;
  }
  // On a new stream the Hello has named the job, and whoever leads now asks
  // again: told unasked, it would be taken for the answer to that, of which the
  // staging directory may be a part.
  if (job.dropped_by == stream_) dropped_jobs_.insert(event.job);
  jobs_.erase(at);
  TrimBlobs trim;
  for (const auto& [id, other] : jobs_) {
    trim.keep.insert(other.blobs.begin(), other.blobs.end());
  }
  // What is not kept may be gone from now on.
  std::erase_if(blobs_ready_, [&](const std::string& sha256) {
    return !trim.keep.contains(sha256);
  });
  Do(std::move(trim));
}

}  // namespace millrace::worker
