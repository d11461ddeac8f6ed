#include "master/scheduler/soft_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/logging.h"

namespace millrace::master {
namespace {

// A year: a worker that says more errs.
constexpr uint64_t kExecutingMsMax = uint64_t{366} * 24 * 3600 * 1000;

// Beside these live attempts of its task.
template <typename Iterator>
bool MayAddBeside(Iterator begin, Iterator end, bool speculative) {
  if (begin == end) return true;
  return std::next(begin) == end && (speculative || begin->second->speculative);
}

}  // namespace

void SoftState::Propose(proto::LogEntry entry) {
  entry.set_version(VersionOf(entry));
  entry.set_proposed_at_ms(wall_ms);
  effects.push_back(master::Propose{std::move(entry)});
}

std::shared_ptr<const proto::MasterMessage> SoftState::Shared(
    proto::MasterMessage message) const {
  message.set_term(term);
  return std::make_shared<const proto::MasterMessage>(std::move(message));
}

void SoftState::Send(SessionId session, proto::MasterMessage message) {
  effects.push_back(master::Send{session, Shared(std::move(message))});
}

void SoftState::SendTo(SoftWorker& worker, proto::MasterMessage message) {
  if (!worker.session.has_value()) return;
  SendTo(worker, Shared(std::move(message)));
}

void SoftState::SendTo(SoftWorker& worker,
                       std::shared_ptr<const proto::MasterMessage> message) {
  if (!worker.session.has_value()) return;
  worker.last_said = now;
  effects.push_back(master::Send{*worker.session, std::move(message)});
}

void SoftState::Ack(WorkerNumber number, const AttemptUid& uid) {
  SoftWorker* worker = FindWorker(number);
  if (worker == nullptr) return;
  proto::MasterMessage message;
  message.mutable_ack()->add_attempt_uids(std::string(uid.bytes()));
  SendTo(*worker, std::move(message));
}

void SoftState::Drop(WorkerNumber number, const JobId& job, const TaskId& task,
                     const AttemptUid& uid) {
  SoftWorker* worker = FindWorker(number);
  if (worker == nullptr) return;
  const Job* known = state.FindJob(job);
  const Task* of = known == nullptr ? nullptr : known->FindTask(task);
  if (of != nullptr && of->has_winner && of->uid == uid) return;
  proto::MasterMessage message;
  message.mutable_drop_attempt()->set_job_id(std::string(job.bytes()));
  message.mutable_drop_attempt()->set_attempt_uid(std::string(uid.bytes()));
  SendTo(*worker, std::move(message));
}

SoftJob* SoftState::FindJob(const JobId& id) {
  const Job* job = state.FindJob(id);
  if (job == nullptr) return nullptr;
  const auto found = jobs.find(job->index);
  return found == jobs.end() ? nullptr : &found->second;
}

SoftWorker* SoftState::FindWorker(WorkerNumber number) {
  const auto found = workers.find(number);
  return found == workers.end() ? nullptr : &found->second;
}

Attempt* SoftState::FindAttempt(const AttemptUid& uid) {
  const auto found = attempts.find(uid);
  return found == attempts.end() ? nullptr : &found->second;
}

void SoftState::Park(SessionId id, const proto::Hello& hello) {
  sessions.at(id)->parked = hello;
  parked[hello.incarnation()].insert(id);
}

void SoftState::Unpark(Session& session, SessionId id) {
  if (!session.parked.has_value()) return;
  const auto found = parked.find(session.parked->incarnation());
  found->second.erase(id);
  if (found->second.empty()) parked.erase(found);
  session.parked.reset();
}

void SoftState::EraseSession(SessionId id) {
  const auto found = sessions.find(id);
  if (found == sessions.end()) return;
  Unpark(*found->second, id);
  sessions.erase(found);
}

void SoftState::Hold(SoftWorker& worker, const JobId& job) {
  if (!worker.present.insert(job).second) return;
  holders[job].insert(worker.entry->number);
}

void SoftState::Unhold(SoftWorker& worker, JobId job) {
  if (worker.present.erase(job) == 0) return;
  const auto found = holders.find(job);
  found->second.erase(worker.entry->number);
  if (found->second.empty()) holders.erase(found);
}

SoftState::Share SoftState::ShareOf(const Attempt& attempt) {
  Share share;
  share.slot = attempt.takes_slot();
  share.wait = attempt.waits();
  share.blame = attempt.blames;
  share.stopping = share.slot && attempt.killed;
  if (attempt.task.kind != proto::REDUCE_TASK || attempt.reported) return share;
  share.early = attempt.inputs == Attempt::Inputs::kComing;
  share.ready = !share.early;
  share.preparing = share.ready && !share.slot;
  share.due = attempt.inputs == Attempt::Inputs::kThere && !share.slot;
  share.reads = attempt.inputs != Attempt::Inputs::kGone;
  return share;
}

Attempt& SoftState::AddAttempt(const AttemptUid& uid, const JobId& job_id,
                               const TaskId& task, WorkerNumber worker,
                               uint32_t epoch, uint32_t number,
                               bool speculative) {
  Attempt& attempt = attempts[uid];
  CHECK_EQ(attempt.order, 0u);
  attempt.uid = uid;
  attempt.job = job_id;
  attempt.task = task;
  attempt.worker = worker;
  attempt.epoch = epoch;
  attempt.number = number;
  attempt.speculative = speculative;
  attempt.order = next_order++;
  attempt.granted_at = attempt.progressed_at = now;
  SoftJob* job = FindJob(job_id);
  if (job == nullptr) {
    attempt.inputs = Attempt::Inputs::kGone;
  } else {
    attempt.inputs =
        job->inputs_there ? Attempt::Inputs::kThere : Attempt::Inputs::kComing;
    attempt.job_index = job->job->index;
    job->attempts.emplace(attempt.order, &attempt);
    ++job->on[worker];
    const auto [begin, end] = job->live.equal_range(task);
    attempt.in_live = MayAddBeside(begin, end, speculative);
    if (attempt.in_live) {
      const bool first = begin == end;
      job->live.emplace_hint(end, task, &attempt);
      job->live_tasks += first;
      job->live_maps += first && task.kind == proto::MAP_TASK;
      job->live_reduces += first && task.kind == proto::REDUCE_TASK;
    }
    if (task.kind == proto::REDUCE_TASK) job->new_readers.insert(worker);
    changed.insert(job_id);
  }
  if (SoftWorker* on = FindWorker(worker); on != nullptr) {
    if (on->taken < on->slots()) attempt.started_at = now;
    on->attempts.emplace(attempt.order, &attempt);
    Hold(*on, job_id);
  }
  Recount(attempt, {}, ShareOf(attempt));
  return attempt;
}

bool SoftState::MayAdd(const SoftJob& job, const TaskId& task,
                       bool speculative) {
  const auto [begin, end] = job.live.equal_range(task);
  return MayAddBeside(begin, end, speculative);
}

void SoftState::Recount(const Attempt& attempt, const Share& before,
                        const Share& after) {
  if (SoftJob* job = FindJob(attempt.job); job != nullptr) {
    job->running +=
        static_cast<uint32_t>(after.slot) - static_cast<uint32_t>(before.slot);
    changed.insert(attempt.job);
  }
  SoftWorker* worker = FindWorker(attempt.worker);
  if (worker == nullptr) return;
  const auto count = [](bool was, bool is, uint32_t* sum) {
    *sum += static_cast<uint32_t>(is) - static_cast<uint32_t>(was);
  };
  count(before.slot, after.slot, &worker->taken);
  count(before.wait, after.wait, &worker->waiting);
  count(before.blame, after.blame, &worker->accused);
  count(before.stopping, after.stopping, &worker->stopping);
  count(before.early, after.early, &worker->early_reduces);
  count(before.ready, after.ready, &worker->ready_reduces);
  count(before.preparing, after.preparing, &worker->preparing_reduces);
  count(before.due, after.due, &worker->due_reduces);
  if (after.reads && !before.reads) {
    index.AddReduce(*worker, attempt.job_index);
  } else if (before.reads && !after.reads) {
    index.RemoveReduce(*worker, attempt.job_index);
  }
  index.Update(*worker);
  if (after.slot || !before.slot) return;
  // Those that stand first in the queue have a slot now.
  uint32_t place = 0;
  for (const auto& [order, one] : worker->attempts) {
    if (!one->takes_slot()) continue;
    if (place++ >= worker->slots()) break;
    if (!one->started_at.has_value()) one->started_at = now;
  }
}

void SoftState::RemoveAttempt(AttemptUid uid) {
  const auto found = attempts.find(uid);
  if (found == attempts.end()) return;
  const auto node = attempts.extract(found);
  const Attempt& attempt = node.mapped();
  SoftJob* job = FindJob(attempt.job);
  if (job != nullptr && job->attempts.erase(attempt.order) > 0) {
    const auto on = job->on.find(attempt.worker);
    if (--on->second == 0) job->on.erase(on);
  }
  if (job != nullptr && attempt.in_live) {
    const auto [begin, end] = job->live.equal_range(attempt.task);
    const auto at = std::find_if(
        begin, end, [uid](const auto& one) { return one.second->uid == uid; });
    CHECK(at != end);
    const bool last = std::next(begin) == end;
    job->live.erase(at);
    job->live_tasks -= last;
    job->live_maps -= last && attempt.task.kind == proto::MAP_TASK;
    job->live_reduces -= last && attempt.task.kind == proto::REDUCE_TASK;
  }
  if (SoftWorker* worker = FindWorker(attempt.worker); worker != nullptr) {
    worker->attempts.erase(attempt.order);
  }
  Recount(attempt, ShareOf(attempt), {});
}

void SoftState::SetReported(Attempt& attempt, bool blames) {
  const Share before = ShareOf(attempt);
  attempt.reported = true;
  attempt.blames = blames;
  Recount(attempt, before, ShareOf(attempt));
}

void SoftState::SetPhase(Attempt& attempt, proto::AttemptPhase phase) {
  if (attempt.phase == phase || phase == proto::ATTEMPT_PHASE_UNSPECIFIED) {
    return;
  }
  const Share before = ShareOf(attempt);
  attempt.phase = phase;
  if (phase == proto::EXECUTING && !attempt.started_at.has_value()) {
    attempt.started_at = now;
  }
  Recount(attempt, before, ShareOf(attempt));
}

void SoftState::SetProgress(Attempt& attempt, proto::AttemptProgress progress) {
  const proto::AttemptProgress& before = attempt.progress;
  if (progress.records() != before.records() ||
      progress.input_bytes() != before.input_bytes() ||
      progress.fetched_bytes() != before.fetched_bytes() ||
      progress.fetched_maps() != before.fetched_maps() ||
      progress.phase() != before.phase()) {
    attempt.progressed_at = now;
  }
  const uint64_t executing_ms =
      std::min<uint64_t>(progress.executing_ms(), kExecutingMsMax);
  attempt.progress = std::move(progress);
  SetPhase(attempt, attempt.progress.phase());
  if (executing_ms == 0) return;
  const absl::Duration since = now - absl::Milliseconds(executing_ms);
  // It is good to some milliseconds, and the first word is the best.
  if (!attempt.started_at.has_value() || since < *attempt.started_at) {
    attempt.started_at = since;
  }
}

void SoftState::SetKilled(Attempt& attempt, bool killed) {
  const Share before = ShareOf(attempt);
  attempt.killed = killed;
  Recount(attempt, before, ShareOf(attempt));
}

void SoftState::SetInputs(SoftJob& job, bool there) {
  if (job.inputs_there == there) return;
  job.inputs_there = there;
  index.SetReady(job.job->index, there);
  for (const auto& [order, attempt] : job.attempts) {
    const Share before = ShareOf(*attempt);
    attempt->inputs =
        there ? Attempt::Inputs::kThere : Attempt::Inputs::kComing;
    Recount(*attempt, before, ShareOf(*attempt));
  }
}

void SoftState::ForgetJob(uint64_t job_index) {
  const auto found = jobs.find(job_index);
  if (found == jobs.end()) return;
  const auto rest = std::move(found->second.attempts);
  jobs.erase(found);
  for (const auto& [order, attempt] : rest) {
    const Share before = ShareOf(*attempt);
    attempt->inputs = Attempt::Inputs::kGone;
    Recount(*attempt, before, ShareOf(*attempt));
  }
  index.ForgetJob(job_index);
}

void SoftState::Kill(Attempt& attempt, std::string_view reason) {
  if (attempt.reported || attempt.killed) return;
  SetKilled(attempt, true);
  SoftWorker* worker = FindWorker(attempt.worker);
  if (worker == nullptr) return;
  proto::MasterMessage message;
  message.mutable_kill()->set_attempt_uid(std::string(attempt.uid.bytes()));
  message.mutable_kill()->set_reason(std::string(reason));
  SendTo(*worker, std::move(message));
}

bool SoftState::Wanted(const SoftJob& job, const TaskId& task) {
  const Task* found = job.job->FindTask(task);
  return found != nullptr && !found->has_winner;
}

bool SoftState::Runnable(const SoftJob& job, const TaskId& task) {
  return Wanted(job, task) && job.live.count(task) == 0;
}

void SoftState::MakeRunnable(SoftJob* job, const TaskId& task) {
  if (job == nullptr) return;
  job->delayed.erase(task);
  if (job->job->FindTrouble(task) != nullptr) {
    job->runnable_since.insert_or_assign(task, now);
  }
  if (!Runnable(*job, task)) return;
  if (task.kind == proto::REDUCE_TASK) {
    job->reduces.insert(task.index);
  } else if (job->job->FindTask(task)->had_winner) {
    job->lost_maps.insert(task.index);
  } else if (task.index < job->next_map) {
    job->retry_maps.insert(task.index);
  }
}

void SoftState::MakeRunnableAt(SoftJob* job, const TaskId& task,
                               absl::Duration when) {
  if (job == nullptr) return;
  if (when <= now) return MakeRunnable(job, task);
  job->delayed.insert_or_assign(task, when);
  job->next_delayed = std::min(job->next_delayed, when);
  WakeAt(when);
}

}  // namespace millrace::master
