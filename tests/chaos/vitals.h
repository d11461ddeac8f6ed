// What daemons take of the machine while they run: whether it grows.
#ifndef MILLRACE_TESTS_CHAOS_VITALS_H_
#define MILLRACE_TESTS_CHAOS_VITALS_H_

#include <sys/types.h>

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace millrace::chaostest {

struct VitalSigns {
  double resident_mib = 0;
  int descriptors = 0;
  int threads = 0;
  bool leads = false;  // Of a master.
};

// From /proc. False: there is no such process any more.
bool ReadVitalSigns(pid_t pid, VitalSigns* signs);

// The growth of one process, of the samples that count.
struct Growth {
  std::string name;
  int samples = 0;
  double resident_mib = 0;  // The last sample.
  // Of the line that fits best (least squares), which is higher by a step while
  // the process leads: a leader needs more, and who leads changes.
  double mib_per_hour = 0;
  // Mean resident MiB in each eighth of the time from the first sample of all,
  // those that do not count included: whether it grows on. 0: no sample.
  std::array<double, 8> course = {};
  // The least resident MiB in each of them: what is not the work of a moment.
  std::array<double, 8> floor = {};
  // The most in the second half of the time beyond the most that a process of
  // its kind, "master" or "worker", had in the first: a leader has more than
  // those that follow it, and who leads changes.
  int more_descriptors = 0;
  int more_threads = 0;
};

// Samples of processes that come and go. Thread-compatible.
class Vitals {
 public:
  // At `at`, which does not decrease; a process that is started again under the
  // name is another one.
  void Add(const std::string& name, pid_t pid, absl::Duration at,
           const VitalSigns& signs);
  // Of processes that were there from `from` or earlier to the last sample of
  // all.
  std::vector<Growth> Of(absl::Duration from) const;

 private:
  struct Sample {
    absl::Duration at;
    VitalSigns signs;
  };
  std::map<std::pair<std::string, pid_t>, std::vector<Sample>> samples_;
  absl::Duration last_ = absl::ZeroDuration();
};

}  // namespace millrace::chaostest

#endif  // MILLRACE_TESTS_CHAOS_VITALS_H_
