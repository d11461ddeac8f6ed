#include "master/why/attempts.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/counted.h"
#include "common/strings.h"
#include "master/scheduler/placement.h"
#include "master/scheduler/speculation.h"
#include "master/why/workers.h"

namespace millrace::master::why {
namespace {

// An attempt that takes so much longer than others is slow, however short those
// were.
constexpr absl::Duration kSlowAtLeast = absl::Seconds(1);

const SoftWorker* WorkerOf(const Inquiry& inquiry, const Attempt& attempt) {
  const auto found = inquiry.soft.workers.find(attempt.worker);
  return found == inquiry.soft.workers.end() ? nullptr : &found->second;
}

// "map 3 runs on worker w1"
std::string OnWorker(const Inquiry& inquiry, const Attempt& attempt,
                     std::string_view does) {
  return Cat(ToString(attempt.task), " ", does, " on ",
             WorkersText({NameOf(inquiry.soft, attempt.worker)}));
}

std::string Progress(const Attempt& attempt) {
  const proto::AttemptProgress& progress = attempt.progress;
  if (progress.records() == 0 && progress.input_bytes() == 0) return "";
  return Cat(": ", Counted(progress.records(), "record"),
             progress.input_bytes() > 0
                 ? Cat(", ", HumanBytes(progress.input_bytes()), " read")
                 : "");
}

proto::WhyCause& AddOne(Inquiry& inquiry, int depth, proto::WhyCode code,
                        const Attempt& attempt, std::string text) {
  proto::WhyCause& cause = inquiry.Add(depth, code, std::move(text));
  SetTask(cause, attempt.task);
  SetWorkers(cause, {NameOf(inquiry.soft, attempt.worker)});
  return cause;
}

// Why a slow attempt has no second one beside it; nothing if it will get one.
void AddNoSecond(Inquiry& inquiry, int depth, const SoftJob& job,
                 const Attempt& attempt) {
  std::string why;
  if (job.job->spec->speculation_off()) {
    why = "second attempts are off for this job (--speculation=off)";
  } else {
    bool other = false;
    bool free = false;
    for (const auto& [number, worker] : inquiry.soft.workers) {
      if (number == attempt.worker || !worker.eligible()) continue;
      other = true;
      free |= worker.taken < worker.slots();
    }
    if (free) return;
    why = other ? "no slot is free for a second attempt"
                : "there is no other worker for a second attempt";
  }
  SetTask(inquiry.Add(depth, proto::NO_SECOND_ATTEMPT, std::move(why)),
          attempt.task);
}

// Since it got its slot. A reduce may have been granted long before, and its
// worker tells how long it had it when its progress last changed.
absl::Duration ExecutingFor(const Inquiry& inquiry, const Attempt& attempt) {
  if (attempt.task.kind == proto::REDUCE_TASK) {
    return inquiry.now - attempt.progressed_at +
           absl::Milliseconds(attempt.progress.executing_ms());
  }
  return inquiry.now - attempt.started_at.value_or(attempt.granted_at);
}

// Of a setting in milliseconds, of which 0 is none.
std::optional<absl::Duration> LimitOf(int64_t ms) {
  if (ms <= 0) return std::nullopt;
  return absl::Milliseconds(ms);
}

void AddExecuting(Inquiry& inquiry, int depth, const SoftJob& job,
                  const Attempt& attempt) {
  const bool compared = attempt.task.kind == proto::MAP_TASK ||
                        attempt.task.kind == proto::REDUCE_TASK;
  const absl::Duration ran = inquiry.now - RanSince(job, attempt);
  const auto typical = compared
                           ? TypicalTime(inquiry.soft, job, attempt.task.kind)
                           : std::nullopt;
  const bool slow = typical.has_value() && ran >= kSlowFactor * *typical &&
                    ran >= *typical + kSlowAtLeast;
  const bool stalled = IsStalled(inquiry, attempt);
  const absl::Duration executing_for = ExecutingFor(inquiry, attempt);
  std::string text = Cat(OnWorker(inquiry, attempt, "runs"), " for ",
                         HowLong(executing_for), Progress(attempt));
  if (slow) {
    text += Cat("; others took ", HowLong(*typical), ", this is ",
                absl::StrFormat("%.1f", absl::FDivDuration(ran, *typical)),
                " times that");
  }
  absl::Duration ends_in = absl::InfiniteDuration();
  if (stalled) {
    const absl::Duration still = inquiry.now - attempt.progressed_at;
    text += Cat("; nothing has changed for ", HowLong(still));
    if (const auto timeout = LimitOf(job.job->spec->task_timeout_ms())) {
      text += Cat(", after ", HowLong(*timeout), " of that it is ended");
      ends_in = *timeout - still;
    }
  }
  if (const auto limit = LimitOf(job.job->spec->task_time_limit_ms())) {
    text += Cat("; after ", HowLong(*limit), " in all it is ended");
    ends_in = std::min(ends_in, *limit - executing_for);
  }
  proto::WhyCause& cause = AddOne(inquiry, depth,
                                  stalled ? proto::ATTEMPT_STALLED
                                  : slow  ? proto::ATTEMPT_SLOW
                                          : proto::ATTEMPT_RUNS,
                                  attempt, std::move(text));
  SetFor(cause, executing_for);
  if (ends_in < absl::InfiniteDuration()) SetEnd(cause, ends_in);
  if (slow && job.live.count(attempt.task) == 1) {
    AddNoSecond(inquiry, depth + 1, job, attempt);
  }
}

// What keeps a reduce from fetching outputs that are there.
void AddFetchTrouble(Inquiry& inquiry, int depth, const SoftJob& job,
                     const Attempt& attempt) {
  size_t shown = 0;
  for (const auto& complaint : job.fetch_evidence.Complaints(inquiry.now)) {
    if (complaint.reader != attempt.worker || shown++ == kShownMax) continue;
    const std::string holder = NameOf(inquiry.soft, complaint.holder);
    proto::WhyCause& cause = inquiry.Add(
        depth, proto::FETCH_FAILS,
        Cat(WorkersText({NameOf(inquiry.soft, complaint.reader)}),
            " cannot fetch the output of map ", complaint.map, " from ",
            WorkersText({holder}), ": ", Said(complaint.message), "; said ",
            Counted(static_cast<uint64_t>(complaint.reports), "time"),
            ", last ", HowLong(inquiry.now - complaint.at), " ago"));
    SetTask(cause, {proto::MAP_TASK, complaint.map});
    SetWorkers(cause, {holder});
    cause.set_count(static_cast<uint64_t>(complaint.reports));
  }
  std::map<WorkerNumber, const SoftWorker*> away;
  for (const auto& [number, worker] : inquiry.soft.workers) {
    if (number != attempt.worker && IsAway(inquiry, worker)) {
      away.emplace(number, &worker);
    }
  }
  if (away.empty()) return;
  std::set<WorkerNumber> holders;
  for (const Task& map : job.job->maps.tasks) {
    if (map.has_winner && away.count(map.worker) > 0) {
      holders.insert(map.worker);
    }
  }
  for (WorkerNumber holder : holders) {
    AddAway(inquiry, depth, *away.at(holder));
  }
}

void AddFetching(Inquiry& inquiry, int depth, const SoftJob& job,
                 const Attempt& attempt) {
  const proto::AttemptProgress& progress = attempt.progress;
  proto::WhyCause& cause =
      AddOne(inquiry, depth, proto::ATTEMPT_FETCHES, attempt,
             Cat(OnWorker(inquiry, attempt, "fetches its input"), ": ",
                 progress.fetched_maps(), " of ",
                 Counted(job.job->maps.total, "map output"), ", ",
                 HumanBytes(progress.fetched_bytes()), ", for ",
                 HowLong(inquiry.now - attempt.granted_at)));
  cause.set_count(progress.fetched_maps());
  cause.set_of(job.job->maps.total);
  SetFor(cause, inquiry.now - attempt.granted_at);
  AddFetchTrouble(inquiry, depth + 1, job, attempt);
}

void AddQueued(Inquiry& inquiry, int depth, const SoftJob& job,
               const Attempt& attempt) {
  const SoftWorker* worker = WorkerOf(inquiry, attempt);
  const std::string name = NameOf(inquiry.soft, attempt.worker);
  proto::WhyCause& cause = AddOne(
      inquiry, depth, proto::ATTEMPT_QUEUED, attempt,
      Cat(ToString(attempt.task), " has all it needs and waits for a slot of ",
          WorkersText({name}),
          worker == nullptr
              ? std::string()
              : Cat(": ", worker->slots() == 1 ? "the only one" : "all ",
                    worker->slots() == 1 ? "" : Cat(worker->slots()),
                    worker->slots() == 1 ? " is taken" : " are taken")));
  SetFor(cause, inquiry.now - attempt.granted_at);
  if (worker == nullptr) return;
  cause.set_of(worker->slots());
  AddSlotHolders(inquiry, depth + 1, worker, job.job->id);
}

void AddAttempt(Inquiry& inquiry, int depth, const SoftJob& job,
                const Attempt& attempt) {
  const proto::TaskKind kind = attempt.task.kind;
  if (attempt.reported) {
    AddOne(inquiry, depth, proto::OUTCOME_NOT_LOGGED, attempt,
           Cat(OnWorker(inquiry, attempt, "is over"),
               "; its outcome is on its way into the masters' log",
               kind == proto::PLAN_TASK || kind == proto::CHECK_TASK
                   ? ", and what it wrote to a majority of the masters"
                   : ""));
  } else if (attempt.killed) {
    AddOne(inquiry, depth, proto::ATTEMPT_STOPS, attempt,
           Cat(OnWorker(inquiry, attempt, "was told to stop"),
               ", which has not answered yet"));
  } else if (kind == proto::CHECK_TASK || kind == proto::PUBLISH_TASK) {
    SetFor(AddOne(inquiry, depth, proto::ATTEMPT_RUNS, attempt,
                  Cat(OnWorker(inquiry, attempt, "runs"), " for ",
                      HowLong(inquiry.now - attempt.granted_at))),
           inquiry.now - attempt.granted_at);
  } else if (attempt.phase == proto::EXECUTING) {
    AddExecuting(inquiry, depth, job, attempt);
  } else if (attempt.phase == proto::WAITING ||
             (attempt.takes_slot() && !HasSlot(attempt))) {
    AddQueued(inquiry, depth, job, attempt);
  } else if (kind == proto::REDUCE_TASK) {
    AddFetching(inquiry, depth, job, attempt);
  } else {
    SetFor(AddOne(inquiry, depth, proto::ATTEMPT_PREPARES, attempt,
                  Cat(OnWorker(inquiry, attempt, "prepares"),
                      ": directories, program",
                      kind == proto::MAP_TASK ? ", plan" : "", "; for ",
                      HowLong(inquiry.now - attempt.granted_at))),
           inquiry.now - attempt.granted_at);
  }
  const SoftWorker* worker = WorkerOf(inquiry, attempt);
  if (worker != nullptr && IsAway(inquiry, *worker)) {
    AddAway(inquiry, depth + 1, *worker);
  }
}

}  // namespace

bool Runs(const Attempt& attempt) {
  return !attempt.reported &&
         (HasSlot(attempt) || attempt.task.kind == proto::CHECK_TASK ||
          attempt.task.kind == proto::PUBLISH_TASK);
}

bool IsStalled(const Inquiry& inquiry, const Attempt& attempt) {
  return !attempt.reported && attempt.phase == proto::EXECUTING &&
         inquiry.now - attempt.progressed_at >= kStalledAfter;
}

void AddAttempts(Inquiry& inquiry, int depth, const SoftJob& job,
                 const TaskId& task) {
  const auto [begin, end] = job.live.equal_range(task);
  AddAttempt(inquiry, depth, job, *begin->second);
  for (auto at = std::next(begin); at != end; ++at) {
    const Attempt& second = *at->second;
    proto::WhyCause& cause =
        AddOne(inquiry, depth + 1, proto::SECOND_ATTEMPT, second,
               Cat("a second attempt is on ",
                   WorkersText({NameOf(inquiry.soft, second.worker)}), " for ",
                   HowLong(inquiry.now - second.granted_at), Progress(second)));
    SetFor(cause, inquiry.now - second.granted_at);
  }
}

}  // namespace millrace::master::why
