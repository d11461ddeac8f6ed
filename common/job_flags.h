// The flags that a local run (`./wordcount --input ...`) and a submission
// (`millrace submit ./wordcount --input ...`) have in common: one definition,
// so that a job tried on one machine means the same on a cluster.
#ifndef MILLRACE_COMMON_JOB_FLAGS_H_
#define MILLRACE_COMMON_JOB_FLAGS_H_

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/job_settings.h"

namespace millrace {

// Thread-compatible.
class JobFlagSet {
 public:
  // `codec`: the default of --codec, which depends on what intermediate data
  // travel through.
  explicit JobFlagSet(std::string codec) { values_.codec = std::move(codec); }
  JobFlagSet(const JobFlagSet&) = delete;
  JobFlagSet& operator=(const JobFlagSet&) = delete;

  // Adds the flags, those for data first. This object outlives the parsing.
  // Without a shape, the flags of every shape are added, and Take() refuses
  // those that do not fit.
  void AddDataFlags(CLI::App& app, const std::optional<JobShape>& shape);
  void AddTaskFlags(CLI::App& app);

  // After the parsing. kInvalidArgument: what is wrong, in one line.
  absl::StatusOr<JobSettings> Take(const JobShape& shape) const;

 private:
  JobSettings values_;
  // The same on every machine: where records spill may show in the output of a
  // combiner that is not exact, and equal input shall give equal bytes.
  std::string memory_ = "512MiB";
  std::string memory_limit_ = "0";
  std::string split_ = "0";
  std::string log_limit_ = "64MiB";
  std::string output_limit_ = "0";
  std::string timeout_ = "600s";
  std::string time_limit_ = "0";
  std::string speculation_ = "on";
  std::vector<std::string> side_files_;
};

}  // namespace millrace

#endif  // MILLRACE_COMMON_JOB_FLAGS_H_
