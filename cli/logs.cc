// millrace logs ID [--task T] [-f]: what the attempts of a job have printed.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
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

ExitCode PrintAll(client::ClusterClient& cluster, const LogsFlags& flags,
                  const proto::LocateLogsReply& reply) {
  // The one of a task is printed as it stands.
  const bool headings = flags.task.empty() || reply.logs_size() > 1;
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

// Of a job that has ended the masters know the attempts that failed. The
// workers know all whose logs they still have.
absl::Status AddKept(client::ClusterClient& cluster,
                     const proto::TaskName* task,
                     proto::LocateLogsReply* reply) {
  std::map<std::string, proto::LogLocation*> known;  // By uid.
  for (proto::LogLocation& location : *reply->mutable_logs()) {
    known[location.attempt().attempt_uid()] = &location;
  }
  std::vector<proto::LogLocation> others;
  MR_ASSIGN_OR_RETURN(const std::vector<proto::WorkerStatus> workers,
                      cluster.ListWorkers());
  for (const proto::WorkerStatus& worker : workers) {
    const auto kept = cluster.ListLogs(worker.address(), reply->job_id());
    if (absl::IsCancelled(kept.status())) return kept.status();
    if (!kept.ok()) {
      std::fprintf(stderr,
                   "millrace logs: what worker %s has is not shown: %s\n",
                   Printable(worker.name()).c_str(),
                   Printable(ToStd(kept.status().message()), 1000).c_str());
      continue;
    }
    for (const proto::AttemptRef& attempt : *kept) {
      if (task != nullptr && (attempt.task().kind() != task->kind() ||
                              attempt.task().index() != task->index())) {
        continue;
      }
      const auto found = known.find(attempt.attempt_uid());
      proto::LogLocation& location =
          found == known.end() ? others.emplace_back() : *found->second;
      *location.mutable_attempt() = attempt;
      location.set_worker(worker.name());
      location.set_address(worker.address());
    }
  }
  for (proto::LogLocation& location : others) {
    *reply->add_logs() = std::move(location);
  }
  std::stable_sort(
      reply->mutable_logs()->begin(), reply->mutable_logs()->end(),
      [](const proto::LogLocation& a, const proto::LogLocation& b) {
        const proto::AttemptRef& x = a.attempt();
        const proto::AttemptRef& y = b.attempt();
        // Of each task the newest first.
        return std::tuple(x.task().kind(), x.task().index(), y.number()) <
               std::tuple(y.task().kind(), y.task().index(), x.number());
      });
  return absl::OkStatus();
}

// No attempt is known whose log could be read.
ExitCode FailEmpty(client::ClusterClient& cluster, const LogsFlags& flags) {
  const auto job = cluster.GetJob(flags.id);
  if (!job.ok()) return FailCluster(job.status(), "logs");
  const proto::JobStatus& status = job->status();
  const std::string of = Cat(flags.task.empty() ? "" : Cat(flags.task, " of "),
                             "job ", ShortId(status.job_id()));
  if (client::HasEnded(status.state())) {
    return Fail(kNotFound, "logs", Cat("no log of ", of, " is kept"),
                "the job has ended; its tasks printed nothing, or its workers "
                "are gone, or have removed its logs for those of later jobs");
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
  // In this order: while the job has not ended the masters know them all.
  auto reply = (*cluster)->LocateLogs(flags.id, wanted);
  if (!reply.ok()) return FailCluster(reply.status(), "logs");
  const auto job = (*cluster)->GetJob(flags.id);
  if (!job.ok()) return FailCluster(job.status(), "logs");
  if (client::HasEnded(job->status().state())) {
    const absl::Status added = AddKept(**cluster, wanted, &*reply);
    if (!added.ok()) return FailCluster(added, "logs");
  }
  if (reply->logs().empty()) return FailEmpty(**cluster, flags);
  return PrintAll(**cluster, flags, *reply);
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
      "Of all attempts. When the job has ended: of those whose logs are still "
      "there; a\nworker keeps those of the last 200 jobs, up to its "
      "--log-space. With -f each line\nhas its attempt in front.");
  command->callback([flags, &globals, &action] {
    action = [flags, &globals] { return RunLogs(globals, *flags); };
  });
}

}  // namespace millrace::cli
