// What the replicated state knows of one job. Written by State::Apply alone;
// everybody else reads.
#ifndef MILLRACE_MASTER_STATE_JOB_H_
#define MILLRACE_MASTER_STATE_JOB_H_

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "master/state/limits.h"
#include "master/state/task_id.h"
#include "proto/messages/job.pb.h"
#include "proto/messages/task.pb.h"

namespace millrace::master {

// Position of a worker incarnation in the order in which they joined. Compact
// where an incarnation would take 16 bytes; the same on all masters.
using WorkerNumber = uint32_t;

// One map or reduce task. A cluster may have millions: 64 bytes beside the
// packed report of its winner.
struct Task {
  AttemptUid uid;               // Of the winner; if there is none, of the last.
  std::array<char, 16> root{};  // Of the map output of `uid`.
  WorkerNumber worker = 0;      // That holds, or held, what `uid` made.
  uint16_t attempts = 0;        // Highest attempt number in the log, plus one.
  bool has_winner = false;
  bool had_winner = false;  // `uid`, `root` and `packed` mean something.
  // What the winner reported (master/state/packed_done.h).
  std::unique_ptr<char[]> packed;
  uint32_t packed_bytes = 0;

  std::string_view root_bytes() const { return {root.data(), root.size()}; }
};

// The maps or the reduces of a job. The tasks themselves are given up when the
// job ends; the numbers stay.
struct Stage {
  std::vector<Task> tasks;
  uint32_t total = 0;
  uint32_t done = 0;  // With a winner.

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

// The failures of one task; only tasks that had any have it.
struct Trouble {
  uint32_t user_failures = 0;
  uint32_t infrastructure_failures = 0;
  // Attempts that can never win (again), with the worker each ran on: failed,
  // or made an output that was lost. Invariant: no uid is in it twice.
  std::vector<std::pair<AttemptUid, WorkerNumber>> counted;
  std::string last_message;

  bool Counted(const AttemptUid& uid) const;
};

// Gives each counter of a job a small number, in the order of appearance, so
// that a task's counters pack into some bytes each.
class CounterNames {
 public:
  // More than so many distinct names are a mistake of the job (a value in the
  // name, say); what is beyond has no number and is not kept.
  static constexpr size_t kNamesMax = 4096;

  std::optional<uint32_t> NumberOf(const proto::Counter& counter);
  size_t size() const { return names_.size(); }
  // {group, name}. REQUIRES: number < size().
  const std::pair<std::string, std::string>& Name(uint32_t number) const {
    return *names_[number];
  }

 private:
  using FullName = std::pair<std::string, std::string>;
  std::map<FullName, uint32_t> numbers_;
  std::vector<const FullName*> names_;  // Keys of numbers_.
  uint32_t next_ = 0;  // A guess: tasks report their counters in one order.
};

// Sums over the present winners of a job.
struct Totals {
  proto::Ledger ledger;
  std::vector<int64_t> counters;  // By number in Job::counter_names.
  uint64_t map_output_bytes = 0;
  uint64_t output_bytes = 0;
  uint64_t output_records = 0;
  uint32_t unbalanced_maps = 0;  // Whose own ledger contradicts itself.
};

struct Job {
  JobId id;
  RequestId request_id;
  uint64_t index = 0;  // Of its JobSubmitted: jobs in the order of submission.
  proto::JobSpec spec;

  proto::JobState state = proto::QUEUED;
  // COMMITTING, or SUCCEEDED after it: the winners never change again.
  bool decided = false;
  std::optional<proto::JobFailure> failure;  // FAILED and KILLED.
  int64_t submitted_at_ms = 0;
  int64_t started_at_ms = 0;
  int64_t decided_at_ms = 0;
  int64_t finished_at_ms = 0;
  uint64_t finished_index = 0;  // 0: has not ended.
  bool cleaned = false;         // Ended, and nothing is left on any disk.

  bool planned = false;
  proto::TaskDone plan;  // What the planning task reported.
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
  std::map<TaskId, Trouble> troubles;
  std::deque<FailedAttempt> recent_failures;  // Oldest first.

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
  const Trouble* FindTrouble(const TaskId& task) const;
};

// OK, or kInternal with the lines of the ledger that do not agree.
// REQUIRES: job.complete() and the job has not ended.
absl::Status CheckLedger(const Job& job);

// XXH3-128 over the uids of all winners: maps, then reduces. 16 bytes.
// REQUIRES: job.complete() and the job has not ended.
std::string WinnersHash(const Job& job);

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_JOB_H_
