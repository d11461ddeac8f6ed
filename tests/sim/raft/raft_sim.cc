// The simulation by hand:
//
//   raft_sim --seed=N [--verbose] [--mutant=NAME] [--without=FAULT,...]
//   raft_sim --run=RECORD [--seen=RECORD] [--seeds=N] [--jobs=P] [--seconds=S]
//            [--commit=ID]
//   raft_sim --sum=RECORD [--seen=RECORD]
//   raft_sim --mutants[=NAME] [--limit=N] [--record=FILE]
//
// See tests/sim/README.md.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "common/logging.h"
#include "common/strings.h"
#include "tests/sim/raft/mutant_runner.h"
#include "tests/sim/raft/mutants.h"
#include "tests/sim/raft/simulation.h"
#include "tests/sim/raft/sources_hash.h"
#include "tests/sim/seed_runner.h"

namespace millrace::raftsim {
namespace {

int Usage() {
  std::fprintf(
      stderr,
      "raft_sim --seed=N [--verbose] [--mutant=NAME] [--without=FAULT,...]\n"
      "raft_sim --run=RECORD [--seen=RECORD] [--seeds=N] [--jobs=P] "
      "[--seconds=S] [--commit=ID]\n"
      "raft_sim --sum=RECORD [--seen=RECORD]\n"
      "raft_sim --mutants[=NAME] [--limit=N] [--record=FILE]\n");
  return 2;
}

int Replay(const SimOptions& options) {
  const SimResult result = Simulate(options);
  if (!result.violation.empty()) {
    std::printf("%s", Story(options, result).c_str());
  }
  std::printf("%s\n", Describe(DrawScenario(options)).c_str());
  std::printf("trace hash %016llx\n%s",
              static_cast<unsigned long long>(result.trace_hash),
              Statistics(result).c_str());
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
  out.events = result.events;
  out.decided = result.undecided == 0;
  for (size_t i = 0; i < kFaults; ++i) {
    const auto fault = static_cast<Fault>(i);
    out.faults[std::string(FaultName(fault))] = result.faults.of(fault);
  }
  return out;
}

// False: it names something else than faults.
bool WithoutFaults(std::string_view names, uint32_t* without) {
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(','));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    bool found = false;
    for (size_t i = 0; i < kFaults; ++i) {
      if (FaultName(static_cast<Fault>(i)) != name) continue;
      *without |= uint32_t{1} << i;
      found = true;
    }
    if (!found) return false;
  }
  return true;
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
  if (flags.count("seed") > 0) {
    SimOptions options;
    options.seed = number("seed", 1);
    options.verbose = flags.count("verbose") > 0;
    if (flags.count("mutant") > 0) {
      const auto mutant = MutantOf(flags["mutant"]);
      if (!mutant.has_value()) return Usage();
      options.mutant = *mutant;
    }
    if (!WithoutFaults(flags["without"], &options.without_faults)) {
      return Usage();
    }
    return Replay(options);
  }
  if (flags.count("run") > 0) {
    sim::SeedRunOptions options;
    options.record = flags["run"];
    options.sources = kRaftSourcesHash;
    options.simulate = &SimulateSeed;
    options.seen = flags["seen"];
    options.seeds = number("seeds", options.seeds);
    options.jobs = static_cast<int>(number("jobs", 1));
    options.seconds = static_cast<unsigned>(number("seconds", 0));
    options.commit = flags["commit"];
    return sim::RunSeeds(options);
  }
  if (flags.count("sum") > 0) {
    sim::SeedRunOptions options;
    options.record = flags["sum"];
    options.sources = kRaftSourcesHash;
    options.seen = flags["seen"];
    return sim::SumSeeds(options);
  }
  if (flags.count("mutants") > 0) {
    MutantRunOptions options;
    options.only = flags["mutants"];
    options.limit = number("limit", 0);
    options.record = flags["record"];
    return RunMutants(options);
  }
  return Usage();
}

}  // namespace
}  // namespace millrace::raftsim

int main(int argc, char** argv) {
  millrace::InitLogging(argv[0], 2);
  return millrace::raftsim::Main(argc, argv);
}
