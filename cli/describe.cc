// millrace describe ID: all that the cluster knows of a job.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/job_format.h"
#include "cli/table.h"

namespace millrace::cli {
namespace {

struct DescribeFlags {
  std::string id;
  std::string format = "table";
};

ExitCode RunDescribe(const Globals& globals, const DescribeFlags& flags) {
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "describe");
  auto job = (*cluster)->GetJob(
      flags.id, {.counters = true, .tasks = true, .spec = true});
  if (absl::IsInvalidArgument(job.status())) {
    // Of a very large job the list of tasks is too long for one message.
    auto shorter =
        (*cluster)->GetJob(flags.id, {.counters = true, .spec = true});
    if (shorter.ok()) {
      std::fputs("millrace describe: too many tasks to be shown\n", stderr);
      job = std::move(shorter);
    }
  }
  if (!job.ok()) return FailCluster(job.status(), "describe");
  return Print("describe", flags.format == "json"
                               ? FormatJson(JobDetailJson(*job))
                               : JobDetailText(*job, Clock::Real().Now()));
}

}  // namespace

void AddDescribe(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command = app.add_subcommand(
      "describe",
      "Show all of a job: its flags, tasks, counters, why it failed");
  auto flags = std::make_shared<DescribeFlags>();  // Shared with callbacks.
  command->add_option("ID", flags->id, "Job, by the first digits of its id")
      ->required();
  AddFormat(*command, flags->format, {"table", "json"});
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunDescribe(globals, *flags); };
  });
}

}  // namespace millrace::cli
