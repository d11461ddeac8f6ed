#include "tests/chaos/runner.h"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/strings.h"
#include "tests/chaos/run.h"
#include "tests/testing/temp_dir.h"

namespace millrace::chaostest {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

std::atomic<bool> stop = false;

void Stop(int) { stop = true; }

struct Sum {
  std::set<uint64_t> seeds;
  std::map<std::string, FaultCount> faults;
  std::map<std::string, int> jobs;  // "sort SUCCEEDED" -> 12
  int effective = 0;
  int epochs = 0;
  double seconds = 0;
  std::vector<std::string> violations;

  void Add(const json& line) {
    const auto seed = line.at("seed").get<uint64_t>();
    seeds.insert(seed);
    for (const auto& [kind, count] : line.at("faults").items()) {
      faults[kind].tried += count.at("tried").get<int>();
      faults[kind].effective += count.at("effective").get<int>();
    }
    for (const auto& job : line.at("jobs")) {
      ++jobs[Cat(job.at("kind").get<std::string>(), " ",
                 job.at("state").get<std::string>(), " ",
                 job.at("cause").get<std::string>())];
      epochs += job.at("epoch").get<int>();
    }
    effective += line.at("effective").get<int>();
    seconds += line.at("seconds").get<double>();
    for (const auto& violation : line.at("violations")) {
      violations.push_back(
          Cat("seed ", seed, ": ", violation.get<std::string>()));
    }
  }

  void Print() const {
    std::printf(
        "%zu runs, %.0f s, %d effective faults, %d epochs raised, %zu "
        "violations\n",
        seeds.size(), seconds, effective, epochs, violations.size());
    for (const auto& [kind, count] : faults) {
      std::printf("  %-16s %5d effective of %d\n", kind.c_str(),
                  count.effective, count.tried);
    }
    for (const auto& [job, count] : jobs) {
      std::printf("  %5d x %s\n", count, job.c_str());
    }
    for (const std::string& violation : violations) {
      std::printf("%s\n", violation.c_str());
    }
  }
};

ordered_json LineOf(uint64_t seed, const RunResult& result,
                    const RunnerOptions& options) {
  ordered_json line = {{"sources", options.sources},
                       {"commit", options.commit},
                       {"seed", seed},
                       {"jobs", ordered_json::array()},
                       {"faults", ordered_json::object()},
                       {"effective", result.effective()},
                       {"looks", result.looks},
                       {"seconds", result.seconds},
                       {"violations", result.violations}};
  for (const JobOutcome& job : result.jobs) {
    line["jobs"].push_back({{"kind", job.kind},
                            {"state", job.state},
                            {"cause", job.cause},
                            {"attempts", job.attempts},
                            {"lost", job.lost},
                            {"epoch", job.epoch}});
  }
  for (const Growth& growth : result.growths) {
    line["growths"].push_back({{"name", growth.name},
                               {"samples", growth.samples},
                               {"resident_mib", growth.resident_mib},
                               {"mib_per_hour", growth.mib_per_hour},
                               {"course_mib", growth.course},
                               {"floor_mib", growth.floor},
                               {"more_descriptors", growth.more_descriptors},
                               {"more_threads", growth.more_threads}});
  }
  for (const auto& [kind, count] : result.faults) {
    line["faults"][kind] = {{"tried", count.tried},
                            {"effective", count.effective}};
  }
  return line;
}

// What explains a failure: logs, journal, the outputs.
void Keep(const std::string& run, const std::string& to) {
  std::error_code error;
  fs::remove_all(to, error);
  fs::create_directories(to, error);
  for (const char* name : {"cluster/logs", "cluster/chaos.jsonl", "out"}) {
    const fs::path from = fs::path(run) / name;
    fs::copy(from, fs::path(to) / from.filename(), fs::copy_options::recursive,
             error);
  }
  std::printf("logs and outputs are kept in %s\n", to.c_str());
}

class Runner {
 public:
  explicit Runner(const RunnerOptions& options)
      : options_(options), inputs_(temp_ / "inputs") {}

  int Do() {
    if (!ReadRecord()) return 2;
    std::ofstream record;
    if (!options_.record.empty()) record.open(options_.record, std::ios::app);
    if (!record) {
      std::fprintf(stderr, "cannot write %s\n", options_.record.c_str());
      return 2;
    }
    std::signal(SIGINT, Stop);
    std::signal(SIGTERM, Stop);
    Clock& clock = Clock::Real();
    const absl::Duration end =
        options_.seconds == 0
            ? absl::InfiniteDuration()
            : clock.Monotonic() + absl::Seconds(options_.seconds);
    for (uint64_t seed = options_.first;
         sum_.seeds.size() < options_.runs && !stop && clock.Monotonic() < end;
         ++seed) {
      if (sum_.seeds.count(seed) > 0) continue;
      const ordered_json line = RunSeed(seed);
      const std::string text =
          line.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
      if (record.is_open()) record << text << std::endl;
      sum_.Add(json::parse(text));
    }
    sum_.Print();
    return sum_.violations.empty() && sum_.effective >= options_.effective_min
               ? 0
               : 1;
  }

 private:
  bool ReadRecord() {
    std::ifstream in(options_.record);
    for (std::string text; std::getline(in, text);) {
      const json line = json::parse(text, nullptr, false);
      // The last line may have been cut short.
      if (line.is_discarded()) continue;
      if (!line.is_object() || !line.contains("sources")) {
        std::fprintf(stderr, "%s is not a record of runs\n",
                     options_.record.c_str());
        return false;
      }
      if (line.at("sources") == options_.sources) sum_.Add(line);
    }
    return true;
  }

  ordered_json RunSeed(uint64_t seed) {
    const std::string directory = temp_ / Cat("run", seed);
    RunPlan plan = PlanRun(seed, options_.suite);
    if (options_.lasts.has_value()) plan.lasts = *options_.lasts;
    const RunResult result = Run(plan, inputs_, directory);
    std::string jobs;
    for (const JobOutcome& job : result.jobs) {
      // Of a run that lasts there are hundreds; the sum has them.
      if (plan.lasts > absl::ZeroDuration()) break;
      jobs +=
          Cat(" ", job.kind, " ", job.state.empty() ? "HUNG" : job.state,
              job.cause.empty() ? "" : Cat(" ", job.cause), " (", job.attempts,
              " attempts, ", job.lost, " lost, epoch ", job.epoch, ")");
    }
    std::printf("seed %llu: %.1f s, %d effective faults,%s, %zu violations\n",
                static_cast<unsigned long long>(seed), result.seconds,
                result.effective(), jobs.c_str(), result.violations.size());
    for (const Growth& growth : result.growths) {
      std::printf("  %s: %.1f MiB, %+.2f MiB/h, descriptors %+d, threads %+d\n",
                  growth.name.c_str(), growth.resident_mib, growth.mib_per_hour,
                  growth.more_descriptors, growth.more_threads);
      for (const auto& [what, mibs] : {std::pair("mean", growth.course),
                                       std::pair("least", growth.floor)}) {
        std::printf("    %5s", what);
        for (const double mib : mibs) std::printf("  %5.1f", mib);
        std::printf("\n");
      }
    }
    for (const std::string& violation : result.violations) {
      std::printf("  %s\n", violation.c_str());
    }
    if (!result.violations.empty()) {
      Keep(directory, Cat(options_.keep, "/seed-", seed));
    }
    std::fflush(stdout);
    std::error_code error;
    fs::remove_all(directory, error);
    return LineOf(seed, result, options_);
  }

  const RunnerOptions options_;
  TempDir temp_;
  const Inputs inputs_;
  Sum sum_;
};

}  // namespace

int RunAll(const RunnerOptions& options) { return Runner(options).Do(); }

}  // namespace millrace::chaostest
