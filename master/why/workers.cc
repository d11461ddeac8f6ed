#include "master/why/workers.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/counted.h"
#include "common/strings.h"
#include "master/scheduler/admission.h"
#include "master/scheduler/health.h"
#include "master/scheduler/placement.h"

namespace millrace::master::why {
namespace {

// Heartbeats that may be missed.
constexpr int kBeatsMissedMax = 3;

using Group = std::vector<const SoftWorker*>;

std::vector<std::string> NamesOf(const Group& group) {
  std::vector<std::string> names;
  for (const SoftWorker* worker : group) names.push_back(worker->entry->name);
  return names;
}

// Since when nothing can have come from it.
absl::Duration AwaySince(const SoftState& soft, const SoftWorker& worker) {
  if (!worker.heard) return std::max(soft.leading_since, worker.last_heard);
  if (!worker.session.has_value()) {
    return std::max(worker.closed_at, worker.last_heard);
  }
  return worker.last_heard;
}

// After which silence it is declared lost (membership.cc).
absl::Duration AwayMax(const SoftState& soft, const SoftWorker& worker) {
  return worker.session.has_value() || !worker.heard
             ? soft.options.silence_limit
             : soft.options.reconnect_limit;
}

std::string Verb(const Group& group) {
  return group.size() == 1 ? " is " : " are ";
}

// Those that are not there: how long the first of them has still to come.
void AddGone(Inquiry& inquiry, int depth, proto::WhyCode code,
             const Group& group, const std::string& what) {
  absl::Duration longest;
  absl::Duration soonest = absl::InfiniteDuration();
  bool losing = false;
  for (const SoftWorker* worker : group) {
    const absl::Duration away = inquiry.now - AwaySince(inquiry.soft, *worker);
    longest = std::max(longest, away);
    soonest = std::min(soonest, AwayMax(inquiry.soft, *worker) - away);
    losing |= worker->losing;
  }
  const std::vector<std::string> names = NamesOf(group);
  std::string text = Cat(WorkersText(names), what, HowLong(longest));
  if (losing) {
    text += group.size() == 1 ? "; it is being declared lost"
                              : "; some are being declared lost";
  } else {
    text += Cat(group.size() == 1 ? "; it is declared lost in "
                                  : "; the first is declared lost in ",
                HowLong(soonest));
  }
  proto::WhyCause& cause = inquiry.Add(depth, code, std::move(text));
  SetWorkers(cause, names);
  cause.set_count(group.size());
  SetFor(cause, longest);
  if (!losing) SetEnd(cause, soonest);
}

void AddExcluded(Inquiry& inquiry, int depth, const Group& group) {
  const Exclusions& exclusions = inquiry.soft.exclusions;
  for (size_t i = 0; i < group.size() && i < kShownMax; ++i) {
    const SoftWorker& worker = *group[i];
    const absl::Duration left =
        exclusions.Until(worker.entry->number) - inquiry.now;
    proto::WhyCause& cause = inquiry.Add(
        depth, proto::WORKERS_EXCLUDED,
        Cat(WorkersText({worker.entry->name}), " is excluded for ",
            HowLong(left), " more, since tasks fail there; the last was ",
            Said(exclusions.Why(worker.entry->number))));
    SetWorkers(cause, {worker.entry->name});
    cause.set_count(1);
    SetEnd(cause, left);
  }
}

void AddGroup(Inquiry& inquiry, int depth, proto::WhyCode code,
              const Group& group) {
  const std::vector<std::string> names = NamesOf(group);
  const std::string who = WorkersText(names) + Verb(group);
  std::string text;
  switch (code) {
    case proto::WORKERS_AWAY:
      return AddGone(
          inquiry, depth, code, group,
          Cat(group.size() == 1 ? " has" : " have", " had no connection for "));
    case proto::WORKERS_UNREPORTED:
      return AddGone(inquiry, depth, code, group,
                     Cat(group.size() == 1 ? " has" : " have",
                         " not reported to the new leader for "));
    case proto::WORKERS_EXCLUDED:
      return AddExcluded(inquiry, depth, group);
    case proto::WORKERS_DRAINED:
      text = Cat(who, "drained: millrace worker undrain");
      break;
    case proto::WORKERS_DISK_LOW:
      text = Cat(who,
                 "short of disk space: ", HumanBytes(group[0]->free_disk_bytes),
                 " free", group.size() == 1 ? "" : " on the first");
      break;
    case proto::WORKERS_ON_PROBATION:
      text = Cat(who, "on probation, with one task at a time, after ",
                 Said(inquiry.soft.exclusions.Why(group[0]->entry->number)));
      break;
    default:
      text = Cat(who,
                 "given nothing while a failure there is on its way into "
                 "the log");
      break;
  }
  proto::WhyCause& cause = inquiry.Add(depth, code, std::move(text));
  SetWorkers(cause, names);
  cause.set_count(group.size());
}

// All that take nothing, by what keeps them from it.
void AddHindered(Inquiry& inquiry, int depth) {
  std::map<proto::WhyCode, Group> groups;
  for (const auto& [number, worker] : inquiry.soft.workers) {
    const proto::WhyCode code = HindranceOf(worker);
    if (code != proto::WHY_CODE_UNSPECIFIED) groups[code].push_back(&worker);
  }
  for (const auto& [code, group] : groups) {
    AddGroup(inquiry, depth, code, group);
  }
}

void AddNoWorkers(Inquiry& inquiry, int depth) {
  const WorkerTable& all = inquiry.soft.state.workers();
  if (all.size() == 0) {
    inquiry.Add(depth, proto::NO_WORKER_JOINED,
                "no worker has ever joined this cluster: start millrace-worker "
                "with --masters");
    return;
  }
  std::vector<std::string> names;
  for (WorkerNumber i = all.size(); i > 0 && names.size() < kWorkersMax; --i) {
    const std::string& name = all[i - 1].name;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  }
  proto::WhyCause& cause =
      inquiry.Add(depth, proto::ALL_WORKERS_LOST,
                  Cat("no worker is left; lost last: ", WorkersText(names)));
  SetWorkers(cause, names);
}

// The task is kept from this one, which takes tasks.
void AddMisfit(Inquiry& inquiry, int depth, const SoftJob& job,
               const TaskId& task, const SoftWorker& worker) {
  const WorkerNumber number = worker.entry->number;
  const std::string who = WorkersText({worker.entry->name});
  if (const auto until = AvoidedUntil(inquiry.soft, job, number)) {
    const SoftJob::Blame& blame = job.blamed.at(number);
    proto::WhyCause& cause = inquiry.Add(
        depth, proto::AVOIDED_BY_JOB,
        Cat("the job avoids ", who, " for ", HowLong(*until - inquiry.now),
            " more, since its tasks fail there and not elsewhere; the last: ",
            Said(blame.why)));
    SetWorkers(cause, {worker.entry->name});
    SetEnd(cause, *until - inquiry.now);
    return;
  }
  const auto until = KeptElsewhereUntil(inquiry.soft, job, task, worker);
  if (!until.has_value()) return;
  const bool forever = *until == absl::InfiniteDuration();
  proto::WhyCause& cause = inquiry.Add(
      depth, proto::FAILED_ON_WORKER,
      Cat(ToString(task), " has failed on ", who, " and waits for another",
          forever ? std::string()
                  : Cat(", for ", HowLong(*until - inquiry.now), " more")));
  SetWorkers(cause, {worker.entry->name});
  cause.mutable_task()->set_kind(task.kind);
  cause.mutable_task()->set_index(task.index);
  if (!forever) SetEnd(cause, *until - inquiry.now);
}

bool IsKept(const Inquiry& inquiry, const SoftJob& job, const TaskId& task,
            const SoftWorker& worker) {
  return AvoidedUntil(inquiry.soft, job, worker.entry->number).has_value() ||
         KeptElsewhereUntil(inquiry.soft, job, task, worker).has_value();
}

// Reduces that the worker prepares or runs, of jobs whose maps are done or not
// as this one's (placement.cc).
uint32_t ReducesLike(const Inquiry& inquiry, const SoftWorker& worker,
                     bool ready) {
  uint32_t count = 0;
  for (const auto& [order, attempt] : worker.attempts) {
    if (attempt->task.kind != proto::REDUCE_TASK || attempt->reported) continue;
    const Job* job = inquiry.soft.state.FindJob(attempt->job);
    const bool early = job != nullptr && !job->ended() && !job->maps.all_done();
    count += early != ready;
  }
  return count;
}

bool HasPlace(const Inquiry& inquiry, const SoftJob& job, const TaskId& task,
              const SoftWorker& worker) {
  switch (task.kind) {
    case proto::PLAN_TASK:
    case proto::MAP_TASK:
      return worker.taken < worker.slots();
    case proto::REDUCE_TASK:
      return ReducesLike(inquiry, worker, job.job->maps.all_done()) <=
             worker.slots();
    default:
      return true;  // Takes no slot.
  }
}

// Names, by how many they have. `unit` are slots or places.
void AddHolders(Inquiry& inquiry, int depth,
                const std::map<JobId, uint32_t>& by_job, const JobId& self) {
  std::vector<std::pair<JobId, uint32_t>> sorted(by_job.begin(), by_job.end());
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [](const auto& a, const auto& b) { return a.second > b.second; });
  for (size_t i = 0; i < sorted.size() && i < kShownMax; ++i) {
    const auto& [id, count] = sorted[i];
    const Job* job = inquiry.soft.state.FindJob(id);
    std::string text;
    if (id == self) {
      text = Cat("this job itself has ", count, " of them");
    } else {
      text = Cat(JobText(inquiry.soft.state, id), " has ", count, " of them",
                 job == nullptr || job->ended()
                     ? "; it has ended, and its processes are being stopped"
                     : "");
    }
    proto::WhyCause& cause =
        inquiry.Add(depth, proto::SLOTS_OF_JOB, std::move(text));
    cause.set_job_id(std::string(id.bytes()));
    cause.set_count(count);
  }
}

// Of the reduces that workers prepare or run.
void AddPlaceHolders(Inquiry& inquiry, int depth, const JobId& self) {
  std::map<JobId, uint32_t> by_job;
  for (const auto& [uid, attempt] : inquiry.soft.attempts) {
    if (attempt.task.kind == proto::REDUCE_TASK && !attempt.reported) {
      ++by_job[attempt.job];
    }
  }
  AddHolders(inquiry, depth, by_job, self);
}

}  // namespace

proto::WhyCode HindranceOf(const SoftWorker& worker) {
  if (!worker.heard) return proto::WORKERS_UNREPORTED;
  if (!worker.session.has_value() || worker.losing) return proto::WORKERS_AWAY;
  if (worker.draining) return proto::WORKERS_DRAINED;
  if (worker.disk_low) return proto::WORKERS_DISK_LOW;
  if (worker.excluded) return proto::WORKERS_EXCLUDED;
  if (worker.accused > 0) return proto::WORKERS_ACCUSED;
  if (worker.on_probation && !worker.attempts.empty()) {
    return proto::WORKERS_ON_PROBATION;
  }
  return proto::WHY_CODE_UNSPECIFIED;
}

bool IsAway(const Inquiry& inquiry, const SoftWorker& worker) {
  return !worker.session.has_value() || worker.losing ||
         inquiry.now - worker.last_heard >
             kBeatsMissedMax * inquiry.soft.options.heartbeat_interval;
}

void AddAway(Inquiry& inquiry, int depth, const SoftWorker& worker) {
  AddGone(inquiry, depth, proto::WORKERS_AWAY, {&worker},
          worker.session.has_value() ? " has said nothing for "
                                     : " has had no connection for ");
}

void AddLeaderWaits(Inquiry& inquiry, int depth) {
  const SoftState& soft = inquiry.soft;
  Group missing;
  for (const auto& [number, worker] : soft.workers) {
    if (!worker.heard) missing.push_back(&worker);
  }
  const size_t all = soft.workers.size();
  const absl::Duration since = inquiry.now - soft.leading_since;
  proto::WhyCause& cause = inquiry.Add(
      depth, proto::LEADER_WAITS,
      Cat("the leader is new (term ", soft.term, ", for ", HowLong(since),
          ") and grants nothing before all workers have said what they run: ",
          all - missing.size(), " of ", all, " have"));
  cause.set_count(all - missing.size());
  cause.set_of(all);
  SetFor(cause, since);
  if (!missing.empty()) {
    AddGroup(inquiry, depth + 1, proto::WORKERS_UNREPORTED, missing);
  }
}

bool HasSlot(const Attempt& attempt) {
  return attempt.takes_slot() && (attempt.phase == proto::EXECUTING ||
                                  (attempt.task.kind != proto::REDUCE_TASK &&
                                   attempt.started_at.has_value()));
}

void AddSlotHolders(Inquiry& inquiry, int depth, const SoftWorker* worker,
                    const JobId& self) {
  std::map<JobId, uint32_t> by_job;
  const auto count = [&by_job](const SoftWorker& one) {
    for (const auto& [order, attempt] : one.attempts) {
      if (HasSlot(*attempt)) ++by_job[attempt->job];
    }
  };
  if (worker != nullptr) {
    count(*worker);
  } else {
    for (const auto& [number, one] : inquiry.soft.workers) {
      if (one.eligible()) count(one);
    }
  }
  AddHolders(inquiry, depth, by_job, self);
}

void AddCapacity(Inquiry& inquiry, int depth, const SoftJob& job,
                 const TaskId& task) {
  const SoftState& soft = inquiry.soft;
  if (task.kind == proto::PLAN_TASK) {
    const std::string room = WaitsForRoom(soft, job);
    if (!room.empty()) {
      inquiry.Add(depth, proto::NO_ROOM, "it waits for " + room);
      return;
    }
  }
  if (soft.workers.empty()) return AddNoWorkers(inquiry, depth);
  Group takers;
  Group kept;  // Of the takers: may not have this task.
  uint32_t slots = 0;
  uint32_t taken = 0;
  bool place = false;
  for (const auto& [number, worker] : soft.workers) {
    if (!worker.eligible()) continue;
    takers.push_back(&worker);
    slots += worker.slots();
    taken += std::min(worker.taken, worker.slots());
    if (IsKept(inquiry, job, task, worker)) {
      kept.push_back(&worker);
    } else {
      place |= HasPlace(inquiry, job, task, worker);
    }
  }
  if (takers.empty()) {
    proto::WhyCause& cause = inquiry.Add(
        depth, proto::NO_WORKER_READY,
        soft.workers.size() == 1
            ? std::string("the only worker takes no tasks")
            : Cat("none of ", Counted(soft.workers.size(), "worker"),
                  " takes tasks"));
    cause.set_of(soft.workers.size());
    return AddHindered(inquiry, depth + 1);
  }
  if (place) {
    inquiry.Add(depth, proto::GRANT_DUE,
                Cat(ToString(task), " is about to be given to a worker"));
    return;
  }
  if (task.kind == proto::REDUCE_TASK) {
    proto::WhyCause& cause = inquiry.Add(
        depth, proto::PLACES_TAKEN,
        Cat(takers.size() == 1 ? "the only worker that takes tasks prepares"
                               : "all workers that take tasks prepare",
            " as many reduces as may be: one more than slots"));
    cause.set_of(takers.size());
    AddPlaceHolders(inquiry, depth + 1, job.job->id);
  } else {
    proto::WhyCause& cause = inquiry.Add(
        depth, proto::SLOTS_TAKEN,
        Cat(slots == 1 ? "the only slot" : Cat("all ", slots, " slots"), " of ",
            Counted(takers.size(), "worker"), slots == 1 ? " is" : " are",
            " taken; a free one goes to the job that has the fewest, then to "
            "the oldest"));
    cause.set_count(taken);
    cause.set_of(slots);
    AddSlotHolders(inquiry, depth + 1, nullptr, job.job->id);
  }
  for (size_t i = 0; i < kept.size() && i < kShownMax; ++i) {
    AddMisfit(inquiry, depth + 1, job, task, *kept[i]);
  }
  AddHindered(inquiry, depth + 1);
}

}  // namespace millrace::master::why
