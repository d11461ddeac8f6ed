// All decisions of a local run: which task runs where and when, what a failure
// costs, when the job may publish. No clock, threads, files or processes.
//
//   planning --Planned--> running --all winners, ledger balances--> committing
//       \                    |  ^                                      |
//        \                   |  +-- a map output is lost: map re-runs  |
//         +----> failed <----+                                         v
//                                                              (edge publishes)
//
// One slot runs one attempt at a time. A slot whose attempt failed is retired:
// the next attempt gets a fresh process. Reduces start when every map has a
// winner, because a local run has nothing to gain from fetching early.
//
// Retry accounting (design section 7): failures of user code count per task and
// are limited by max_attempts; lost map outputs and processes that ended before
// they had their task count for the job and are limited by
// kInfrastructureFailuresMax; processes that cannot start are limited to fewer.
//
// Bad records (--skip-bad-records): a map that crashes on a record runs again
// from its beginning in a fresh process, as the same attempt, without that
// record; the job may pass over so many records and fails at the next one. A
// record is counted once, whichever attempts crash on it, and later attempts of
// its task are not given it.
//
// Non-deterministic maps (design section 9): a re-run whose root differs from
// the winner it replaces raises the epoch and rolls every reduce back; a reduce
// result counts only if its attempt was granted in the present epoch.
#ifndef MILLRACE_API_SRC_LOCAL_LOCAL_JOB_CORE_H_
#define MILLRACE_API_SRC_LOCAL_LOCAL_JOB_CORE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "common/ids.h"
#include "common/random.h"
#include "common/skew.h"
#include "proto/messages/task.pb.h"

namespace millrace::local {

inline constexpr int kInfrastructureFailuresMax = 32;
inline constexpr int kEpochRaisesMax = 2;

struct TaskName {
  proto::TaskKind kind = proto::PLAN_TASK;
  uint32_t index = 0;
  friend bool operator==(const TaskName&, const TaskName&) = default;
};
// "map 17", "reduce 3", "plan".
std::string ToString(const TaskName& task);

// ------------------------------------------------------------------- events

struct SlotReady {
  int slot;
};
struct AttemptSucceeded {
  int slot;
  proto::TaskDone done;
};
struct Failure {
  proto::FailureCause cause = proto::INTERNAL;
  std::string message;
  std::string stack;
  std::string log;  // What the attempt wrote, for the report.
  uint32_t map_index = 0;
  bool retryable = true;
  std::optional<proto::BadRecord> bad_record;  // That a map crashed on.
};
struct AttemptFailed {
  int slot;
  Failure failure;
};
// The slot's process is gone. `failure` is set when it was not told to go.
struct SlotGone {
  int slot;
  std::optional<Failure> failure;
};
using Event =
    std::variant<SlotReady, AttemptSucceeded, AttemptFailed, SlotGone>;

// ------------------------------------------------------------------ effects

struct StartSlot {
  int slot;
};
struct RunAttempt {
  int slot;
  TaskName task;
  AttemptUid uid;
  uint32_t attempt;  // 0, 1, ...: for people.
  // That a map passes over, by file and offset. With them the same attempt is
  // run again, after its DropAttempt.
  std::vector<proto::BadRecord> bad_records;
  // Of the plan: no attempt of it has failed by the program's fault, and none
  // has met a bad record.
  bool sample_map_output = false;
};
// Kill the slot's process; SlotGone follows.
struct RetireSlot {
  int slot;
};
// Nothing needs what this attempt has written so far.
struct DropAttempt {
  AttemptUid uid;
};
struct CommitJob {};
struct FailJob {
  std::optional<TaskName> task;  // None: no process could be started.
  Failure failure;
};
using Effect = std::variant<StartSlot, RunAttempt, RetireSlot, DropAttempt,
                            CommitJob, FailJob>;

// -------------------------------------------------------------------- state

struct Winner {
  AttemptUid uid;
  proto::TaskDone done;
};

struct TaskCounts {
  uint32_t total = 0;
  uint32_t done = 0;
  uint32_t running = 0;
};

struct AttemptCounts {
  uint64_t launched = 0;
  uint64_t failed = 0;
  uint64_t lost = 0;       // Winners whose output was lost again.
  uint64_t restarted = 0;  // Began anew without a bad record.
};

// Confined to the thread of the local run.
class LocalJobCore {
 public:
  struct Options {
    int slots = 1;
    int max_attempts = 4;  // Failures of user code a task may have: one less.
    bool fresh_process = false;     // No process runs two tasks.
    uint32_t skip_bad_records = 0;  // The job passes over so many at most.
    uint64_t output_bytes_max = 0;  // Of all part files; 0: no limit.
  };

  // `random` gives the attempt uids and outlives the core.
  LocalJobCore(const Options& options, Random& random);

  // The first effects. Call once, before Step.
  std::vector<Effect> Start();
  std::vector<Effect> Step(const Event& event);

  bool planned() const { return planned_; }
  const proto::TaskDone& plan() const { return plan_; }
  uint32_t num_maps() const { return maps_.size(); }
  uint32_t num_partitions() const { return reduces_.size(); }
  TaskCounts maps() const { return maps_.counts(); }
  TaskCounts reduces() const { return reduces_.counts(); }
  const AttemptCounts& attempts() const { return attempts_; }
  uint32_t bad_records() const { return bad_records_; }
  // Of the winners there are.
  LargestReduce largest_reduce() const;

  // REQUIRES: the task has a winner (all have, once CommitJob was an effect).
  const Winner& map_winner(uint32_t map) const {
    return *maps_.tasks[map].winner;
  }
  const Winner& reduce_winner(uint32_t partition) const {
    return *reduces_.tasks[partition].winner;
  }

 private:
  struct Task {
    std::optional<Winner> winner;
    uint32_t attempts = 0;  // Started.
    int user_failures = 0;
    // Of the first winner; kept when that winner's output is lost.
    std::optional<std::string> root;
    // By file and offset.
    std::map<std::pair<uint32_t, uint64_t>, proto::BadRecord> bad_records;
    // Pending: the attempt that goes on, and its number.
    std::optional<std::pair<AttemptUid, uint32_t>> restart;
  };
  // The tasks of one kind. Invariant: a task is in exactly one of `pending`,
  // running, or done (has a winner).
  struct Stage {
    std::vector<Task> tasks;
    std::set<uint32_t> pending;  // Lowest first.
    uint32_t running = 0;
    uint64_t output_bytes = 0;  // Part files of the winners.

    void Reset(uint32_t count);
    uint32_t size() const { return static_cast<uint32_t>(tasks.size()); }
    uint32_t done() const {
      return size() - running - static_cast<uint32_t>(pending.size());
    }
    bool all_done() const { return pending.empty() && running == 0; }
    TaskCounts counts() const { return {size(), done(), running}; }
    void SetWinner(uint32_t index, Winner winner);
    void LoseWinner(uint32_t index);
  };
  enum class SlotState { kNone, kStarting, kIdle, kBusy, kRetiring };
  struct Slot {
    SlotState state = SlotState::kNone;
    TaskName task;
    AttemptUid uid;
    uint32_t attempt = 0;
    int epoch = 0;
  };
  enum class Phase { kPlanning, kRunning, kCommitting, kFailed };

  Stage& stage(proto::TaskKind kind);
  void OnSuccess(int slot, const proto::TaskDone& done,
                 std::vector<Effect>& effects);
  void OnFailure(int slot, const Failure& failure,
                 std::vector<Effect>& effects);
  // True: the failure was a bad record, and that is all there is to it.
  bool PassOver(const Slot& slot, const Failure& failure,
                std::vector<Effect>& effects);
  void LoseMap(uint32_t map, std::vector<Effect>& effects);
  void RaiseEpoch(uint32_t map, std::vector<Effect>& effects);
  void Fail(const std::optional<TaskName>& task, const Failure& failure,
            std::vector<Effect>& effects);
  std::optional<TaskName> NextTask() const;
  void Schedule(std::vector<Effect>& effects);
  absl::Status CheckLedger() const;

  const Options options_;
  Random& random_;

  Phase phase_ = Phase::kPlanning;
  bool planned_ = false;
  proto::TaskDone plan_;
  Stage planning_;  // One task.
  Stage maps_;
  Stage reduces_;
  std::vector<Slot> slots_;
  AttemptCounts attempts_;
  uint32_t bad_records_ = 0;
  int infrastructure_failures_ = 0;
  int failed_starts_ = 0;
  int epoch_ = 0;
};

}  // namespace millrace::local

#endif  // MILLRACE_API_SRC_LOCAL_LOCAL_JOB_CORE_H_
