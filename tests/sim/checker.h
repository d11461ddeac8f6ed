// Judges a simulated cluster by what it sees of it: entries applied, grants
// that arrive, the store, the machines. Knows nothing of the faults. The names
// are those of the invariants:
//
//   I1   one winner for each task, at every prefix of the log; none changes
//        once the job is decided, and none else is published
//   I5   a terminal state never changes
//   I6   no attempt uid comes twice
//   I10  failures and epochs stay within their limits; to be stopped is no
//        failure
//   I11  one live attempt for each task on workers that are not lost, or two of
//        which one is speculative; those within the cluster's limit,
//        none of a job without speculation; one that is beaten does not go on
//   I12  nothing of a lost worker wins, nothing of an old epoch, no failed uid
//   I13  what the winning reduces read is what the winning maps wrote
//   I17  snapshot and tail are what the whole log says (ClusterSim compares)
//   I19  a runnable task and a free slot do not stay together for 5 s, unless
//        the slot's worker is shown as excluded or avoided; a lost map does not
//        wait for 20 s while reduces of its job have all slots
//   sick a worker on which everything fails is excluded; at most a third of the
//        workers are, and never all
//   loss a worker that is away for 13 s is declared lost
//   I20  of an ended job nothing is left anywhere
//   I21  a failed job has a cause
#ifndef MILLRACE_TESTS_SIM_CHECKER_H_
#define MILLRACE_TESTS_SIM_CHECKER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "master/state/state.h"
#include "proto/messages/worker.pb.h"
#include "tests/sim/checked_worker.h"
#include "tests/sim/shown.h"

namespace millrace::sim {

class Checker {
 public:
  // Borrows all; workers may come later.
  explicit Checker(const std::vector<CheckedWorker*>& workers)
      : workers_(workers) {}

  // The first violation, or "".
  const std::string& violation() const { return violation_; }
  void Violate(const std::string& what);

  // An entry of the log, once, in order.
  void OnApplied(const proto::LogEntry& entry,
                 const master::ApplyResult& result, const master::State& state);
  // A grant is on its way until it arrives or its stream is no more; the leader
  // cannot know better.
  void OnGrantSent(uint64_t session, const proto::Grant& grant);
  void OnStreamGone(uint64_t session) { sent_.erase(session); }
  void OnGranted(const CheckedWorker& worker, const proto::Grant& grant,
                 const master::State& state);
  void OnConsumed(const AttemptUid& reduce,
                  const std::map<uint32_t, std::string>& roots) {
    consumed_[reduce] = roots;
  }
  void OnPublished(const JobId& job, const std::vector<AttemptUid>& winners);

  // Every second of virtual time. `settled`: the leader has been one for so
  // long that it knows everybody.
  void OnSecond(absl::Duration now, bool settled, const master::State& state,
                const Shown& shown);
  // Nothing more is going to happen.
  void OnEnd(const master::State& state, const std::set<JobId>& staging,
             const std::map<std::string, JobId>& outputs);

 private:
  using TaskKey = std::pair<JobId, master::TaskId>;

  void CheckJob(const master::Job& job);
  void CheckWin(const proto::AttemptRef& attempt, const std::string& worker);
  void CheckDecided(const master::Job& job);
  void CheckSecond(const CheckedWorker& worker, const proto::Grant& grant,
                   const master::State& state);
  void CheckLostMaps(absl::Duration now, bool settled,
                     const master::State& state);
  void CheckExcluded(absl::Duration now, bool settled,
                     const master::State& state, const Shown& shown);
  void CheckBeaten(absl::Duration now, bool settled,
                   const master::State& state);
  // The process is there and has not been declared lost.
  static bool Alive(const CheckedWorker& worker, const master::State& state);
  bool Runnable(const master::Job& job, const master::TaskId& task,
                const master::State& state) const;
  // Whether the process that the log knows as alive is there.
  bool Present(const WorkerIncarnation& incarnation) const;
  void CheckLosses(absl::Duration now, bool settled,
                   const master::State& state);
  bool SlotIsFree(const CheckedWorker& worker,
                  const master::State& state) const;

  const std::vector<CheckedWorker*>& workers_;
  std::string violation_;

  std::set<AttemptUid> granted_;
  std::map<uint64_t, std::map<AttemptUid, TaskKey>> sent_;
  std::set<std::string> lost_workers_;
  std::set<AttemptUid> failed_;
  std::map<TaskKey, AttemptUid> winners_;
  std::map<AttemptUid, std::string> roots_;
  std::map<AttemptUid, std::map<uint32_t, std::string>> consumed_;
  std::map<JobId, proto::JobState> ended_;
  std::map<JobId, std::vector<AttemptUid>> decided_;
  std::map<JobId, std::string> output_of_;
  std::map<TaskKey, absl::Duration> idle_since_;
  std::map<TaskKey, WorkerIncarnation> granted_to_;  // Last.
  std::map<master::WorkerNumber, absl::Duration> away_since_;
  std::map<AttemptUid, absl::Duration> beaten_since_;
  std::map<TaskKey, absl::Duration> lost_since_;
  std::optional<absl::Duration> too_many_excluded_since_;
  // By incarnation: failures of the machine since the last success there, and
  // when the last ones were seen.
  std::map<std::string, int> sick_;
  std::map<std::string, std::deque<std::pair<absl::Duration, int>>> sickness_;
};

}  // namespace millrace::sim

#endif  // MILLRACE_TESTS_SIM_CHECKER_H_
