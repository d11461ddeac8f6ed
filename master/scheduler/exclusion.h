// Workers that are given nothing for a while, because attempts that fail
// through no fault of the program fail there: a full or broken disk, no
// descriptors, map outputs that nobody can fetch.
//
//               `failures` distinct tasks in `window`
//        good ------------------------------------------> excluded
//         ^  <---- room is needed ------------------------   |
//         |                                                  | after a time
//         |  a task succeeds                a task fails     v
//         +------------------- on probation --------------> excluded, for
//                              (one at a time)               twice as long
//
// A success takes the oldest failure back: a worker on which more succeeds than
// fails is good. At most `share` of the workers that could be given work are
// excluded, one of two, and never the only one: when workers leave, those that
// have been excluded longest go on probation early.
//
// Soft: a new leader judges anew.
#ifndef MILLRACE_MASTER_SCHEDULER_EXCLUSION_H_
#define MILLRACE_MASTER_SCHEDULER_EXCLUSION_H_

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "master/state/task_id.h"
#include "master/state/worker_table.h"

namespace millrace::master {

struct ExclusionRules {
  // Distinct tasks; 0: no worker is ever excluded.
  size_t failures = 3;
  absl::Duration window = absl::Minutes(10);
  // Doubled each time that it follows within `window` of the last one.
  absl::Duration exclusion = absl::Seconds(30);
  absl::Duration exclusion_max = absl::Minutes(10);
  double share = 1.0 / 3;
};

// Confined to the master loop.
class Exclusions {
 public:
  enum class Standing { kGood, kExcluded, kProbation };

  explicit Exclusions(const ExclusionRules& rules) : rules_(rules) {}

  // `why`: for people.
  void OnFailure(WorkerNumber worker, const JobId& job, const TaskId& task,
                 const std::string& why, absl::Duration now);
  void OnSuccess(WorkerNumber worker);
  void OnGone(WorkerNumber worker) { changed_ |= workers_.erase(worker) > 0; }
  void Clear() {
    workers_.clear();
    changed_ = false;
    next_change_ = absl::InfiniteDuration();
  }

  // Whether an Update() with the same candidates as the last one could change
  // anything.
  bool UpdateDue(absl::Duration now) const {
    return changed_ || now >= next_change_;
  }

  // Excludes, releases. `candidates`: workers that may be given work but for
  // this; a worker that is not among them keeps its standing.
  void Update(const std::set<WorkerNumber>& candidates, absl::Duration now);

  // As of the last Update().
  Standing Of(WorkerNumber worker) const;
  // Those that are excluded or on probation.
  std::vector<WorkerNumber> NotGood() const;
  // Why it is not good; "" for a good one.
  std::string Why(WorkerNumber worker) const;
  // Until when it is excluded.
  absl::Duration Until(WorkerNumber worker) const;
  // When an Update() is due; InfiniteDuration(): not before something happens.
  absl::Duration NextUpdate() const;
  bool empty() const { return workers_.empty(); }

  // How many of so many workers may be excluded.
  static size_t Most(const ExclusionRules& rules, size_t workers);

 private:
  struct Failure {
    std::pair<JobId, TaskId> task;
    absl::Duration at;
  };
  struct Record {
    Standing standing = Standing::kGood;
    std::deque<Failure> failures;  // Of distinct tasks, oldest first.
    std::string why;               // The last one.
    absl::Duration excluded_at;
    absl::Duration until;
    absl::Duration last_term;  // Of the last exclusion; zero: none.
  };

  void Exclude(Record& record, absl::Duration now);
  void Judge(const std::set<WorkerNumber>& candidates, absl::Duration now);

  const ExclusionRules rules_;
  std::map<WorkerNumber, Record> workers_;  // That have had failures.
  // Since the last Update() something was said that may change a standing.
  bool changed_ = false;
  // When time alone may: a failure is forgotten, an exclusion ends.
  absl::Duration next_change_ = absl::InfiniteDuration();
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_EXCLUSION_H_
