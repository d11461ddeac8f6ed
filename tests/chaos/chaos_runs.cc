// Clusters under chaos, run after run:
//
//   chaos_runs --keep=DIR [--suite=mixed|nonce|damage|soak] [--record=FILE]
//              [--runs=N] [--first=SEED] [--lasts=S] [--seconds=S]
//              [--effective=N] [--commit=ID] [--sources=ID]
//   chaos_runs --plan=SEED [--suite=..]        what a run is made of
//
// See tests/chaos/README.md.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "common/logging.h"
#include "tests/chaos/plan.h"
#include "tests/chaos/runner.h"

namespace millrace::chaostest {
namespace {

int Usage() {
  std::fprintf(
      stderr,
      "chaos_runs --keep=DIR [--suite=mixed|nonce|damage|soak] "
      "[--record=FILE] [--runs=N]\n           [--first=SEED] [--lasts=S] "
      "[--seconds=S] [--effective=N] [--commit=ID] [--sources=ID]\n"
      "chaos_runs --plan=SEED [--suite=mixed|nonce|damage|soak]\n");
  return 2;
}

int Main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const size_t equals = argument.find('=');
    if (argument.substr(0, 2) != "--" || equals == std::string_view::npos) {
      return Usage();
    }
    flags[std::string(argument.substr(2, equals - 2))] =
        std::string(argument.substr(equals + 1));
  }
  const auto number = [&flags](const char* name, uint64_t otherwise) {
    const auto found = flags.find(name);
    return found == flags.end()
               ? otherwise
               : std::strtoull(found->second.c_str(), nullptr, 10);
  };
  const auto suite =
      SuiteNamed(flags.count("suite") > 0 ? flags["suite"] : "mixed");
  if (!suite.has_value()) return Usage();
  if (flags.count("plan") > 0) {
    const RunPlan plan = PlanRun(number("plan", 1), *suite);
    for (const JobKind* job : plan.jobs) {
      std::printf("%s\n", std::string(job->name).c_str());
    }
    std::printf("%s\n", plan.chaos.c_str());
    return 0;
  }
  if (flags.count("keep") == 0) return Usage();
  RunnerOptions options;
  options.suite = *suite;
  if (flags.count("lasts") > 0) {
    options.lasts = absl::Seconds(number("lasts", 0));
  }
  options.record = flags["record"];
  options.keep = flags["keep"];
  options.runs = number("runs", options.runs);
  options.first = number("first", options.first);
  options.seconds = static_cast<unsigned>(number("seconds", 0));
  options.effective_min = static_cast<int>(number("effective", 0));
  options.commit = flags["commit"];
  options.sources = flags["sources"];
  return RunAll(options);
}

}  // namespace
}  // namespace millrace::chaostest

int main(int argc, char** argv) {
  millrace::InitLogging(argv[0], 2);
  return millrace::chaostest::Main(argc, argv);
}
