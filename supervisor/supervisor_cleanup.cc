// Killing, waiting for the killed, and burying.
#include <signal.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/logging.h"
#include "common/strings.h"
#include "supervisor/pidfd.h"
#include "supervisor/stack_trace.h"
#include "supervisor/supervisor_impl.h"

namespace millrace::supervisor {
namespace {

// Rounds of scan and kill at once. Two do for everything that stays where it
// is; what ends as soon as it has started its successor takes more. A tree that
// is not caught in so many is met again when its root is dead.
constexpr int kKillRoundsMax = 20;
// From this round on process groups are killed as a whole, which the kernel
// does in one step: nobody escapes by forking.
constexpr int kGroupRound = 1;
// A torn table does not show that nothing is left; but on a busy machine many
// are torn by strangers, so this many are looked at again.
constexpr int kTornRoundsMax = 1;
// A process that has answered and, so many times after, still starts others.
constexpr int kSweepsMax = 10;
// Killed processes that are waited for with a descriptor each; the rest of a
// large crowd is looked at by the clock.
constexpr size_t kWatchedVictimsMax = 128;
constexpr absl::Duration kVictimInterval = absl::Milliseconds(5);
// The dead take their time when gigabytes are to be freed, and may take for
// ever when a file server does not answer.
constexpr absl::Duration kVictimPatience = absl::Seconds(10);

}  // namespace

void SupervisorImpl::Condemn(Child& child, proto::FailureCause cause,
                             const std::string& message, bool take_stack) {
  if (child.verdict.has_value() || child.state == State::kReaped) return;
  child.verdict = ExitVerdict{cause, message};
  StopTaskClocks(child);
  child.start_deadline = absl::InfiniteDuration();
  child.exit_deadline = absl::InfiniteDuration();
  // Before it is ready it has no handler, and would die of the question.
  if (take_stack && child.state != State::kStarting) {
    AskForStack(child);
  } else {
    KillTree(child);
  }
}

void SupervisorImpl::TakeStack(Child& child) {
  child.stack = DemangleStack(page(child).crash_stack.Get());
}

void SupervisorImpl::KillTree(Child& child) {
  if (child.state == State::kKilled || child.state == State::kReaped) return;
  child.state = State::kKilled;
  child.stack_check = absl::InfiniteDuration();
  // Stopped first: it can start nothing new, and its orphans gather below it
  // instead of below us. Not reaped yet, so the pid is still its own.
  kill(child.pid, SIGSTOP);
  KillDescendants(child);
  kill(child.pid, SIGKILL);
}

void SupervisorImpl::Sweep(Child& child) {
  if (!KillDescendants(child) || ++child.sweeps > kSweepsMax) {
    Condemn(child, proto::EXITED,
            "task process went on starting processes after its task was done",
            false);
    return;
  }
  if (!AwaitsVictims(child)) ReleaseAnswer(child);
}

bool SupervisorImpl::KillDescendants(Child& child) {
  Met met;
  for (int round = 0; round < kKillRoundsMax; ++round) {
    if (!table_.Scan()) return false;
    table_.MarkDescendants(child.pid);
    const bool again = KillMarked(child, met);
    if (!again && (!table_.torn() || round >= kTornRoundsMax)) return true;
    if (round >= kGroupRound) {
      if (child.state == State::kKilled) table_.Mark(child.pid);
      KillMarkedGroups();
    }
  }
  return false;
}

bool SupervisorImpl::KillMarked(Child& child, Met& met) {
  bool again = false;
  for (const ProcessEntry& entry : table_.entries()) {
    if (!entry.marked) continue;
    // The dead count, too: they may have been alive, and forking, a moment ago.
    if (met.emplace(entry.pid, entry.start_ticks).second) again = true;
    if (entry.dead()) continue;
    const auto victim = child.victims.find(entry.pid);
    if (victim == child.victims.end() ||
        victim->second.start_ticks != entry.start_ticks) {
      KillOne(child, entry);
    }
  }
  return again;
}

void SupervisorImpl::KillOne(Child& child, const ProcessEntry& entry) {
  // The descriptor pins the process; what it pins is then compared with what
  // was seen, so that no stranger who got the number is killed.
  UniqueFd process(PidfdOpen(entry.pid));
  if (!process.valid() && errno == ESRCH) return;
  const std::optional<ProcessEntry> now = ReadProcess(entry.pid);
  if (!now.has_value() || now->start_ticks != entry.start_ticks ||
      now->dead()) {
    return;
  }
  const int error = process.valid() ? PidfdSendSignal(process.get(), SIGKILL)
                                    : kill(entry.pid, SIGKILL);
  if (error != 0 && errno == ESRCH) return;

  Victim victim;
  victim.start_ticks = entry.start_ticks;
  if (error != 0) {
    victim.immortal = true;
    LOG(WARNING) << "cannot kill process " << entry.pid
                 << ", which a task left behind: " << strerror(errno);
  } else {
    ++child.descendants_killed;
    if (process.valid() && child.victims.size() < kWatchedVictimsMax) {
      victim.token =
          Watch(Source::kVictim, child.id, entry.pid, std::move(process))
              .value_or(0);
    }
    const absl::Duration now_time = clock_.Monotonic();
    if (victim.token == 0) child.victim_check = now_time + kVictimInterval;
    if (child.victim_deadline == absl::InfiniteDuration()) {
      child.victim_deadline = now_time + kVictimPatience;
    }
  }
  const auto [at, inserted] = child.victims.try_emplace(entry.pid, victim);
  if (!inserted) {
    Unwatch(at->second.token);  // Of an earlier process with this number.
    at->second = victim;
  }
}

bool SupervisorImpl::KillOrphans(Child& child) {
  const pid_t self = getpid();
  const pid_t own_group = getpgrp();
  Met met;
  for (int round = 0; round < kKillRoundsMax; ++round) {
    if (!table_.Scan()) return false;
    for (const ProcessEntry& entry : table_.entries()) {
      // The register is asked after the scan: whoever was started before it is
      // in both.
      if (entry.parent == self && entry.group != own_group &&
          !foreign_children_.contains({entry.pid, entry.start_ticks}) &&
          !IsJobChild(entry.pid)) {
        table_.Mark(entry.pid);
        if (entry.dead()) waitpid(entry.pid, nullptr, WNOHANG | __WALL);
      }
    }
    table_.SpreadMarks();
    const bool again = KillMarked(child, met);
    if (!again && (!table_.torn() || round >= kTornRoundsMax)) return true;
    if (round >= kGroupRound) KillMarkedGroups();
  }
  return false;
}

void SupervisorImpl::KillMarkedGroups() {
  const pid_t own_group = getpgrp();
  std::map<pid_t, bool> all_marked;
  for (const ProcessEntry& entry : table_.entries()) {
    if (entry.group <= 1 || entry.group == own_group) continue;
    const auto at = all_marked.try_emplace(entry.group, true).first;
    at->second = at->second && entry.marked;
  }
  for (const auto& [group, killable] : all_marked) {
    if (killable) kill(-group, SIGKILL);
  }
}

bool SupervisorImpl::AwaitsVictims(const Child& child) {
  return std::any_of(child.victims.begin(), child.victims.end(),
                     [](const auto& entry) { return !entry.second.immortal; });
}

void SupervisorImpl::OnVictimDead(Child& child, pid_t pid) {
  const auto at = child.victims.find(pid);
  CHECK(at != child.victims.end());
  // An orphan is ours to collect; the child of another process is not.
  siginfo_t info;
  waitid(P_PIDFD, static_cast<id_t>(FdOf(at->second.token)), &info,
         WEXITED | WNOHANG | __WALL);
  Unwatch(at->second.token);
  child.victims.erase(at);
  if (!AwaitsVictims(child)) Proceed(child);
}

void SupervisorImpl::CheckVictims(Child& child, absl::Duration now) {
  child.victim_check = absl::InfiniteDuration();
  const bool enough = now >= child.victim_deadline;
  for (auto at = child.victims.begin(); at != child.victims.end();) {
    Victim& victim = at->second;
    bool gone = enough && !victim.immortal;
    if (enough && !victim.immortal) {
      LOG(WARNING) << "killed process " << at->first
                   << ", which a task left behind, does not end";
      Unwatch(victim.token);
    } else if (victim.token == 0 && !victim.immortal) {
      const std::optional<ProcessEntry> entry = ReadProcess(at->first);
      gone = !entry.has_value() || entry->dead() ||
             entry->start_ticks != victim.start_ticks;
      if (gone && !IsJobChild(at->first)) {
        waitpid(at->first, nullptr, WNOHANG | __WALL);
      }
      if (!gone) child.victim_check = now + kVictimInterval;
    }
    at = gone ? child.victims.erase(at) : std::next(at);
  }
  if (enough) {
    child.victim_deadline = absl::InfiniteDuration();
    if (child.state == State::kReaped) {
      Bury(child);
    } else if (child.state == State::kSweeping) {
      ReleaseAnswer(child);
    }
    return;
  }
  if (!AwaitsVictims(child)) Proceed(child);
}

void SupervisorImpl::Proceed(Child& child) {
  child.victim_check = absl::InfiniteDuration();
  if (child.state == State::kSweeping) {
    Sweep(child);  // Releases the answer when nothing is left.
    if (!AwaitsVictims(child)) child.victim_deadline = absl::InfiniteDuration();
  } else if (child.state == State::kReaped) {
    BuryWhenAlone(child);
  }
}

bool SupervisorImpl::KillEscaped(Child& child) {
  if (child.cgroup == nullptr) return true;
  bool alone = true;
  for (const pid_t pid : child.cgroup->Members()) {
    const std::optional<ProcessEntry> entry = ReadProcess(pid);
    if (!entry.has_value() || entry->dead()) continue;
    alone = false;
    KillOne(child, *entry);
  }
  return alone;
}

void SupervisorImpl::BuryWhenAlone(Child& child) {
  // Both, whatever the first finds.
  bool alone = KillOrphans(child);
  alone = KillEscaped(child) && alone;
  if (AwaitsVictims(child)) return;  // Whose end leads back here.
  if (alone) {
    Bury(child);
    return;
  }
  const absl::Duration now = clock_.Monotonic();
  child.victim_check = now + kVictimInterval;
  child.victim_deadline =
      std::min(child.victim_deadline, now + kVictimPatience);
}

void SupervisorImpl::OnProcessEnded(Child& child) {
  // What it said before it ended counts, and explains its end. (A socket holds
  // less than ReadSocket takes at once.)
  child.ended = true;
  ReadSocket(child);
  const std::optional<int> status = ReapJobChild(child.pid);
  if (!status.has_value()) return;
  child.wait_status = *status;
  if (child.state == State::kAsking) TakeStack(child);
  child.state = State::kReaped;
  Unwatch(child.process);
  Unwatch(child.socket);
  StopTaskClocks(child);
  child.start_deadline = child.exit_deadline = absl::InfiniteDuration();
  child.stack_check = absl::InfiniteDuration();
  BuryWhenAlone(child);
}

ChildExit SupervisorImpl::MakeExit(Child& child) {
  ChildExit exit;
  exit.exit_status = child.wait_status;
  exit.was_running_task = child.task_runs;
  exit.descendants_killed = child.descendants_killed;
  if (child.verdict.has_value()) {
    exit.cause = child.verdict->cause;
    exit.message = child.verdict->message;
    exit.stack = child.stack;
    return exit;
  }
  const bool killed =
      WIFSIGNALED(child.wait_status) && WTERMSIG(child.wait_status) == SIGKILL;
  if (const auto verdict = KernelsVerdict(child);
      killed && verdict.has_value()) {
    exit.cause = proto::MEMORY_LIMIT;
    exit.message =
        child.task_runs ? *verdict + PositionSuffix(page(child)) : *verdict;
    return exit;
  }
  const ExitMoment moment = child.task_runs   ? ExitMoment::kInTask
                            : child.was_ready ? ExitMoment::kBetweenTasks
                                              : ExitMoment::kBeforeReady;
  const ExitVerdict verdict = JudgeExit(child.wait_status, moment, page(child));
  exit.cause = verdict.cause;
  exit.message = verdict.message;
  if (exit.cause == proto::CRASHED) {
    exit.stack = DemangleStack(page(child).crash_stack.Get());
  }
  if (child.stopping) exit.cause = proto::FAILURE_CAUSE_UNSPECIFIED;
  return exit;
}

void SupervisorImpl::Bury(Child& child) {
  for (auto& [pid, victim] : child.victims) Unwatch(victim.token);
  ReleaseAnswer(child);
  DrainLog(child, kLastLogBytes);
  Unwatch(child.log_pipe);
  ChildEvent event;
  event.child = child.id;
  event.kind = ChildEvent::Kind::kExited;
  event.exit = MakeExit(child);
  if (!child.verdict.has_value() && child.task_runs && !child.stopping &&
      EndedByItself(child.wait_status, page(child))) {
    event.bad_record = RecordAtFault(page(child), event.exit.cause,
                                     event.exit.message, event.exit.stack);
  }
  events_.push_back(std::move(event));
  ended_logs_.emplace(child.id, std::move(child.log));
  children_.erase(child.id);
}

}  // namespace millrace::supervisor
