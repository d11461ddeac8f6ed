// millrace worker list | drain | undrain.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/job_format.h"
#include "cli/table.h"
#include "common/counted.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

ExitCode RunWorkerList(const Globals& globals, const std::string& format) {
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "worker list");
  const auto workers = (*cluster)->ListWorkers();
  if (!workers.ok()) return FailCluster(workers.status(), "worker list");
  if (format == "json") {
    Json json = Json::array();
    for (const proto::WorkerStatus& worker : *workers) {
      json.push_back(WorkerJson(worker));
    }
    return Print("worker list", FormatJson(json));
  }
  return Print("worker list", WorkersTable(*workers, format == "wide"));
}

ExitCode RunDrain(const Globals& globals, const std::string& name,
                  bool draining) {
  const std::string command = draining ? "worker drain" : "worker undrain";
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), command);
  const auto worker = (*cluster)->DrainWorker(name, draining);
  if (!worker.ok()) return FailCluster(worker.status(), command);
  // What a drained worker is waited for.
  const std::string running = draining && worker->running() > 0
                                  ? Cat("; still running on it: ",
                                        Counted(worker->running(), "attempt"))
                                  : std::string();
  std::fprintf(stderr, "millrace %s: worker %s %s%s\n", command.c_str(),
               Printable(worker->name()).c_str(),
               draining ? "takes no more tasks" : "takes tasks again",
               running.c_str());
  return kOk;
}

void AddDrain(CLI::App& worker, Globals& globals, Action& action,
              bool draining) {
  CLI::App* command = worker.add_subcommand(
      draining ? "drain" : "undrain",
      draining ? "Give a worker no more tasks; what runs on it goes on"
               : "Give a worker tasks again");
  auto name = std::make_shared<std::string>();  // Shared with both callbacks.
  command->add_option("WORKER", *name, "Its id, as worker list shows it")
      ->required();
  command->callback([name, draining, &globals, &action] {
    action = [name, draining, &globals] {
      return RunDrain(globals, *name, draining);
    };
  });
}

}  // namespace

void AddWorker(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* worker = app.add_subcommand("worker", "The cluster's workers");
  worker->require_subcommand(1);
  CLI::App* list = worker->add_subcommand("list", "List the workers");
  auto format = std::make_shared<std::string>("table");  // As above.
  AddFormat(*list, *format, {"table", "wide", "json"});
  list->callback([format, &globals, &action] {
    action = [format, &globals] { return RunWorkerList(globals, *format); };
  });
  AddDrain(*worker, globals, action, true);
  AddDrain(*worker, globals, action, false);
}

}  // namespace millrace::cli
