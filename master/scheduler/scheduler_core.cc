#include "master/scheduler/scheduler_core.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/logging.h"
#include "master/scheduler/cleanup.h"
#include "master/scheduler/clients.h"
#include "master/scheduler/locations.h"
#include "master/scheduler/membership.h"
#include "master/scheduler/outcomes.h"
#include "master/scheduler/placement.h"
#include "master/scheduler/silence.h"
#include "master/scheduler/soft_state.h"

namespace millrace::master {
namespace {

// How often silence is looked for while there are workers.
constexpr absl::Duration kCheckInterval = absl::Milliseconds(250);
// A loop that is so late was not running: stopped, or its machine was.
constexpr absl::Duration kLateMax = absl::Seconds(1);

void AddJob(SoftState& soft, const Job& record, bool fresh) {
  SoftJob& job = soft.jobs[record.index];
  job.job = &record;
  job.fresh = fresh;
  if (!record.planned) return;
  for (uint32_t i = 0; i < record.maps.total; ++i) {
    const Task& map = record.maps.tasks[i];
    if (map.had_winner && !map.has_winner) job.lost_maps.insert(i);
  }
  for (uint32_t i = 0; i < record.reduces.total; ++i) {
    if (!record.reduces.tasks[i].has_winner) job.reduces.insert(i);
  }
}

void ForgetAll(SoftState& soft) {
  AnswerAllNotLeader(soft);
  RefuseAllStreams(soft);
  soft.workers.clear();
  soft.index.Clear();
  soft.unheard.clear();
  soft.checks.clear();
  soft.holders.clear();
  soft.jobs.clear();
  soft.attempts.clear();
  soft.cleanings.clear();
  soft.evicting.clear();
  soft.exclusions.Clear();
  soft.judged.clear();
  soft.next_speculation = absl::ZeroDuration();
  soft.telling_until = absl::ZeroDuration();
  soft.wakeups.clear();
  soft.next_check = absl::InfiniteDuration();
  soft.all_heard = false;
}

void OnBecameLeader(SoftState& soft, const BecameLeader& event) {
  if (soft.role != SoftState::Role::kStandby) ForgetAll(soft);
  soft.role = SoftState::Role::kElected;
  soft.term = event.term;
  soft.leader_address.clear();
  proto::LogEntry entry;
  ClusterId cluster = soft.state.cluster_id();
  if (cluster.is_zero()) cluster = event.cluster;
  if (cluster.is_zero()) cluster = ClusterId::Generate(soft.random);
  entry.mutable_term_started()->set_cluster_id(std::string(cluster.bytes()));
  soft.Propose(std::move(entry));
}

void StartLeading(SoftState& soft) {
  soft.role = SoftState::Role::kLeading;
  soft.leading_since = soft.now;
  for (const auto& [index, job] : soft.state.live_jobs()) {
    AddJob(soft, *job, /*fresh=*/false);
  }
  StartCleanup(soft);
  StartMembership(soft);
}

void OnEntryApplied(SoftState& soft, const EntryApplied& event) {
  const proto::LogEntry& entry = *event.entry;
  const ApplyResult& result = *event.result;
  if (!result.job.is_zero()) soft.changed.insert(result.job);
  if (entry.has_term_started() && event.term == soft.term &&
      soft.role == SoftState::Role::kElected) {
    return StartLeading(soft);
  }
  if (!soft.leading()) return;

  if (entry.has_job_submitted() && result.applied()) {
    AddJob(soft, *soft.state.FindJob(result.job), /*fresh=*/true);
  }
  // Winners first, so that what an outcome makes runnable is judged by them.
  OnWinnersLost(soft, result);
  OnTaskEntry(soft, entry, result);
  for (const JobId& job : result.ended) OnJobEnded(soft, job);
  switch (entry.entry_case()) {
    case proto::LogEntry::kJobSubmitted:
      AnswerSubmit(soft, entry.job_submitted(), result);
      break;
    case proto::LogEntry::kCancelled:
      AnswerKill(soft, result);
      break;
    case proto::LogEntry::kWorkerJoined:
      OnWorkerJoined(soft, entry.worker_joined(), result);
      break;
    case proto::LogEntry::kWorkerLost:
      OnWorkerLost(soft, entry.worker_lost(), result);
      break;
    case proto::LogEntry::kWorkerDrained:
      OnWorkerDrained(soft, entry.worker_drained());
      AnswerDrain(soft, entry.worker_drained());
      break;
    case proto::LogEntry::kCleaned:
      OnCleaned(soft, result.job);
      break;
    case proto::LogEntry::kEvicted:
      OnEvicted(soft, result.job);
      break;
    default:
      break;
  }
}

// A standby has nothing that stands beside the state, so nothing points into
// the one that is gone. What a leader knows does, and it would command by it.
void OnStateRestored(SoftState& soft) {
  CHECK(soft.role == SoftState::Role::kStandby)
      << "the state of a leader was replaced";
  CHECK(soft.workers.empty() && soft.jobs.empty() && soft.attempts.empty() &&
        soft.cleanings.empty());
  for (const auto& [index, job] : soft.state.jobs()) {
    soft.changed.insert(job->id);
  }
}

void Dispatch(SoftState& soft, Event event) {
  std::visit(
      [&soft](auto& e) {
        using E = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<E, BecameLeader>) {
          OnBecameLeader(soft, e);
        } else if constexpr (std::is_same_v<E, LostLeadership>) {
          soft.leader_address = e.leader_address;
          ForgetAll(soft);
          soft.role = SoftState::Role::kStandby;
        } else if constexpr (std::is_same_v<E, EntryApplied>) {
          OnEntryApplied(soft, e);
        } else if constexpr (std::is_same_v<E, StateRestored>) {
          OnStateRestored(soft);
        } else if constexpr (std::is_same_v<E, BlobLost>) {
          if (soft.leading()) OnBlobLost(soft, e);
        } else if constexpr (std::is_same_v<E, WorkerStreamOpened>) {
          OnStreamOpened(soft, e.session);
        } else if constexpr (std::is_same_v<E, WorkerStreamMessage>) {
          OnStreamMessage(soft, e.session, std::move(e.message));
        } else if constexpr (std::is_same_v<E, WorkerStreamClosed>) {
          OnStreamClosed(soft, e.session);
        } else if constexpr (std::is_same_v<E, ClientSubmit>) {
          OnSubmit(soft, e);
        } else if constexpr (std::is_same_v<E, ClientKill>) {
          OnKill(soft, e);
        } else if constexpr (std::is_same_v<E, ClientDrain>) {
          OnDrain(soft, e);
        } else {
          static_assert(std::is_same_v<E, Tick>);
        }
      },
      event);
}

void UpdateAllHeard(SoftState& soft) {
  if (soft.all_heard || !soft.leading()) return;
  soft.all_heard = soft.unheard.empty();
}

}  // namespace

SchedulerCore::SchedulerCore(const SchedulerOptions& options,
                             const State& state, Random& random)
    : soft_(std::make_unique<SoftState>(options, state, random)) {}

SchedulerCore::~SchedulerCore() = default;

std::vector<Effect> SchedulerCore::Step(Event event, absl::Duration now,
                                        int64_t wall_ms) {
  SoftState& soft = *soft_;
  CHECK(now >= soft.now);
  soft.now = now;
  soft.wall_ms = wall_ms;
  if (now > soft.next_check + kLateMax) ForgiveSilence(soft);
  Dispatch(soft, std::move(event));

  while (!soft.wakeups.empty() && *soft.wakeups.begin() <= now) {
    soft.wakeups.erase(soft.wakeups.begin());
  }
  if (now >= soft.next_check) {
    CheckWorkers(soft);
    soft.next_check =
        soft.workers.empty() ? absl::InfiniteDuration() : now + kCheckInterval;
  }
  if (soft.leading()) {
    UpdateAllHeard(soft);
    TellRaised(soft);
    Place(soft);
    SendLocations(soft);
    Clean(soft);
  }
  for (const JobId& job : soft.changed) {
    soft.effects.push_back(JobChanged{job});
  }
  soft.changed.clear();
  return std::exchange(soft.effects, {});
}

absl::Duration SchedulerCore::NextDeadline() const {
  if (soft_->wakeups.empty()) return soft_->next_check;
  return std::min(soft_->next_check, *soft_->wakeups.begin());
}

bool SchedulerCore::leading() const { return soft_->leading(); }
uint64_t SchedulerCore::term() const { return soft_->term; }

}  // namespace millrace::master
