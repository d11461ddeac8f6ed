#include "tests/sim/checker.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "common/strings.h"
#include "master/state/failure_class.h"
#include "master/state/limits.h"

namespace millrace::sim {
namespace {

using master::Job;
using master::State;
using master::TaskId;

constexpr absl::Duration kAwayMax = absl::Seconds(13);
constexpr absl::Duration kIdleMax = absl::Seconds(5);
constexpr absl::Duration kBeatenMax = absl::Seconds(5);
constexpr absl::Duration kLostMax = absl::Seconds(20);
// A worker may have become able to take work, and its leader not know yet.
constexpr absl::Duration kExcludedMax = absl::Seconds(5);
// So many failures in so long: more than what a worker may have in its queues
// when it is excluded.
constexpr absl::Duration kSickWindow = absl::Seconds(60);
constexpr int kSickMax = 25;
// A task that has failed waits: first for another worker, later because what
// fails at once, through no fault of its own, is tried ever more rarely.
constexpr absl::Duration kIdleAfterFailureMax = absl::Seconds(17);

std::string Text(const JobId& job, const TaskId& task) {
  return Cat("job ", job.ToShort(), " ", master::ToString(task));
}

}  // namespace

void Checker::Violate(const std::string& what) {
  if (violation_.empty()) violation_ = what;
}

void Checker::OnGrantSent(uint64_t session, const proto::Grant& grant) {
  sent_[session][*AttemptUid::FromBytes(grant.attempt().attempt_uid())] = {
      *JobId::FromBytes(grant.attempt().job_id()),
      TaskId::From(grant.attempt().task())};
}

void Checker::OnGranted(const CheckedWorker& worker, const proto::Grant& grant,
                        const State& state) {
  const AttemptUid uid = *AttemptUid::FromBytes(grant.attempt().attempt_uid());
  const JobId job = *JobId::FromBytes(grant.attempt().job_id());
  const TaskId task = TaskId::From(grant.attempt().task());
  if (!granted_.insert(uid).second) {
    Violate(Cat("I6: uid ", uid.ToShort(), " was granted twice"));
  }
  // What a lost worker finds in its queue when it wakes up does no harm.
  if (!Alive(worker, state)) return;
  for (auto& [session, grants] : sent_) grants.erase(uid);
  granted_to_[{job, task}] = worker.incarnation();
  std::string others;
  int count = 0;
  // A grant may come late, after the second one.
  bool speculative = grant.attempt().speculative();
  for (const auto& other : workers_) {
    if (!Alive(*other, state)) continue;
    for (const CheckedAttempt& attempt : other->Live()) {
      if (attempt.job != job || attempt.task != task) continue;
      others += Cat(others.empty() ? "" : ", ", other->name());
      speculative |= attempt.speculative;
      // Never beside itself.
      count += other == &worker ? 2 : 1;
    }
  }
  if (count > (speculative ? 1 : 0)) {
    Violate(Cat("I11: ", Text(job, task), " granted to ", worker.name(),
                " while it runs on ", others));
  }
  if (grant.attempt().speculative()) CheckSecond(worker, grant, state);
}

bool Checker::Alive(const CheckedWorker& worker, const State& state) {
  const master::Worker* entry = state.FindWorker(worker.incarnation());
  return !worker.dead() && entry != nullptr && entry->alive;
}

void Checker::CheckSecond(const CheckedWorker& worker,
                          const proto::Grant& grant, const State& state) {
  const JobId id = *JobId::FromBytes(grant.attempt().job_id());
  const TaskId task = TaskId::From(grant.attempt().task());
  const Job* job = state.FindJob(id);
  if (job != nullptr && job->spec->speculation_off()) {
    Violate(Cat("I11: ", Text(id, task), " granted again to ", worker.name(),
                " although its job does without speculation"));
  }
  uint32_t slots = 0;
  uint32_t largest = 0;
  std::map<TaskKey, uint32_t> running;
  for (const auto& one : workers_) {
    slots += one->slots();
    largest = std::max(largest, one->slots());
    // Of what one runs that it has not heard of yet a leader knows nothing.
    if (!Alive(*one, state) || one->term_seen() != worker.term_seen()) continue;
    for (const CheckedAttempt& attempt : one->Live()) {
      ++running[{attempt.job, attempt.task}];
    }
  }
  ++running[{id, task}];
  std::vector<std::string> doubled;
  for (const auto& [key, attempts] : running) {
    if (attempts > 1) doubled.push_back(Text(key.first, key.second));
  }
  if (doubled.size() > std::max(largest, (slots + 9) / 10)) {
    Violate(Cat("I11: ", doubled.size(), " tasks run twice on ", slots,
                " slots: ", absl::StrJoin(doubled, ", ")));
  }
}

void Checker::CheckBeaten(absl::Duration now, bool settled,
                          const State& state) {
  std::map<AttemptUid, absl::Duration> beaten;
  for (const auto& worker : workers_) {
    if (!settled || !Alive(*worker, state) || worker->paused() ||
        !worker->welcomed()) {
      continue;
    }
    for (const CheckedAttempt& attempt : worker->Live()) {
      const AttemptUid& uid = attempt.uid;
      const Job* job = state.FindJob(attempt.job);
      const master::Task* task =
          job == nullptr ? nullptr : job->FindTask(attempt.task);
      if (task == nullptr || !task->has_winner || task->uid == uid) continue;
      const auto known = beaten_since_.find(uid);
      const absl::Duration since =
          known == beaten_since_.end() ? now : known->second;
      beaten[uid] = since;
      if (now - since > kBeatenMax) {
        Violate(Cat("I11: ", Text(attempt.job, attempt.task), " runs on ",
                    worker->name(), ", beaten since ",
                    absl::ToInt64Milliseconds(since), " ms"));
      }
    }
  }
  beaten_since_ = std::move(beaten);
}

void Checker::CheckWin(const proto::AttemptRef& ref,
                       const std::string& worker) {
  const AttemptUid uid = *AttemptUid::FromBytes(ref.attempt_uid());
  const JobId job = *JobId::FromBytes(ref.job_id());
  const TaskId task = TaskId::From(ref.task());
  if (lost_workers_.count(worker) > 0) {
    Violate(Cat("I12: ", Text(job, task), " won by a lost worker"));
  }
  if (failed_.count(uid) > 0) {
    Violate(Cat("I12: ", Text(job, task), " won by an attempt that failed"));
  }
  if (!winners_.emplace(TaskKey{job, task}, uid).second) {
    Violate(Cat("I1: ", Text(job, task), " has two winners"));
  }
  if (decided_.count(job) > 0) {
    Violate(Cat("I1: ", Text(job, task), " won after Decided"));
  }
}

void Checker::CheckDecided(const Job& job) {
  std::vector<AttemptUid>& winners = decided_[job.id];
  for (uint32_t i = 0; i < job.maps.total; ++i) {
    const auto won = winners_.find({job.id, {proto::MAP_TASK, i}});
    if (won == winners_.end()) {
      return Violate(Cat("I1: decided without map ", i));
    }
    if (job.map_only()) winners.push_back(won->second);
  }
  for (uint32_t p = 0; p < job.reduces.total; ++p) {
    const auto won = winners_.find({job.id, {proto::REDUCE_TASK, p}});
    if (won == winners_.end()) {
      return Violate(Cat("I1: decided without reduce ", p));
    }
    winners.push_back(won->second);
    const auto& read = consumed_[won->second];
    for (uint32_t i = 0; i < job.maps.total; ++i) {
      const AttemptUid map = winners_[{job.id, {proto::MAP_TASK, i}}];
      const auto root = read.find(i);
      if (root == read.end() || root->second != roots_[map]) {
        return Violate(Cat("I13: job ", job.id.ToShort(), " decided, reduce ",
                           p, " read other records of map ", i,
                           " than its winner wrote"));
      }
    }
  }
}

void Checker::CheckJob(const Job& job) {
  const auto ended = ended_.find(job.id);
  if (ended != ended_.end() && (!job.ended() || job.state != ended->second)) {
    Violate(Cat("I5: job ", job.id.ToShort(), " ended as ", ended->second,
                ", now it is ", job.state));
  }
  if (job.ended()) ended_[job.id] = job.state;
  if (job.state == proto::FAILED &&
      (job.failure == nullptr ||
       job.failure->cause() == proto::FAILURE_CAUSE_UNSPECIFIED)) {
    Violate(Cat("I21: job ", job.id.ToShort(), " failed without a cause"));
  }
  if (job.state == proto::FAILED || job.ended()) return;
  const uint32_t limit = job.spec->max_attempts() != 0
                             ? job.spec->max_attempts()
                             : master::kMaxAttemptsDefault;
  if (job.epoch > master::kEpochRaisesMax) {
    Violate(Cat("I10: job ", job.id.ToShort(), " is at epoch ", job.epoch));
  }
  for (const auto& [task, trouble] : job.troubles) {
    if (trouble.user_failures >= limit ||
        trouble.infrastructure_failures >= master::kInfrastructureFailuresMax) {
      Violate(Cat("I10: ", Text(job.id, task), " goes on after ",
                  trouble.user_failures, " and ",
                  trouble.infrastructure_failures, " failures"));
    }
  }
}

void Checker::OnApplied(const proto::LogEntry& entry,
                        const master::ApplyResult& result, const State& state) {
  if (!result.applied()) return;
  for (const master::LostWinner& lost : result.lost) {
    if (entry.has_map_won() || entry.has_reduce_won()) {
      const proto::AttemptRef& ref = entry.has_map_won()
                                         ? entry.map_won().attempt()
                                         : entry.reduce_won().attempt();
      if (lost.task == TaskId::From(ref.task())) {
        Violate(Cat("I1: ", Text(lost.job, lost.task), " is won again"));
      }
    }
    if (decided_.count(lost.job) > 0) {
      Violate(Cat("I1: ", Text(lost.job, lost.task), " lost after Decided"));
    }
    winners_.erase({lost.job, lost.task});
  }
  switch (entry.entry_case()) {
    case proto::LogEntry::kTermStarted:
      // A new leader judges anew.
      sick_.clear();
      sickness_.clear();
      break;
    case proto::LogEntry::kJobSubmitted: {
      const std::string& output = entry.job_submitted().spec().output();
      for (const auto& [other, path] : output_of_) {
        if (path == output && ended_.count(other) == 0) {
          Violate(Cat("I1: two jobs write to ", output));
        }
      }
      output_of_[result.job] = output;
      break;
    }
    case proto::LogEntry::kMapWon: {
      const proto::MapWon& won = entry.map_won();
      CheckWin(won.attempt(), won.worker());
      sick_[won.worker()] = 0;
      roots_[*AttemptUid::FromBytes(won.attempt().attempt_uid())] =
          won.done().map_output_root();
      break;
    }
    case proto::LogEntry::kReduceWon:
      CheckWin(entry.reduce_won().attempt(), entry.reduce_won().worker());
      sick_[entry.reduce_won().worker()] = 0;
      break;
    case proto::LogEntry::kMapReoffered: {
      const proto::MapReoffered& offered = entry.map_reoffered();
      if (lost_workers_.count(offered.worker()) > 0) {
        Violate("I12: a lost worker offers a map output");
      }
      if (!winners_
               .emplace(
                   TaskKey{result.job, {proto::MAP_TASK, offered.map_index()}},
                   *AttemptUid::FromBytes(offered.attempt_uid()))
               .second) {
        Violate("I1: a re-offered map had a winner");
      }
      break;
    }
    case proto::LogEntry::kAttemptFailed:
      if (entry.attempt_failed().cause() == proto::CANCELLED) {
        Violate("I10: an attempt that was told to stop counts as failed");
      }
      failed_.insert(*AttemptUid::FromBytes(
          entry.attempt_failed().attempt().attempt_uid()));
      if (entry.attempt_failed().cause() == proto::DISK_FULL) {
        ++sick_[entry.attempt_failed().worker()];
      }
      break;
    case proto::LogEntry::kWorkerLost: {
      const std::string& lost = entry.worker_lost().incarnation();
      lost_workers_.insert(lost);
      // In one step everything is gone that a reduce still needs.
      for (const auto& [index, job] : state.live_jobs()) {
        if (job->reduces.all_done()) continue;
        for (const master::Task& map : job->maps.tasks) {
          if (map.has_winner &&
              state.workers()[map.worker].incarnation.bytes() == lost) {
            Violate(Cat("I12: job ", job->id.ToShort(),
                        " keeps a map of a lost worker"));
          }
        }
      }
      break;
    }
    case proto::LogEntry::kDecided:
      CheckDecided(*state.FindJob(result.job));
      break;
    default:
      break;
  }
  if (const Job* job = state.FindJob(result.job)) CheckJob(*job);
  for (const JobId& id : result.ended) {
    if (const Job* job = state.FindJob(id)) CheckJob(*job);
  }
}

void Checker::OnPublished(const JobId& job,
                          const std::vector<AttemptUid>& winners) {
  const auto decided = decided_.find(job);
  if (decided == decided_.end()) {
    return Violate("I1: published before Decided");
  }
  if (winners != decided->second) {
    Violate(Cat("I1: job ", job.ToShort(),
                " publishes other files than were decided"));
  }
}

bool Checker::Present(const WorkerIncarnation& incarnation) const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [&incarnation](const auto& worker) {
                       return !worker->dead() && !worker->paused() &&
                              worker->incarnation() == incarnation;
                     });
}

void Checker::CheckLosses(absl::Duration now, bool settled,
                          const State& state) {
  std::map<master::WorkerNumber, absl::Duration> away;
  if (settled) {
    for (master::WorkerNumber number : state.alive_workers()) {
      const WorkerIncarnation& incarnation =
          state.workers()[number].incarnation;
      if (Present(incarnation)) continue;
      const auto known = away_since_.find(number);
      absl::Duration since = known == away_since_.end() ? now : known->second;
      // It was there for a moment between two seconds.
      for (const auto& worker : workers_) {
        if (worker->incarnation() == incarnation &&
            worker->there_since() > since) {
          since = now;
        }
      }
      away[number] = since;
      if (now - since > kAwayMax) {
        Violate(Cat("loss: worker ", state.workers()[number].name,
                    " is away since ", absl::ToInt64Milliseconds(since),
                    " ms"));
      }
    }
  }
  away_since_ = std::move(away);
}

bool Checker::Runnable(const Job& job, const TaskId& task,
                       const State& state) const {
  const master::Task* found = job.FindTask(task);
  if (found != nullptr && found->has_winner) return false;
  // It was with a process that is gone, which the leader need not know yet.
  const auto last = granted_to_.find({job.id, task});
  if (last != granted_to_.end() && !Present(last->second)) {
    const master::Worker* entry = state.FindWorker(last->second);
    if (entry != nullptr && entry->alive) return false;
  }
  for (const auto& [session, grants] : sent_) {
    for (const auto& [uid, sent] : grants) {
      if (sent == TaskKey{job.id, task}) return false;
    }
  }
  for (const auto& worker : workers_) {
    if (worker->dead()) continue;
    if (worker->HasUnacked(job.id, task)) return false;
    for (const CheckedAttempt& attempt : worker->Live()) {
      if (attempt.job == job.id && attempt.task == task) return false;
    }
  }
  return true;
}

bool Checker::SlotIsFree(const CheckedWorker& worker,
                         const State& state) const {
  const master::Worker* entry = state.FindWorker(worker.incarnation());
  return !worker.dead() && !worker.paused() && worker.welcomed() &&
         entry != nullptr && entry->alive && !state.IsDraining(entry->name) &&
         worker.executing() < worker.slots() && !worker.has_queue();
}

// Only while every slot of the cluster is with a reduce of the map's own job.
void Checker::CheckLostMaps(absl::Duration now, bool settled,
                            const State& state) {
  std::map<TaskKey, absl::Duration> lost;
  for (const auto& [index, job] : state.live_jobs()) {
    if (!settled || !job->open() || !job->planned) continue;
    bool all_reduces = true;
    uint32_t workers = 0;
    std::set<uint32_t> executing;  // Maps.
    for (const auto& worker : workers_) {
      const master::Worker* entry = state.FindWorker(worker->incarnation());
      if (!Alive(*worker, state) || state.IsDraining(entry->name)) continue;
      // What is there is not certain.
      if (worker->paused() || !worker->welcomed()) all_reduces = false;
      ++workers;
      uint32_t reduces = 0;
      for (const CheckedAttempt& attempt : worker->Live()) {
        if (attempt.job != job->id || !attempt.executing) continue;
        reduces += attempt.task.kind == proto::REDUCE_TASK;
      }
      all_reduces &= reduces >= worker->slots();
    }
    if (!all_reduces || workers == 0) continue;
    for (uint32_t i = 0; i < job->maps.total; ++i) {
      const master::Task& map = job->maps.tasks[i];
      if (map.has_winner || !map.had_winner) continue;
      const TaskKey key{job->id, {proto::MAP_TASK, i}};
      const auto known = lost_since_.find(key);
      const absl::Duration since =
          known == lost_since_.end() ? now : known->second;
      lost[key] = since;
      if (now - since > kLostMax) {
        Violate(Cat("I19: ", Text(job->id, key.second),
                    " was lost and waits for reduces of its job since ",
                    absl::ToInt64Milliseconds(since), " ms"));
      }
    }
  }
  lost_since_ = std::move(lost);
}

void Checker::CheckExcluded(absl::Duration now, bool settled,
                            const State& state, const Shown& shown) {
  size_t excluded = 0;
  size_t others = 0;  // That are or may be given work.
  size_t good = 0;
  for (const auto& worker_shown : shown.workers) {
    // Not a structured binding, which Clang 14 does not let the lambda see.
    const auto& name = worker_shown.first;
    const auto& what = worker_shown.second;
    // What can take nothing anyway may be called excluded, too.
    const bool takes_work =
        std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
          return worker->name() == name && !worker->takes_work();
        });
    excluded += what == "excluded" && takes_work;
    others += what == "up" || what == "probation" || what == "silent";
    good += what == "up";
  }
  if (!settled || excluded == 0 ||
      (others > 0 &&
       excluded <= std::max<size_t>(1, (excluded + others) / 3))) {
    too_many_excluded_since_.reset();
  } else {
    if (!too_many_excluded_since_.has_value()) too_many_excluded_since_ = now;
    if (now - *too_many_excluded_since_ > kExcludedMax) {
      Violate(Cat("sick: ", excluded, " workers are excluded, ", others,
                  " are not"));
    }
  }
  for (const auto& worker : workers_) {
    const std::string process(worker->incarnation().bytes());
    auto& history = sickness_[process];
    const int failures = sick_[process];
    if (!history.empty() && failures < history.back().second) history.clear();
    history.emplace_back(now, failures);
    while (now - history.front().first > kSickWindow) history.pop_front();
    const auto what = shown.workers.find(worker->name());
    if (!settled || what == shown.workers.end() || what->second != "up" ||
        excluded > 0 || good < 3 || !Alive(*worker, state)) {
      continue;
    }
    if (failures - history.front().second > kSickMax) {
      Violate(Cat("sick: on ", worker->name(), " ", failures,
                  " attempts have failed one after the other, and it is given "
                  "more"));
    }
  }
}

void Checker::OnSecond(absl::Duration now, bool settled, const State& state,
                       const Shown& shown) {
  CheckLosses(now, settled, state);
  CheckBeaten(now, settled, state);
  CheckLostMaps(now, settled, state);
  CheckExcluded(now, settled, state, shown);
  std::set<std::string> free;
  for (const auto& worker : workers_) {
    const auto what = shown.workers.find(worker->name());
    const bool out =
        what != shown.workers.end() &&
        (what->second == "excluded" || what->second == "probation");
    if (settled && !out && SlotIsFree(*worker, state)) {
      free.insert(worker->name());
    }
  }
  if (free.empty()) {
    idle_since_.clear();
    return;
  }
  std::map<TaskKey, absl::Duration> idle;
  auto look = [&](const Job& job, const TaskId& task) {
    const auto avoided = shown.avoided.find(job.id);
    if (avoided != shown.avoided.end() &&
        std::includes(avoided->second.begin(), avoided->second.end(),
                      free.begin(), free.end())) {
      return;
    }
    if (!Runnable(job, task, state)) return;
    const TaskKey key{job.id, task};
    const auto known = idle_since_.find(key);
    const absl::Duration since =
        known == idle_since_.end() ? now : known->second;
    idle[key] = since;
    const master::Trouble* trouble = job.FindTrouble(task);
    // Where it failed twice it does not go while there is another worker.
    if (trouble != nullptr && trouble->counted.size() >= 2) return;
    if (now - since > (trouble != nullptr ? kIdleAfterFailureMax : kIdleMax)) {
      Violate(Cat("I19: ", Text(job.id, task), " and a slot wait since ",
                  absl::ToInt64Milliseconds(since), " ms"));
    }
  };
  for (const auto& [index, job] : state.live_jobs()) {
    if (!job->open()) continue;
    if (!job->planned) {
      look(*job, {proto::PLAN_TASK, 0});
      continue;
    }
    for (uint32_t i = 0; i < job->maps.total; ++i) {
      look(*job, {proto::MAP_TASK, i});
    }
    if (!job->maps.all_done()) continue;
    for (uint32_t i = 0; i < job->reduces.total; ++i) {
      look(*job, {proto::REDUCE_TASK, i});
    }
    if (job->complete()) look(*job, {proto::CHECK_TASK, 0});
  }
  idle_since_ = std::move(idle);
}

void Checker::OnEnd(const State& state, const std::set<JobId>& staging,
                    const std::map<std::string, JobId>& outputs) {
  for (const auto& worker : workers_) {
    for (const JobId& job : worker->Present()) {
      Violate(Cat("I20: ", worker->name(), " keeps something of job ",
                  job.ToShort()));
    }
  }
  for (const JobId& job : staging) {
    Violate(Cat("I20: staging of job ", job.ToShort(), " is left"));
  }
  for (const auto& [index, job] : state.jobs()) {
    CheckJob(*job);
    if (!job->ended()) {
      Violate(Cat("I18: job ", job->id.ToShort(), " has not ended"));
    }
    const auto output = outputs.find(job->spec->output());
    const bool published = output != outputs.end() && output->second == job->id;
    if (published != (job->state == proto::SUCCEEDED)) {
      Violate(Cat("I7: job ", job->id.ToShort(), " is ", job->state,
                  published ? " and" : " but not", " published"));
    }
  }
}

}  // namespace millrace::sim
