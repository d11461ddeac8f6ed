#include "master/scheduler/membership.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/logging.h"
#include "common/strings.h"
#include "master/scheduler/bad_records.h"
#include "master/scheduler/cleanup.h"
#include "master/scheduler/fetch_failures.h"
#include "master/scheduler/locations.h"
#include "master/scheduler/outcomes.h"
#include "master/scheduler/silence.h"
#include "master/state/task_id.h"

namespace millrace::master {
namespace {

constexpr size_t kNameBytesMax = 200;
// Host, address, version.
constexpr size_t kTextBytesMax = 1000;
constexpr size_t kPathBytesMax = 4096;
constexpr size_t kDiskWhyBytesMax = 400;
constexpr size_t kGuardBytesMax = 20;
constexpr uint32_t kSlotsMax = 4096;
// That a worker says it runs. Nobody is granted so many; its WorkerLost has to
// name them all in one entry.
constexpr int kRunningMax = 50'000;

void Refuse(SoftState& soft, SessionId session, proto::RefusalReason reason,
            std::string message) {
  proto::MasterMessage out;
  out.mutable_refused()->set_reason(reason);
  out.mutable_refused()->set_message(std::move(message));
  if (reason == proto::NOT_LEADER) {
    out.mutable_refused()->set_leader_address(soft.leader_address);
  }
  soft.Send(session, std::move(out));
  soft.effects.push_back(CloseSession{session});
  soft.EraseSession(session);
}

// Something of the worker has changed that others look for it by.
void OnChanged(SoftState& soft, SoftWorker& worker) {
  soft.index.Update(worker);
  Watch(soft, worker);
}

void SetHeard(SoftState& soft, SoftWorker& worker) {
  worker.heard = true;
  soft.unheard.erase(worker.entry->number);
  OnChanged(soft, worker);
}

void CloseStream(SoftState& soft, SoftWorker& worker) {
  if (!worker.session.has_value()) return;
  soft.effects.push_back(CloseSession{*worker.session});
  soft.EraseSession(*worker.session);
  worker.session.reset();
  worker.closed_at = soft.now;
  OnChanged(soft, worker);
}

void ProposeLost(SoftState& soft, SoftWorker& worker, std::string reason) {
  if (worker.losing) return;
  worker.losing = true;
  OnChanged(soft, worker);
  proto::LogEntry entry;
  proto::WorkerLost* lost = entry.mutable_worker_lost();
  lost->set_incarnation(std::string(worker.entry->incarnation.bytes()));
  lost->set_reason(std::move(reason));
  for (const auto& [order, attempt] : worker.attempts) {
    // An attempt whose outcome is proposed is judged by that; one that was told
    // to stop is not held against its task.
    if (attempt->reported || attempt->killed) continue;
    proto::AttemptRef* ref = lost->add_attempts();
    ref->set_job_id(std::string(attempt->job.bytes()));
    attempt->task.To(ref->mutable_task());
    ref->set_attempt_uid(std::string(attempt->uid.bytes()));
    ref->set_number(attempt->number);
    ref->set_speculative(attempt->speculative);
  }
  soft.Propose(std::move(entry));
  if (!soft.options.mutant.believe_reports) CloseStream(soft, worker);
  if (!soft.options.mutant.regrant_at_once) return;
  std::vector<AttemptUid> uids;
  for (const auto& [order, attempt] : worker.attempts) {
    uids.push_back(attempt->uid);
  }
  for (const AttemptUid& uid : uids) ForgetAttempt(soft, uid);
}

void ProposeJoined(SoftState& soft, const proto::Hello& hello) {
  proto::LogEntry entry;
  proto::WorkerJoined* joined = entry.mutable_worker_joined();
  joined->set_incarnation(hello.incarnation());
  joined->set_name(hello.name());
  joined->set_host_id(hello.host_id());
  joined->set_address(hello.address());
  joined->set_slots(hello.slots());
  joined->set_version(hello.version());
  soft.Propose(std::move(entry));
}

// By session: who wait for the entries of that incarnation.
std::set<SessionId> ParkedOf(const SoftState& soft,
                             const std::string& incarnation) {
  const auto found = soft.parked.find(incarnation);
  return found == soft.parked.end() ? std::set<SessionId>() : found->second;
}

SoftWorker& AddWorker(SoftState& soft, const Worker& entry) {
  SoftWorker& worker = soft.workers[entry.number];
  worker.entry = soft.state.workers().Share(entry.number);
  worker.last_heard = worker.closed_at = soft.now;
  worker.draining = soft.state.IsDraining(entry.name);
  soft.unheard.insert(entry.number);
  OnChanged(soft, worker);
  return worker;
}

// What was granted and the worker does not know never reached it: its stream
// broke before. (An outcome that is proposed will be judged when applied.)
void ForgetUnknown(SoftState& soft, SoftWorker& worker,
                   const proto::Hello& hello) {
  std::set<std::string> known;
  for (const auto& running : hello.running()) {
    known.insert(running.attempt().attempt_uid());
  }
  for (const auto& outcome : hello.outcomes()) {
    known.insert(outcome.attempt().attempt_uid());
  }
  std::vector<AttemptUid> unknown;
  for (const auto& [order, attempt] : worker.attempts) {
    if (attempt->reported || known.count(std::string(attempt->uid.bytes()))) {
      continue;
    }
    unknown.push_back(attempt->uid);
  }
  for (const AttemptUid& uid : unknown) ForgetAttempt(soft, uid);
}

// Whether a running attempt may go on, for all that the log says.
bool MayContinue(const SoftJob& job, const TaskId& task, const AttemptUid& uid,
                 uint32_t epoch, bool speculative) {
  if (!SoftState::MayAdd(job, task, speculative)) return false;
  const Trouble* trouble = job.job->FindTrouble(task);
  if (trouble != nullptr && trouble->Counted(uid)) return false;
  switch (task.kind) {
    case proto::PLAN_TASK:
      return !job.job->planned;
    case proto::MAP_TASK:
      return SoftState::Wanted(job, task);
    case proto::REDUCE_TASK:
      return SoftState::Wanted(job, task) && epoch == job.job->epoch;
    case proto::PUBLISH_TASK:
      return job.job->decided;
    default:
      // A check that another leader granted: which winners it was given is not
      // known here, so its manifest is of no use. A new one costs little.
      return false;
  }
}

void AdoptRunning(SoftState& soft, SoftWorker& worker,
                  const proto::RunningAttempt& running) {
  const auto uid = AttemptUid::FromBytes(running.attempt().attempt_uid());
  const auto job_id = JobId::FromBytes(running.attempt().job_id());
  if (!uid.has_value() || !job_id.has_value()) return;
  Attempt* attempt = soft.FindAttempt(*uid);
  if (attempt == nullptr) {
    SoftJob* job = soft.FindJob(*job_id);
    if (job == nullptr) return;  // Ended: DropJob ends it there.
    const TaskId task = TaskId::From(running.attempt().task());
    const bool speculative = running.attempt().speculative();
    const bool may =
        MayContinue(*job, task, *uid, running.epoch(), speculative);
    attempt = &soft.AddAttempt(*uid, *job_id, task, worker.entry->number,
                               running.epoch(), running.attempt().number(),
                               speculative);
    if (!may) soft.Kill(*attempt, "its task is done, or runs elsewhere");
  } else if (attempt->worker != worker.entry->number) {
    return;
  } else if (attempt->killed) {
    // The command may have been lost with the last stream.
    soft.SetKilled(*attempt, false);
    soft.Kill(*attempt, "told before");
  }
  soft.SetProgress(*attempt, running.progress());
}

// Map outputs that the worker found in its spool.
void ReadHeld(SoftState& soft, SoftWorker& worker,
              const proto::HeldOutput& held,
              const std::set<std::string>& reported) {
  const auto job_id = JobId::FromBytes(held.job_id());
  const auto uid = AttemptUid::FromBytes(held.attempt_uid());
  if (!job_id.has_value() || !uid.has_value()) return;
  const Job* job = soft.state.FindJob(*job_id);
  if (job == nullptr || job->ended()) return;  // DropJob follows.
  if (reported.count(held.attempt_uid()) > 0) return;
  if (soft.FindAttempt(*uid) != nullptr) return;
  const TaskId map{proto::MAP_TASK, held.map_index()};
  const Task* task = job->FindTask(map);
  if (task != nullptr && task->had_winner && task->uid == *uid &&
      task->root_bytes() == held.root()) {
    if (task->has_winner) {
      if (task->worker == worker.entry->number) return;
    } else if (job->open()) {
      proto::LogEntry entry;
      proto::MapReoffered* offered = entry.mutable_map_reoffered();
      offered->set_job_id(held.job_id());
      offered->set_map_index(held.map_index());
      offered->set_attempt_uid(held.attempt_uid());
      offered->set_root(held.root());
      offered->set_worker(std::string(worker.entry->incarnation.bytes()));
      soft.Propose(std::move(entry));
      return;
    }
  }
  soft.Drop(worker.entry->number, *job_id, map, *uid);
}

void Activate(SoftState& soft, SessionId session, const proto::Hello& hello,
              SoftWorker& worker) {
  CloseStream(soft, worker);  // An older one that has not been noticed to end.
  soft.sessions.at(session)->worker = worker.entry->number;
  worker.session = session;
  worker.last_heard = soft.now;
  worker.spool_dir = hello.spool_dir();
  worker.pid = hello.pid();
  worker.memory_guard = CutText(hello.memory_guard(), kGuardBytesMax);
  SetHeard(soft, worker);
  worker.introduced.clear();
  ForgetLocated(soft, worker);
  worker.named.Clear();

  proto::MasterMessage message;
  proto::Welcome* welcome = message.mutable_welcome();
  welcome->set_cluster_id(std::string(soft.state.cluster_id().bytes()));
  welcome->set_heartbeat_interval_ms(
      absl::ToInt64Milliseconds(soft.options.heartbeat_interval));
  welcome->set_silence_limit_ms(
      absl::ToInt64Milliseconds(soft.options.silence_limit));
  soft.SendTo(worker, std::move(message));
  if (worker.draining) {
    proto::MasterMessage drain;
    drain.mutable_drain()->set_draining(true);
    soft.SendTo(worker, std::move(drain));
  }

  if (!soft.options.mutant.keep_lost_grants) {
    ForgetUnknown(soft, worker, hello);
  }
  for (const auto& [order, attempt] : worker.attempts) {
    if (attempt->task.kind != proto::REDUCE_TASK) continue;
    if (SoftJob* job = soft.FindJob(attempt->job)) {
      job->new_readers.insert(worker.entry->number);
    }
  }
  for (const auto& running : hello.running()) {
    AdoptRunning(soft, worker, running);
  }
  std::set<std::string> reported;
  for (const auto& outcome : hello.outcomes()) {
    reported.insert(outcome.attempt().attempt_uid());
    OnOutcome(soft, worker, outcome);
  }
  for (const auto& held : hello.held()) {
    ReadHeld(soft, worker, held, reported);
  }
  ReadPresentJobs(soft, worker, hello);
}

void OnHello(SoftState& soft, SessionId session, const proto::Hello& hello) {
  const auto incarnation = WorkerIncarnation::FromBytes(hello.incarnation());
  if (hello.protocol_version() != proto::WORKER_PROTOCOL_VERSION ||
      !incarnation.has_value() || incarnation->is_zero() ||
      hello.name().empty() || hello.name().size() > kNameBytesMax ||
      hello.host_id().size() > kTextBytesMax ||
      hello.address().size() > kTextBytesMax ||
      hello.version().size() > kTextBytesMax ||
      hello.spool_dir().size() > kPathBytesMax || hello.slots() == 0 ||
      hello.slots() > kSlotsMax) {
    return Refuse(
        soft, session, proto::PROTOCOL_VERSION,
        Cat("the leader speaks version ",
            static_cast<int>(proto::WORKER_PROTOCOL_VERSION),
            " of the worker protocol, the worker ", hello.protocol_version(),
            ", or its name, incarnation, addresses or slots are not valid"));
  }
  const ClusterId& cluster = soft.state.cluster_id();
  if (!hello.cluster_id().empty() && hello.cluster_id() != cluster.bytes()) {
    return Refuse(soft, session, proto::WRONG_CLUSTER,
                  Cat("the worker's data belong to cluster ",
                      HexEncode(hello.cluster_id().substr(0, 4)),
                      ", this is cluster ", cluster.ToShort()));
  }
  if (hello.running_size() > kRunningMax) {
    return Refuse(soft, session, proto::INCARNATION_LOST,
                  Cat("it runs ", hello.running_size(),
                      " attempts, more than it can have been granted"));
  }
  const Worker* known = soft.state.FindWorker(*incarnation);
  if (known != nullptr && !known->alive) {
    return Refuse(soft, session, proto::INCARNATION_LOST,
                  "this incarnation was declared lost");
  }
  if (known != nullptr) {
    SoftWorker* worker = soft.FindWorker(known->number);
    if (!worker->losing) return Activate(soft, session, hello, *worker);
    soft.Park(session, hello);
    return;
  }
  if (const Worker* holder = soft.state.FindAliveWorker(hello.name())) {
    SoftWorker* worker = soft.FindWorker(holder->number);
    if (worker->session.has_value()) {
      return Refuse(soft, session, proto::NAME_TAKEN,
                    Cat("a worker named ", Printable(hello.name()), " at ",
                        Printable(holder->address), " is connected"));
    }
    // A worker holds the lock of its directory while it lives, so the old
    // process is gone.
    ProposeLost(soft, *worker, "a new process has its name");
  }
  soft.Park(session, hello);
  ProposeJoined(soft, hello);
}

// Gathers the parts of a long Hello; acts on the last one.
void OnHelloPart(SoftState& soft, SessionId id, const proto::Hello& part) {
  Session& session = *soft.sessions.at(id);
  if (!session.gathered.has_value()) {
    if (!part.more()) return OnHello(soft, id, part);
    session.gathered.emplace();
  }
  proto::Hello& gathered = *session.gathered;
  session.gathered_bytes += part.ByteSizeLong();
  if (session.gathered_bytes > soft.options.hello_bytes_max) {
    return Refuse(soft, id, proto::INCARNATION_LOST,
                  Cat("what it says of itself is longer than ",
                      HumanBytes(soft.options.hello_bytes_max)));
  }
  gathered.MergeFrom(part);
  // It is there, however long it takes to say all.
  if (const auto incarnation =
          WorkerIncarnation::FromBytes(gathered.incarnation())) {
    if (const Worker* known = soft.state.FindWorker(*incarnation)) {
      SoftWorker* worker = soft.FindWorker(known->number);
      if (worker != nullptr) worker->last_heard = soft.now;
    }
  }
  if (part.more()) return;
  const proto::Hello hello = std::move(gathered);
  session.gathered.reset();
  OnHello(soft, id, hello);
}

void OnUpdate(SoftState& soft, SoftWorker& worker, proto::Update update) {
  for (proto::AttemptProgress& progress : *update.mutable_progress()) {
    const auto uid = AttemptUid::FromBytes(progress.attempt_uid());
    if (!uid.has_value()) continue;
    Attempt* attempt = soft.FindAttempt(*uid);
    if (attempt == nullptr || attempt->worker != worker.entry->number) continue;
    soft.SetProgress(*attempt, std::move(progress));
    soft.changed.insert(attempt->job);
  }
  for (proto::AttemptOutcome& outcome : *update.mutable_outcomes()) {
    OnOutcome(soft, worker, std::move(outcome));
  }
  for (const proto::FetchFailure& failure : update.fetch_failures()) {
    OnFetchFailure(soft, worker, failure);
  }
  for (const proto::BadRecordMet& met : update.bad_records()) {
    OnBadRecord(soft, worker, met);
  }
  for (const std::string& job : update.dropped_jobs()) {
    if (const auto id = JobId::FromBytes(job)) OnDropped(soft, worker, *id);
  }
  for (const std::string& job : update.stopped_jobs()) {
    if (const auto id = JobId::FromBytes(job)) OnStopped(soft, worker, *id);
  }
  if (update.free_disk_bytes() > 0 || update.disk_low()) {
    worker.free_disk_bytes = update.free_disk_bytes();
    if (worker.disk_low != update.disk_low()) {
      worker.disk_low = update.disk_low();
      soft.index.Update(worker);
    }
    worker.disk_why = CutText(update.disk_why(), kDiskWhyBytesMax);
    worker.spool_bytes = update.spool_bytes();
    worker.spool_bytes_max = update.spool_bytes_max();
  }
}

void ReadMessage(SoftState& soft, SessionId id, proto::WorkerMessage message) {
  Session& session = *soft.sessions.at(id);
  if (message.has_hello()) {
    if (session.worker.has_value() || session.parked.has_value()) {
      soft.effects.push_back(CloseSession{id});
      OnStreamClosed(soft, id);  // One Hello a stream.
      return;
    }
    return OnHelloPart(soft, id, message.hello());
  }
  if (!session.worker.has_value()) return;  // Nothing counts before a Hello.
  SoftWorker* worker = soft.FindWorker(*session.worker);
  if (worker == nullptr) return;
  if (worker->losing && !soft.options.mutant.believe_reports) return;
  worker->last_heard = soft.now;
  if (message.has_update()) {
    OnUpdate(soft, *worker, std::move(*message.mutable_update()));
  }
}

}  // namespace

void OnStreamOpened(SoftState& soft, SessionId session) {
  soft.sessions.try_emplace(session, std::make_unique<Session>());
  if (soft.role == SoftState::Role::kStandby) {
    Refuse(soft, session, proto::NOT_LEADER, "this master does not lead");
  }
}

void OnStreamMessage(SoftState& soft, SessionId id,
                     proto::WorkerMessage message) {
  const auto found = soft.sessions.find(id);
  if (found == soft.sessions.end())
    return;  // Closed, the edge was not told yet.
  if (soft.leading()) return ReadMessage(soft, id, std::move(message));
  if (found->second->backlog.size() >= soft.options.session_backlog_max) {
    soft.effects.push_back(CloseSession{id});
    soft.EraseSession(id);
    return;
  }
  found->second->backlog.push_back(std::move(message));
}

void OnStreamClosed(SoftState& soft, SessionId id) {
  const auto found = soft.sessions.find(id);
  if (found == soft.sessions.end()) return;
  const std::optional<WorkerNumber> number = found->second->worker;
  soft.EraseSession(id);
  if (!number.has_value()) return;
  SoftWorker* worker = soft.FindWorker(*number);
  if (worker == nullptr || worker->session != id) return;
  worker->session.reset();
  worker->closed_at = soft.now;
  OnChanged(soft, *worker);
  soft.WakeAt(soft.now + soft.options.reconnect_limit);
}

void StartMembership(SoftState& soft) {
  for (WorkerNumber number : soft.state.alive_workers()) {
    AddWorker(soft, soft.state.workers()[number]);
  }
  soft.next_check = soft.now;
  std::vector<SessionId> ids;
  for (const auto& [id, session] : soft.sessions) ids.push_back(id);
  for (SessionId id : ids) {
    // A message may close its own session and, by a second Hello of the same
    // worker, another one.
    auto found = soft.sessions.find(id);
    if (found == soft.sessions.end()) continue;
    auto backlog = std::exchange(found->second->backlog, {});
    for (proto::WorkerMessage& message : backlog) {
      if (soft.sessions.count(id) == 0) break;
      ReadMessage(soft, id, std::move(message));
    }
  }
}

void RefuseAllStreams(SoftState& soft) {
  std::vector<SessionId> ids;
  for (const auto& [id, session] : soft.sessions) ids.push_back(id);
  for (SessionId id : ids) {
    Refuse(soft, id, proto::NOT_LEADER, "this master does not lead any more");
  }
}

void OnWorkerJoined(SoftState& soft, const proto::WorkerJoined& entry,
                    const ApplyResult& result) {
  const auto incarnation = WorkerIncarnation::FromBytes(entry.incarnation());
  if (!incarnation.has_value()) return;
  if (result.applied()) {
    SetHeard(soft, AddWorker(soft, *soft.state.FindWorker(*incarnation)));
    soft.next_check = std::min(soft.next_check, soft.now);
  }
  // Whatever came of it, the Hellos of that incarnation can be judged now.
  std::vector<std::pair<SessionId, proto::Hello>> parked;
  for (SessionId id : ParkedOf(soft, entry.incarnation())) {
    Session& session = *soft.sessions.at(id);
    parked.emplace_back(id, *session.parked);
    soft.Unpark(session, id);
  }
  for (const auto& [id, hello] : parked) {
    if (result.refusal == Refusal::kNameTaken) {
      Refuse(soft, id, proto::NAME_TAKEN, result.message);
    } else if (soft.sessions.count(id) > 0) {
      OnHello(soft, id, hello);
    }
  }
}

void OnWorkerLost(SoftState& soft, const proto::WorkerLost& entry,
                  const ApplyResult& result) {
  const auto incarnation = WorkerIncarnation::FromBytes(entry.incarnation());
  if (!incarnation.has_value() || !result.applied()) return;
  const Worker* lost = soft.state.FindWorker(*incarnation);
  if (SoftWorker* worker = soft.FindWorker(lost->number); worker != nullptr) {
    CloseStream(soft, *worker);
    std::vector<const Attempt*> attempts;
    for (const auto& [order, attempt] : worker->attempts) {
      attempts.push_back(attempt);
    }
    for (const Attempt* attempt : attempts) {
      // Reported ones too: their entries, if they come later, are refused.
      ForgetAttempt(soft, attempt->uid);
    }
    ForgetLocated(soft, *worker);
    while (!worker->present.empty()) {
      soft.Unhold(*worker, *worker->present.begin());
    }
    Unwatch(soft, *worker);
    soft.unheard.erase(lost->number);
    soft.index.Remove(*worker);
    soft.workers.erase(lost->number);
    soft.exclusions.OnGone(lost->number);
  }
  OnWorkerGone(soft, lost->number);
  for (SessionId id : ParkedOf(soft, entry.incarnation())) {
    Refuse(soft, id, proto::INCARNATION_LOST,
           "this incarnation was declared lost");
  }
}

void OnWorkerDrained(SoftState& soft, const proto::WorkerDrained& entry) {
  const Worker* known = soft.state.FindAliveWorker(entry.name());
  if (known == nullptr) return;
  SoftWorker* worker = soft.FindWorker(known->number);
  if (worker == nullptr) return;
  worker->draining = entry.draining();
  soft.index.Update(*worker);
  proto::MasterMessage message;
  message.mutable_drain()->set_draining(entry.draining());
  soft.SendTo(*worker, std::move(message));
}

void CheckWorkers(SoftState& soft) {
  for (SoftWorker* due : TakeDue(soft)) {
    SoftWorker& worker = *due;
    if (worker.losing) continue;
    if (worker.session.has_value()) {
      if (soft.now - worker.last_heard >= soft.options.silence_limit) {
        ProposeLost(
            soft, worker,
            Cat("nothing heard for ",
                absl::ToInt64Seconds(soft.now - worker.last_heard), " s"));
      } else if (soft.now - worker.last_said >=
                 soft.options.heartbeat_interval) {
        proto::MasterMessage alive;
        alive.mutable_alive();
        soft.SendTo(worker, std::move(alive));
      }
    } else if (!worker.heard) {
      if (soft.now - std::max(soft.leading_since, worker.last_heard) >=
          soft.options.silence_limit) {
        ProposeLost(soft, worker, "it did not come to the new leader");
      }
    } else if (soft.now - std::max(worker.closed_at, worker.last_heard) >=
               soft.options.reconnect_limit) {
      ProposeLost(soft, worker, "its stream ended and it did not come back");
    }
    Watch(soft, worker);
  }
}

}  // namespace millrace::master
