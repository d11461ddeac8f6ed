#include "cli/watch.h"

#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/job_format.h"
#include "cli/job_report.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

std::string HowToComeBack(std::string_view id) {
  return Cat("it goes on; see it with: millrace status -w ", id,
             ", stop it with: millrace kill ", id);
}

}  // namespace

ExitCode WatchToEnd(client::ClusterClient& cluster, const std::string& id,
                    const WatchOptions& options) {
  ProgressDisplay display(stderr, IsLiveTerminal(STDERR_FILENO),
                          Cat("millrace ", options.command), Clock::Real());
  std::string seen_id = id.substr(0, 8);
  client::WaitOptions wait;
  wait.timeout = options.timeout;
  wait.on_status = [&](const proto::JobStatus& status) {
    seen_id = ShortId(status.job_id());
    if (!options.quiet) display.Update(status);
  };
  const absl::StatusOr<proto::JobStatus> end = cluster.Wait(id, wait);
  display.Clear();
  if (absl::IsCancelled(end.status())) {
    return Fail(kInterrupted, options.command,
                Cat("detached from job ", seen_id), HowToComeBack(seen_id));
  }
  if (absl::IsDeadlineExceeded(end.status())) {
    return Fail(kTimeout, options.command, ToStd(end.status().message()),
                HowToComeBack(seen_id));
  }
  if (absl::IsUnavailable(end.status())) {
    return Fail(kUnreachable, options.command, ToStd(end.status().message()),
                Cat("the job may go on; when the cluster answers again: "
                    "millrace status -w ",
                    seen_id));
  }
  if (!end.ok()) return FailCluster(end.status(), options.command);

  proto::GetJobReply job;
  if (end->state() == proto::SUCCEEDED && !options.quiet) {
    // The job has succeeded, whether or not this can still be had.
    auto detail = cluster.GetJob(HexEncode(end->job_id()),
                                 {.counters = true, .spec = true});
    if (detail.ok()) job = *std::move(detail);
  }
  if (options.json) {
    const ExitCode printed = Print(options.command, FormatJson(JobJson(*end)));
    if (printed != kOk) return printed;
  }
  if (end->state() == proto::SUCCEEDED && options.quiet) return kOk;
  *job.mutable_status() = *end;
  return ReportEnd(options.command, job);
}

}  // namespace millrace::cli
