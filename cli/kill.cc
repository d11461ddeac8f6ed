// millrace kill ID: end a job without a result.
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/job_format.h"
#include "client/cluster_client.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct KillFlags {
  std::string id;
  std::string reason;
};

ExitCode RunKill(const Globals& globals, const KillFlags& flags) {
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "kill");
  const auto reply = (*cluster)->Kill(
      flags.id, flags.reason.empty() ? "by millrace kill" : flags.reason);
  if (!reply.ok()) return FailCluster(reply.status(), "kill");
  const proto::JobStatus& status = reply->status();
  if (reply->too_late() && status.state() != proto::KILLED) {
    return Fail(kRefused, "kill",
                Cat("job ", ShortId(status.job_id()), " is ",
                    client::StateName(status.state()), ": it is too late"));
  }
  std::fprintf(stderr, "millrace kill: job %s (%s) is killed\n",
               ShortId(status.job_id()).c_str(),
               Printable(status.name()).c_str());
  return kOk;
}

}  // namespace

void AddKill(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command =
      app.add_subcommand("kill", "End a job; nothing of it is written");
  auto flags = std::make_shared<KillFlags>();  // Shared with both callbacks.
  command->add_option("ID", flags->id, "Job, by the first digits of its id")
      ->required();
  command->add_option("--reason", flags->reason, "Shown as the job's cause");
  command->footer(
      "Exit code 5 when it is too late: the job has ended, or its output is "
      "about to\nappear. To kill a killed job again is no error.");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunKill(globals, *flags); };
  });
}

}  // namespace millrace::cli
