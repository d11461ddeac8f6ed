#include "master/scheduler/testing/index_check.h"

#include <initializer_list>
#include <map>
#include <set>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/silence.h"
#include "master/state/task_id.h"

namespace millrace::master::testing {
namespace {

// The job of that id, if it has not ended; from the state alone.
const Job* LiveJob(const SoftState& soft, const JobId& id) {
  const Job* job = soft.state.FindJob(id);
  return job != nullptr && soft.jobs.count(job->index) > 0 ? job : nullptr;
}

// As a search that looks at each attempt would count.
SoftWorker Recounted(const SoftState& soft, const SoftWorker& worker) {
  SoftWorker counted = worker;
  counted.taken = counted.waiting = counted.accused = counted.stopping = 0;
  counted.early_reduces = counted.ready_reduces = 0;
  counted.preparing_reduces = counted.due_reduces = 0;
  counted.reduces.clear();
  for (const auto& [order, attempt] : worker.attempts) {
    counted.taken += attempt->takes_slot();
    counted.waiting += attempt->waits();
    counted.accused += attempt->blames;
    counted.stopping += attempt->takes_slot() && attempt->killed;
    if (attempt->task.kind != proto::REDUCE_TASK || attempt->reported) continue;
    const SoftJob* job = nullptr;
    if (const Job* live = LiveJob(soft, attempt->job)) {
      job = &soft.jobs.at(live->index);
    }
    if (job != nullptr) ++counted.reduces[job->job->index].count;
    if (job != nullptr && !job->inputs_there) {
      ++counted.early_reduces;
    } else {
      ++counted.ready_reduces;
      counted.preparing_reduces += !attempt->takes_slot();
      counted.due_reduces += job != nullptr && !attempt->takes_slot();
    }
  }
  return counted;
}

std::string SumsFault(const SoftState& soft, const SoftWorker& worker,
                      const SoftWorker& counted) {
  if (counted.taken != worker.taken || counted.waiting != worker.waiting ||
      counted.accused != worker.accused ||
      counted.stopping != worker.stopping ||
      counted.early_reduces != worker.early_reduces ||
      counted.ready_reduces != worker.ready_reduces ||
      counted.preparing_reduces != worker.preparing_reduces ||
      counted.due_reduces != worker.due_reduces) {
    return "the sums over its attempts";
  }
  if (!(KeysOf(soft.options, counted) == worker.keys) ||
      !(LaterKeysOf(counted, worker.keys) == worker.later_keys)) {
    return "its keys";
  }
  if (counted.reduces.size() != worker.reduces.size()) return "its reduces";
  for (const auto& [job, reduces] : counted.reduces) {
    const auto found = worker.reduces.find(job);
    if (found == worker.reduces.end() || found->second.count != reduces.count ||
        found->second.key != JobReduceKeyOf(counted, worker.later_keys,
                                            reduces.count,
                                            soft.jobs.at(job).inputs_there)) {
      return "its reduces of a job";
    }
  }
  return "";
}

// Whether all know of the worker who have to do something about it.
std::string WatchersFault(const SoftState& soft, const SoftWorker& worker) {
  const auto due = CheckDueAt(soft, worker);
  if (due.has_value() && !worker.check_at.has_value()) return "no check";
  if (due.has_value() && *worker.check_at > *due) return "its check is late";
  if (worker.check_at.has_value() &&
      soft.checks.count({*worker.check_at, worker.entry->number}) == 0) {
    return "its check is lost";
  }
  if (worker.heard == (soft.unheard.count(worker.entry->number) > 0)) {
    return "whether it was heard";
  }
  for (const JobId& job : worker.present) {
    const auto holders = soft.holders.find(job);
    if (holders == soft.holders.end() ||
        holders->second.count(worker.entry->number) == 0) {
      return "it is no holder of what it holds";
    }
  }
  for (const auto& [job, told] : worker.located) {
    const Job* live = LiveJob(soft, job);
    if (live == nullptr) continue;
    const SoftJob& reader_of = soft.jobs.at(live->index);
    const auto reader = reader_of.readers.find(worker.entry->number);
    if (reader == reader_of.readers.end() || reader->second != &worker) {
      return "it is no reader";
    }
    if (told < live->maps.total &&
        reader_of.untold.count(worker.entry->number) == 0) {
      return "nobody will tell it the rest";
    }
  }
  if (!worker.session.has_value()) return "";
  for (const auto& [order, attempt] : worker.attempts) {
    const Job* job = LiveJob(soft, attempt->job);
    if (job == nullptr || !attempt->in_live ||
        attempt->task.kind != proto::REDUCE_TASK ||
        worker.located.count(job->id) > 0) {
      continue;
    }
    if (soft.jobs.at(job->index).new_readers.count(worker.entry->number) == 0) {
      return "nobody will tell it anything";
    }
  }
  return "";
}

// What is excluded is what would be if it was judged now.
std::string ExclusionsFault(const SoftState& soft) {
  if (!soft.leading() || soft.exclusions.empty() ||
      soft.options.mutant.never_exclude) {
    return "";
  }
  std::set<WorkerNumber> sound;
  for (const auto& [number, worker] : soft.workers) {
    if (worker.sound()) sound.insert(number);
  }
  using Standing = Exclusions::Standing;
  Exclusions again = soft.exclusions;
  again.Update(sound, soft.now);
  bool any_good = false;
  for (WorkerNumber number : sound) {
    any_good |= again.Of(number) == Standing::kGood;
  }
  for (const auto& [number, worker] : soft.workers) {
    const Standing standing = again.Of(number);
    if (standing != soft.exclusions.Of(number) ||
        worker.excluded != (standing == Standing::kExcluded) ||
        worker.on_probation != (standing == Standing::kProbation && any_good)) {
      return Cat(worker.entry->name, ": whether it is excluded");
    }
  }
  return "";
}

// The index as it would be if it was made now.
std::string OrdersFault(const SoftState& soft,
                        std::map<WorkerNumber, SoftWorker>& counted) {
  WorkerIndex index(soft.options);
  for (const auto& [number, job] : soft.jobs) {
    index.SetReady(number, job.inputs_there);
  }
  for (auto& [number, worker] : counted) {
    worker.keys = WorkerKeys();
    worker.later_keys = LaterKeys();
    worker.unsettled = false;
    for (auto& [job, reduces] : worker.reduces) reduces.key.reset();
    index.Update(worker);
  }
  const WorkerIndex& has = soft.index;
  if (index.eligible() != has.eligible() || index.slots() != has.slots() ||
      index.largest() != has.largest() || index.free() != has.free() ||
      index.spare() != has.spare() || index.queued() != has.queued() ||
      index.stopping() != has.stopping() || index.sound() != has.sound()) {
    return "the sums over workers";
  }
  if (!(index.by_free() == has.by_free())) return "the order by free slots";
  if (!(index.by_spare() == has.by_spare())) return "the order by spare slots";
  if (!(index.by_attempts() == has.by_attempts())) {
    return "the order by attempts";
  }
  if (!(index.by_taken() == has.by_taken())) return "the order by taken slots";
  if (!(index.with_queue_room() == has.with_queue_room())) {
    return "workers whose queue has room";
  }
  if (!(index.with_waiting() == has.with_waiting())) {
    return "workers where reduces wait";
  }
  if (!(index.by_last_queued() == has.by_last_queued())) {
    return "the order of queues";
  }
  for (const bool ready : {false, true}) {
    if (!(index.for_reduce(ready) == has.for_reduce(ready))) {
      return "the order for reduces";
    }
  }
  for (const auto& [number, job] : soft.jobs) {
    if (!(index.for_reduce_of(number) == has.for_reduce_of(number))) {
      return Cat("the order for reduces of job ", job.job->id.ToShort());
    }
  }
  return "";
}

std::string JobFault(const SoftState& soft, const SoftJob& job) {
  decltype(job.attempts) attempts;
  decltype(job.on) on;
  uint32_t running = 0;
  for (const auto& [number, worker] : soft.workers) {
    for (const auto& [order, attempt] : worker.attempts) {
      if (attempt->job != job.job->id) continue;
      attempts[order] = attempt;
      ++on[number];
      running += attempt->takes_slot();
    }
  }
  if (attempts != job.attempts || on != job.on || running != job.running) {
    return "its attempts";
  }
  std::set<TaskId> tasks;
  for (const auto& [task, attempt] : job.live) tasks.insert(task);
  uint32_t maps = 0;
  uint32_t reduces = 0;
  for (const TaskId& task : tasks) {
    maps += task.kind == proto::MAP_TASK;
    reduces += task.kind == proto::REDUCE_TASK;
  }
  if (tasks.size() != job.live_tasks || maps != job.live_maps ||
      reduces != job.live_reduces) {
    return "its tasks with an attempt";
  }
  if (soft.leading() && !soft.workers.empty() &&
      job.inputs_there != job.job->maps.all_done()) {
    return "whether its maps have all won";
  }
  for (const auto& [task, when] : job.delayed) {
    if (when < job.next_delayed) return "the next one of those that wait";
  }
  for (const auto& [number, reader] : job.readers) {
    if (reader->located.count(job.job->id) == 0) return "its readers";
  }
  for (WorkerNumber number : job.untold) {
    if (job.readers.count(number) == 0) return "readers that are to be told";
  }
  if (!job.untold.empty() && !job.telling) return "readers that are forgotten";
  return "";
}

std::string SessionsFault(const SoftState& soft) {
  std::map<std::string, std::set<SessionId>> parked;
  for (const auto& [id, session] : soft.sessions) {
    if (session->parked.has_value()) {
      parked[session->parked->incarnation()].insert(id);
    }
  }
  return parked == soft.parked ? "" : "parked sessions";
}

std::string CleaningsFault(const SoftState& soft) {
  for (const auto& [job, cleaning] : soft.cleanings) {
    for (WorkerNumber number : cleaning.untold) {
      if (cleaning.waiting.count(number) == 0) {
        return "a worker that has dropped a job is to be told to";
      }
    }
    if (!soft.all_heard) continue;
    if (cleaning.remover.has_value()) continue;
    for (WorkerNumber number : cleaning.waiting) {
      const auto worker = soft.workers.find(number);
      if (worker != soft.workers.end() && worker->second.session.has_value() &&
          cleaning.told.count(number) == 0 &&
          cleaning.untold.count(number) == 0) {
        return Cat(worker->second.entry->name,
                   ": nobody will tell it to drop a job");
      }
    }
  }
  return "";
}

// The first that is not "".
std::string FirstOf(std::initializer_list<std::string> faults) {
  for (const std::string& fault : faults) {
    if (!fault.empty()) return fault;
  }
  return "";
}

}  // namespace

std::string IndexFault(const SoftState& soft) {
  std::map<WorkerNumber, SoftWorker> counted;
  soft.index.Settle();
  size_t watched = 0;
  size_t unheard = 0;
  size_t held = 0;
  for (const auto& [number, worker] : soft.workers) {
    const SoftWorker& now =
        counted.emplace(number, Recounted(soft, worker)).first->second;
    const std::string fault =
        FirstOf({SumsFault(soft, worker, now), WatchersFault(soft, worker)});
    if (!fault.empty()) return Cat(worker.entry->name, ": ", fault);
    watched += worker.check_at.has_value();
    unheard += !worker.heard;
    held += worker.present.size();
  }
  if (watched != soft.checks.size()) return "checks of workers that are gone";
  if (unheard != soft.unheard.size()) return "silence of workers that are gone";
  for (const auto& [job, holders] : soft.holders) held -= holders.size();
  if (held != 0) return "holders of jobs";
  for (const auto& [number, job] : soft.jobs) {
    const std::string fault = JobFault(soft, job);
    if (!fault.empty()) return Cat("job ", job.job->id.ToShort(), ": ", fault);
  }
  return FirstOf({OrdersFault(soft, counted), ExclusionsFault(soft),
                  SessionsFault(soft), CleaningsFault(soft)});
}

}  // namespace millrace::master::testing
