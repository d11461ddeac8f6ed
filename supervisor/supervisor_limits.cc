// What a clock decides: limits on time, memory and output, and deadlines of a
// child's end.
#include <sys/timerfd.h>

#include <algorithm>
#include <csignal>

#include "common/logging.h"
#include "common/strings.h"
#include "supervisor/supervisor_impl.h"

namespace millrace::supervisor {
namespace {

// A page takes about 0.25 us to touch for the first time, so a child outgrows
// its limit by at most 400 MB between two looks, and by a few MB in practice. A
// look costs 2 us.
constexpr absl::Duration kMemoryInterval = absl::Milliseconds(25);
// A look at the whole tree reads all of /proc: as often as this, and no more
// than one part in kTreeCostShare of the time.
constexpr absl::Duration kTreeInterval = absl::Milliseconds(250);
constexpr int kTreeCostShare = 100;
// A process that is just being started may share, and seem to double, the
// memory of its parent; so one look is not enough.
constexpr int kTreeLooksToKill = 2;

// A silent task is killed between one timeout and nine eighths of it.
constexpr int kProgressLooks = 8;
constexpr absl::Duration kProgressIntervalMin = absl::Milliseconds(2);
constexpr absl::Duration kProgressIntervalMax = absl::Seconds(1);

// How often, and how long, the answer to a request for a stack is awaited.
constexpr absl::Duration kStackInterval = absl::Milliseconds(5);
constexpr absl::Duration kStackPatience = absl::Milliseconds(200);

bool IsLimit(absl::Duration limit) { return limit > absl::ZeroDuration(); }

// Between two looks at a task's progress; infinite: there are none.
absl::Duration ProgressInterval(const ChildOptions& options) {
  absl::Duration least = absl::InfiniteDuration();
  for (const absl::Duration limit :
       {options.task_timeout, options.task_time_limit}) {
    if (IsLimit(limit)) least = std::min(least, limit);
  }
  if (least == absl::InfiniteDuration()) return least;
  return std::clamp(least / kProgressLooks, kProgressIntervalMin,
                    kProgressIntervalMax);
}

}  // namespace

void SupervisorImpl::StartTaskClocks(Child& child) {
  const absl::Duration now = clock_.Monotonic();
  if (child.options.memory_limit_bytes > 0) {
    child.memory_check =
        now + (child.cgroup != nullptr ? kTreeInterval : kMemoryInterval);
    child.tree_over_limit = 0;
  }
  child.progress_seen = page(child).progress.load(std::memory_order_relaxed);
  child.progress_seen_at = now;
  child.silence = absl::ZeroDuration();
  child.task_time = absl::ZeroDuration();
  child.progress_check = now + ProgressInterval(child.options);
}

void SupervisorImpl::StopTaskClocks(Child& child) {
  child.memory_check = absl::InfiniteDuration();
  child.progress_check = absl::InfiniteDuration();
}

void SupervisorImpl::RunTimers() {
  const absl::Duration now = clock_.Monotonic();
  std::vector<ChildId> due;
  for (const auto& [id, child] : children_) {
    if (NextDeadline(*child) <= now) due.push_back(id);
  }
  for (ChildId id : due) {
    if (Child* child = Find(id)) RunTimersOf(*child, now);
  }
}

void SupervisorImpl::RunTimersOf(Child& child, absl::Duration now) {
  if (child.start_deadline <= now) {
    child.start_deadline = absl::InfiniteDuration();
    Condemn(
        child, proto::SPAWN_FAILED,
        Cat(Printable(child.options.executable), " was not ready for a task ",
            absl::FormatDuration(child.options.start_timeout),
            " after its start; is it a Millrace program?"),
        false);
  }
  if (child.exit_deadline <= now) {
    child.exit_deadline = absl::InfiniteDuration();
    if (child.stopping) {
      Condemn(child, proto::FAILURE_CAUSE_UNSPECIFIED,
              "killed, because it did not end when it was told to", false);
    } else {
      // What is ending for our sake is not asked why.
      const bool stopped =
          page(child).supervisor_stopped.load(std::memory_order_acquire) != 0;
      CondemnTask(child, stopped ? proto::WORKER_LOST : proto::EXITED,
                  "task process closed its task socket", false);
    }
  }
  if (child.progress_check <= now) CheckProgress(child, now);
  if (child.memory_check <= now) CheckMemory(child, now);
  if (child.stack_check <= now) CheckStack(child, now);
  // Last: it may be the end of the child.
  if (std::min(child.victim_check, child.victim_deadline) <= now) {
    CheckVictims(child, now);
  }
}

void SupervisorImpl::CheckProgress(Child& child, absl::Duration now) {
  const absl::Duration interval = ProgressInterval(child.options);
  // When we ourselves were stopped or starved, so may the child have been: only
  // time that was watched counts.
  const absl::Duration watched =
      std::min(now - child.progress_seen_at, 2 * interval);
  const uint64_t progress =
      page(child).progress.load(std::memory_order_relaxed);
  child.silence = progress == child.progress_seen ? child.silence + watched
                                                  : absl::ZeroDuration();
  child.progress_seen = progress;
  child.task_time += watched;
  child.progress_seen_at = now;
  child.progress_check = now + interval;
  const absl::Duration timeout = child.options.task_timeout;
  const absl::Duration limit = child.options.task_time_limit;
  if (IsLimit(timeout) && child.silence >= timeout) {
    CondemnTask(child, proto::TASK_TIMEOUT,
                Cat("no progress for ", absl::FormatDuration(timeout),
                    " (--task-timeout)"),
                true);
  } else if (IsLimit(limit) && child.task_time >= limit) {
    CondemnTask(child, proto::TASK_TIMEOUT,
                Cat("ran for ", absl::FormatDuration(limit),
                    " and has not ended (--task-time-limit)"),
                true);
  }
}

void SupervisorImpl::Enclose(Child& child) {
  if (cgroups_ == nullptr || child.options.memory_limit_bytes == 0) return;
  auto cgroup = cgroups_->Make(child.options.memory_limit_bytes);
  const absl::Status status =
      cgroup.ok() ? (*cgroup)->Add(child.pid) : cgroup.status();
  if (status.ok()) {
    child.cgroup = *std::move(cgroup);
    return;
  }
  LOG_EVERY_N(WARNING, 100) << "memory of a task process is watched, since it "
                               "has no cgroup: "
                            << ToStd(status.message());
}

std::optional<std::string> SupervisorImpl::KernelsVerdict(const Child& child) {
  if (child.cgroup == nullptr || child.cgroup->Kills() == 0) {
    return std::nullopt;
  }
  const uint64_t limit = child.cgroup->limit_bytes();
  return Cat("used ", HumanBytes(child.cgroup->PeakBytes().value_or(limit)),
             " of memory with all that it had started, limit ",
             HumanBytes(limit), " (", MemoryGuardName(child.cgroup->guard()),
             ")");
}

void SupervisorImpl::CheckMemory(Child& child, absl::Duration now) {
  if (child.cgroup != nullptr) {
    // If the child itself was killed, its end says so; this is for others.
    child.memory_check = now + kTreeInterval;
    if (const auto verdict = KernelsVerdict(child)) {
      CondemnTask(child, proto::MEMORY_LIMIT, *verdict, false);
    } else {
      CheckProcesses(child, child.cgroup->Members().size());
    }
    return;
  }
  child.memory_check = now + kMemoryInterval;
  const uint64_t limit = child.options.memory_limit_bytes;
  const uint64_t resident = ResidentBytes(child.statm.get());
  if (resident > limit) {
    CondemnTask(child, proto::MEMORY_LIMIT,
                Cat("used ", HumanBytes(resident),
                    " of resident memory, limit ", HumanBytes(limit)),
                false);
    return;
  }
  CheckTreeMemory(child, now);
}

void SupervisorImpl::CheckTreeMemory(Child& child, absl::Duration now) {
  if (now - table_time_ >=
      std::max(kTreeInterval, kTreeCostShare * table_cost_)) {
    table_.Scan();
    table_time_ = now;
    table_cost_ = clock_.Monotonic() - now;
  }
  if (child.tree_checked == table_time_) return;
  child.tree_checked = table_time_;

  const uint64_t limit = child.options.memory_limit_bytes;
  table_.ClearMarks();
  table_.MarkDescendants(child.pid);
  uint64_t resident = ResidentBytes(child.statm.get());
  uint64_t proportional = 0;
  size_t processes = 1;
  for (const ProcessEntry& entry : table_.entries()) {
    if (!entry.marked || entry.dead()) continue;
    resident += ResidentBytesOf(entry.pid);
    ++processes;
  }
  if (CheckProcesses(child, processes)) return;
  bool over = processes > 1 && resident > limit;
  if (over) {
    // Pages that a fork left shared were counted once for each process.
    proportional = ProportionalBytesOf(child.pid);
    for (const ProcessEntry& entry : table_.entries()) {
      if (entry.marked && !entry.dead()) {
        proportional += ProportionalBytesOf(entry.pid);
      }
    }
    if (proportional > 0) {
      resident = proportional;
      over = resident > limit;
    }
  }
  if (!over) {
    child.tree_over_limit = 0;
    return;
  }
  if (++child.tree_over_limit < kTreeLooksToKill) {
    table_time_ = -absl::InfiniteDuration();  // Look again with the next tick.
    return;
  }
  CondemnTask(child, proto::MEMORY_LIMIT,
              Cat("used ", HumanBytes(resident), " of resident memory in ",
                  processes, " processes, limit ", HumanBytes(limit)),
              false);
}

bool SupervisorImpl::CheckProcesses(Child& child, size_t processes) {
  const size_t limit = child.options.processes_max;
  if (processes <= limit) return false;
  CondemnTask(
      child, proto::PROCESS_LIMIT,
      Cat("ran ", processes, " processes, all that it had started included; ",
          limit, " are allowed"),
      false);
  return true;
}

void SupervisorImpl::CheckLogSize(Child& child) {
  const uint64_t limit = child.options.log_bytes_max;
  if (limit == 0 || child.log.total_bytes() <= limit) return;
  CondemnTask(child, proto::LOG_LIMIT,
              Cat("wrote more than ", HumanBytes(limit),
                  " to stdout and stderr (--log-limit)"),
              false);
}

void SupervisorImpl::CondemnTask(Child& child, proto::FailureCause cause,
                                 const std::string& message, bool take_stack) {
  Condemn(child, cause,
          child.task_runs ? message + PositionSuffix(page(child)) : message,
          take_stack);
}

void SupervisorImpl::AskForStack(Child& child) {
  page(child).crash_stack.Set("");
  page(child).crash_signal.store(0, std::memory_order_relaxed);
  child.state = State::kAsking;
  const absl::Duration now = clock_.Monotonic();
  child.stack_deadline = now + kStackPatience;
  child.stack_check = now + kStackInterval;
  tgkill(child.pid, child.pid, SIGUSR2);
}

void SupervisorImpl::CheckStack(Child& child, absl::Duration now) {
  if (page(child).crash_signal.load(std::memory_order_acquire) == SIGUSR2 ||
      now >= child.stack_deadline) {
    TakeStack(child);
    KillTree(child);
    return;
  }
  child.stack_check = now + kStackInterval;
}

absl::Duration SupervisorImpl::NextDeadline(const Child& child) {
  return std::min({child.start_deadline, child.exit_deadline,
                   child.memory_check, child.progress_check, child.stack_check,
                   child.victim_check, child.victim_deadline});
}

void SupervisorImpl::ArmTimer() {
  absl::Duration deadline = absl::InfiniteDuration();
  for (const auto& [id, child] : children_) {
    deadline = std::min(deadline, NextDeadline(*child));
  }
  if (deadline == armed_for_) return;
  armed_for_ = deadline;
  itimerspec spec = {};  // All zero: disarmed.
  if (deadline != absl::InfiniteDuration()) {
    const absl::Duration in =
        std::max(deadline - clock_.Monotonic(), absl::Nanoseconds(1));
    spec.it_value = absl::ToTimespec(in);
  }
  timerfd_settime(FdOf(timer_), 0, &spec, nullptr);
}

}  // namespace millrace::supervisor
