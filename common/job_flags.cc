#include "common/job_flags.h"

#include "common/flag_kinds.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace {
namespace {

constexpr uint64_t kMemoryMin = 1 << 20;
// The engine's sort index can tell apart as many places in memory.
constexpr uint64_t kMemoryMax = uint64_t{1} << 40;

// Beside the budget there is room for records of a gigabyte (promise P11: twice
// the largest record comes on top of the budget).
constexpr uint64_t kMemoryLimitMargin = uint64_t{2} << 30;

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError(Av(what));
}

absl::Status CheckShape(const JobSettings& flags, const JobShape& shape) {
  if (flags.output.empty()) {
    return Wrong("--output is missing: name a directory to make");
  }
  if (shape.sequence_input) {
    if (!flags.inputs.empty()) {
      return Wrong("--input: this job reads no files, but --rows numbers");
    }
    if (flags.split_bytes != 0) {
      return Wrong("--split-bytes: this job reads no files; see --splits");
    }
    if (flags.rows == 0) {
      return Wrong("--rows is missing: say how many numbers the job reads");
    }
  } else {
    if (flags.inputs.empty()) {
      return Wrong("--input is missing: name a file, a glob or a directory");
    }
    if (flags.rows != 0 || flags.sequence_splits != 0) {
      return Wrong("--rows and --splits: this job reads files, not numbers");
    }
  }
  if (!shape.reduces && flags.reducers != 0) {
    return Wrong("--reducers: this job has no reduce step");
  }
  return absl::OkStatus();
}

}  // namespace

void JobFlagSet::AddDataFlags(CLI::App& app,
                              const std::optional<JobShape>& shape) {
  if (!shape.has_value() || !shape->sequence_input) {
    AddRepeated(app, "--input,-i", values_.inputs, "PATTERN",
                "File, glob (*, ?, [], **) or directory (all below it); may be "
                "repeated");
  }
  if (!shape.has_value() || shape->sequence_input) {
    AddNumber(app, "--rows", values_.rows,
              "Of a job that reads numbers instead of files: how many, from 0 "
              "on",
              1, uint64_t{1} << 62)
        ->default_str("");
    AddNumber(app, "--splits", values_.sequence_splits,
              "Of the same, number of map tasks; 0: one per million rows", 0,
              1'000'000);
  }
  app.add_option("--output,-o", values_.output,
                 "Directory to make; must not exist")
      ->type_name("DIR");
  if (!shape.has_value() || shape->reduces) {
    AddNumber(
        app, "--reducers,-r", values_.reducers,
        "Number of part files; 0: from the input's size and a sample of it", 0,
        10'000);
  }
  if (!shape.has_value() || !shape->sequence_input) {
    AddBytes(app, "--split-bytes", split_,
             "Input of one map task; 0: from the input's size", 1);
  }
}

void JobFlagSet::AddTaskFlags(CLI::App& app) {
  AddBytes(app, "--memory", memory_, "Memory budget of one task", kMemoryMin,
           kMemoryMax);
  AddBytes(app, "--memory-limit", memory_limit_,
           "Resident memory at which a task is killed; 0: budget + 2G",
           kMemoryMin);
  AddSeconds(app, "--task-timeout", timeout_,
             "Kill a task that makes no progress for so long; 0: never");
  AddSeconds(app, "--task-time-limit", time_limit_,
             "Kill a task that has not ended after so long, with progress or "
             "without; 0: never");
  AddNumber(app, "--max-attempts", values_.max_attempts,
            "Failed attempts of one task at which the job fails", 1, 100);
  AddNumber(app, "--skip-bad-records", values_.skip_bad_records,
            "Pass over so many input records of the job that crash the mapper, "
            "and keep them in OUTPUT/_dead_letter-*",
            0, kSkipBadRecordsMax);
  AddBytes(app, "--log-limit", log_limit_,
           "Bytes a task may write to stdout and stderr; 0: no limit", 1);
  AddBytes(app, "--output-limit", output_limit_,
           "Bytes that the part files may have together; 0: no limit", 1);
  app.add_option("--codec", values_.codec, "Compression of intermediate data")
      ->check(CLI::IsMember({"none", "lz4", "zstd"}));
  AddRepeated(app, "--side-file", side_files_, "NAME=PATH",
              "A file every task may read, by name; may be repeated");
  AddNumber(app, "--seed", values_.seed, "Seed of Context::seed()", 0,
            ~uint64_t{0});
  app.add_flag("--fresh-process", values_.fresh_process,
               "A new process for every task");
  app.add_option("--speculation", speculation_,
                 "On a cluster: run a task that is much slower than others a "
                 "second time beside the first")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_flag("--paranoid", values_.paranoid,
               "Read every part file again before it is published");
}

absl::StatusOr<JobSettings> JobFlagSet::Take(const JobShape& shape) const {
  JobSettings settings = values_;
  settings.split_bytes = *ParseBytes(split_);
  settings.memory_bytes = *ParseBytes(memory_);
  settings.memory_limit_bytes = *ParseBytes(memory_limit_);
  if (settings.memory_bytes == 0) {
    return Wrong(Cat("--memory: at least ", HumanBytes(kMemoryMin)));
  }
  if (settings.memory_limit_bytes == 0) {
    settings.memory_limit_bytes = settings.memory_bytes + kMemoryLimitMargin;
  }
  settings.log_limit_bytes = *ParseBytes(log_limit_);
  settings.output_limit_bytes = *ParseBytes(output_limit_);
  settings.task_timeout = *ParseSeconds(timeout_);
  settings.task_time_limit = *ParseSeconds(time_limit_);
  settings.speculation = speculation_ == "on";
  for (const std::string& text : side_files_) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return Wrong(
          Cat("--side-file: \"", Printable(text), "\" is not NAME=PATH"));
    }
    settings.side_files.emplace_back(text.substr(0, equals),
                                     text.substr(equals + 1));
  }
  MR_RETURN_IF_ERROR(CheckSideFileNames(settings));
  MR_RETURN_IF_ERROR(CheckShape(settings, shape));
  return settings;
}

}  // namespace millrace
