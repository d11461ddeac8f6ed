#include "api/src/flags.h"

#include <sched.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>

#include "absl/strings/numbers.h"
#include "common/file_system.h"
#include "common/strings.h"

namespace millrace {
namespace {

// The same on every machine: where records spill may show in the output of a
// combiner that is not exact, and equal input shall give equal bytes.
constexpr char kMemoryDefault[] = "512MiB";
constexpr uint64_t kMemoryMin = 1 << 20;

int UsableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

// "64M", "64MiB", "1.5g", "1048576"; powers of 1024.
std::optional<uint64_t> ParseBytes(const std::string& text) {
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  std::string unit = text.substr(used);
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  static constexpr std::pair<const char*, int> kUnits[] = {
      {"", 0},     {"b", 0},   {"k", 10},   {"kb", 10}, {"kib", 10},
      {"m", 20},   {"mb", 20}, {"mib", 20}, {"g", 30},  {"gb", 30},
      {"gib", 30}, {"t", 40},  {"tb", 40},  {"tib", 40}};
  for (const auto& [name, shift] : kUnits) {
    if (unit != name) continue;
    value = std::ldexp(value, shift);
    if (!(value >= 0) || value >= 9.2e18) return std::nullopt;
    return static_cast<uint64_t>(value);
  }
  return std::nullopt;
}

// A byte-size flag: parsed and range-checked by CLI11 as the other flags are.
CLI::Option* AddBytes(CLI::App& app, const std::string& name,
                      std::string& value, const std::string& help,
                      uint64_t min) {
  return app.add_option(name, value, help)
      ->type_name("BYTES")
      ->check([min](const std::string& text) -> std::string {
        const std::optional<uint64_t> bytes = ParseBytes(text);
        if (!bytes.has_value()) {
          return Cat(
              "\"", Printable(text),
              "\" is no size; write a number with K, M or G, as in 256M");
        }
        if (*bytes != 0 && *bytes < min) {
          return Cat(Printable(text), " is too small; at least ",
                     HumanBytes(min));
        }
        return "";
      });
}

// A whole number from `low` to `high`. CLI11's own Range would put its bounds
// into every line of the help text.
CLI::Option* AddNumber(CLI::App& app, const std::string& name, auto& value,
                       const std::string& help, uint64_t low, uint64_t high) {
  return app.add_option(name, value, help)
      ->type_name("N")
      ->check([low, high](const std::string& text) -> std::string {
        uint64_t number = 0;
        if (absl::SimpleAtoi(text, &number) && low <= number &&
            number <= high) {
          return "";
        }
        return Cat("\"", Printable(text), "\" is no whole number from ", low,
                   " to ", high);
      });
}

// An option that may be given several times, each with one value.
CLI::Option* AddRepeated(CLI::App& app, const std::string& name,
                         std::vector<std::string>& values,
                         const std::string& type, const std::string& help) {
  CLI::Option* option = app.add_option(name, values, help)
                            ->type_name(type)
                            ->type_size(1)
                            ->allow_extra_args(false)
                            ->expected(1)
                            ->take_all();
  option->default_str("");
  return option;
}

std::optional<absl::Duration> ParseSeconds(const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(Av(text), &duration)) return duration;
  if (absl::ParseDuration(Av(Cat(text, "s")), &duration)) return duration;
  return std::nullopt;
}

void PrintUsageError(const std::string& program, const std::string& what) {
  std::fprintf(stderr, "%s: %s (see %s --help)\n", program.c_str(),
               what.c_str(), program.c_str());
}

}  // namespace

ParsedFlags ParseJobFlags(int argc, char** argv,
                          const internal::JobDefinition& job) {
  ParsedFlags parsed;
  JobFlags& flags = parsed.flags;
  const std::string program = argc > 0 ? BaseName(argv[0]) : job.name;

  // Everything behind "--" is the program's own, whatever it looks like.
  int own_argc = argc;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--") != 0) continue;
    own_argc = i;
    flags.arguments.assign(argv + i + 1, argv + argc);
    break;
  }

  const bool sequence = job.input == internal::InputKind::kSequence;
  CLI::App app(Cat("Runs the MapReduce job \"", job.name,
                   "\" on this machine, one process per core."),
               program);
  app.footer(Cat(
      job.arguments_usage.empty()
          ? std::string()
          : Cat("Program arguments follow \"--\": ", job.arguments_usage, "\n"),
      "Sizes take K, M, G. Exit codes: 0 success, 1 job failed, 2 usage, 4 "
      "input not found, 5 refused (output exists or cannot be written), 130 "
      "interrupted."));
  app.option_defaults()->always_capture_default(true);

  std::string split_text = "0";
  std::string memory_text = kMemoryDefault;
  std::string limit_text = "0";
  std::string log_limit_text = "64MiB";
  std::string timeout_text = "600s";
  std::vector<std::string> side_texts;
  flags.slots = UsableCores();

  if (!sequence) {
    AddRepeated(app, "--input,-i", flags.inputs, "PATTERN",
                "File, glob (*, ?, [], **) or directory (all below it); may be "
                "repeated");
  } else {
    AddNumber(app, "--rows", flags.rows, "How many numbers, from 0 on", 0,
              uint64_t{1} << 62);
    AddNumber(app, "--splits", flags.sequence_splits,
              "Number of map tasks; 0: one per million rows", 0, 1'000'000);
  }
  app.add_option("--output,-o", flags.output,
                 "Directory to make; must not exist")
      ->type_name("DIR");
  if (job.make_reduce != nullptr) {
    AddNumber(app, "--reducers,-r", flags.reducers,
              "Number of part files; 0: from the input's size", 0, 10'000);
  }
  if (!sequence) {
    AddBytes(app, "--split-bytes", split_text,
             "Input of one map task; 0: from the input's size", 1);
  }
  AddBytes(app, "--memory", memory_text, "Memory budget of one task",
           kMemoryMin);
  AddBytes(app, "--memory-limit", limit_text,
           "Resident memory at which a task is killed; 0: budget + 2G",
           kMemoryMin);
  AddNumber(app, "--slots,-j", flags.slots, "Tasks that run at the same time",
            1, 1024);
  app.add_option("--task-timeout", timeout_text,
                 "Kill a task that makes no progress for so long; 0: never")
      ->type_name("TIME")
      ->check([](const std::string& text) -> std::string {
        const auto value = ParseSeconds(text);
        if (!value.has_value() || *value < absl::ZeroDuration()) {
          return Cat("\"", Printable(text),
                     "\" is no time; write seconds, or 90s, 5m, 1h");
        }
        return "";
      });
  AddNumber(app, "--max-attempts", flags.max_attempts,
            "Failed attempts of one task at which the job fails", 1, 100);
  AddBytes(app, "--log-limit", log_limit_text,
           "Bytes a task may write to stdout and stderr; 0: no limit", 1);
  app.add_option("--codec", flags.codec, "Compression of intermediate data")
      ->check(CLI::IsMember({"none", "lz4", "zstd"}));
  app.add_option("--scratch", flags.scratch,
                 "Existing directory for intermediate data; default: beside "
                 "the output")
      ->type_name("DIR");
  app.add_option("--keep-logs", flags.keep_logs,
                 "Directory for the logs of failed attempts")
      ->type_name("DIR");
  AddRepeated(app, "--side-file", side_texts, "NAME=PATH",
              "A file every task may read, by name; may be repeated");
  AddNumber(app, "--seed", flags.seed, "Seed of Context::seed()", 0,
            ~uint64_t{0});
  app.add_flag("--in-process", flags.in_process,
               "One thread, no child processes: for a debugger");
  app.add_flag("--fresh-process", flags.fresh_process,
               "A new process for every task");
  app.add_flag("--paranoid", flags.paranoid,
               "Read every part file again before it is published");
  app.add_flag("--quiet,-q", flags.quiet, "Print errors only");
  app.add_flag("--describe", parsed.describe,
               "Print what this job is, as JSON, and end");

  try {
    app.parse(own_argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return parsed;
  } catch (const CLI::ParseError& e) {
    PrintUsageError(program, e.what());
    parsed.exit_code = kExitUsage;
    return parsed;
  }
  if (parsed.describe) return parsed;

  flags.split_bytes = *ParseBytes(split_text);
  flags.memory_bytes = *ParseBytes(memory_text);
  flags.memory_limit_bytes = *ParseBytes(limit_text);
  if (flags.memory_limit_bytes == 0) {
    // Budget, and room for records of a gigabyte (promise P11: twice the
    // largest record comes on top of the budget).
    flags.memory_limit_bytes = flags.memory_bytes + (uint64_t{2} << 30);
  }
  flags.log_limit_bytes = *ParseBytes(log_limit_text);
  flags.task_timeout = *ParseSeconds(timeout_text);
  for (const std::string& text : side_texts) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      PrintUsageError(program, Cat("--side-file: \"", Printable(text),
                                   "\" is not NAME=PATH"));
      parsed.exit_code = kExitUsage;
      return parsed;
    }
    flags.side_files.emplace_back(text.substr(0, equals),
                                  text.substr(equals + 1));
  }

  std::string wrong;
  if (flags.output.empty()) {
    wrong = "--output is missing: name a directory to make";
  } else if (!sequence && flags.inputs.empty()) {
    wrong = "--input is missing: name a file, a glob or a directory";
  } else if (flags.memory_bytes == 0) {
    wrong = Cat("--memory: at least ", HumanBytes(kMemoryMin));
  } else if (job.check_arguments != nullptr) {
    const absl::Status status = job.check_arguments(flags.arguments);
    if (!status.ok()) {
      wrong = std::string(ToStd(status.message()));
      if (!job.arguments_usage.empty()) {
        wrong += Cat("; usage: ", program, " --input ... --output ... -- ",
                     job.arguments_usage);
      }
    }
  }
  if (!wrong.empty()) {
    PrintUsageError(program, wrong);
    parsed.exit_code = kExitUsage;
    return parsed;
  }
  parsed.run = true;
  return parsed;
}

}  // namespace millrace
