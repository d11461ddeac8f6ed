#include "tests/sim/seed_runner.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <new>
#include <optional>
#include <ranges>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/logging.h"
#include "common/strings.h"

namespace millrace::sim {
namespace {

using nlohmann::json;

constexpr double kMinutesMin = 2;
constexpr uint64_t kFaultsMin = 5;

std::atomic<bool> stop = false;

void Stop(int) { stop = true; }

// Between the processes; one worker each.
struct Slot {
  std::atomic<uint64_t> batch;  // That it is to run; 0: the end.
  std::atomic<uint64_t> seed;   // That it is at.
};

using Counts = std::map<std::string, uint64_t>;

void AddCounts(const json& from, Counts* to) {
  for (const auto& [name, count] : from.items()) {
    (*to)[name] += count.get<uint64_t>();
  }
}

struct Sum : SeedTotals {
  std::set<uint64_t> batches;  // By number, 1 is the first.

  void Add(const json& line) {
    seeds += line.at("seeds").get<uint64_t>();
    thin += line.at("thin").get<uint64_t>();
    virtual_minutes += line.at("virtual_minutes").get<double>();
    events += line.at("events").get<uint64_t>();
    AddCounts(line.at("faults"), &faults);
    if (line.contains("cells")) AddCounts(line.at("cells"), &cells);
    violations += line.at("violations").size();
    for (uint64_t seed = line.at("first").get<uint64_t>();
         seed <= line.at("last").get<uint64_t>(); seed += kBatchSeeds) {
      batches.insert(seed / kBatchSeeds + 1);
    }
  }
};

json RunBatch(const SeedRunOptions& options, uint64_t batch,
              std::atomic<uint64_t>& at) {
  uint64_t seeds = 0, thin = 0, events = 0;
  absl::Duration time;
  Counts faults, cells;
  json violations = json::array();
  json of_seeds = json::array();
  const uint64_t first = (batch - 1) * kBatchSeeds + 1;
  for (uint64_t seed = first; seed < first + kBatchSeeds; ++seed) {
    at = seed;
    const SeedResult result = options.simulate(seed);
    if (!result.violation.empty()) {
      violations.push_back(Cat("seed ", seed, ": ", result.violation));
    }
    const bool enough =
        result.decided &&
        absl::ToDoubleMinutes(result.virtual_time) >= kMinutesMin &&
        result.fault_count() >= kFaultsMin;
    ++(enough ? seeds : thin);
    events += result.events;
    time += result.virtual_time;
    for (const auto& [name, count] : result.faults) faults[name] += count;
    for (const auto& [name, count] : result.cells) cells[name] += count;
    of_seeds.push_back(result.fault_count());
  }
  json line = {{"first", first},
               {"last", first + kBatchSeeds - 1},
               {"seeds", seeds},
               {"thin", thin},
               {"virtual_minutes", absl::ToDoubleMinutes(time)},
               {"events", events},
               {"faults", faults},
               {"faults_of_seeds", of_seeds},
               {"violations", violations}};
  if (!cells.empty()) line["cells"] = cells;
  return line;
}

// A worker: a line to `out` for each batch; its parent says which is next.
[[noreturn]] void Work(const SeedRunOptions& options, Slot& slot, int in,
                       FILE* out) {
  char go;
  while (read(in, &go, 1) == 1 && slot.batch > 0) {
    std::fprintf(out, "%s\n",
                 RunBatch(options, slot.batch, slot.seed).dump().c_str());
    std::fflush(out);
  }
  _exit(0);
}

// The lines of both files for these sources, by their first seed; none if a
// file is no record.
std::optional<std::map<uint64_t, json>> ReadLines(
    const SeedRunOptions& options) {
  std::map<uint64_t, json> lines;
  for (const std::string& path : {options.seen, options.record}) {
    std::ifstream in(path);
    std::string text;
    while (std::getline(in, text)) {
      json line = json::parse(text, nullptr, false);
      // The last line may have been cut short.
      if (line.is_discarded()) continue;
      if (!line.is_object() || !line.contains("sources")) {
        std::cerr << path << " is not a record of seeds\n";
        return std::nullopt;
      }
      if (line.at("sources") != options.sources) continue;
      const auto first = line.at("first").get<uint64_t>();
      lines.emplace(first, std::move(line));
    }
  }
  return lines;
}

// Adds `line`, which is that of a later batch, to the sums of `sum`.
void AddTo(json& sum, const json& line) {
  sum["last"] = line.at("last");
  for (const char* name : {"seeds", "thin", "events"}) {
    sum[name] = sum.at(name).get<uint64_t>() + line.at(name).get<uint64_t>();
  }
  sum["virtual_minutes"] = sum.at("virtual_minutes").get<double>() +
                           line.at("virtual_minutes").get<double>();
  for (const char* counts : {"faults", "cells"}) {
    if (!line.contains(counts)) continue;
    for (const auto& [name, count] : line.at(counts).items()) {
      sum[counts][name] =
          sum[counts].value(name, uint64_t{0}) + count.get<uint64_t>();
    }
  }
  for (const auto& violation : line.at("violations")) {
    sum["violations"].push_back(violation);
  }
  sum["faults_min"] = std::min(sum.at("faults_min").get<uint64_t>(),
                               line.at("faults_min").get<uint64_t>());
}

class Runner {
 public:
  explicit Runner(const SeedRunOptions& options) : options_(options) {}

  int Run() {
    if (!ReadRecord()) return 2;
    std::cout << "sources " << options_.sources << ": " << sum_.seeds
              << " seeds so far\n";
    record_.open(options_.record, std::ios::app);
    if (!record_) {
      std::cerr << "cannot write " << options_.record << "\n";
      return 2;
    }
    std::signal(SIGINT, Stop);
    std::signal(SIGTERM, Stop);
    std::signal(SIGALRM, Stop);
    if (options_.seconds > 0) alarm(options_.seconds);
    std::vector<Worker> workers(static_cast<size_t>(options_.jobs));
    for (Worker& worker : workers) StartWorker(worker);
    // In turn: a batch takes a second or two, and all take about as long.
    for (size_t busy = workers.size(); busy > 0;) {
      busy = 0;
      for (Worker& worker : workers) {
        if (worker.pid != 0 && Await(worker)) ++busy;
      }
    }
    Print();
    const int at_end = options_.at_end ? options_.at_end(sum_) : 0;
    return sum_.violations > 0 ? 1 : at_end;
  }

 private:
  struct Worker {
    pid_t pid = 0;
    Slot* slot = nullptr;
    int to = -1;           // A byte for each batch.
    FILE* from = nullptr;  // A line for each.
  };

  bool ReadRecord() {
    const auto lines = ReadLines(options_);
    if (!lines.has_value()) return false;
    for (const auto& [first, line] : *lines) sum_.Add(line);
    return true;
  }

  // 0: none any more.
  uint64_t NextBatch() {
    if (stop || sum_.seeds + under_way_ * kBatchSeeds >= options_.seeds) {
      return 0;
    }
    while (sum_.batches.count(next_) > 0) ++next_;
    return next_++;
  }

  void StartWorker(Worker& worker) {
    if (worker.slot == nullptr) {
      void* shared = mmap(nullptr, sizeof(Slot), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      CHECK(shared != MAP_FAILED);
      worker.slot = new (shared) Slot{};
    }
    int to[2], from[2];
    CHECK_EQ(pipe(to), 0);
    CHECK_EQ(pipe(from), 0);
    std::cout.flush();
    worker.pid = fork();
    CHECK_GE(worker.pid, 0);
    if (worker.pid == 0) {
      std::signal(SIGINT, SIG_IGN);  // The parent sees to an orderly end.
      close(to[1]);
      close(from[0]);
      Work(options_, *worker.slot, to[0], fdopen(from[1], "w"));
    }
    close(to[0]);
    close(from[1]);
    worker.to = to[1];
    worker.from = fdopen(from[0], "r");
    Give(worker);
  }

  void Give(Worker& worker) {
    worker.slot->batch = NextBatch();
    if (worker.slot->batch > 0) ++under_way_;
    CHECK_EQ(write(worker.to, "g", 1), 1);
  }

  // Takes a batch from it and gives it the next. False: it has ended.
  bool Await(Worker& worker) {
    std::string text;
    for (int c = 0; (c = std::fgetc(worker.from)) != EOF && c != '\n';) {
      text.push_back(static_cast<char>(c));
    }
    if (worker.slot->batch > 0) --under_way_;
    json line = json::parse(text, nullptr, false);
    if (!line.is_discarded() && line.is_object()) {
      Record(std::move(line));
      Give(worker);
      return true;
    }
    int status = 0;
    CHECK_EQ(waitpid(worker.pid, &status, 0), worker.pid);
    close(worker.to);
    std::fclose(worker.from);
    worker.pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
    // A check that failed took the process with it.
    const uint64_t seed = worker.slot->seed;
    Record({{"first", (worker.slot->batch.load() - 1) * kBatchSeeds + 1},
            {"last", worker.slot->batch.load() * kBatchSeeds},
            {"seeds", 0},
            {"thin", 0},
            {"virtual_minutes", 0},
            {"events", 0},
            {"faults", json::object()},
            {"faults_of_seeds", json::array()},
            {"violations",
             json::array({Cat("seed ", seed, ": the process died")})}});
    StartWorker(worker);
    return true;
  }

  void Record(json line) {
    line["sources"] = options_.sources;
    line["commit"] = options_.commit;
    record_ << line.dump() << std::endl;
    sum_.Add(line);
    for (const auto& violation : line.at("violations")) {
      std::cout << violation.get<std::string>() << std::endl;
    }
    if (sum_.batches.size() % 50 == 0) {
      std::cout << sum_.seeds << " seeds" << std::endl;
    }
  }

  void Print() const {
    std::cout << sum_.seeds << " seeds (and " << sum_.thin << " thin ones), "
              << sum_.virtual_minutes << " virtual minutes, " << sum_.events
              << " events, " << sum_.violations << " violations\n"
              << "effective faults:\n";
    for (const auto& [name, count] : sum_.faults) {
      std::cout << "  " << name << ": " << count << "\n";
    }
  }

  const SeedRunOptions options_;
  std::ofstream record_;
  Sum sum_;
  uint64_t next_ = 1;
  uint64_t under_way_ = 0;  // Batches.
};

}  // namespace

int RunSeeds(const SeedRunOptions& options) { return Runner(options).Run(); }

int SumSeeds(const SeedRunOptions& options) {
  const auto lines = ReadLines(options);
  if (!lines.has_value()) return 2;
  std::vector<json> sums;
  bool clean = true;
  for (json line : std::views::values(*lines)) {
    if (const auto of_seeds = line.find("faults_of_seeds");
        of_seeds != line.end()) {
      uint64_t least = 0;
      if (!of_seeds->empty()) {
        least = std::ranges::min(of_seeds->get<std::vector<uint64_t>>());
      }
      line["faults_min"] = least;
      line.erase("faults_of_seeds");
    }
    clean = clean && line.at("violations").empty();
    if (!sums.empty() && sums.back().at("commit") == line.at("commit") &&
        sums.back().at("last").get<uint64_t>() + 1 ==
            line.at("first").get<uint64_t>()) {
      AddTo(sums.back(), line);
    } else {
      sums.push_back(std::move(line));
    }
  }
  for (const json& sum : sums) std::cout << sum.dump() << "\n";
  return clean ? 0 : 1;
}

}  // namespace millrace::sim
