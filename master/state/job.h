// What the replicated state knows of one job. Written by State::Apply alone;
// everybody else reads.
#ifndef MILLRACE_MASTER_STATE_JOB_H_
#define MILLRACE_MASTER_STATE_JOB_H_

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "master/state/counter_names.h"
#include "master/state/cow.h"
#include "master/state/limits.h"
#include "master/state/task_id.h"
#include "master/state/task_table.h"
#include "master/state/trouble_table.h"
#include "master/state/worker_table.h"
#include "proto/messages/job.pb.h"
#include "proto/messages/task.pb.h"

namespace millrace::master {

// The maps or the reduces of a job. The tasks themselves are given up when the
// job ends; the numbers stay.
struct Stage {
  TaskTable tasks;
  uint32_t total = 0;
  uint32_t done = 0;  // With a winner.
  // Winning attempts whose duration is known, and the sum of those. Only grows:
  // what a leader that has just begun knows of how long a task takes.
  uint64_t timed = 0;
  uint64_t took_ms = 0;

  bool all_done() const { return done == total; }
};

// A failure as people want to see it. Texts are cut to kFailureTextBytesMax.
struct FailedAttempt {
  TaskId task;
  AttemptUid uid;
  uint32_t number = 0;
  WorkerNumber worker = 0;
  proto::FailureCause cause = proto::FAILURE_CAUSE_UNSPECIFIED;
  std::string message;
  std::string stack;
  std::string log_tail;
  int64_t at_ms = 0;
};

// Records that the mapper crashed on, by map, file of the plan and offset.
struct BadRecordPlace {
  uint32_t map = 0;
  uint32_t file = 0;
  uint64_t offset = 0;

  static BadRecordPlace Of(uint32_t map, const proto::BadRecord& record) {
    return {map, record.file(), record.offset()};
  }
  friend auto operator<=>(const BadRecordPlace&,
                          const BadRecordPlace&) = default;
};
using BadRecordTable = std::map<BadRecordPlace, proto::BadRecord>;

// Sums over the present winners of a job.
struct Totals {
  proto::Ledger ledger;
  std::vector<int64_t> counters;  // By number in Job::counter_names.
  uint64_t map_output_bytes = 0;
  uint64_t output_bytes = 0;
  uint64_t output_records = 0;
  uint32_t unbalanced_maps = 0;  // Whose own ledger contradicts itself.
};

// A copy costs some hundred bytes and a pointer for each 256 tasks: what may be
// large is shared with it until it changes, or for good if it never does.
struct Job {
  JobId id;
  RequestId request_id;
  uint64_t index = 0;  // Of its JobSubmitted: jobs in the order of submission.
  // Never null. Shared with copies, as is the failure.
  std::shared_ptr<const proto::JobSpec> spec;

  proto::JobState state = proto::QUEUED;
  // COMMITTING, or SUCCEEDED after it: the winners never change again.
  bool decided = false;
  std::shared_ptr<const proto::JobFailure> failure;  // Of FAILED and KILLED.
  int64_t submitted_at_ms = 0;
  int64_t started_at_ms = 0;
  int64_t decided_at_ms = 0;
  int64_t finished_at_ms = 0;
  uint64_t finished_index = 0;  // 0: has not ended.
  bool cleaned = false;         // Ended, and nothing is left on any disk.

  bool planned = false;
  Cow<proto::TaskDone> plan;  // What the planning task reported.
  std::string plan_sha256;
  std::string manifest_sha256;  // Once decided.

  uint32_t epoch = 0;
  Stage maps;
  Stage reduces;
  Totals totals;
  CounterNames counter_names;

  uint64_t attempts_failed = 0;
  uint64_t attempts_lost = 0;  // With their worker, or their output later.
  // Attempts of the plan, the maps and the reduces that the log knows of: the
  // sum over the tasks of the highest attempt number plus one.
  uint64_t attempts_seen = 0;
  uint32_t plan_attempts = 0;
  // Of them: were granted while another attempt of their task ran.
  uint64_t attempts_speculative = 0;
  TroubleTable troubles;
  Cow<std::deque<FailedAttempt>> recent_failures;  // Oldest first.
  // That no attempt of the job is given again: at most
  // JobSpec.skip_bad_records. Given up when the job ends; the number stays.
  Cow<BadRecordTable> bad_records;
  uint32_t bad_records_count = 0;
  // The reduce that was given most records, and how many. Since it was decided.
  uint32_t largest_reduce = 0;
  uint64_t largest_reduce_records = 0;

  bool ended() const { return finished_index != 0; }
  // Not ended and not decided.
  bool open() const { return !ended() && !decided; }
  bool map_only() const { return planned && reduces.total == 0; }
  // Every map and reduce has its winner.
  bool complete() const {
    return planned && maps.all_done() && reduces.all_done();
  }
  // The map or reduce of that name; null: no such task (or no longer kept).
  const Task* FindTask(const TaskId& task) const;
  // Those of one map, in the order of the input.
  std::vector<const proto::BadRecord*> BadRecordsOf(uint32_t map) const;
  const Trouble* FindTrouble(const TaskId& task) const {
    return troubles.Find(task);
  }
};

// Sum over the present winners; 0: none has reported it. Built-in counters have
// the same name in whichever group.
uint64_t CounterValue(const Job& job, std::string_view name);

// Counters that a task has reported, by number in Job::counter_names.
using NumberedCounters = std::vector<std::pair<uint32_t, int64_t>>;
// The sums gain or lose what a winner of that kind reported: `done`, whose
// counters are `counters`. Modulo 2^64, so that a loss undoes a gain.
void CountReport(const Job& job, proto::TaskKind kind,
                 const proto::TaskDone& done, const NumberedCounters& counters,
                 bool gained, Totals* totals);

// OK, or kInternal with the lines of the ledger that do not agree.
// REQUIRES: job.complete() and the job has not ended.
absl::Status CheckLedger(const Job& job);

// XXH3-128 over the uids of all winners: maps, then reduces. 16 bytes.
// REQUIRES: job.complete() and the job has not ended.
std::string WinnersHash(const Job& job);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_JOB_H_
