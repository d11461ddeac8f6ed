// millrace cluster up | down | status: real processes on this machine.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "chaos/small_disk.h"
#include "chaos/spec.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/interrupt.h"
#include "cli/job_format.h"
#include "cli/table.h"
#include "client/cluster_client.h"
#include "client/job_request.h"
#include "client/local/local_cluster.h"
#include "common/flag_kinds.h"
#include "common/random.h"
#include "common/status_macros.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

// More than a worker takes when its store hangs.
constexpr absl::Duration kStopGrace = absl::Seconds(15);

struct ClusterFlags {
  std::string directory;
  int masters = 0;
  int workers = 2;
  int slots = 0;
  bool same_host = false;
  int finished_jobs = 0;
  std::string chaos;
  std::optional<uint64_t> seed;
  std::string timeout = "60s";
  std::string format = "table";
};

// Absolute, so that the processes, the record and the context mean the same.
absl::StatusOr<std::string> DirectoryOf(const ClusterFlags& flags) {
  if (flags.directory.empty()) return DefaultClusterDirectory();
  std::error_code error;
  const std::string here = std::filesystem::current_path(error).string();
  if (error) return absl::NotFoundError("the working directory is gone");
  return client::AbsolutePath(here, flags.directory);
}

// Of a cluster that is there: without --dir the one that was started last, as
// for all commands that speak to it.
absl::StatusOr<std::string> DirectoryOfStarted(const ClusterFlags& flags) {
  if (flags.directory.empty()) {
    const absl::StatusOr<ClusterContext> context = ReadContext();
    if (context.ok() && !context->directory.empty()) {
      return context->directory;
    }
  }
  return DirectoryOf(flags);
}

absl::StatusOr<std::string> BinDirectory() {
  std::error_code error;
  const std::filesystem::path self =
      std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::NotFoundError("cannot find out where millrace is");
  return self.parent_path().string();
}

// By address, what the masters are called in their group, by `millrace master`;
// of those that answer.
using MasterIds = std::map<std::string, std::string>;
MasterIds IdsOfMasters(const client::LocalCluster& cluster) {
  MasterIds ids;
  if (!std::any_of(cluster.processes.begin(), cluster.processes.end(),
                   [](const client::LocalProcess& process) {
                     return process.role == client::LocalRole::kMaster &&
                            process.running;
                   })) {
    return ids;
  }
  const auto masters = client::ClusterClient::Connect(cluster.masters);
  if (!masters.ok()) return ids;
  const auto reply = (*masters)->AskEachMaster();
  if (!reply.ok()) return ids;
  for (const proto::MasterStatus& master : reply->masters()) {
    ids[master.address()] = master.id();
  }
  return ids;
}

std::string IdOf(const client::LocalProcess& process, const MasterIds& ids) {
  const auto found = ids.find(process.address);
  return process.role == client::LocalRole::kMaster && found != ids.end()
             ? found->second
             : "";
}

Json ClusterJson(const client::LocalCluster& cluster) {
  const MasterIds ids = IdsOfMasters(cluster);
  Json json;
  json["directory"] = cluster.directory;
  json["cluster"] = cluster.masters;
  json["processes"] = Json::array();
  for (const client::LocalProcess& process : cluster.processes) {
    json["processes"].push_back(
        {{"id", process.name},
         {"role", std::string(client::RoleName(process.role))},
         {"master_id", IdOf(process, ids)},
         {"address", process.address},
         {"pid", process.identity.pid},
         {"state", process.running ? "running" : "gone"},
         {"log", process.log}});
  }
  return json;
}

std::string ClusterTable(const client::LocalCluster& cluster, bool wide) {
  const MasterIds ids = IdsOfMasters(cluster);
  std::vector<Column> columns = {
      {"ID"}, {"ADDRESS"}, {"PID", true}, {"STATE"}, {"MASTER ID"}};
  if (wide) columns.push_back({"LOG"});
  std::vector<std::vector<std::string>> rows;
  for (const client::LocalProcess& process : cluster.processes) {
    rows.push_back({process.name, process.address, Cat(process.identity.pid),
                    process.running ? "running" : "gone", IdOf(process, ids)});
    if (wide) rows.back().push_back(process.log);
  }
  return FormatTable(columns, rows);
}

std::string DirectoryFlag(const ClusterFlags& flags) {
  return flags.directory.empty() ? "" : Cat(" --dir ", flags.directory);
}

// Flags of millrace-chaos. Disks of their own are for a cluster that nobody
// else sees into: this process gets mounts of its own, and so do those that it
// starts.
std::vector<std::string> ChaosFlags(const ClusterFlags& flags,
                                    const chaos::ChaosSpec& spec) {
  // Small enough to be typed again.
  constexpr uint64_t kSeedsDrawn = 1'000'000;
  const uint64_t seed = flags.seed.has_value()
                            ? *flags.seed
                            : Random::Entropy()->Uniform(kSeedsDrawn);
  std::vector<std::string> words = {"--spec", flags.chaos, "--seed", Cat(seed)};
  std::fprintf(
      stderr,
      "millrace cluster up: chaos with --seed %s; what it does to whom "
      "is in logs/chaos.log and chaos.jsonl\n",
      words.back().c_str());
  if (!spec.needs_small_disks()) return words;
  const absl::Status mounts = chaos::EnterPrivateMounts();
  if (mounts.ok()) {
    words.emplace_back("--private-mounts");
  } else {
    std::fprintf(stderr,
                 "millrace cluster up: full-disk and read-only-disk are left "
                 "out: %s\n",
                 std::string(ToStd(mounts.message())).c_str());
  }
  return words;
}

ExitCode RunUp(const ClusterFlags& flags) {
  const absl::StatusOr<std::string> directory = DirectoryOf(flags);
  if (!directory.ok()) return Fail(directory.status(), "cluster up");
  const absl::StatusOr<std::string> bin = BinDirectory();
  if (!bin.ok()) return Fail(bin.status(), "cluster up");
  Interrupt interrupt;
  client::LocalClusterOptions options;
  options.directory = *directory;
  options.bin_directory = *bin;
  options.masters = flags.masters;
  options.workers = flags.workers;
  options.slots = flags.slots;
  options.same_host = flags.same_host;
  options.finished_jobs = flags.finished_jobs;
  if (!flags.chaos.empty()) {
    const auto spec = chaos::ParseSpec(flags.chaos);
    if (!spec.ok()) {
      return Fail(kUsage, "cluster up",
                  Cat("--chaos: ", ToStd(spec.status().message())),
                  "the faults there are: millrace cluster up --help");
    }
    options.chaos = ChaosFlags(flags, *spec);
  } else if (flags.seed.has_value()) {
    return Fail(kUsage, "cluster up", "--seed is for --chaos alone");
  }
  options.patience = *ParseSeconds(flags.timeout);
  options.stop = &interrupt.signal();
  options.on_step = [](std::string_view step) {
    std::fprintf(stderr, "millrace cluster up: %s\n",
                 std::string(step).c_str());
  };
  const auto cluster = client::StartLocalCluster(options);
  if (!cluster.ok()) {
    const absl::Status& status = cluster.status();
    switch (status.code()) {
      case absl::StatusCode::kCancelled:
        return Fail(kInterrupted, "cluster up", ToStd(status.message()));
      case absl::StatusCode::kInvalidArgument:
      case absl::StatusCode::kUnimplemented:
        return Fail(kUsage, "cluster up", ToStd(status.message()));
      case absl::StatusCode::kDeadlineExceeded:
        return Fail(kTimeout, "cluster up", ToStd(status.message()));
      case absl::StatusCode::kAlreadyExists:
        return Fail(
            kRefused, "cluster up", ToStd(status.message()),
            Cat("stop it with: millrace cluster down", DirectoryFlag(flags)));
      default:
        return Fail(status, "cluster up");
    }
  }
  const absl::Status context = WriteContext({cluster->masters, *directory});
  if (!context.ok()) {
    std::fprintf(stderr,
                 "millrace cluster up: not remembered for later commands (%s); "
                 "give them --cluster %s\n",
                 std::string(ToStd(context.message())).c_str(),
                 cluster->masters.c_str());
  }
  const int masters = static_cast<int>(
      std::count_if(cluster->processes.begin(), cluster->processes.end(),
                    [](const client::LocalProcess& process) {
                      return process.role == client::LocalRole::kMaster;
                    }));
  std::fprintf(
      stderr,
      "millrace cluster up: %d %s and %d %s are ready, data and logs in %s\n"
      "  run a job:  millrace submit ./wordcount --input FILES --output DIR\n"
      "  look:       millrace worker list; millrace list\n"
      "  stop it:    millrace cluster down%s\n",
      masters, masters == 1 ? "master" : "masters", flags.workers,
      flags.workers == 1 ? "worker" : "workers", directory->c_str(),
      DirectoryFlag(flags).c_str());
  return Print("cluster up",
               flags.format == "json"
                   ? FormatJson(ClusterJson(*cluster))
                   : ClusterTable(*cluster, flags.format == "wide"));
}

ExitCode RunDown(const ClusterFlags& flags) {
  const absl::StatusOr<std::string> directory = DirectoryOfStarted(flags);
  if (!directory.ok()) return Fail(directory.status(), "cluster down");
  const auto cluster =
      client::StopLocalCluster(*directory, kStopGrace, Clock::Real());
  if (!cluster.ok()) return Fail(cluster.status(), "cluster down");
  RemoveContext(*directory).IgnoreError();
  size_t stopped = 0;
  for (const client::LocalProcess& process : cluster->processes) {
    if (process.running) ++stopped;
  }
  std::fprintf(stderr,
               "millrace cluster down: %zu of %zu processes still ran and are "
               "stopped; data and logs stay in %s\n",
               stopped, cluster->processes.size(), directory->c_str());
  return kOk;
}

ExitCode RunClusterStatus(const ClusterFlags& flags) {
  const absl::StatusOr<std::string> directory = DirectoryOfStarted(flags);
  if (!directory.ok()) return Fail(directory.status(), "cluster status");
  const auto cluster = client::ReadLocalCluster(*directory);
  if (!cluster.ok()) return Fail(cluster.status(), "cluster status");
  const ExitCode printed = Print(
      "cluster status", flags.format == "json"
                            ? FormatJson(ClusterJson(*cluster))
                            : ClusterTable(*cluster, flags.format == "wide"));
  if (printed != kOk) return printed;
  return cluster->AllRunning() ? kOk : kFailed;
}

}  // namespace

void AddCluster(CLI::App& app, Globals&, Action& action) {
  CLI::App* cluster =
      app.add_subcommand("cluster", "A cluster of processes on this machine");
  cluster->require_subcommand(1);
  auto flags = std::make_shared<ClusterFlags>();  // Shared with callbacks.
  const auto add = [&](const std::string& name, const std::string& help,
                       ExitCode (*run)(const ClusterFlags&)) {
    CLI::App* command = cluster->add_subcommand(name, help);
    command
        ->add_option("--dir", flags->directory,
                     name == "up" ? "Directory of the cluster; default: "
                                    "~/.local/state/millrace/cluster"
                                  : "Directory of the cluster; default: that "
                                    "of the last cluster up")
        ->type_name("DIR");
    command->callback([flags, run, &action] {
      action = [flags, run] { return run(*flags); };
    });
    return command;
  };

  CLI::App* up = add("up", "Start a cluster and wait until it is ready", RunUp);
  up->option_defaults()->always_capture_default(true);
  AddNumber(*up, "--masters", flags->masters,
            "Number of masters; 0: as many as before, or one", 0, 7);
  AddNumber(*up, "--workers", flags->workers, "Number of workers", 1, 1000);
  AddNumber(*up, "--slots", flags->slots,
            "Tasks at a time on each worker; 0: the cores, shared out", 0,
            1024);
  up->add_flag("--same-host", flags->same_host,
               "Workers read each other's files instead of the network");
  AddNumber(*up, "--finished-jobs", flags->finished_jobs,
            "Finished jobs that masters keep, older ones are forgotten; 0: a "
            "master's default",
            0, 1'000'000);
  up->add_option("--chaos", flags->chaos,
                 "Do harm to the cluster: kill, stop and cut off its "
                 "processes, damage its data; see below")
      ->type_name("SPEC");
  up->add_option("--seed", flags->seed,
                 "Decides when which harm is done to whom; default: any")
      ->type_name("N");
  AddSeconds(*up, "--timeout", flags->timeout, "Give up after so long");
  AddFormat(*up, flags->format, {"table", "wide", "json"});
  up->footer(
      "The processes outlive this command; later commands find the cluster by "
      "themselves.\nA start in the directory of an earlier cluster goes on "
      "with "
      "its jobs.\n\nChaos (--chaos): for tests of jobs and of what submits "
      "them.\n" +
      chaos::SpecHelp() +
      "Example: --chaos kill-worker:every=20s,stop-worker:for=5s,cut-link "
      "--seed 7");

  CLI::App* down = add("down", "Stop the cluster; its data stay", RunDown);
  down->footer("Exit code 4 when no cluster was started in the directory.");
  CLI::App* status =
      add("status", "Show the processes of the cluster", RunClusterStatus);
  AddFormat(*status, flags->format, {"table", "wide", "json"});
  status->footer(
      "Exit code 1 when a process is gone, 4 when no cluster was started in "
      "the\ndirectory.");
}

}  // namespace millrace::cli
