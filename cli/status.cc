// millrace status [ID] [-w]: how a job is doing.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/interrupt.h"
#include "cli/job_format.h"
#include "cli/table.h"
#include "cli/watch.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct StatusFlags {
  std::string id;  // "": the newest.
  std::string format = "table";
  bool watch = false;
};

absl::StatusOr<proto::JobStatus> Find(client::ClusterClient& cluster,
                                      const std::string& id) {
  if (!id.empty()) {
    MR_ASSIGN_OR_RETURN(const proto::GetJobReply reply, cluster.GetJob(id));
    return reply.status();
  }
  MR_ASSIGN_OR_RETURN(const std::vector<proto::JobStatus> jobs,
                      cluster.ListJobs(1));
  if (jobs.empty()) return absl::NotFoundError("the cluster knows no job");
  return jobs[0];
}

ExitCode RunStatus(const Globals& globals, const StatusFlags& flags) {
  Interrupt interrupt;
  const auto cluster = ConnectToCluster(globals, &interrupt.signal());
  if (!cluster.ok()) return FailCluster(cluster.status(), "status");
  const absl::StatusOr<proto::JobStatus> status = Find(**cluster, flags.id);
  if (!status.ok()) return FailCluster(status.status(), "status");
  if (flags.watch) {
    return WatchToEnd(**cluster, HexEncode(status->job_id()),
                      {.command = "status", .json = flags.format == "json"});
  }
  return Print("status", flags.format == "json"
                             ? FormatJson(JobJson(*status))
                             : JobText(*status, Clock::Real().Now()));
}

}  // namespace

void AddStatus(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command =
      app.add_subcommand("status", "Show how a job is doing, or how it ended");
  auto flags = std::make_shared<StatusFlags>();  // Shared with both callbacks.
  command->add_option("ID", flags->id,
                      "Job, by the first digits of its id; the newest if not "
                      "given");
  AddFormat(*command, flags->format, {"table", "json"});
  command->add_flag("-w,--watch", flags->watch,
                    "Show its progress until it ends");
  command->footer(
      "Without -w the exit code is 0 whatever the state; with -w it is that of "
      "the job,\nas of millrace wait.");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunStatus(globals, *flags); };
  });
}

}  // namespace millrace::cli
