// What people see: the queries of SchedulerCore.
#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/admission.h"
#include "master/scheduler/placement.h"
#include "master/scheduler/scheduler_core.h"
#include "master/scheduler/soft_state.h"
#include "master/state/packed_done.h"
#include "rpc/limits.h"

namespace millrace::master {
namespace {

// Beats that may be missed before a worker is shown as silent.
constexpr int kBeatsMissedMax = 3;

// The soft side of a job; null on a standby, or when it has ended.
const SoftJob* FindSoft(const SoftState& soft, const Job& job) {
  const auto found = soft.jobs.find(job.index);
  return found == soft.jobs.end() ? nullptr : &found->second;
}

bool Runs(const Attempt& attempt) {
  return !attempt.reported &&
         (attempt.phase == proto::EXECUTING ||
          (attempt.takes_slot() && attempt.started_at.has_value()) ||
          attempt.task.kind == proto::CHECK_TASK ||
          attempt.task.kind == proto::PUBLISH_TASK);
}

std::string SecondsUntil(const SoftState& soft, absl::Duration when) {
  const int64_t tenths =
      std::max<int64_t>(0, absl::ToInt64Milliseconds(when - soft.now) / 100);
  return Cat(tenths / 10, ".", tenths % 10, " s");
}

// "all slots are taken by job 0a1b2c3d", "... by 3 other jobs".
std::string SlotsTakenBy(const SoftState& soft, const Job& self) {
  std::set<JobId> others;
  for (const auto& [uid, attempt] : soft.attempts) {
    if (attempt.takes_slot() && attempt.job != self.id) {
      others.insert(attempt.job);
    }
  }
  if (others.empty()) return "";
  if (others.size() == 1) {
    return Cat("all slots are taken by job ", others.begin()->ToShort());
  }
  return Cat("all slots are taken by ", others.size(), " other jobs");
}

// Why no worker can be granted anything; "": some can.
std::string NoWorkers(const SoftState& soft) {
  if (soft.workers.empty()) return "no workers have joined";
  size_t away = 0;
  size_t draining = 0;
  size_t full = 0;
  for (const auto& [number, worker] : soft.workers) {
    if (worker.eligible()) return "";
    if (!worker.session.has_value() || worker.losing) {
      ++away;
    } else if (worker.draining) {
      ++draining;
    } else if (worker.disk_low) {
      ++full;
    }
  }
  if (away == soft.workers.size()) return "no worker is connected";
  if (draining == soft.workers.size()) return "all workers are draining";
  if (full == soft.workers.size()) return "all workers are short of disk space";
  return "all workers are away, draining or short of disk space";
}

std::string WaitingFor(const SoftState& soft, const SoftJob& job) {
  const Job& record = *job.job;
  if (record.decided && !job.publish_error.empty()) {
    const auto delayed = job.delayed.find({proto::PUBLISH_TASK, 0});
    return Cat(
        "the store refuses the output (", job.publish_failures,
        " times): ", Printable(job.publish_error),
        delayed == job.delayed.end()
            ? ""
            : Cat("; next attempt in ", SecondsUntil(soft, delayed->second)));
  }
  for (const auto& [task, attempt] : job.live) {
    if (Runs(*attempt)) return "";
  }
  if (std::string why = WaitsForRoom(soft, job); !why.empty()) return why;
  if (std::string why = NoWorkers(soft); !why.empty()) return why;
  if (!GrantsOpen(soft, job)) {
    return "not all workers have reported to the new leader";
  }
  for (const auto& [task, when] : job.delayed) {
    const Trouble* trouble = record.FindTrouble(task);
    return Cat("another attempt of ", ToString(task), " in ",
               SecondsUntil(soft, when), " (last failure: ",
               trouble == nullptr ? "" : Printable(trouble->last_message), ")");
  }
  for (const auto& [task, attempt] : job.live) {
    if (attempt->reported) return "";
    if (attempt->phase == proto::WAITING) {
      if (std::string why = SlotsTakenBy(soft, record); !why.empty())
        return why;
      return "a slot";
    }
  }
  if (!job.live.empty()) return "";  // They fetch what they need.
  return SlotsTakenBy(soft, record);
}

void FillTotals(const SoftState& soft, const Job& job,
                proto::JobStatus* status) {
  const SoftJob* live = FindSoft(soft, job);
  status->mutable_maps()->set_total(job.maps.total);
  status->mutable_maps()->set_done(job.maps.done);
  status->mutable_reduces()->set_total(job.reduces.total);
  status->mutable_reduces()->set_done(job.reduces.done);
  uint64_t input = CounterValue(job, "MAP_INPUT_BYTES");
  uint64_t fetched = CounterValue(job, "REDUCE_SHUFFLE_BYTES");
  uint64_t launched = job.attempts_seen;
  uint64_t speculative = job.attempts_speculative;
  if (live != nullptr) {
    for (const auto& [task, vanished] : live->vanished) launched += vanished;
    for (auto at = live->live.begin(); at != live->live.end();) {
      const TaskId task = at->first;
      const Task* known = job.FindTask(task);
      // Of two attempts the one that is further.
      bool runs = false;
      uint64_t read = 0;
      uint64_t copied = 0;
      for (; at != live->live.end() && at->first == task; ++at) {
        const Attempt& attempt = *at->second;
        runs |= Runs(attempt);
        read = std::max(read, attempt.progress.input_bytes());
        copied = std::max(copied, attempt.progress.fetched_bytes());
        // The winner's entry has counted those that it has beaten.
        if (known != nullptr && attempt.number < known->attempts) continue;
        launched += task.kind <= proto::REDUCE_TASK;
        speculative += attempt.speculative;
      }
      if (known != nullptr && known->has_winner) continue;
      if (task.kind == proto::MAP_TASK) {
        status->mutable_maps()->set_running(status->maps().running() + runs);
        input += read;
      } else if (task.kind == proto::REDUCE_TASK) {
        status->mutable_reduces()->set_running(status->reduces().running() +
                                               runs);
        fetched += copied;
      }
    }
  }
  status->set_input_bytes(job.plan->input_bytes());
  if (job.plan->has_map_output_estimate()) {
    status->set_map_output_estimate(job.plan->map_output_estimate());
  }
  status->set_input_bytes_done(std::min(input, job.plan->input_bytes()));
  if (job.reduces.total > 0) {
    status->set_shuffle_bytes_total(job.totals.map_output_bytes);
    status->set_shuffle_bytes_done(
        std::min(fetched, job.totals.map_output_bytes));
  }
  status->mutable_attempts()->set_launched(launched);
  status->mutable_attempts()->set_failed(job.attempts_failed);
  status->mutable_attempts()->set_lost(job.attempts_lost);
  status->mutable_attempts()->set_speculative(speculative);
  status->set_bad_records(job.bad_records_count);
  if (job.largest_reduce_records > 0) {
    proto::LargestReduce* largest = status->mutable_largest_reduce();
    largest->set_reduce(job.largest_reduce);
    largest->set_records(job.largest_reduce_records);
    largest->set_records_of_all(job.totals.ledger.merged().records());
  }
}

void FillTask(const SoftState& soft, const Job& job, const TaskId& id,
              proto::TaskStatus* status) {
  id.To(status->mutable_task());
  const Task* task = job.FindTask(id);
  const SoftJob* live = FindSoft(soft, job);
  const Attempt* attempt = nullptr;
  const Attempt* second = nullptr;
  if (live != nullptr) {
    const auto [begin, end] = live->live.equal_range(id);
    if (begin != end) attempt = begin->second;
    if (std::distance(begin, end) > 1) second = std::next(begin)->second;
  }
  const auto& workers = soft.state.workers();
  if (task != nullptr && task->has_winner) {
    status->set_state("done");
    status->set_worker(workers[task->worker].name);
    status->set_attempt_uid(std::string(task->uid.bytes()));
    const UnpackedDone unpacked = UnpackDone(job, id);
    const proto::Ledger& ledger = unpacked.done.ledger();
    status->set_records(id.kind == proto::MAP_TASK ? ledger.emitted_records()
                                                   : ledger.output_records());
  } else if (attempt != nullptr) {
    status->set_state(Runs(*attempt) ? "running" : "waiting");
    status->set_worker(workers[attempt->worker].name);
    status->set_attempt_uid(std::string(attempt->uid.bytes()));
    status->set_records(attempt->progress.records());
    if (second != nullptr) {
      status->set_second_worker(workers[second->worker].name);
    }
  } else {
    status->set_state("waiting");
  }
  if (const Trouble* trouble = job.FindTrouble(id)) {
    status->set_failures(trouble->user_failures +
                         trouble->infrastructure_failures);
    status->set_last_failure(trouble->last_message);
  }
}

// Map outputs on the worker that a reduce still has to read.
uint32_t OutputsNeeded(const SoftState& soft, WorkerNumber worker) {
  uint32_t needed = 0;
  for (const auto& [index, job] : soft.state.live_jobs()) {
    if (job->reduces.all_done()) continue;
    for (const Task& map : job->maps.tasks) {
      needed += map.has_winner && map.worker == worker;
    }
  }
  return needed;
}

void FillWorkerStatus(const SoftState& soft, const Worker& worker,
                      proto::WorkerStatus* status) {
  status->set_incarnation(std::string(worker.incarnation.bytes()));
  status->set_name(worker.name);
  status->set_host_id(worker.host_id);
  status->set_address(worker.address);
  status->set_slots(worker.slots);
  status->set_version(worker.version);
  const bool draining = soft.state.IsDraining(worker.name);
  const auto found = soft.workers.find(worker.number);
  if (found == soft.workers.end()) {  // A standby sees the log alone.
    status->set_state(draining ? "draining" : worker.alive ? "up" : "silent");
    return;
  }
  const SoftWorker& live = found->second;
  uint32_t running = 0;
  for (const auto& [order, attempt] : live.attempts) running += Runs(*attempt);
  status->set_running(running);
  status->set_pid(live.pid);
  status->set_memory_guard(Printable(live.memory_guard, 20));
  status->set_free_disk_bytes(live.free_disk_bytes);
  status->set_disk_low(live.disk_low);
  status->set_disk_why(Printable(live.disk_why, 400));
  status->set_spool_bytes(live.spool_bytes);
  status->set_spool_limit_bytes(live.spool_bytes_max);
  const bool silent = !live.session.has_value() || live.losing ||
                      soft.now - live.last_heard >
                          kBeatsMissedMax * soft.options.heartbeat_interval;
  if (silent) {
    status->set_state("silent");
  } else if (draining) {
    status->set_outputs_needed(OutputsNeeded(soft, worker.number));
    status->set_state(live.attempts.empty() && status->outputs_needed() == 0
                          ? "drained"
                          : "draining");
  } else if (live.excluded) {
    status->set_state("excluded");
    status->set_excluded_for_ms(absl::ToInt64Milliseconds(
        std::max(soft.exclusions.Until(worker.number) - soft.now,
                 absl::ZeroDuration())));
  } else {
    status->set_state(live.on_probation ? "probation" : "up");
  }
  status->set_why(Printable(soft.exclusions.Why(worker.number), 400));
}

void AddRef(const Job& job, const TaskId& task, const AttemptUid& uid,
            uint32_t number, proto::LogLocation* out) {
  proto::AttemptRef* ref = out->mutable_attempt();
  ref->set_job_id(std::string(job.id.bytes()));
  task.To(ref->mutable_task());
  ref->set_attempt_uid(std::string(uid.bytes()));
  ref->set_number(number);
}

}  // namespace

void SchedulerCore::FillJobStatus(const Job& job,
                                  proto::JobStatus* status) const {
  const SoftState& soft = *soft_;
  status->set_job_id(std::string(job.id.bytes()));
  status->set_name(job.spec->name());
  status->set_state(job.state);
  if (job.failure != nullptr) *status->mutable_failure() = *job.failure;
  status->set_output(job.spec->output());
  status->set_planned(job.planned);
  status->set_submitted_at_ms(job.submitted_at_ms);
  status->set_started_at_ms(job.started_at_ms);
  status->set_finished_at_ms(job.finished_at_ms);
  status->set_user(job.spec->user());
  status->set_output_bytes(job.totals.output_bytes);
  status->set_output_records(job.totals.output_records);
  status->set_epoch(job.epoch);
  FillTotals(soft, job, status);
  if (const SoftJob* live = FindSoft(soft, job)) {
    status->set_waiting_for(WaitingFor(soft, *live));
  }
}

void SchedulerCore::FillJobs(uint32_t limit, uint64_t before,
                             proto::ListJobsReply* reply) const {
  const auto& jobs = soft_->state.jobs();
  auto at = before == 0 ? jobs.end() : jobs.lower_bound(before);
  size_t bytes = 0;
  for (uint32_t shown = 0; at != jobs.begin(); ++shown) {
    if (limit != 0 && shown == limit) return;
    if (bytes >= rpc::kPartBytes) {
      reply->set_next(at->first);
      return;
    }
    --at;
    FillJobStatus(*at->second, reply->add_jobs());
    bytes += reply->jobs(reply->jobs_size() - 1).ByteSizeLong();
  }
}

void SchedulerCore::FillCounters(const Job& job,
                                 proto::GetJobReply* reply) const {
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < job.totals.counters.size(); ++i) order.push_back(i);
  std::sort(order.begin(), order.end(), [&job](uint32_t a, uint32_t b) {
    return job.counter_names.Name(a) < job.counter_names.Name(b);
  });
  for (uint32_t i : order) {
    proto::Counter* counter = reply->add_counters();
    counter->set_group(job.counter_names.Name(i).first);
    counter->set_name(job.counter_names.Name(i).second);
    counter->set_value(job.totals.counters[i]);
  }
}

void SchedulerCore::FillAvoided(const Job& job,
                                proto::GetJobReply* reply) const {
  const SoftJob* live = FindSoft(*soft_, job);
  if (live == nullptr) return;
  for (const auto& [worker, blame] : live->blamed) {
    if (!blame.excluded_at.has_value()) continue;
    proto::AvoidedWorker* avoided = reply->add_avoided();
    avoided->set_worker(soft_->state.workers()[worker].name);
    avoided->set_tasks(static_cast<uint32_t>(blame.tasks.size()));
    avoided->set_why(Printable(blame.why, 400));
  }
}

void SchedulerCore::FillTasks(const Job& job, const TaskId* after,
                              proto::GetJobReply* reply) const {
  size_t bytes = 0;
  // False: the page is full.
  auto add = [&](const TaskId& id) {
    if (bytes >= rpc::kPartBytes) {
      reply->set_more_tasks(true);
      return false;
    }
    proto::TaskStatus* status = reply->add_tasks();
    FillTask(*soft_, job, id, status);
    // What became of it in the end is not kept.
    if (job.ended()) {
      status->set_state(job.state == proto::SUCCEEDED ? "done" : "ended");
    }
    bytes += status->ByteSizeLong();
    return true;
  };
  if (job.ended()) {
    auto at = after == nullptr ? job.troubles.begin()
                               : job.troubles.upper_bound(*after);
    for (; at != job.troubles.end(); ++at) {
      const proto::TaskKind kind = at->first.kind;
      if (kind != proto::MAP_TASK && kind != proto::REDUCE_TASK) continue;
      if (!add(at->first)) return;
    }
    return;
  }
  const TaskId first = after == nullptr ? TaskId{proto::MAP_TASK, 0}
                                        : TaskId{after->kind, after->index + 1};
  if (first.kind <= proto::MAP_TASK) {
    for (uint32_t i = first.index; i < job.maps.total; ++i) {
      if (!add({proto::MAP_TASK, i})) return;
    }
  }
  for (uint32_t i = first.kind == proto::REDUCE_TASK ? first.index : 0;
       i < job.reduces.total; ++i) {
    if (!add({proto::REDUCE_TASK, i})) return;
  }
}

void SchedulerCore::FillWorkers(uint32_t from,
                                proto::ListWorkersReply* reply) const {
  const auto& alive = soft_->state.alive_workers();
  size_t bytes = 0;
  for (auto at = alive.lower_bound(from); at != alive.end(); ++at) {
    if (bytes >= rpc::kPartBytes) {
      reply->set_next(*at);
      return;
    }
    proto::WorkerStatus* status = reply->add_workers();
    FillWorkerStatus(*soft_, soft_->state.workers()[*at], status);
    bytes += status->ByteSizeLong();
  }
}

absl::Status SchedulerCore::FillWorker(std::string_view name,
                                       proto::WorkerStatus* status) const {
  const State& state = soft_->state;
  // The one that is alive, if one is: a name has to be free to join.
  const Worker* worker = state.FindLastWorker(name);
  if (worker == nullptr) {
    return absl::NotFoundError(Av(Cat("no worker is named ", Printable(name))));
  }
  FillWorkerStatus(*soft_, *worker, status);
  return absl::OkStatus();
}

void SchedulerCore::FillLogs(const Job& job, const TaskId* task,
                             const proto::LogCursor& cursor,
                             proto::LocateLogsReply* reply) const {
  const SoftState& soft = *soft_;
  const auto& workers = soft.state.workers();
  reply->set_job_id(std::string(job.id.bytes()));
  // The last that was listed, here or on the page before.
  std::optional<TaskId> last;
  if (cursor.has_after()) last = TaskId::From(cursor.after());
  size_t bytes = 0;
  auto full = [&](uint32_t list) {
    if (bytes < rpc::kPartBytes) return false;
    reply->mutable_next()->set_list(list);
    if (last.has_value()) last->To(reply->mutable_next()->mutable_after());
    return true;
  };
  auto add = [&](const TaskId& id, const AttemptUid& uid, uint32_t number,
                 WorkerNumber worker) {
    proto::LogLocation* log = reply->add_logs();
    AddRef(job, id, uid, number, log);
    log->set_worker(workers[worker].name);
    if (workers[worker].alive) log->set_address(workers[worker].address);
    bytes += log->ByteSizeLong();
    last = id;
    return log;
  };

  if (const SoftJob* live = FindSoft(soft, job);
      live != nullptr && cursor.list() == 0) {
    auto at =
        last.has_value() ? live->live.upper_bound(*last) : live->live.begin();
    for (; at != live->live.end(); ++at) {
      const auto& [id, attempt] = *at;
      if (task != nullptr && *task != id) continue;
      // Two attempts of one task stand on one page.
      if (last != id && full(0)) return;
      add(id, attempt->uid, attempt->number, attempt->worker)
          ->set_running(!attempt->reported);
    }
  }
  if (cursor.list() != 1) last.reset();
  for (const Stage* stage : {&job.maps, &job.reduces}) {
    if (cursor.list() > 1) break;
    const proto::TaskKind kind =
        stage == &job.maps ? proto::MAP_TASK : proto::REDUCE_TASK;
    if (task != nullptr && task->kind != kind) continue;
    if (last.has_value() && kind < last->kind) continue;
    size_t i = last.has_value() && kind == last->kind ? last->index + 1 : 0;
    size_t end = stage->tasks.size();
    if (task != nullptr) {
      i = std::max<size_t>(i, task->index);
      end = std::min<size_t>(end, size_t{task->index} + 1);
    }
    for (; i < end; ++i) {
      const Task& one = stage->tasks[i];
      if (!one.has_winner) continue;
      if (full(1)) return;
      add({kind, static_cast<uint32_t>(i)}, one.uid,
          one.attempts > 0 ? one.attempts - 1 : 0, one.worker);
    }
  }
  // Few, so they need no page of their own.
  for (auto at = job.recent_failures->rbegin();
       at != job.recent_failures->rend(); ++at) {
    if (task != nullptr && *task != at->task) continue;
    add(at->task, at->uid, at->number, at->worker)->set_tail(at->log_tail);
  }
}

}  // namespace millrace::master
