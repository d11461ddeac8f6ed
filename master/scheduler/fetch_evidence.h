// What reports of failed fetches say: that outputs are lost, or that whoever
// reads them cannot reach anybody. Of one job.
//
// An output counts as lost when
//   * its holder says so: it is not there, or damaged (`gone`);
//   * two workers cannot reach its holder, for whichever of its outputs: then
//     all are lost that anybody has missed, or recovery would take a round for
//     each;
//   * the only reader has tried often enough, or one of several more often: if
//     the others have read it before, they will never say anything.
//
// But a worker that cannot reach two holders, of which nobody else complains,
// is itself under suspicion: its word counts for nothing more, and its reduces
// are better off elsewhere. There they will fetch, or complain as well.
//
// What was said long ago does not count.
#ifndef MILLRACE_MASTER_SCHEDULER_FETCH_EVIDENCE_H_
#define MILLRACE_MASTER_SCHEDULER_FETCH_EVIDENCE_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/ids.h"
#include "master/state/worker_table.h"

namespace millrace::master {

struct FetchRules {
  // Distinct workers that cannot reach a holder.
  size_t readers = 2;
  // Reports of one output: by the only worker that reads the job, by one of
  // several.
  int reports_of_only = 3;
  int reports_of_one = 6;
  // Holders that only one reader cannot reach.
  size_t holders_of_suspect = 2;
  // Fetchers report again after 30 s at the latest.
  absl::Duration memory = absl::Seconds(90);
};

struct FetchReport {
  uint32_t map = 0;
  AttemptUid uid;
  WorkerNumber holder = 0;
  WorkerNumber reader = 0;
  bool gone = false;
  std::string message = {};  // For people.
};

// Confined to the master loop.
class FetchEvidence {
 public:
  explicit FetchEvidence(const FetchRules& rules = {}) : rules_(rules) {}

  struct Verdict {
    std::vector<uint32_t> lost;  // Maps.
    bool reader_is_suspect = false;
  };
  // `only_reader`: no other worker reads the job. `can_move`: its reduces could
  // go elsewhere, so a suspicion is of use.
  Verdict Add(const FetchReport& report, bool only_reader, bool can_move,
              absl::Duration now);
  // That a reader cannot fetch an output; not enough yet to call it lost.
  struct Complaint {
    uint32_t map = 0;
    WorkerNumber holder = 0;
    WorkerNumber reader = 0;
    int reports = 0;
    absl::Duration at;  // The last one.
    std::string message;
  };
  // By map, then by reader; what was said long ago is left out.
  std::vector<Complaint> Complaints(absl::Duration now) const;

  // The output has another place now, or none.
  void Forget(uint32_t map) { outputs_.erase(map); }

 private:
  struct Said {
    int reports = 0;
    absl::Duration at;  // The last one.
    std::string message;
  };
  struct Output {
    AttemptUid uid;
    WorkerNumber holder = 0;
    std::map<WorkerNumber, Said> readers;
  };

  void ForgetOld(absl::Duration now);
  // Who cannot reach it.
  std::set<WorkerNumber> ReadersOf(WorkerNumber holder) const;
  bool IsSuspect(WorkerNumber reader) const;

  FetchRules rules_;
  std::map<uint32_t, Output> outputs_;  // By map.
};

}  // namespace millrace::master

#endif  // MILLRACE_MASTER_SCHEDULER_FETCH_EVIDENCE_H_
