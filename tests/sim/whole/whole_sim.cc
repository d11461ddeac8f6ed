// The simulation by hand:
//
//   whole_sim --seed=N [--verbose] [--mutant=NAME] [--without=FAULT,...]
//   whole_sim --run=RECORD [--seen=RECORD] [--seeds=N] [--jobs=P] [--seconds=S]
//             [--commit=ID]
//   whole_sim --sum=RECORD [--seen=RECORD]
//   whole_sim --mutants[=NAME] [--limit=N]
//
// See tests/sim/README.md.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <string_view>

#include "common/logging.h"
#include "common/strings.h"
#include "tests/sim/seed_runner.h"
#include "tests/sim/whole/mutants.h"
#include "tests/sim/whole/options.h"
#include "tests/sim/whole/sources_hash.h"

namespace millrace::wholesim {
namespace {

int Usage() {
  std::fprintf(
      stderr,
      "whole_sim --seed=N [--verbose] [--mutant=NAME] [--without=FAULT,...]\n"
      "whole_sim --run=RECORD [--seen=RECORD] [--seeds=N] [--jobs=P] "
      "[--seconds=S] [--commit=ID]\n"
      "whole_sim --sum=RECORD [--seen=RECORD]\n"
      "whole_sim --mutants[=NAME] [--limit=N]\n");
  return 2;
}

// False: it names something else than faults.
bool WithoutFaults(std::string_view names, std::bitset<kFaults>* without) {
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(','));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    bool found = false;
    for (size_t i = 0; i < kFaults; ++i) {
      if (FaultName(static_cast<Fault>(i)) != name) continue;
      without->set(i);
      found = true;
    }
    if (!found) return false;
  }
  return true;
}

int Replay(const SimOptions& options) {
  const SimResult result = Simulate(options);
  if (!result.violation.empty() && !options.verbose) {
    std::printf("%s", Story(options, result).c_str());
  }
  std::printf(
      "trace hash %016llx, %.1f virtual minutes, %llu events, %s mode\n"
      "jobs: %llu succeeded, %llu failed, %llu killed; %llu outputs compared, "
      "%llu attempts, %llu transfers\neffective faults:\n",
      static_cast<unsigned long long>(result.trace_hash),
      absl::ToDoubleMinutes(result.virtual_time),
      static_cast<unsigned long long>(result.event_count),
      result.liveness ? "liveness" : "safety",
      static_cast<unsigned long long>(result.succeeded),
      static_cast<unsigned long long>(result.failed),
      static_cast<unsigned long long>(result.killed),
      static_cast<unsigned long long>(result.compared),
      static_cast<unsigned long long>(result.attempts),
      static_cast<unsigned long long>(result.transfers));
  for (const auto& [name, count] : result.coverage.FaultCounts()) {
    if (count > 0) {
      std::printf("  %s: %llu\n", name.c_str(),
                  static_cast<unsigned long long>(count));
    }
  }
  std::printf("%s\n", result.violation.empty() ? "no violation"
                                               : result.violation.c_str());
  return result.violation.empty() ? 0 : 1;
}

sim::SeedResult SimulateSeed(uint64_t seed) {
  SimOptions options;
  options.seed = seed;
  const SimResult result = Simulate(options);
  sim::SeedResult out;
  out.violation = result.violation;
  out.virtual_time = result.virtual_time;
  out.events = result.event_count;
  out.faults = result.coverage.FaultCounts();
  out.cells = result.coverage.CellCounts();
  return out;
}

int PrintMatrix(const sim::SeedTotals& totals) {
  size_t empty = 0;
  std::cout << "\nwhat the faults met:\n\n"
            << MatrixTable(totals.cells, &empty);
  if (empty > 0) std::cout << "\n" << empty << " cells are empty\n";
  return 0;
}

int Main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, 2) != "--") return Usage();
    const size_t equals = argument.find('=');
    flags[std::string(argument.substr(2, equals - 2))] =
        equals == std::string_view::npos
            ? ""
            : std::string(argument.substr(equals + 1));
  }
  const auto number = [&flags](const char* name, uint64_t otherwise) {
    const auto found = flags.find(name);
    return found == flags.end()
               ? otherwise
               : std::strtoull(found->second.c_str(), nullptr, 10);
  };
  if (flags.contains("seed")) {
    SimOptions options;
    options.seed = number("seed", 1);
    options.verbose = flags.contains("verbose");
    if (flags.contains("mutant")) {
      const NamedMutant* mutant = FindMutant(flags["mutant"]);
      if (mutant == nullptr) return Usage();
      mutant->apply(&options.mutant);
    }
    if (!WithoutFaults(flags["without"], &options.without)) return Usage();
    return Replay(options);
  }
  if (flags.contains("run")) {
    sim::SeedRunOptions options;
    options.record = flags["run"];
    options.seen = flags["seen"];
    options.sources = kWholeSourcesHash;
    options.seeds = number("seeds", 50'000);
    options.jobs = static_cast<int>(number("jobs", 1));
    options.seconds = static_cast<unsigned>(number("seconds", 0));
    options.commit = flags["commit"];
    options.simulate = &SimulateSeed;
    options.at_end = &PrintMatrix;
    return sim::RunSeeds(options);
  }
  if (flags.contains("sum")) {
    sim::SeedRunOptions options;
    options.record = flags["sum"];
    options.seen = flags["seen"];
    options.sources = kWholeSourcesHash;
    return sim::SumSeeds(options);
  }
  if (flags.contains("mutants")) {
    return RunMutants(flags["mutants"], number("limit", 0));
  }
  return Usage();
}

}  // namespace
}  // namespace millrace::wholesim

int main(int argc, char** argv) {
  // What production code warns of is the simulation's daily bread.
  millrace::InitLogging(argv[0], 2);
  return millrace::wholesim::Main(argc, argv);
}
