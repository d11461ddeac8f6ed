// millrace logs ID [--task T] [-f]: what the attempts of a job have printed.
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/interrupt.h"
#include "cli/job_format.h"
#include "cli/log_follower.h"
#include "client/cluster_client.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct LogsFlags {
  std::string id;
  std::string task;
  bool follow = false;
};

// As tail(1) does between files.
std::string Heading(const proto::LogLocation& location, bool first) {
  return Cat(first ? "" : "\n", "==> ", AttemptText(location.attempt()),
             location.worker().empty()
                 ? std::string()
                 : Cat(" on ", Printable(location.worker())),
             location.running() ? ", running" : "", " <==\n");
}

// The whole log from the worker, or the end of it from the master.
absl::Status PrintLog(client::ClusterClient& cluster,
                      const proto::LogLocation& location) {
  if (location.address().empty()) return WriteOut(location.tail());
  bool any = false;
  absl::Status written = absl::OkStatus();
  const absl::Status read =
      cluster.ReadLog(location, 0, false, [&](std::string_view data) {
        any = any || !data.empty();
        written = WriteOut(data);
        return written.ok();
      });
  MR_RETURN_IF_ERROR(written);
  if (read.ok() || absl::IsCancelled(read)) return read;
  std::fprintf(stderr, "millrace logs: %s: %s%s\n",
               AttemptText(location.attempt()).c_str(),
               Printable(ToStd(read.message()), 1000).c_str(),
               any || location.tail().empty()
                   ? ""
                   : "; what the master has of it follows");
  return any ? absl::OkStatus() : WriteOut(location.tail());
}

ExitCode PrintAll(client::ClusterClient& cluster,
                  const proto::LocateLogsReply& reply) {
  // One alone is printed as it stands.
  const bool headings = reply.logs_size() > 1;
  bool first = true;
  for (const proto::LogLocation& location : reply.logs()) {
    absl::Status status =
        headings ? WriteOut(Heading(location, first)) : absl::OkStatus();
    if (status.ok()) status = PrintLog(cluster, location);
    if (!status.ok()) return FailCluster(status, "logs");
    first = false;
  }
  const absl::Status flushed = FlushOut();
  return flushed.ok() ? kOk : Fail(flushed, "logs");
}

// No attempt is known whose log could be read: of a job that has ended the
// masters know those that failed, and no others.
ExitCode FailEmpty(client::ClusterClient& cluster, const LogsFlags& flags) {
  const auto job = cluster.GetJob(flags.id);
  if (!job.ok()) return FailCluster(job.status(), "logs");
  const proto::JobStatus& status = job->status();
  const std::string of = Cat(flags.task.empty() ? "" : Cat(flags.task, " of "),
                             "job ", ShortId(status.job_id()));
  if (client::HasEnded(status.state())) {
    return Fail(kNotFound, "logs",
                Cat("no attempt of ", of, " is known to have failed"),
                Cat("the job has ended, and what its other attempts printed is "
                    "in logs/",
                    HexEncode(status.job_id()),
                    " below --dir of the workers that ran them"));
  }
  return Fail(kNotFound, "logs", Cat("nothing of ", of, " has run yet"));
}

ExitCode RunLogs(const Globals& globals, const LogsFlags& flags) {
  std::optional<proto::TaskName> task;
  if (!flags.task.empty()) {
    task = ParseTask(flags.task);
    if (!task.has_value()) {
      return Fail(kUsage, "logs",
                  Cat("\"", Printable(flags.task), "\" is no task"),
                  "write m17 for map task 17, r3 for reduce task 3, or plan");
    }
  }
  Interrupt interrupt;
  const auto cluster = ConnectToCluster(globals, &interrupt.signal());
  if (!cluster.ok()) return FailCluster(cluster.status(), "logs");
  const proto::TaskName* wanted = task.has_value() ? &*task : nullptr;
  if (flags.follow) {
    const absl::Status status =
        FollowLogs(**cluster, flags.id, wanted, interrupt.signal());
    if (absl::IsCancelled(status)) return kInterrupted;
    return status.ok() ? kOk : FailCluster(status, "logs");
  }
  const auto reply = (*cluster)->LocateLogs(flags.id, wanted);
  if (!reply.ok()) return FailCluster(reply.status(), "logs");
  if (reply->logs().empty()) return FailEmpty(**cluster, flags);
  return PrintAll(**cluster, *reply);
}

}  // namespace

void AddLogs(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* command = app.add_subcommand(
      "logs", "Print what the tasks of a job wrote to stdout and stderr");
  auto flags = std::make_shared<LogsFlags>();  // Shared with both callbacks.
  command->add_option("ID", flags->id, "Job, by the first digits of its id")
      ->required();
  command->add_option("--task", flags->task,
                      "Of one task: m17, r3, plan; its attempts, newest first");
  command->add_flag("-f,--follow", flags->follow,
                    "Go on as attempts print more, until the job ends");
  command->footer(
      "While the job runs: of all its attempts. When it has ended: of those "
      "that failed;\nwhat others printed stays for a while in logs/JOB below "
      "--dir of the workers that\nran them. With -f each line has its attempt "
      "in front.");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunLogs(globals, *flags); };
  });
}

}  // namespace millrace::cli
