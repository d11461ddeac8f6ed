#include "tests/chaos/chaos_cluster.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/strings.h"

namespace millrace::chaostest {
namespace {

using nlohmann::json;

constexpr absl::Duration kLeaderPatience = absl::Seconds(3);

}  // namespace

ChaosCluster::ChaosCluster(std::string directory)
    : directory_(std::move(directory)) {}

ChaosCluster::~ChaosCluster() {
  if (up_) Down();
}

ProgramResult ChaosCluster::Cli(std::vector<std::string> arguments,
                                absl::Duration deadline) const {
  ProgramOptions options;
  options.argv = {Cat(MILLRACE_BIN_DIR, "/millrace")};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  // The context of this cluster, not of whoever runs the tests.
  options.environment = {Cat("XDG_CONFIG_HOME=", directory_, "/config"),
                         "MILLRACE_CLUSTER="};
  options.deadline = deadline;
  return RunProgram(options);
}

json ChaosCluster::Json(std::vector<std::string> arguments) const {
  arguments.insert(arguments.end(), {"-o", "json"});
  const ProgramResult result = Cli(std::move(arguments));
  json parsed = json::parse(result.out, nullptr, false);
  return parsed.is_discarded() ? json() : parsed;
}

std::string ChaosCluster::Up(const RunPlan& plan) {
  const ProgramResult result =
      Cli({"cluster", "up", "--dir", directory_ + "/cluster", "--masters",
           Cat(kMasters), "--workers", Cat(kWorkers), "--slots", Cat(kSlots),
           "--finished-jobs", Cat(plan.finished_jobs), "--chaos", plan.chaos,
           "--seed", Cat(plan.seed), "-o", "json"},
          absl::Seconds(120));
  up_ = result.exit_code == 0;
  if (!up_) return Cat("cluster up: ", result.err);
  const json cluster = json::parse(result.out);
  for (const json& process : cluster.at("processes")) {
    if (process.at("role") == "chaos") chaos_ = process.at("pid").get<pid_t>();
  }
  return chaos_ > 0 ? "" : "cluster up: there is no chaos";
}

std::string ChaosCluster::Down() {
  const ProgramResult result =
      Cli({"cluster", "down", "--dir", directory_ + "/cluster"},
          absl::Seconds(120));
  up_ = false;
  return result.exit_code == 0 ? "" : Cat("cluster down: ", result.err);
}

std::map<std::string, pid_t> ChaosCluster::Daemons() const {
  std::map<std::string, pid_t> daemons;
  const json status =
      Json({"cluster", "status", "--dir", directory_ + "/cluster"});
  if (!status.is_object()) return daemons;
  for (const json& process : status.at("processes")) {
    if (process.at("role") != "chaos" && process.at("state") == "running") {
      daemons[process.at("id").get<std::string>()] =
          process.at("pid").get<pid_t>();
    }
  }
  return daemons;
}

pid_t ChaosCluster::Leader() const {
  // Of no use when it comes late; what one master alone says is no answer.
  const ProgramResult result =
      Cli({"master", "list", "-o", "json"}, kLeaderPatience);
  if (result.exit_code != 0) return 0;
  const json masters = json::parse(result.out, nullptr, false);
  if (!masters.is_array()) return 0;
  for (const json& master : masters) {
    if (master.at("role") == "leader") return master.at("pid").get<pid_t>();
  }
  return 0;
}

std::map<std::string, FaultCount> ChaosCluster::Faults() const {
  std::map<std::string, FaultCount> counts;
  std::ifstream journal(directory_ + "/cluster/chaos.jsonl");
  for (std::string text; std::getline(journal, text);) {
    const json line = json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("kind")) continue;
    FaultCount& count = counts[line.at("kind").get<std::string>()];
    ++count.tried;
    count.effective += line.at("effect").get<bool>();
  }
  return counts;
}

std::string ChaosCluster::SpoolOf(int worker) const {
  return Cat("/proc/", chaos_, "/root", directory_, "/cluster/worker-", worker,
             "/spool");
}

}  // namespace millrace::chaostest
