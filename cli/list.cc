// millrace list: the jobs that the cluster knows.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/job_format.h"
#include "cli/table.h"
#include "common/flag_kinds.h"

namespace millrace::cli {
namespace {

struct ListFlags {
  std::string format = "table";
  uint32_t limit = 20;
};

ExitCode RunList(const Globals& globals, const ListFlags& flags) {
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "list");
  const auto jobs = (*cluster)->ListJobs(flags.limit);
  if (!jobs.ok()) return FailCluster(jobs.status(), "list");
  if (flags.format == "json") {
    Json json = Json::array();
    for (const proto::JobStatus& job : *jobs) json.push_back(JobJson(job));
    return Print("list", FormatJson(json));
  }
  return Print("list",
               JobsTable(*jobs, flags.format == "wide", Clock::Real().Now()));
}

}  // namespace

void AddList(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command =
      app.add_subcommand("list", "List the jobs of the cluster, newest first");
  auto flags = std::make_shared<ListFlags>();  // Shared with both callbacks.
  AddFormat(*command, flags->format, {"table", "wide", "json"});
  AddNumber(*command, "-n,--limit", flags->limit,
            "The newest N; 0: all that are retained", 0, 1'000'000);
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunList(globals, *flags); };
  });
}

}  // namespace millrace::cli
