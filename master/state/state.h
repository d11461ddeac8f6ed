// The replicated state of a cluster: what all entries of the log together say.
//
//   QUEUED --Planned--> RUNNING --Decided--> COMMITTING --Committed-->
//   SUCCEEDED
//      |                   |                     |
//      +-------------------+--Cancelled--> KILLED |
//      +-------------------+--Failed, AttemptFailed at the limit,
//                          |  third epoch---------+--Failed(OUTPUT_CONFLICT,
//                          v                      v        COMMIT_DATA_LOST)
//                        FAILED                 FAILED
//
// Apply() is a function of the entries before it and of nothing else: no clock,
// no random numbers, no files, no hash order. So every master that has applied
// the same entries has the same state, which Hash() lets tests compare.
// docs/protocol.md has the table of entries with their preconditions. An entry
// whose precondition does not hold changes nothing but the applied index, and
// the result says which one it was.
#ifndef MILLRACE_MASTER_STATE_STATE_H_
#define MILLRACE_MASTER_STATE_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/byte_stream.h"
#include "common/ids.h"
#include "master/state/job.h"
#include "master/state/state_snapshot.h"
#include "master/state/worker_table.h"
#include "proto/messages/log_entry.pb.h"

namespace millrace::master {

inline constexpr uint32_t kLogEntryVersion = 3;
// The version that an entry is written with: the lowest that has it, so that a
// group whose masters are replaced one by one is stopped by nothing that it
// does not use.
uint32_t VersionOf(const proto::LogEntry& entry);

// Why an entry changed nothing.
enum class Refusal {
  kNone = 0,   // It was applied.
  kVersion,    // Of a later version: this master must stop.
  kMalformed,  // Ids of wrong length, no entry: a bug of the proposer.
  kUnknownJob,
  kJobEnded,
  kJobDecided,
  kJobNotDecided,
  kJobNotEnded,
  kNotPlanned,
  kAlreadyPlanned,
  kTooLarge,  // More tasks than kMapsMax and its like.
  kNoSuchTask,
  kRepeated,        // The very thing has happened: same uid, same worker.
  kHasWinner,       // Another attempt has won.
  kNotWinner,       // The uid is not the task's (last) winner.
  kAttemptCounted,  // The uid has failed, or what it made was lost.
  kNotNeeded,       // No reduce needs that map any more.
  kOldEpoch,
  kWorkerNotAlive,
  kNameTaken,
  kRequestKnown,
  kOutputReserved,
  kIncomplete,  // Some task has no winner.
  kWinnersDiffer,
  kLedger,
};
std::string_view ToString(Refusal refusal);

// A winner that an entry took away.
struct LostWinner {
  JobId job;
  TaskId task;
  AttemptUid uid;
  WorkerNumber worker = 0;
};

struct ApplyResult {
  Refusal refusal = Refusal::kNone;
  std::string message;  // When refused: why, for people.
  // The job that the entry is about. JobSubmitted refused with kRequestKnown:
  // the one that the request made before; with kOutputReserved: the one that
  // holds the output path.
  JobId job;

  // What applying it did beside the obvious.
  std::vector<LostWinner> lost;
  bool epoch_raised = false;
  std::vector<JobId> ended;  // Jobs that ended by it.

  bool applied() const { return refusal == Refusal::kNone; }
};

// Rules to leave out, one at a time, so that a simulation can show that it
// would notice. All false but in such tests.
struct StateMutant {
  bool skip_epoch_check = false;       // ReduceWon of an old epoch wins.
  bool forget_map_of_lost = false;     // WorkerLost keeps one of its maps.
  bool skip_alive_check = false;       // Lost workers go on winning.
  bool skip_has_winner_check = false;  // A second winner replaces the first.
  bool skip_reserved_check = false;    // Two jobs for one output path.
  bool end_twice = false;              // Cancelled ends what has ended.
  bool keep_reduces_on_raise = false;  // An epoch drops no reduce winner.
  bool ignore_roots = false;           // Other records raise no epoch.
  bool lose_after_decided = false;     // WorkerLost takes decided winners.
};

// Thread-compatible; confined to the master loop, as are the references that it
// hands out. A reference to a job is good until the job is evicted, one to a
// worker until it is lost; all until Swap().
class State {
 public:
  explicit State(const StateMutant& mutant = {});
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Applies the next entry. REQUIRES: an index above applied_index() (a log may
  // have entries of its own in between), and a term not below the last one.
  ApplyResult Apply(uint64_t index, uint64_t term,
                    const proto::LogEntry& entry);

  // ----------------------------------------------------------- snapshots

  // The state as it is now, for other threads and for later. Copies the head of
  // each job and a pointer for each 256 tasks, whatever they hold. As long as
  // it is there, an entry that changes something copies that first: some 30 KB
  // for a task, once for all 256 of its neighbourhood. Never null.
  std::shared_ptr<const StateSnapshot> Freeze() const;

  // What StateSnapshot::WriteTo() has written. On any thread. Errors of
  // `source`, or
  //   kDataLoss            not such a stream, damaged, cut off, or of a state
  //                        that no entries lead to
  //   kFailedPrecondition  of a later version of this program
  static absl::StatusOr<std::unique_ptr<State>> Restore(
      ByteSource& source, const StateMutant& mutant = {});

  // Each becomes what the other was, but for the mutants. References of before
  // belong to what they were got from, under its new name.
  void Swap(State& other);

  // ------------------------------------------------------------- the log

  uint64_t applied_index() const { return applied_index_; }
  uint64_t applied_term() const { return applied_term_; }
  // Zero before the first TermStarted.
  const ClusterId& cluster_id() const { return cluster_id_; }

  // ---------------------------------------------------------------- jobs

  const Job* FindJob(const JobId& id) const;
  // By any unique prefix of its hexadecimal id, at least one digit.
  //   kInvalidArgument  not hexadecimal, empty, too long
  //   kNotFound         no job begins so
  //   kFailedPrecondition  several do; the message names some
  absl::StatusOr<const Job*> FindJobByPrefix(std::string_view hex) const;
  const Job* FindJobByRequest(const RequestId& request) const;
  // The job that has not ended and writes there, or null.
  const Job* FindJobByOutput(std::string_view output) const;
  // All that are retained, by the index of their submission: oldest first.
  const std::map<uint64_t, const Job*>& jobs() const { return jobs_by_index_; }
  // Those that have not ended, likewise.
  const std::map<uint64_t, const Job*>& live_jobs() const { return live_jobs_; }
  // Those that have, by the index at which they ended and that of their
  // submission: one entry may end several.
  using EndedJobs = std::map<std::pair<uint64_t, uint64_t>, const Job*>;
  const EndedJobs& ended_jobs() const { return ended_jobs_; }

  // ------------------------------------------------------------- workers

  // By number, the lost ones included.
  const WorkerTable& workers() const { return workers_; }
  const Worker* FindWorker(const WorkerIncarnation& incarnation) const;
  // The incarnation of that name that joined last, or null.
  const Worker* FindLastWorker(std::string_view name) const;
  // The alive incarnation of that name, or null.
  const Worker* FindAliveWorker(std::string_view name) const;
  // Numbers of the alive ones.
  const std::set<WorkerNumber>& alive_workers() const { return alive_; }
  bool IsDraining(std::string_view name) const;

  // Of everything above: equal on two masters if and only if (but for
  // collisions of 64 bits) they have come to the same state. Reads all of it.
  uint64_t Hash() const;

 private:
  friend class Applier;         // Of one entry (applier.h).
  friend class SnapshotReader;  // Of a whole state (snapshot_reader.h).

  void AddJob(std::unique_ptr<Job> job);
  void AddWorker(Worker worker);

  const StateMutant mutant_;
  uint64_t applied_index_ = 0;
  uint64_t applied_term_ = 0;
  ClusterId cluster_id_;

  std::map<JobId, std::unique_ptr<Job>> jobs_;
  std::map<uint64_t, const Job*> jobs_by_index_;
  std::map<uint64_t, const Job*> live_jobs_;
  EndedJobs ended_jobs_;
  std::map<RequestId, JobId> requests_;
  std::map<std::string, JobId, std::less<>> outputs_;  // Of live jobs.

  WorkerTable workers_;
  // By no order: it is looked up in and nothing else.
  absl::flat_hash_map<WorkerIncarnation, WorkerNumber> worker_numbers_;
  std::map<std::string, WorkerNumber, std::less<>> alive_names_;
  std::set<WorkerNumber> alive_;
  std::set<std::string, std::less<>> draining_;
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_STATE_STATE_H_
