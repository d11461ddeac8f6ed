// Processes and slots.
#include <algorithm>
#include <tuple>
#include <utility>

#include "common/strings.h"
#include "worker/agent/agent_core.h"
#include "worker/agent/job_setup.h"

namespace millrace::worker {
namespace {

// Maps before reduces: reduces elsewhere may wait for them.
int RankOf(const proto::Grant& grant) {
  if (grant.has_plan()) return 0;
  return grant.has_map() ? 1 : 2;
}

std::string TailOf(const std::string& log, size_t bytes_max) {
  return log.size() <= bytes_max ? log : log.substr(log.size() - bytes_max);
}

// What the program said when it did not start, on one line.
std::string LastWords(const std::string& log) {
  std::string line = TailOf(log, 1000);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return Printable(line, 1000);
}

}  // namespace

AgentCore::Attempt* AgentCore::AttemptOf(const Child& child) {
  return FindIn(child.attempt, State::kExecuting);
}

void AgentCore::Schedule() {
  if (!connected() && now_ - away_since_ > silence_limit_) return;
  std::vector<Attempt*> waiting;
  for (auto& [uid, attempt] : attempts_) {
    if (attempt.state == State::kWaiting) waiting.push_back(&attempt);
  }
  std::sort(waiting.begin(), waiting.end(),
            [](const Attempt* a, const Attempt* b) {
              return std::tuple(RankOf(a->grant), a->place) <
                     std::tuple(RankOf(b->grant), b->place);
            });
  size_t unplaced = 0;
  for (Attempt* attempt : waiting) {
    if (!Place(*attempt)) ++unplaced;
  }
  if (unplaced > 0) LetIdleGo(unplaced);
}

bool AgentCore::Place(Attempt& attempt) {
  for (auto& [number, child] : children_) {
    if (child.job == attempt.job && child.state == ChildState::kIdle) {
      attempt.state = State::kExecuting;
      attempt.child = number;
      attempt.executing_since = now_;
      attempt.progress_news = true;
      child.attempt = attempt.uid;
      Give(attempt, number, child);
      return true;
    }
  }
  if (children_.size() >= options_.slots) return false;
  const ChildNumber number = next_child_++;
  Child& child = children_[number];
  child.job = attempt.job;
  child.attempt = attempt.uid;
  attempt.state = State::kExecuting;
  attempt.child = number;
  attempt.executing_since = now_;
  attempt.progress_news = true;
  StartChild start = MakeStartChild(number, attempt.job, attempt.uid,
                                    *SpecOf(attempt.job), options_.layout);
  // After the first of these limits the masters have declared us lost.
  start.stop_limit = 2 * silence_limit_;
  Do(std::move(start));
  return true;
}

void AgentCore::Give(Attempt& attempt, ChildNumber number, Child& child) {
  child.state = ChildState::kBusy;
  Do(RunTask{
      number, attempt.job,
      MakeRunTask(attempt.grant, attempt.job, attempt.uid, *SpecOf(attempt.job),
                  options_.layout, attempt.inputs, attempt.bad_records)});
}

bool AgentCore::Ask(Attempt& attempt,
                    const std::optional<proto::BadRecord>& record) {
  const uint32_t limit = SpecOf(attempt.job)->skip_bad_records();
  if (!record.has_value() || attempt.grant.has_reduce() || limit == 0) {
    return false;
  }
  for (const proto::BadRecord& known : attempt.bad_records) {
    if (SameRecord(known, *record)) return false;  // It did not pass it over.
  }
  if (attempt.grant.has_plan()) {
    // A sample has met it; its map counts it.
    if (attempt.bad_records.size() >= limit) return false;
    attempt.child = 0;
    attempt.bad_records.push_back(*record);
    BeginAnew(attempt);
    return true;
  }
  attempt.met = *record;
  attempt.state = State::kAsking;
  attempt.told_at = -absl::InfiniteDuration();
  attempt.child = 0;
  attempt.progress.set_records(0);
  attempt.progress.set_input_bytes(0);
  attempt.progress_news = true;
  return true;
}

void AgentCore::LetIdleGo(size_t wanted) {
  // Those that are leaving already make room too.
  std::vector<std::pair<absl::Duration, ChildNumber>> idle;
  for (const auto& [number, child] : children_) {
    if (child.state == ChildState::kLeaving && wanted > 0) --wanted;
    if (child.state == ChildState::kIdle) {
      idle.emplace_back(child.idle_since, number);
    }
  }
  std::sort(idle.begin(), idle.end());
  for (size_t i = 0; i < std::min(wanted, idle.size()); ++i) {
    Vacate(idle[i].second, children_.at(idle[i].second));
  }
}

void AgentCore::Vacate(ChildNumber number, Child& child) {
  child.state = ChildState::kLeaving;
  Do(StopChild{number});
}

void AgentCore::On(const ChildReady& event) {
  const auto at = children_.find(event.child);
  if (at == children_.end() || at->second.state != ChildState::kStarting) {
    return;
  }
  Attempt* attempt = AttemptOf(at->second);
  if (attempt != nullptr) Give(*attempt, event.child, at->second);
}

void AgentCore::On(const ChildDone& event) {
  const auto at = children_.find(event.child);
  if (at == children_.end() || at->second.state != ChildState::kBusy) return;
  Child& child = at->second;
  Attempt* attempt = AttemptOf(child);
  if (attempt == nullptr) return;
  child.state = ChildState::kIdle;
  child.idle_since = now_;
  child.attempt = AttemptUid();
  attempt->child = 0;
  if (SpecOf(child.job)->fresh_process()) Vacate(event.child, child);

  if (attempt->grant.has_plan()) {
    attempt->state = State::kStoring;
    attempt->done = event.done;
    ++jobs_[attempt->job].work;
    Do(PutPlan{attempt->uid, attempt->job});
    return;
  }
  Succeed(*attempt, event.done);
}

void AgentCore::On(const ChildFailed& event) {
  const auto at = children_.find(event.child);
  if (at == children_.end() || at->second.state != ChildState::kBusy) return;
  Attempt* attempt = AttemptOf(at->second);
  if (attempt == nullptr) return;
  // What it reported is all there will be; the next attempt gets a fresh one.
  Vacate(event.child, at->second);
  if (Ask(*attempt, event.bad_record)) return;
  const proto::TaskFailed& failed = event.failed;
  proto::AttemptFailure failure;
  failure.set_cause(failed.cause());
  failure.set_message(failed.message());
  failure.set_stack(failed.stack());
  failure.set_log_tail(TailOf(event.log, options_.log_tail_bytes));
  failure.set_retryable(failed.retryable());
  if (failed.cause() == proto::MAP_OUTPUT_LOST) {
    BlameInput(*attempt, failed.map_index(), &failure);
  }
  Fail(*attempt, std::move(failure));
}

void AgentCore::BlameInput(const Attempt& attempt, uint32_t map_index,
                           proto::AttemptFailure* failure) {
  failure->set_map_index(map_index);
  for (const proto::MapOutputRef& ref : attempt.inputs) {
    if (ref.map_index() != map_index) continue;
    failure->set_map_uid(ref.attempt_uid());
    const auto uid = AttemptUid::FromBytes(ref.attempt_uid());
    if (!uid.has_value() || ref.has_section()) return;
    // Of our own: it is damaged or gone, and will not be offered again.
    Job& job = jobs_[attempt.job];
    if (job.held.contains(*uid)) {
      ForgetHeld(job, *uid);
      Do(DeleteAttempt{*uid, attempt.job, ""});
    }
    return;
  }
}

void AgentCore::On(const ChildExited& event) {
  const auto at = children_.find(event.child);
  if (at == children_.end()) return;
  const Child child = std::move(at->second);
  children_.erase(at);
  if (child.last_wish.has_value()) Do(*child.last_wish);

  Attempt* attempt = AttemptOf(child);
  if (attempt != nullptr && attempt->child == event.child &&
      !Ask(*attempt, event.bad_record)) {
    attempt->child = 0;
    proto::AttemptFailure failure;
    failure.set_retryable(true);
    failure.set_message(event.message);
    failure.set_stack(event.stack);
    failure.set_log_tail(TailOf(event.log, options_.log_tail_bytes));
    failure.set_cause(event.cause == proto::FAILURE_CAUSE_UNSPECIFIED
                          ? proto::INTERNAL
                          : event.cause);
    if (event.program_invalid) {
      const std::string& name = SpecOf(attempt->job)->program_name();
      failure.set_cause(proto::PROGRAM_INVALID);
      failure.set_retryable(false);
      failure.set_message(Cat(
          "the program ", Printable(name), " does not start: ", event.message,
          event.log.empty() ? "" : Cat(": ", LastWords(event.log))));
    }
    Fail(*attempt, std::move(failure));
  }
  const auto job = jobs_.find(child.job);
  if (job != jobs_.end() && job->second.dropping) DeleteIfAlone(child.job);
}

}  // namespace millrace::worker
