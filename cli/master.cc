// millrace master list.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/job_format.h"
#include "cli/table.h"

namespace millrace::cli {
namespace {

ExitCode RunMasterList(const Globals& globals, const std::string& format) {
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "master list");
  const auto reply = (*cluster)->Cluster();
  if (!reply.ok()) return FailCluster(reply.status(), "master list");
  if (format == "json") {
    Json json = Json::array();
    for (const proto::MasterStatus& master : reply->masters()) {
      json.push_back(MasterJson(master));
    }
    return Print("master list", FormatJson(json));
  }
  return Print("master list", MastersTable(*reply, format == "wide"));
}

}  // namespace

void AddMaster(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* master = app.add_subcommand("master", "The cluster's masters");
  master->require_subcommand(1);
  CLI::App* list = master->add_subcommand("list", "List the masters");
  auto format = std::make_shared<std::string>("table");  // Shared, as above.
  AddFormat(*list, *format, {"table", "wide", "json"});
  list->callback([format, &globals, &action] {
    action = [format, &globals] { return RunMasterList(globals, *format); };
  });
}

}  // namespace millrace::cli
