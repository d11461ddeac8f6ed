// millrace counters ID: what the tasks of a job have counted.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/job_format.h"
#include "cli/table.h"

namespace millrace::cli {
namespace {

struct CountersFlags {
  std::string id;
  std::string format = "table";
};

ExitCode RunCounters(const Globals& globals, const CountersFlags& flags) {
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "counters");
  const auto job = (*cluster)->GetJob(flags.id, {.counters = true});
  if (!job.ok()) return FailCluster(job.status(), "counters");
  return Print("counters", flags.format == "json"
                               ? FormatJson(CountersJson(job->counters()))
                               : CountersTable(job->counters()));
}

}  // namespace

void AddCounters(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command =
      app.add_subcommand("counters", "Show what the tasks of a job counted");
  auto flags = std::make_shared<CountersFlags>();  // Shared with callbacks.
  command->add_option("ID", flags->id, "Job, by the first digits of its id")
      ->required();
  AddFormat(*command, flags->format, {"table", "json"});
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunCounters(globals, *flags); };
  });
}

}  // namespace millrace::cli
