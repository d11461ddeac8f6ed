// millrace master list | add | remove | transfer.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/interrupt.h"
#include "cli/job_format.h"
#include "cli/table.h"
#include "common/flag_kinds.h"
#include "common/strings.h"

namespace millrace::cli {
namespace {

struct ChangeFlags {
  std::string master;
  std::string timeout = "60s";
};

// Later commands, and workers that are started by hand, need the masters that
// there are now. Only where the context is what led to this cluster.
void RefreshContext(const Globals& globals, client::ClusterClient& cluster) {
  if (!UsesContext(globals)) return;
  absl::StatusOr<ClusterContext> context = ReadContext();
  const auto reply = cluster.Cluster();
  if (!context.ok() || !reply.ok()) return;
  std::vector<std::string> addresses;
  for (const proto::MasterStatus& master : reply->masters()) {
    if (!master.address().empty()) addresses.push_back(master.address());
  }
  const std::string masters = absl::StrJoin(addresses, ",");
  if (masters.empty() || masters == context->masters) return;
  context->masters = masters;
  const absl::Status written = WriteContext(*context);
  std::fprintf(
      stderr, "millrace master: the masters are %s now%s\n", masters.c_str(),
      written.ok()
          ? "; later commands know them"
          : Cat("; not remembered (", ToStd(written.message()), ")").c_str());
}

ExitCode RunMasterList(const Globals& globals, const std::string& format) {
  const auto cluster = ConnectToCluster(globals);
  if (!cluster.ok()) return FailCluster(cluster.status(), "master list");
  absl::StatusOr<proto::ClusterReply> reply = (*cluster)->Cluster();
  ExitCode code = kOk;
  if (absl::IsUnavailable(reply.status())) {
    // Who is there, and who is not, is what one wants to know then.
    const absl::Status why = reply.status();
    reply = (*cluster)->AskEachMaster();
    if (!reply.ok()) return FailCluster(why, "master list");
    code = Fail(kUnreachable, "master list", ToStd(why.message()),
                "what each master says of itself follows");
  }
  if (!reply.ok()) return FailCluster(reply.status(), "master list");
  ExitCode printed;
  if (format == "json") {
    Json json = Json::array();
    for (const proto::MasterStatus& master : reply->masters()) {
      json.push_back(MasterJson(master));
    }
    printed = Print("master list", FormatJson(json));
  } else {
    printed = Print("master list", MastersTable(*reply, format == "wide"));
  }
  return printed == kOk ? code : printed;
}

// What the three changes have in common.
class Change {
 public:
  Change(const Globals& globals, std::string command)
      : globals_(globals), command_(std::move(command)) {}

  using Once = absl::StatusOr<proto::MasterStatus> (client::ClusterClient::*)(
      std::string_view, const client::MasterChangeOptions&);
  ExitCode Run(const ChangeFlags& flags, Once once, std::string_view done) {
    Interrupt interrupt;
    const auto cluster = ConnectToCluster(globals_, &interrupt.signal());
    if (!cluster.ok()) return FailCluster(cluster.status(), command_);
    client::MasterChangeOptions options;
    options.timeout = *ParseSeconds(flags.timeout);
    options.on_waiting = [this](const std::string& what) {
      std::fprintf(stderr, "millrace %s: waiting: %s\n", command_.c_str(),
                   Printable(what, 500).c_str());
    };
    const absl::StatusOr<proto::MasterStatus> master =
        (cluster->get()->*once)(flags.master, options);
    if (absl::IsDeadlineExceeded(master.status())) {
      return Fail(kTimeout, command_, ToStd(master.status().message()),
                  "the same command again goes on where it is");
    }
    if (!master.ok()) return FailCluster(master.status(), command_);
    std::fprintf(stderr, "millrace %s: master %s at %s %s\n", command_.c_str(),
                 master->id().c_str(), master->address().c_str(),
                 std::string(done).c_str());
    RefreshContext(globals_, **cluster);
    return kOk;
  }

 private:
  const Globals& globals_;
  const std::string command_;
};

void AddChange(CLI::App& master, Globals& globals, Action& action,
               const std::string& name, const std::string& help,
               const std::string& argument, const std::string& argument_help,
               Change::Once once, const std::string& done) {
  CLI::App* command = master.add_subcommand(name, help);
  auto flags = std::make_shared<ChangeFlags>();  // Shared with both callbacks.
  CLI::Option* option =
      command->add_option(argument, flags->master, argument_help);
  if (name != "transfer") option->required();
  AddSeconds(*command, "--timeout", flags->timeout, "Give up after so long")
      ->capture_default_str();
  command->callback([=, &globals, &action] {
    action = [=, &globals] {
      return Change(globals, "master " + name).Run(*flags, once, done);
    };
  });
}

}  // namespace

void AddMaster(CLI::App& app, Globals& globals, Action& action) {
  CLI::App* master = app.add_subcommand("master", "The cluster's masters");
  master->require_subcommand(1);
  CLI::App* list = master->add_subcommand("list", "List the masters");
  auto format = std::make_shared<std::string>("table");  // Shared, as above.
  AddFormat(*list, *format, {"table", "wide", "json"});
  list->footer(
      "Exit code 3 when no master leads; the list then is what each of them "
      "says of itself.");
  list->callback([format, &globals, &action] {
    action = [format, &globals] { return RunMasterList(globals, *format); };
  });
  AddChange(*master, globals, action, "add",
            "Add a master that was started with --join; returns when it votes",
            "ADDRESS", "Its host:port", &client::ClusterClient::AddMaster,
            "votes now");
  AddChange(*master, globals, action, "remove",
            "Remove a master, dead or alive, from the group", "MASTER",
            "Its id, a unique beginning of it, or its address",
            &client::ClusterClient::RemoveMaster,
            "belongs to the cluster no more");
  AddChange(*master, globals, action, "transfer",
            "Make another master the leader", "MASTER",
            "Its id, a unique beginning of it, or its address; default: any",
            &client::ClusterClient::TransferLeadership, "leads now");
}

}  // namespace millrace::cli
