// What a user asks of a job, whatever runs it: the values of
// common/job_flags.h.
#ifndef MILLRACE_COMMON_JOB_SETTINGS_H_
#define MILLRACE_COMMON_JOB_SETTINGS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace millrace {

// What a job is, as far as it decides which flags make sense.
struct JobShape {
  bool sequence_input = false;  // Numbers instead of files.
  bool reduces = true;
};

// Each costs another run of its map task from the beginning, and the masters
// remember where it is and how it failed.
inline constexpr uint32_t kSkipBadRecordsMax = 1000;

struct JobSettings {
  std::vector<std::string> inputs;
  std::string output;
  uint32_t reducers = 0;            // 0: from the input's size and a sample.
  uint64_t split_bytes = 0;         // 0: from the input's size.
  uint64_t memory_bytes = 0;        // Budget of one attempt.
  uint64_t memory_limit_bytes = 0;  // Resident memory at which it is killed.
  absl::Duration task_timeout;      // Without progress; 0: none.
  absl::Duration task_time_limit;   // In all; 0: none.
  int max_attempts = 4;
  uint32_t skip_bad_records = 0;  // At most so many, of the whole job.
  uint64_t log_limit_bytes = 0;   // 0: none.
  // Of all part files together; 0: none.
  uint64_t output_limit_bytes = 0;
  std::string codec = "none";
  uint64_t rows = 0;
  uint32_t sequence_splits = 0;  // 0: from the rows.
  uint64_t seed = 0;
  bool fresh_process = false;
  bool paranoid = false;
  bool speculation = true;  // On a cluster: slow tasks get a second attempt.
  // Name -> path.
  std::vector<std::pair<std::string, std::string>> side_files;
};

// As messages have a limit on time: 0 is none, and so is one without end.
int64_t LimitMillis(absl::Duration limit);

// kInvalidArgument, naming the flag: a name that is no file name, or twice.
absl::Status CheckSideFileNames(const JobSettings& settings);

}  // namespace millrace

#endif  // MILLRACE_COMMON_JOB_SETTINGS_H_
