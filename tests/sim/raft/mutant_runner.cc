#include "tests/sim/raft/mutant_runner.h"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "common/strings.h"
#include "tests/sim/raft/mutants.h"
#include "tests/sim/raft/sources_hash.h"

namespace millrace::raftsim {
namespace {

using nlohmann::json;

// 0: not noticed.
struct Outcome {
  uint64_t tried = 0;  // Seeds, at most.
  uint64_t seed = 0;
  uint64_t seed_without_11 = 0;
  std::string violation;
};

std::string Sources() { return Cat(kRaftSourcesHash, "/", kSimSourcesHash); }

// False: it is no record.
bool ReadRecord(const std::string& path, std::map<std::string, Outcome>* out) {
  std::ifstream in(path);
  std::string text;
  while (std::getline(in, text)) {
    const json line = json::parse(text, nullptr, false);
    // The last line may have been cut short.
    if (line.is_discarded()) continue;
    if (!line.is_object() || !line.contains("mutant")) return false;
    if (line.at("sources") != Sources()) continue;
    (*out)[line.at("mutant").get<std::string>()] = {
        line.at("tried").get<uint64_t>(), line.at("seed").get<uint64_t>(),
        line.at("seed_without_11").get<uint64_t>(),
        line.at("violation").get<std::string>()};
  }
  return true;
}

json Line(const NamedMutant& mutant, const Outcome& outcome) {
  return {{"mutant", mutant.name},
          {"sources", Sources()},
          {"tried", outcome.tried},
          {"seed", outcome.seed},
          {"seed_without_11", outcome.seed_without_11},
          {"violation", outcome.violation}};
}

Outcome Try(const NamedMutant& mutant, uint64_t limit) {
  Outcome outcome;
  outcome.tried = limit;
  const auto caught = Catch(mutant, true, limit);
  if (!caught.has_value()) return outcome;
  outcome.seed = outcome.seed_without_11 = caught->seed;
  outcome.violation = caught->violation.substr(0, caught->violation.find('\n'));
  // What another rule found counts for both.
  if (caught->violation.find("invariant 11:") == 0) {
    const auto again = Catch(mutant, false, limit);
    outcome.seed_without_11 = again.has_value() ? again->seed : 0;
  }
  return outcome;
}

void Print(const NamedMutant& mutant, const Outcome& outcome) {
  const auto seed = [&outcome](uint64_t n) {
    return n > 0 ? Cat(n) : Cat("> ", outcome.tried);
  };
  // The number of the rule; the rest is for who replays the seed.
  const std::string& text = outcome.violation;
  const std::string rule =
      text.empty() ? "**none**" : text.substr(0, text.find(':'));
  std::printf("| `%s`: %s | %s | %s | %s |\n", mutant.name.c_str(),
              mutant.what.c_str(), seed(outcome.seed).c_str(),
              seed(outcome.seed_without_11).c_str(), rule.c_str());
  std::fflush(stdout);
}

}  // namespace

int RunMutants(const MutantRunOptions& options) {
  std::map<std::string, Outcome> known;
  std::ofstream record;
  if (!options.record.empty()) {
    const bool readable = ReadRecord(options.record, &known);
    record.open(options.record, std::ios::app);
    if (!readable || !record) {
      std::cerr << options.record << " is no record of mutants, or cannot be "
                << "written\n";
      return 2;
    }
  }
  int missed = 0;
  std::printf(
      "| Mutant | Seeds | Without rule 11 | Found by |\n"
      "|---|---|---|---|\n");
  for (const NamedMutant& mutant : AllMutants()) {
    if (!options.only.empty() && options.only != mutant.name) continue;
    const uint64_t limit = options.limit > 0 ? options.limit : mutant.seeds_max;
    const auto found = known.find(mutant.name);
    Outcome outcome;
    // One that was missed may be tried with more seeds.
    if (found != known.end() &&
        (found->second.seed > 0 || found->second.tried >= limit)) {
      outcome = found->second;
    } else {
      outcome = Try(mutant, limit);
      if (record.is_open()) record << Line(mutant, outcome).dump() << std::endl;
    }
    Print(mutant, outcome);
    if (outcome.seed == 0) ++missed;
  }
  return missed > 0 ? 1 : 0;
}

}  // namespace millrace::raftsim
