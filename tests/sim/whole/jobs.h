// The jobs of a simulated cluster: real programs on small inputs, what they
// must give, and what their clients and their users' code know.
#ifndef MILLRACE_TESTS_SIM_WHOLE_JOBS_H_
#define MILLRACE_TESTS_SIM_WHOLE_JOBS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/file_system.h"
#include "common/ids.h"
#include "common/random.h"
#include "millrace/internal/job_definition.h"
#include "proto/messages/job.pb.h"

namespace millrace::wholesim {

enum class Program : uint8_t {
  kCount,  // How often each word occurs; with a combiner.
  kIndex,  // Where; its values carry checksums, and their order shows.
  kCopy,   // Map-only.
  kNonce,  // Each map attempt draws a number, and writes it under eight keys.
};
inline constexpr size_t kPrograms = 4;

struct ClientJob {
  std::string name;
  Program program = Program::kCount;
  std::string directory;                                    // Of its inputs.
  std::vector<std::pair<std::string, std::string>> inputs;  // Path and bytes.
  std::string output;
  uint32_t partitions = 1;  // 0: map-only.
  proto::JobSpec spec;
  absl::Duration task_time;  // Mean.

  // What makes it fail, and it alone may.
  double throws = 0;            // Share of attempts whose user code throws.
  bool poisoned = false;        // Its last task crashes every time.
  bool foreign_output = false;  // Somebody makes the output path meanwhile.
  bool foreign_made = false;
  bool input_changed = false;
  bool output_too_long = false;  // For spec.output_bytes_max().
  // Records that its mapper throws on, by file and offset. The job may pass
  // over spec.skip_bad_records() of them: all, or one too few.
  std::set<std::pair<std::string, uint64_t>> bad;

  RequestId request;
  std::optional<JobId> id;  // Acknowledged.
  bool submitted = false;   // Once at least.
  bool refused = false;
  bool kill_sent = false;
  bool output_seen = false;  // It has appeared, and was judged.
  bool settled() const { return id.has_value() || refused; }

  // What its output must be: the bytes of each part file. Absent for kNonce,
  // whose output must only agree with itself, and for map-only jobs, whose
  // parts follow from the splits: their bytes one after the other.
  std::vector<std::string> parts;
  std::string all_bytes;
};

class Jobs {
 public:
  static constexpr size_t kMax = 16;
  Jobs() { jobs_.reserve(kMax); }

  // Draws a job and writes its input. Not more than kMax, so that references
  // stay good.
  ClientJob& Draw(Random& random, FileSystem& fs, size_t number);

  std::vector<ClientJob>& all() { return jobs_; }
  const std::vector<ClientJob>& all() const { return jobs_; }
  // By the name in its spec; never null for a job of ours.
  ClientJob* Find(std::string_view name);
  ClientJob* FindByProgram(std::string_view sha256);

  // What is wrong with the output directory of a job; "": nothing. An output
  // that is not complete is wrong.
  std::string Judge(FileSystem& fs, const ClientJob& job) const;

 private:
  std::vector<ClientJob> jobs_;
};

// The program's classes, as its binary would hand them to task mode.
const internal::JobDefinition& DefinitionOf(Program program);

// What user code here reaches beside its arguments. Of the attempt that runs.
struct UserWorld {
  Random* random = nullptr;
  bool throws = false;
  std::function<void(const std::string&)> violate;
};
UserWorld& CurrentUserWorld();

}  // namespace millrace::wholesim

#endif  // MILLRACE_TESTS_SIM_WHOLE_JOBS_H_
