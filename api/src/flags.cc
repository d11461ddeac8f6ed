#include "api/src/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "common/file_system.h"
#include "common/flag_kinds.h"
#include "common/strings.h"
#include "common/usable_cores.h"

namespace millrace {
namespace {

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

  if (const auto flag = FlagWithoutValue(argc, argv); !flag.empty()) {
    PrintUsageError(program, Cat(Printable(flag), " has no value"));
    parsed.exit_code = kExitUsage;
    return parsed;
  }

  const JobShape shape = {
      .sequence_input = job.input == internal::InputKind::kSequence,
      .reduces = job.make_reduce != nullptr};
  CLI::App app(Cat("Runs the MapReduce job \"", job.name,
                   "\" on this machine, one process per core."),
               program);
  app.footer(Cat(
      job.arguments_usage.empty()
          ? std::string()
          : Cat("Program arguments follow \"--\": ", job.arguments_usage, "\n"),
      "Sizes take K, M, G. Exit codes: 0 success, 1 job failed, 2 usage,\n"
      "4 input not found, 5 refused (output exists or cannot be written, input "
      "may not be\nread, or is not what the job reads), 130 interrupted."));
  app.option_defaults()->always_capture_default(true);

  JobFlagSet shared("none");
  shared.AddDataFlags(app, shape);
  flags.slots = UsableCores();
  AddNumber(app, "--slots,-j", flags.slots, "Tasks that run at the same time",
            1, 1024);
  shared.AddTaskFlags(app);
  app.add_option("--scratch", flags.scratch,
                 "Existing directory for intermediate data; default: beside "
                 "the output")
      ->type_name("DIR");
  app.add_option("--keep-logs", flags.keep_logs,
                 "Directory for the log of the attempt that failed the job")
      ->type_name("DIR");
  app.add_option("--keep-bundle", flags.keep_bundle,
                 "Directory to make for the attempt that failed the job, with "
                 "its input: millrace replay runs it again, on any machine")
      ->type_name("DIR");
  app.add_flag("--in-process", flags.in_process,
               "One thread, no child processes: for a debugger");
  app.add_flag("--quiet,-q", flags.quiet, "Print errors only");
  bool describe = false;
  app.add_flag("--describe", describe,
               "Print what this job is, as JSON, and end; with \"--\", check "
               "the arguments behind it first");

  try {
    app.parse(own_argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return parsed;
  } catch (const CLI::ParseError& e) {
    PrintUsageError(program, UsageErrorText(app, e));
    parsed.exit_code = kExitUsage;
    return parsed;
  }

  std::string wrong;
  if (!describe) {
    absl::StatusOr<JobSettings> settings = shared.Take(shape);
    if (settings.ok()) {
      static_cast<JobSettings&>(flags) = *std::move(settings);
    } else {
      wrong = std::string(ToStd(settings.status().message()));
    }
  }
  const bool check = !describe || own_argc < argc;
  if (!wrong.empty()) {
    // One error is enough.
  } else if (job.arguments_usage.empty() && !flags.arguments.empty()) {
    wrong = Cat("\"", Printable(flags.arguments[0]),
                "\" stands behind \"--\", but this program takes no arguments "
                "of its own; flags come before");
  } else if (check && job.check_arguments != nullptr) {
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
  parsed.describe = describe;
  parsed.run = !describe;
  return parsed;
}

}  // namespace millrace
