// What people see: the queries of SchedulerCore.
#include <algorithm>
#include <string>
#include <utility>

#include "common/strings.h"
#include "master/scheduler/placement.h"
#include "master/scheduler/scheduler_core.h"
#include "master/scheduler/soft_state.h"
#include "master/state/packed_done.h"

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

// Built-in counters have the same name in whichever group.
uint64_t CounterValue(const Job& job, std::string_view name) {
  for (uint32_t i = 0; i < job.totals.counters.size(); ++i) {
    if (job.counter_names.Name(i).second == name) {
      return static_cast<uint64_t>(
          std::max<int64_t>(job.totals.counters[i], 0));
    }
  }
  return 0;
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
  if (live != nullptr) {
    for (const auto& [task, vanished] : live->vanished) launched += vanished;
    for (const auto& [task, attempt] : live->live) {
      launched += task.kind <= proto::REDUCE_TASK;
      if (task.kind == proto::MAP_TASK) {
        status->mutable_maps()->set_running(status->maps().running() +
                                            Runs(*attempt));
        input += attempt->progress.input_bytes();
      } else if (task.kind == proto::REDUCE_TASK) {
        status->mutable_reduces()->set_running(status->reduces().running() +
                                               Runs(*attempt));
        fetched += attempt->progress.fetched_bytes();
      }
    }
  }
  status->set_input_bytes(job.plan.input_bytes());
  status->set_input_bytes_done(std::min(input, job.plan.input_bytes()));
  if (job.reduces.total > 0) {
    status->set_shuffle_bytes_total(job.totals.map_output_bytes);
    status->set_shuffle_bytes_done(
        std::min(fetched, job.totals.map_output_bytes));
  }
  status->mutable_attempts()->set_launched(launched);
  status->mutable_attempts()->set_failed(job.attempts_failed);
  status->mutable_attempts()->set_lost(job.attempts_lost);
}

void FillTask(const SoftState& soft, const Job& job, const TaskId& id,
              proto::TaskStatus* status) {
  id.To(status->mutable_task());
  const Task* task = job.FindTask(id);
  const SoftJob* live = FindSoft(soft, job);
  const Attempt* attempt = nullptr;
  if (live != nullptr) {
    const auto found = live->live.find(id);
    if (found != live->live.end()) attempt = found->second;
  }
  const auto& workers = soft.state.workers();
  if (task != nullptr && task->has_winner) {
    status->set_state("done");
    status->set_worker(workers[task->worker].name);
    status->set_attempt_uid(std::string(task->uid.bytes()));
    const UnpackedDone unpacked = UnpackDone(job, *task);
    const proto::Ledger& ledger = unpacked.done.ledger();
    status->set_records(id.kind == proto::MAP_TASK ? ledger.emitted_records()
                                                   : ledger.output_records());
  } else if (attempt != nullptr) {
    status->set_state(Runs(*attempt) ? "running" : "waiting");
    status->set_worker(workers[attempt->worker].name);
    status->set_attempt_uid(std::string(attempt->uid.bytes()));
    status->set_records(attempt->progress.records());
  } else {
    status->set_state("waiting");
  }
  if (const Trouble* trouble = job.FindTrouble(id)) {
    status->set_failures(trouble->user_failures +
                         trouble->infrastructure_failures);
    status->set_last_failure(trouble->last_message);
  }
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
  status->set_free_disk_bytes(live.free_disk_bytes);
  const bool silent = !live.session.has_value() || live.losing ||
                      soft.now - live.last_heard >
                          kBeatsMissedMax * soft.options.heartbeat_interval;
  status->set_state(silent                  ? "silent"
                    : !draining             ? "up"
                    : live.attempts.empty() ? "drained"
                                            : "draining");
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
  status->set_name(job.spec.name());
  status->set_state(job.state);
  if (job.failure.has_value()) *status->mutable_failure() = *job.failure;
  status->set_output(job.spec.output());
  status->set_planned(job.planned);
  status->set_submitted_at_ms(job.submitted_at_ms);
  status->set_started_at_ms(job.started_at_ms);
  status->set_finished_at_ms(job.finished_at_ms);
  status->set_user(job.spec.user());
  status->set_output_bytes(job.totals.output_bytes);
  status->set_output_records(job.totals.output_records);
  status->set_epoch(job.epoch);
  FillTotals(soft, job, status);
  if (const SoftJob* live = FindSoft(soft, job)) {
    status->set_waiting_for(WaitingFor(soft, *live));
  }
}

void SchedulerCore::FillJobs(uint32_t limit,
                             proto::ListJobsReply* reply) const {
  const auto& jobs = soft_->state.jobs();
  uint32_t shown = 0;
  for (auto at = jobs.rbegin(); at != jobs.rend(); ++at) {
    if (limit != 0 && shown++ == limit) return;
    FillJobStatus(*at->second, reply->add_jobs());
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

void SchedulerCore::FillTasks(const Job& job, proto::GetJobReply* reply) const {
  if (job.ended()) {
    for (const auto& [task, trouble] : job.troubles) {
      if (task.kind != proto::MAP_TASK && task.kind != proto::REDUCE_TASK) {
        continue;
      }
      proto::TaskStatus* status = reply->add_tasks();
      FillTask(*soft_, job, task, status);
      // What became of it in the end is not kept.
      status->set_state(job.state == proto::SUCCEEDED ? "done" : "ended");
    }
    return;
  }
  for (uint32_t i = 0; i < job.maps.total; ++i) {
    FillTask(*soft_, job, {proto::MAP_TASK, i}, reply->add_tasks());
  }
  for (uint32_t i = 0; i < job.reduces.total; ++i) {
    FillTask(*soft_, job, {proto::REDUCE_TASK, i}, reply->add_tasks());
  }
}

void SchedulerCore::FillWorkers(proto::ListWorkersReply* reply) const {
  for (WorkerNumber number : soft_->state.alive_workers()) {
    FillWorkerStatus(*soft_, soft_->state.workers()[number],
                     reply->add_workers());
  }
}

absl::Status SchedulerCore::FillWorker(std::string_view name,
                                       proto::WorkerStatus* status) const {
  const State& state = soft_->state;
  const Worker* worker = state.FindAliveWorker(name);
  if (worker == nullptr) {
    const auto& workers = state.workers();
    const auto last =
        std::find_if(workers.rbegin(), workers.rend(),
                     [name](const Worker& one) { return one.name == name; });
    if (last == workers.rend()) {
      return absl::NotFoundError(
          Av(Cat("no worker is named ", Printable(name))));
    }
    worker = &*last;
  }
  FillWorkerStatus(*soft_, *worker, status);
  return absl::OkStatus();
}

void SchedulerCore::FillLogs(const Job& job, const TaskId* task,
                             proto::LocateLogsReply* reply) const {
  const SoftState& soft = *soft_;
  const auto& workers = soft.state.workers();
  reply->set_job_id(std::string(job.id.bytes()));
  auto wanted = [task](const TaskId& id) {
    return task == nullptr || *task == id;
  };
  auto add = [&](const TaskId& id, const AttemptUid& uid, uint32_t number,
                 WorkerNumber worker) {
    proto::LogLocation* log = reply->add_logs();
    AddRef(job, id, uid, number, log);
    log->set_worker(workers[worker].name);
    if (workers[worker].alive) log->set_address(workers[worker].address);
    return log;
  };
  if (const SoftJob* live = FindSoft(soft, job)) {
    for (const auto& [id, attempt] : live->live) {
      if (!wanted(id)) continue;
      add(id, attempt->uid, attempt->number, attempt->worker)
          ->set_running(!attempt->reported);
    }
  }
  for (const Stage* stage : {&job.maps, &job.reduces}) {
    const proto::TaskKind kind =
        stage == &job.maps ? proto::MAP_TASK : proto::REDUCE_TASK;
    for (uint32_t i = 0; i < stage->tasks.size(); ++i) {
      const Task& one = stage->tasks[i];
      if (!one.has_winner || !wanted({kind, i})) continue;
      add({kind, i}, one.uid, one.attempts > 0 ? one.attempts - 1 : 0,
          one.worker);
    }
  }
  for (auto at = job.recent_failures.rbegin(); at != job.recent_failures.rend();
       ++at) {
    if (!wanted(at->task)) continue;
    add(at->task, at->uid, at->number, at->worker)->set_tail(at->log_tail);
  }
}

}  // namespace millrace::master
