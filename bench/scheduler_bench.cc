// What a master's loop takes for a large cluster: grants a second, the longest
// turns, memory. The real scheduler core and the real replicated state; the
// workers are simulated, their jobs run to the end.
//
//   scheduler_bench                       10,000 workers, 1,000,000 maps
//   scheduler_bench --jobs 10 --reduces 10000
//   scheduler_bench --lost 100            a hundred workers die half way
//   scheduler_bench --json=FILE
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "absl/time/time.h"
#include "bench/scheduler_load.h"
#include "common/strings.h"

namespace millrace::master {
namespace {

double Us(absl::Duration time) { return absl::ToDoubleMicroseconds(time); }

// One object, names in snake case, times in microseconds.
std::string Json(const LoadOptions& options, const LoadResult& result) {
  const double seconds = absl::ToDoubleSeconds(result.apply + result.step);
  const auto field = [](const char* name, double value) {
    char text[100];
    std::snprintf(text, sizeof text, "  \"%s\": %.10g", name, value);
    return std::string(text);
  };
  const double tasks = options.maps + options.reduces;
  return Cat(
      "{\n", field("workers", options.workers), ",\n",
      field("slots", options.slots), ",\n", field("lost", options.lost), ",\n",
      field("jobs", options.jobs), ",\n", field("maps", options.maps), ",\n",
      field("reduces", options.reduces), ",\n",
      field("grants", static_cast<double>(result.grants)), ",\n",
      field("grants_per_second", static_cast<double>(result.grants) / seconds),
      ",\n", field("turns", static_cast<double>(result.turns.count())), ",\n",
      field("turn_p50_us", Us(result.turns.Of(0.5))), ",\n",
      field("turn_p99_us", Us(result.turns.Of(0.99))), ",\n",
      field("turn_p999_us", Us(result.turns.Of(0.999))), ",\n",
      field("turn_max_us", Us(result.turns.most())), ",\n",
      field("apply_seconds", absl::ToDoubleSeconds(result.apply)), ",\n",
      field("step_seconds", absl::ToDoubleSeconds(result.step)), ",\n",
      field("simulation_seconds",
            absl::ToDoubleSeconds(result.cpu - result.apply - result.step)),
      ",\n", field("elapsed_seconds", absl::ToDoubleSeconds(result.elapsed)),
      ",\n", field("joining_seconds", absl::ToDoubleSeconds(result.joining)),
      ",\n", field("bytes_per_task", result.grown_mib * 1048576 / tasks),
      "\n}\n");
}

void Print(const LoadOptions& options, const LoadResult& result) {
  const absl::Duration loop = result.apply + result.step;
  const double seconds = absl::ToDoubleSeconds(loop);
  const auto count = [](uint64_t n) {
    return static_cast<unsigned long long>(n);
  };
  std::printf("%u workers of %u slots, %u lost, %u jobs, %u maps, %u reduces\n",
              options.workers, options.slots, options.lost, options.jobs,
              options.maps, options.reduces);
  std::printf(
      "%llu grants (%llu second attempts), %llu entries, %llu locations told; "
      "%.1f s of the cluster's time\n",
      count(result.grants), count(result.speculative), count(result.entries),
      count(result.locations), absl::ToDoubleSeconds(result.simulated));
  const double cpu = absl::ToDoubleSeconds(result.cpu);
  std::printf(
      "%.0f grants/s of time on a core in core and state: %.2f s and %.2f s\n",
      static_cast<double>(result.grants) / seconds,
      absl::ToDoubleSeconds(result.step), absl::ToDoubleSeconds(result.apply));
  std::printf(
      "%.0f grants/s with the simulation: %.2f s on a core, %.1f s passed\n",
      static_cast<double>(result.grants) / cpu, cpu,
      absl::ToDoubleSeconds(result.elapsed));
  std::printf("all workers joined after %.2f s in core and state\n",
              absl::ToDoubleSeconds(result.joining));
  std::printf("%.0f MiB more resident memory, %.0f bytes a task\n",
              result.grown_mib,
              result.grown_mib * (1 << 20) / (options.maps + options.reduces));
  std::printf("%-28s %9s %9s %9s %9s %9s %8s\n", "turns (us)", "number", "p50",
              "p99", "p99.9", "max", "s");
  const auto line = [&](const char* kind, const Durations& turns) {
    std::printf("%-28s %9llu %9.1f %9.1f %9.1f %9.1f %8.2f\n", kind,
                count(turns.count()), Us(turns.Of(0.5)), Us(turns.Of(0.99)),
                Us(turns.Of(0.999)), Us(turns.most()),
                absl::ToDoubleSeconds(turns.total()));
  };
  line("all", result.turns);
  for (const auto& [kind, turns] : result.turns_by_kind) {
    line(kind.c_str(), turns);
  }
}

}  // namespace
}  // namespace millrace::master

int main(int argc, char** argv) {
  CLI::App app("What a master's loop takes for a large cluster");
  millrace::master::LoadOptions options;
  std::string json;
  int64_t map_ms = 2000, reduce_ms = 2000;
  app.add_option("--workers", options.workers)->check(CLI::PositiveNumber);
  app.add_option("--slots", options.slots, "of each worker")
      ->check(CLI::PositiveNumber);
  app.add_option("--jobs", options.jobs, "at the same time")
      ->check(CLI::Range(1, 1000));
  app.add_option("--maps", options.maps, "of all jobs together")
      ->check(CLI::PositiveNumber);
  app.add_option("--reduces", options.reduces, "of all jobs together")
      ->check(CLI::PositiveNumber);
  app.add_option("--map-ms", map_ms, "what a map takes on the average")
      ->check(CLI::PositiveNumber);
  app.add_option("--reduce-ms", reduce_ms, "what a reduce takes")
      ->check(CLI::PositiveNumber);
  app.add_option("--failures", options.failures_ppm,
                 "maps of a million that fail once");
  app.add_option("--stragglers", options.stragglers_ppm,
                 "attempts of a million that take ten times as long");
  app.add_option("--lost", options.lost,
                 "workers that die when half of the maps have won");
  app.add_option("--check", options.turns_per_check,
                 "looks at the scheduler's indexes each so many turns");
  app.add_option("--seed", options.seed);
  app.add_option("--json", json, "writes the figures there, too");
  CLI11_PARSE(app, argc, argv);
  if (options.lost > options.workers / 2) {
    std::fprintf(stderr,
                 "scheduler_bench: more than half of the workers "
                 "cannot be lost\n");
    return 2;
  }
  options.map_time = absl::Milliseconds(map_ms);
  options.reduce_time = absl::Milliseconds(reduce_ms);
  const millrace::master::LoadResult result =
      millrace::master::SchedulerLoad(options).Run();
  millrace::master::Print(options, result);
  if (json.empty()) return 0;
  std::ofstream file(json);
  file << millrace::master::Json(options, result);
  return file.flush() ? 0 : 1;
}
